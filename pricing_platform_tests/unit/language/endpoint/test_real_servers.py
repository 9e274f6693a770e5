"""The client before servers that nobody here wrote: llama.cpp's and transformers'."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.llama_cpp import llama_server, prompts_as_tokens
from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.export.gguf_model import GgufDescription, write_gguf
from pricing_platform.language.price_distribution import PriceDistribution
from pricing_platform_tests.unit.language.endpoint.conftest import ModelAt
from pricing_platform_tests.unit.language.endpoint.faulty_proxy import FAULTS, FaultyProxy, at_first
from pricing_platform_tests.unit.language.endpoint.tiny_llama import (
    WINDOW,
    number_probabilities,
    product_prompts,
    write_tiny_llama,
)

COMPLETIONS: dict[str, Any] = {"api": "completions", "timeout_seconds": 20.0}
EVERY_TOKEN = 5_000


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_tiny_llama(folder)
    return folder


@pytest.fixture(scope="module")
def llama_url(tiny_llama: Path) -> Iterator[str]:
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gguf")
    path, described = tiny_llama / "model.gguf", GgufDescription("tiny")
    write_gguf(tiny_llama, path, described=described, kind="f32", pre_tokenizer="gpt-2")
    rewritten = prompts_as_tokens(tiny_llama)
    with (
        llama_server(path, context=WINDOW) as server,
        FaultyProxy(server, rewritten=rewritten).running() as url,
    ):
        yield url


@pytest.fixture(scope="module")
def transformers_url(tiny_llama: Path) -> Iterator[str]:
    pytest.importorskip("fastapi")
    from transformers.cli.serve import Serve

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    server = Serve(
        str(tiny_llama), host="127.0.0.1", port=port, device="cpu", dtype="float32",
        non_blocking=True,
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}/v1"
    server.kill_server()


def test_llama_cpp_gives_the_distribution_that_is_read_here(
    llama_url: str, tiny_llama: Path, model_at: ModelAt
) -> None:
    model = model_at(
        llama_url, **COMPLETIONS, top_logprobs=EVERY_TOKEN, tokenizer=tiny_llama, concurrency=1
    )
    prompts = product_prompts(6)
    counted = model.count_tokens(prompts)
    expected = number_probabilities(tiny_llama, [prompt.as_text() for prompt in prompts])
    for index, answer in model.read_prices(prompts):
        assert (answer.outcome, answer.usage.tokens_in) == ("answered", counted[index])
        assert answer.distribution is not None
        assert answer.distribution.prices.tolist() == list(range(1, 1001))
        local = PriceDistribution(answer.distribution.prices, expected[index])
        difference = answer.distribution.probabilities - local.probabilities
        assert np.abs(difference).max() < 1e-3
        assert answer.distribution.quantile(0.5) == pytest.approx(local.quantile(0.5), rel=0.02)


def test_llama_cpp_behind_faults_answers_all(llama_url: str, model_at: ModelAt) -> None:
    straight = dict(model_at(llama_url, **COMPLETIONS).read_prices(product_prompts(4)))
    proxy = FaultyProxy(llama_url, at_first(FAULTS["half a JSON"], 1))
    with proxy.running() as url:
        answers = dict(model_at(url, **COMPLETIONS).read_prices(product_prompts(4)))
    assert [answers[n].text for n in range(4)] == [straight[n].text for n in range(4)]
    assert {answer.usage.attempts for answer in answers.values()} == {2}


def test_a_prompt_that_llama_cpp_finds_too_long_is_told(llama_url: str, model_at: ModelAt) -> None:
    (long,) = product_prompts(1)
    longer = type(long)(long.messages * 20, long.answer_prefix)
    ((_, answer),) = model_at(llama_url, **COMPLETIONS).read_prices([longer])
    assert answer.outcome == "too_long"


def test_transformers_serve_writes_what_the_model_does(
    transformers_url: str, tiny_llama: Path, model_at: ModelAt
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    local = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()
    # It gives no log-probabilities, and says nothing where they are asked for.
    model = model_at(
        transformers_url, **COMPLETIONS, model=str(tiny_llama), top_logprobs=5, tokenizer=tiny_llama
    )
    prompts = product_prompts(3)
    for index, answer in model.read_prices(prompts):
        inputs = tokenizer(prompts[index].as_text(), return_tensors="pt")
        written = local.generate(**inputs, max_new_tokens=12, do_sample=False)
        text = tokenizer.decode(written[0, inputs["input_ids"].shape[1] :])
        assert answer.outcome == "answered"
        assert answer.distribution is None
        assert answer.text == text.removesuffix("</s>")
        assert int(answer.text) > 0
        assert answer.usage.tokens_in == inputs["input_ids"].shape[1]


def test_transformers_serve_has_no_other_model(transformers_url: str, model_at: ModelAt) -> None:
    with pytest.raises(PlatformError, match="PRICING_LLM_MODEL"):
        list(model_at(transformers_url, **COMPLETIONS).read_prices(product_prompts(1)))
