"""Probes and text against the same numbers by plain ``transformers``, one text at a time."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.forgetting import measuring
from pricing_platform.finetuning.forgetting.comparison import compare
from pricing_platform.finetuning.forgetting.configuration import ForgettingFiles
from pricing_platform.finetuning.forgetting.measuring import CHUNK_TOKENS, GeneralTests
from pricing_platform.finetuning.forgetting.probes import Probe
from pricing_platform.language.local.network import Network
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform_tests.unit.finetuning.forgetting import trained_models
from pricing_platform_tests.unit.language.local import model_folders

PROBES = [
    Probe(question="What holds?", choices=("steel oak", "oak", "oak router 12"), answer=1),
    Probe(question="Which one of all the lamps is it, then?", choices=("7", "71", "712"), answer=2),
    Probe(question="Café?", choices=("drill", "silver café"), answer=0),
    Probe(question="Pack of cordless cables", choices=("1", "2", "3", "4"), answer=3),
]
TEXT = " ".join(f"{word} {number}" for number in range(90) for word in model_folders.WORDS[:3])


def log_probabilities(network: Network, ids: list[int]) -> Any:
    import torch

    with torch.inference_mode():
        logits = network.module(input_ids=torch.tensor([ids])).logits[0].float()
    return logits.log_softmax(-1)


def plain_answer(network: Network, tokenizer: PromptTokenizer, probe: Probe) -> list[float]:
    """Log-likelihood per byte of each choice, read without batches, padding or a cache."""
    prompt = f"Question: {probe.question}\nAnswer:"
    whole = [tokenizer.encode([f"{prompt} {choice}"])[0] for choice in probe.choices]
    columns = zip(*whole, tokenizer.encode([prompt])[0], strict=False)
    shared = sum(1 for _ in itertools.takewhile(lambda ids: len(set(ids)) == 1, columns))
    shared = min(shared, *(len(ids) - 1 for ids in whole))
    return [
        float(
            sum(log_probabilities(network, ids)[at - 1, ids[at]] for at in range(shared, len(ids)))
        )
        / len(choice.encode())
        for ids, choice in zip(whole, probe.choices, strict=True)
    ]


@pytest.mark.parametrize("family", model_folders.FAMILIES)
def test_it_is_what_one_text_at_a_time_gives(tmp_path: Path, family: str) -> None:
    network = trained_models.load(model_folders.build(family, tmp_path))
    tokenizer = PromptTokenizer(tmp_path)
    tests = GeneralTests.of(PROBES, [TEXT], tokenizer)

    with measuring._evaluating(network):
        asked = measuring._scores(network, tests.choices, tests.pad_id)
    base = tests.measure_base(network)

    for probe, scores, correct in zip(PROBES, asked, base.measure.is_correct, strict=True):
        expected = plain_answer(network, tokenizer, probe)
        np.testing.assert_allclose(scores, expected, rtol=2e-3, atol=1e-4)
        assert correct == (int(np.argmax(expected)) == probe.answer)
    leading = len(tokenizer.leading_ids)
    assert sum(len(chunk) - leading for chunk in tests.chunks) <= len(tokenizer.encode([TEXT])[0])
    for chunk, nll, tokens in zip(tests.chunks, base.measure.nll, base.measure.tokens, strict=True):
        assert chunk[:leading] == tokenizer.leading_ids
        assert len(chunk) <= CHUNK_TOKENS
        found = log_probabilities(network, chunk)
        predicted = range(max(leading, 1), len(chunk))
        assert tokens == len(predicted)
        assert nll == pytest.approx(
            -float(sum(found[at - 1, chunk[at]] for at in predicted)), rel=1e-4
        )


def test_a_base_that_knows_is_far_above_chance(base_folder: Path) -> None:
    tests = trained_models.general_tests(PromptTokenizer(base_folder))

    measure = tests.measure_base(trained_models.load(base_folder)).measure

    assert measure.probe_accuracy >= 0.9
    assert measure.perplexity < 5
    assert measure.kl_divergence == 0


def test_an_untrained_adapter_forgets_nothing_and_training_goes_on(base_folder: Path) -> None:
    tokenizer = PromptTokenizer(base_folder)
    tests = trained_models.general_tests(tokenizer)
    base = tests.measure_base(trained_models.load(base_folder))
    adapted = trained_models.with_adapter(
        trained_models.load(base_folder), tokenizer, trained_models.nonsense(), steps=0, rate=0.1
    )
    adapted.module.train()

    measure = tests.measure(adapted, base)

    assert adapted.module.training
    np.testing.assert_array_equal(measure.is_correct, base.measure.is_correct)
    np.testing.assert_allclose(measure.nll, base.measure.nll, rtol=1e-5)
    assert measure.kl_divergence == pytest.approx(0, abs=1e-5)


def test_nonsense_is_seen_by_all_three_measures(base_folder: Path) -> None:
    tokenizer = PromptTokenizer(base_folder)
    tests = trained_models.general_tests(tokenizer)
    base = tests.measure_base(trained_models.load(base_folder))
    adapted = trained_models.with_adapter(
        trained_models.load(base_folder), tokenizer, trained_models.nonsense(), steps=30, rate=5e-3
    )

    forgotten = compare(base.measure, tests.measure(adapted, base), seed=1)

    assert forgotten.accuracy_lost.low is not None
    assert forgotten.accuracy_lost.low > 0.3
    assert forgotten.perplexity_gained.low is not None
    assert forgotten.perplexity_gained.low > 0.3
    assert forgotten.kl_divergence.low is not None
    assert forgotten.kl_divergence.low > 0.1


def test_the_divergence_is_the_whole_one_where_all_tokens_are_kept(
    base_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = PromptTokenizer(base_folder)
    tests = trained_models.general_tests(tokenizer)
    network = trained_models.load(base_folder)
    adapted = trained_models.with_adapter(
        trained_models.load(base_folder), tokenizer, trained_models.nonsense(), steps=3, rate=3e-3
    )

    bounded = tests.measure(adapted, tests.measure_base(network)).divergence
    defaults = measuring.BaseDistributions.of.__func__.__defaults__
    monkeypatch.setattr(
        measuring.BaseDistributions.of.__func__, "__defaults__", (network.vocabulary_size,)
    )
    whole = tests.measure(adapted, tests.measure_base(network)).divergence

    assert defaults == (128,)
    for chunk, found, lower in zip(tests.chunks, whole, bounded, strict=True):
        old, new = (log_probabilities(at, chunk)[:-1] for at in (network, adapted))
        expected = float((old.exp() * (old - new)).sum())
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)
        assert 0 < lower <= expected + 1e-3


def test_a_model_without_numbers_answers_nothing(base_folder: Path) -> None:
    tests = trained_models.general_tests(PromptTokenizer(base_folder))
    base = tests.measure_base(trained_models.load(base_folder))
    broken = trained_models.load(base_folder)
    import torch

    with torch.no_grad():
        broken.module.model.norm.weight.fill_(float("nan"))

    measure = tests.measure(broken, base)

    assert measure.probe_accuracy == 0
    assert measure.perplexity == float("inf")
    assert measure.kl_divergence == float("inf")


def test_less_is_taken_evenly_and_is_another_test(base_folder: Path) -> None:
    tokenizer = PromptTokenizer(base_folder)
    whole = GeneralTests.of(trained_models.probes(), [TEXT] * 4, tokenizer)
    less = GeneralTests.of(
        trained_models.probes(), [TEXT] * 4, tokenizer, probes_limit=6, text_tokens=256
    )

    assert [probe.question for probe in less.probes] == [
        probe.question for probe in whole.probes[::4]
    ]
    assert less.chunks == (whole.chunks[0], whole.chunks[len(whole.chunks) // 2])
    assert less.fingerprint != whole.fingerprint
    again = GeneralTests.of(trained_models.probes(), [TEXT] * 4, tokenizer)
    assert again.fingerprint == whole.fingerprint


def test_progress_reaches_the_end(base_folder: Path) -> None:
    tests = trained_models.general_tests(PromptTokenizer(base_folder))
    told: list[tuple[str, int, int]] = []

    tests.measure_base(trained_models.load(base_folder), progress=lambda *at: told.append(at))

    assert ("general probes", 24, 24) in told
    assert told[-1] == ("general text", len(tests.chunks), len(tests.chunks))


def test_too_little_to_ask_is_told(base_folder: Path, tmp_path: Path) -> None:
    tokenizer = PromptTokenizer(base_folder)

    with pytest.raises(PlatformError, match="no probe"):
        GeneralTests.of([], [TEXT], tokenizer)
    with pytest.raises(PlatformError, match="less than 16 tokens"):
        GeneralTests.of(PROBES, ["oak"], tokenizer)
    with pytest.raises(PlatformError, match="cannot be read"):
        GeneralTests.read(
            ForgettingFiles(probes=(tmp_path / "gone.jsonl",), text=(tmp_path / "gone.txt",)),
            tokenizer,
        )
