"""The same prompts to the base model on this machine and behind servers that others wrote.

``python -m benchmarks.endpoint_agreement HOME [COUNT]`` takes the base model that the settings name
and the first COUNT test items (200) of a home, and prints how far the estimates of ``rag``'s and
the zero-shot prompts lie apart: the distribution against llama.cpp's server, the written price
against ``transformers serve``. Needs the ``test`` extra.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from benchmarks.llama_cpp import llama_server, prompts_as_tokens
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.finetuning.export.gguf_model import GgufDescription, write_gguf
from pricing_platform.language.endpoint import EndpointLanguageModel
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.local import LocalLanguageModel
from pricing_platform.language.model import CompletionRequest, PriceAnswer, Prompt
from pricing_platform.language.pretrained import language_model_folder, language_model_name
from pricing_platform.language.price_text import parse_price
from pricing_platform.language.prompts import Currency
from pricing_platform.language.response_cache import ResponseCache
from pricing_platform.pricing.prompting.asked_model import (
    current_asked_model,
    current_brand_facts,
    language_context,
)
from pricing_platform.pricing.prompting.prompt_zero_shot import PromptZeroShot
from pricing_platform.pricing.prompting.rag import Rag
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.item_embeddings import load_item_set
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.language.endpoint.faulty_proxy import FaultyProxy

_EVERY_TOKEN = 5_000
_WRITTEN = CompletionRequest(max_tokens=4, stop=("\n",))


def main(home: Path, count: int) -> None:
    """Prints one row a server, technique and precision of the model on this machine."""
    settings = Settings(home=home)
    folder, name = language_model_folder(settings), language_model_name(settings)
    table = Table("server", "prompts", "here", "items", "equal", "median apart", "most apart, USD")
    by_technique = dict(_prompts(settings, count))
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(temporary)
        for precision in ("float32", "bfloat16"):
            local = LocalLanguageModel.open(name, folder, precision=precision)  # type: ignore[arg-type]
            with _llama_cpp(folder, cache) as url:
                for technique, prompts in by_technique.items():
                    there = _endpoint(url, "model", folder, cache / f"{precision}.sqlite")
                    ours, theirs = _medians(local, prompts), _medians(there, prompts)
                    table.add_row("llama.cpp", technique, precision, *_apart(ours, theirs))
        local = LocalLanguageModel.open(name, folder, precision="float32")
        with _transformers_serve(folder) as url:
            for technique, prompts in by_technique.items():
                there = _endpoint(url, str(folder), folder, cache / "serve.sqlite", top_logprobs=0)
                ours, theirs = _written(local, prompts), _written(there, prompts)
                table.add_row("transformers serve", technique, "float32", *_apart(ours, theirs))
    Console(width=140).print(table)


def _prompts(settings: Settings, count: int) -> Iterator[tuple[str, list[Prompt]]]:
    warehouse, encoder = Warehouse.from_settings(settings), CachedEncoder.from_settings(settings)
    with closing(Postgres.from_settings(settings)) as postgres:
        items = load_item_set(warehouse, postgres, encoder.identity)
        asked = current_asked_model(warehouse, settings)
        facts = current_brand_facts(warehouse, postgres)
    language = language_context(asked, warehouse, facts).of("agreement")
    test, train = items.split("test"), items.split("train")
    sample = ItemSet(test.frame.head(count), test.embeddings[:count])
    for technique in (PromptZeroShot, Rag):
        prepared = technique.prepared(train, seed=0, language=language)
        yield technique.name, [at.prompt for at in prepared.prompts(sample)]


def _endpoint(
    url: str, model: str, tokenizer: Path, cache: Path, *, top_logprobs: int = _EVERY_TOKEN
) -> EndpointLanguageModel:
    configuration = EndpointConfiguration(
        SecretStr(url),
        model,
        api="completions",
        top_logprobs=top_logprobs,
        tokenizer=tokenizer,
        context_window=1_024,
        concurrency=2,
    )
    return EndpointLanguageModel(configuration, ResponseCache(cache))


@contextmanager
def _llama_cpp(folder: Path, cache: Path) -> Iterator[str]:
    path = cache / "model.gguf"
    if not path.exists():
        described = GgufDescription("model")
        write_gguf(folder, path, described=described, kind="f32", pre_tokenizer="gpt-2")
    rewritten = prompts_as_tokens(folder)
    with (
        llama_server(path, context=1_024) as server,
        FaultyProxy(server, rewritten=rewritten).running() as url,
    ):
        yield url


@contextmanager
def _transformers_serve(folder: Path) -> Iterator[str]:
    import socket

    from transformers.cli.serve import Serve

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    options: dict[str, Any] = {"device": "cpu", "dtype": "float32", "non_blocking": True}
    server = Serve(str(folder), host="127.0.0.1", port=port, **options)
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill_server()


def _medians(
    model: LocalLanguageModel | EndpointLanguageModel, prompts: Sequence[Prompt]
) -> list[float]:
    def median(answer: PriceAnswer) -> float:
        return answer.distribution.quantile(0.5) if answer.distribution else float("nan")

    found = {place: median(answer) for place, answer in model.read_prices(prompts)}
    return [found[place] for place in range(len(prompts))]


def _written(
    model: LocalLanguageModel | EndpointLanguageModel, prompts: Sequence[Prompt]
) -> list[float]:
    """The price that each writes greedily, as it is read from a text."""
    found = {
        place: parse_price(answer.text, Currency("USD")).price
        for place, answer in model.complete(prompts, _WRITTEN)
    }
    return [found[place] or float("nan") for place in range(len(prompts))]


def _apart(ours: Sequence[float], theirs: Sequence[float]) -> list[str]:
    apart = np.abs(np.array(ours) - np.array(theirs))
    equal = np.mean([round(a) == round(b) for a, b in zip(ours, theirs, strict=True)])
    return [
        f"{len(apart)}",
        f"{100 * equal:.1f} % to the unit",
        f"{np.median(apart):.4f}",
        f"{np.max(apart):.3f}",
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200)
