"""Lower blocks that are skipped: the same answers, and nothing of another model's or question's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pricing_platform.finetuning.language.adapters import block_list, load_base
from pricing_platform.finetuning.language.remembered_blocks import (
    LowerBlockMemory,
    remembered_lower_blocks,
)
from pricing_platform_tests.unit.finetuning.language.tiny_base import write_tiny_base

FIRST = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("base"))


def answers(model: Any, start: int = 20) -> list[Any]:
    """Logits of a prompt, and of what follows it by way of the cache."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache()
    with torch.inference_mode():
        first = model(torch.arange(start, start + 9)[None], past_key_values=cache, use_cache=True)
        seen = torch.ones((1, 1, 3, 12), dtype=torch.bool).tril(9)
        more = model(
            torch.arange(40, 43)[None],
            past_key_values=cache,
            use_cache=True,
            attention_mask=seen,
            position_ids=torch.arange(9, 12)[None],
        )
    return [first.logits, more.logits]


def changed_above(folder: Path) -> Any:
    import torch

    model = load_base(folder)
    with torch.no_grad():
        for block in block_list(model)[FIRST:]:
            block.mlp.up_proj.weight.mul_(1.5)
    return model


def test_another_model_with_the_same_lower_blocks_answers_as_by_itself(folder: Path) -> None:
    import torch

    base, other, memory = load_base(folder), changed_above(folder), LowerBlockMemory()
    with remembered_lower_blocks(base, FIRST, memory):
        for found, expected in zip(answers(base), answers(load_base(folder)), strict=True):
            torch.testing.assert_close(found, expected)
    expected = answers(other)
    for block in block_list(other)[:FIRST]:
        block.forward = None  # whoever computed it would fail
    with remembered_lower_blocks(other, FIRST, memory):
        found = answers(other)
    for mine, alone in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, alone)
    assert len(memory.calls) == 2


def test_another_question_in_the_same_place_is_computed(folder: Path) -> None:
    import torch

    base, memory = load_base(folder), LowerBlockMemory()
    with remembered_lower_blocks(base, FIRST, memory):
        answers(base)
    with remembered_lower_blocks(base, FIRST, memory):
        found = answers(base, start=25)
    for mine, alone in zip(found, answers(base, start=25), strict=True):
        torch.testing.assert_close(mine, alone)


def test_the_model_is_as_it_was_also_after_an_error(folder: Path) -> None:
    model = load_base(folder)
    blocks = block_list(model)
    memory = LowerBlockMemory()
    with remembered_lower_blocks(model, FIRST, memory):
        assert block_list(model) is not blocks
        with pytest.raises(TypeError):
            model("no ids")
    assert block_list(model) is blocks
    assert len(blocks) == 6
