from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pricing_platform.language.local import network, precision
from pricing_platform.language.local.network import (
    Batch,
    Network,
    default_precision,
    loaded_network,
    network_precision,
)
from pricing_platform.language.local.precision import (
    Precision,
    chosen_precision,
    fastest_precision,
    measure_precisions,
)
from pricing_platform_tests.unit.language.local.asked import opened, zero_shot


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        ({"float32": 100, "mixed": 300, "bfloat16": 320}, "mixed"),
        ({"float32": 100, "mixed": 300, "bfloat16": 331}, "bfloat16"),
        ({"float32": 400, "mixed": 300, "bfloat16": 310}, "float32"),
        ({"float32": 320, "mixed": 300, "bfloat16": 310}, "mixed"),
    ],
)
def test_mixed_is_chosen_unless_another_is_clearly_faster(
    speeds: dict[Precision, float], chosen: Precision
) -> None:
    assert chosen_precision(speeds) == chosen


def test_every_precision_is_measured(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "SMALL_MODEL", 0)
    asked: list[Precision] = []

    def load(wanted: Precision) -> tuple[Any, Any]:
        asked.append(wanted)
        found = loaded_network(folders["single_digits"], "", wanted, "none", "cpu")
        return found.module, lambda ids: found.logits(ids, ids.new_ones(ids.shape))

    measured = measure_precisions(load)
    assert asked == ["float32", "mixed", "bfloat16"]
    assert measured["chosen"] in asked
    speeds = [measured[name] for name in asked]
    assert all(isinstance(speed, int) and speed > 0 for speed in speeds)


def test_a_small_model_computes_in_float32(folders: dict[str, Path]) -> None:
    found = network_precision(folders["single_digits"], "small", "none", "cpu", None)
    assert found == "float32"


def test_it_is_measured_once_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "measure_precisions", lambda _: {"chosen": "bfloat16"})
    assert fastest_precision("content", _no_load, tmp_path) == "bfloat16"
    (path,) = tmp_path.glob("precision-*.json")
    assert json.loads(path.read_text()) == {"chosen": "bfloat16"}
    monkeypatch.setattr(precision, "measure_precisions", lambda _: {"chosen": "float32"})
    assert fastest_precision("content", _no_load, tmp_path) == "bfloat16"
    assert fastest_precision("other content", _no_load, tmp_path) == "float32"
    assert fastest_precision("content", _no_load, None) == "float32"


def test_a_processor_without_bfloat16_is_not_measured(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "fastest_precision", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr(precision, "processor", lambda: ("older CPU", frozenset({"avx2"})))
    assert network_precision(folders["unigram"], "", "none", "cpu", None) == "float32"
    monkeypatch.setattr(precision, "processor", lambda: ("CPU", frozenset({"avx512_bf16"})))
    assert default_precision("cpu") == "bfloat16"
    assert network_precision(folders["unigram"], "", "4bit", "cpu", None) == "bfloat16"


def test_the_identity_keeps_the_precision(folders: dict[str, Path]) -> None:
    measured = opened(folders["unigram"], precision=None)
    assert measured.precision == "float32"
    assert measured.identity == opened(folders["unigram"], precision="float32").identity
    assert measured.identity != opened(folders["unigram"], precision="mixed").identity


def test_mixed_rounds_linear_weights_alone(folders: dict[str, Path]) -> None:
    import torch

    folder = folders["single_digits"]
    mixed, exact = (
        loaded_network(folder, "", wanted, "none", "cpu").module for wanted in ("mixed", "float32")
    )
    linear = {name for name, at in mixed.named_modules() if isinstance(at, torch.nn.Linear)}
    formats = {name: at.dtype for name, at in mixed.named_parameters()}
    assert "lm_head" in linear
    for name, dtype in formats.items():
        is_linear = name.removesuffix(".weight") in linear
        assert dtype == (torch.bfloat16 if is_linear else torch.float32), name
    embedding, unchanged = mixed.get_input_embeddings(), exact.get_input_embeddings()
    assert torch.equal(embedding.weight, unchanged.weight)
    assert torch.equal(mixed.lm_head.weight, unchanged.weight.bfloat16())


@pytest.mark.parametrize("wanted", ["float32", "bfloat16", "mixed"])
def test_all_ways_through_a_network_agree(folders: dict[str, Path], wanted: Precision) -> None:
    import torch

    found = loaded_network(folders["single_digits"], "", wanted, "none", "cpu")
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    with torch.inference_mode():
        padded = found.logits(ids, mask)
        alone = found.logits(ids[:1, 2:], mask[:1, 2:])
        states = found.hidden_states(ids, mask)
        with found.arithmetic():
            read = found.module.get_output_embeddings()(states[-1])
    tolerance = 1e-5 if wanted == "float32" else 0.1
    assert torch.allclose(padded[:1, 2:], alone, atol=tolerance)
    assert torch.allclose(padded[1], read[1], atol=tolerance)
    assert len(states) == 1 + found.module.config.num_hidden_layers


def test_a_network_keeps_gradients_for_who_trains_it(folders: dict[str, Path]) -> None:
    import torch

    found: Network = network._loaded(folders["single_digits"], "mixed", "none", "cpu")
    norm = found.module.model.norm.weight
    found.logits(torch.tensor([[5, 6]]), torch.ones(1, 2)).float().logsumexp(-1).sum().backward()
    assert norm.grad is not None
    assert bool(norm.grad.abs().sum() > 0)


def _no_load(_: Precision) -> tuple[Any, Any]:
    raise AssertionError("weights were read")


def test_a_completion_computes_in_the_networks_precision(folders: dict[str, Path]) -> None:
    from pricing_platform.language.model import CompletionRequest

    request = CompletionRequest(max_tokens=3)
    for wanted in ("mixed", "bfloat16"):
        model = opened(folders["single_digits"], precision=wanted)
        ((_, answer),) = model.complete([zero_shot()], request)
        assert answer.usage.tokens_out == 3


def test_a_cache_holds_what_attention_reads(folders: dict[str, Path]) -> None:
    import torch

    for wanted, dtype in (("mixed", torch.bfloat16), ("float32", torch.float32)):
        found = loaded_network(folders["single_digits"], "", wanted, "none", "cpu")
        for cache in (prefix := found.prefix_cache([4, 5, 6]), found.expanded(prefix, 3)):
            for layer in cache.layers:
                assert (layer.keys.dtype, layer.values.dtype) == (dtype, dtype)


@pytest.mark.parametrize("prefix", [0, 2])
def test_branches_in_one_pass_are_those_of_a_pass_of_their_own(
    folders: dict[str, Path], prefix: int
) -> None:
    import torch

    found = loaded_network(folders["single_digits"], "", "float32", "none", "cpu")
    prompts = [[5, 6, 7, 8, 9], [5, 6, 12]]
    branches = torch.tensor([20, 21, 22])
    shared = found.prefix_cache(prompts[0][:prefix]) if prefix else None
    batch = Batch.of(prompts, prefix, 0, "cpu")
    with torch.inference_mode():
        together = found.first_branch_logits(batch, branches, found.expanded(shared, 2))
        for row, ids in enumerate(prompts):
            alone = found.module(input_ids=torch.tensor([ids])).logits[0, -1]
            assert torch.allclose(together[row, 0], alone, atol=1e-5)
            for place, branch in enumerate(branches.tolist(), 1):
                alone = found.module(input_ids=torch.tensor([[*ids, branch]])).logits[0, -1]
                assert torch.allclose(together[row, place], alone, atol=1e-5)
