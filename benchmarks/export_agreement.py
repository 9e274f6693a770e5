"""The estimates of a fine-tuned model in each form that it is exported in, beside the checkpoint's.

``python -m benchmarks.export_agreement HOME [--items 100] [--technique language_finetuned]
[--gguf-type f16] [--threads 2]`` exports the technique of a built home, asks the first test items,
and prints how far the estimates lie from those of the checkpoint: the price head's, and those that
are read off what the model writes, by plain PEFT, by the merged folder, and by llama.cpp's server.
Needs the ``test`` extra.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import httpx2
import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.llama_cpp import llama_server
from pricing_platform.finetuning.export.forms import GgufType
from pricing_platform.finetuning.export.model_folders import read_adapter
from pricing_platform.finetuning.language.adapters import (
    adapter_scale,
    load_base,
    with_adapters_of,
)
from pricing_platform.language.local import LocalLanguageModel
from pricing_platform.language.local.network import Network
from pricing_platform.language.local.number_tokens import NumberTokens, NumberTrie
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform.language.model import Prompt
from pricing_platform.language.price_distribution import PriceDistribution
from pricing_platform.pricing.finetuned.export.exporting import (
    export_technique,
    exported_checkpoint,
    first_test_items,
)
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import Warehouse

Floats = npt.NDArray[np.float64]
_LISTED = 2_000
"""Tokens that the server names the probability of: all by which a number goes on are likely."""


@dataclass
class AdaptedModel(LocalLanguageModel):
    """A base model with adapters on it, as PEFT runs them: nothing is merged."""

    module: Any = field(default=None, repr=False)

    @property
    def _network(self) -> Network:
        return Network(self.module, "cpu", "float32")


@contextmanager
def adapted_model(
    base: Path, adapters: Path, *, highest: int, scale: float = 1.0
) -> Iterator[LocalLanguageModel]:
    """The base model of a folder with adapters that act so strongly."""
    module = with_adapters_of(load_base(base), adapters).eval()
    with adapter_scale(module, scale):
        opened = AdaptedModel.open("adapted", base, **_exactly(highest))
        yield replace(opened, module=module, follows_all_numbers=True)


def merged_model(folder: Path, *, highest: int) -> LocalLanguageModel:
    """The model of a folder, read without approximations."""
    opened = LocalLanguageModel.open("merged", folder, **_exactly(highest))
    return replace(opened, follows_all_numbers=True)


def medians(model: LocalLanguageModel, prompts: Sequence[Prompt]) -> Floats:
    """The median of what the model might write after each prompt, shape (prompts,)."""
    found = dict(model.read_prices(prompts))
    distributions = [found[at].distribution for at in range(len(prompts))]
    return np.array([math.nan if at is None else at.quantile(0.5) for at in distributions])


@dataclass(frozen=True)
class ServedModel:
    """llama.cpp's server, asked token by token for what the model on this machine is read for.

    Its interface has no price that is written in several tokens. ``tokenizer`` is the exported
    model's. Beginnings of numbers with a ``negligible`` part of their probability are taken for
    whole numbers.
    """

    url: str
    tokenizer: PromptTokenizer
    vocabulary: int
    highest: int
    negligible: float = 2e-4

    def medians(self, prompts: Sequence[Prompt]) -> Floats:
        """As :func:`medians`."""
        texts = [self.tokenizer.prompt_text(prompt) for prompt in prompts]
        return np.array([self._distribution(text).quantile(0.5) for text in texts])

    def tokenises_alike(self, prompt: Prompt) -> bool:
        """Whether the server cuts the prompt's text into the tokens that are read here."""
        text = self.tokenizer.prompt_text(prompt)
        body = {"content": text, "add_special": True, "parse_special": True}
        found = httpx2.post(f"{self.url.removesuffix('/v1')}/tokenize", json=body, timeout=60)
        tokens: list[int] = found.raise_for_status().json()["tokens"]
        return [tokens] == self.tokenizer.encode([text])

    def _distribution(self, text: str) -> PriceDistribution:
        (ids,) = self.tokenizer.encode([text])
        numbers = NumberTokens.after(text, self.highest, self.tokenizer.encode)
        trie, goes_on = NumberTrie.of(numbers.sequences), self._goes_on
        mass, found = np.zeros(len(trie.tokens)), np.zeros(self.highest + 1)
        paths = {-1: numbers.start(ids)}
        after = self._after(paths[-1])
        first = trie.level(0)
        mass[first] = [after.get(int(trie.tokens[node]), 0.0) for node in first]
        whole = mass[first].sum()
        for node in range(len(trie.tokens)):  # parents stand before their children
            number = int(trie.numbers[node])
            is_open = number < 0 or 10 * number < self.highest
            if not is_open or mass[node] < self.negligible * whole:
                found[number] += mass[node] if number >= 0 else 0.0
                continue
            parent = paths[int(trie.parents[node])]
            paths[node] = [*parent, int(trie.tokens[node])]
            after = self._after(paths[node])
            if number >= 0:
                longer = sum(share for token, share in after.items() if goes_on[token])
                found[number] += mass[node] * (1 - min(longer, 1.0))
            children, _ = trie.children(np.array([node]))
            mass[children] = [
                mass[node] * after.get(int(trie.tokens[child]), 0.0) for child in children
            ]
        return PriceDistribution(np.arange(self.highest + 1.0), found.astype(np.float32))

    def _after(self, ids: list[int]) -> dict[int, float]:
        """The likeliest next tokens with their probabilities."""
        body = {"prompt": ids, "max_tokens": 1, "temperature": 0, "logprobs": _LISTED}
        answer = httpx2.post(f"{self.url}/completions", json=body, timeout=60).raise_for_status()
        (choice,) = answer.json()["choices"]
        listed = choice["logprobs"]["content"][0]["top_logprobs"]
        return {at["id"]: math.exp(at["logprob"]) for at in listed if at["logprob"] is not None}

    @cached_property
    def _goes_on(self) -> npt.NDArray[np.bool_]:
        return self.tokenizer.number_goes_on(self.vocabulary)


def relative_differences(found: Floats, expected: Floats) -> Floats:
    """How far apart estimates are, as a share of what is expected."""
    apart: Floats = np.abs(found - expected) / expected
    return apart


def _exactly(highest: int) -> dict[str, Any]:
    return {
        "highest_price": highest,
        "precision": "float32",
        "device": "cpu",
        "least_share": 0.0,
        "batch_tokens": 2_048,
    }


def main(
    home: Path,
    items: Annotated[int, typer.Option(min=1)] = 100,
    technique: str = "language_finetuned",
    gguf_type: GgufType = "f16",
    threads: Annotated[int, typer.Option(min=1, help="Of llama.cpp.")] = 2,
) -> None:
    """Prints one row a way of asking."""
    settings = Settings(home=home)
    fitted = exported_checkpoint(settings, technique)
    warehouse, encoder = Warehouse.from_settings(settings), CachedEncoder.from_settings(settings)
    asked = first_test_items(warehouse, encoder, items)
    prompts, highest = fitted.prompts(asked), math.ceil(settings.price_maximum)
    base, scale = fitted.fitted.base, fitted.fitted.scale
    table = Table("estimates of", "read by", "items", "median difference", "largest difference")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for form in ("adapter", "merged", "gguf"):
            export_technique(settings, technique, root / form, form=form, gguf_type=gguf_type)
        exported = replace(fitted, fitted=read_adapter(root / "adapter", base))
        by_head = [at.price(asked)["estimate"].to_numpy() for at in (exported, fitted)]
        table.add_row("the price head", "the adapter's folder", *_told(*by_head))
        with adapted_model(base, fitted.fitted.adapters, highest=highest, scale=scale) as model:
            expected = medians(model, prompts)
        with adapted_model(base, root / "adapter", highest=highest) as model:
            found = medians(model, prompts)
        table.add_row("what is written", "the adapter's folder", *_told(found, expected))
        merged = merged_model(root / "merged", highest=highest)
        found = medians(merged, prompts)
        table.add_row("what is written", "the merged folder", *_told(found, expected))
        (gguf,) = (root / "gguf").glob("*.gguf")
        with llama_server(gguf, context=1_024, threads=threads) as url:
            configuration = json.loads((root / "merged" / "config.json").read_text())
            vocabulary = configuration["vocab_size"]
            served = ServedModel(url, merged.tokenizer, vocabulary, highest)
            found = served.medians(prompts)
            alike = sum(map(served.tokenises_alike, prompts))
        table.add_row("what is written", f"llama.cpp, {gguf_type}", *_told(found, expected))
    console = Console(width=120)
    console.print(table)
    console.print(f"llama.cpp cuts {alike} of {len(prompts)} prompts into the same tokens.")


def _told(found: Floats, expected: Floats) -> list[str]:
    apart = relative_differences(found, expected)
    return [f"{len(apart)}", f"{100 * np.median(apart):.4f} %", f"{100 * np.max(apart):.4f} %"]


if __name__ == "__main__":
    typer.run(main)
