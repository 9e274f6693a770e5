"""What is computed once: the same as in a whole forward pass, and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pricing_platform.finetuning.language.adapters import block_owner, load_base
from pricing_platform.finetuning.language.frozen_states import (
    compute_frozen_states,
    pooled_depths,
)
from pricing_platform.finetuning.language.upper_blocks import (
    lower_states,
    require_divisible,
    upper_blocks,
)
from pricing_platform_tests.unit.finetuning.language.tiny_base import priced_examples

FIRST = 4


def test_lower_and_upper_blocks_give_what_the_whole_model_gives(tiny_base: Path) -> None:
    import torch

    model = load_base(tiny_base)
    ids = torch.arange(3, 23).reshape(2, 10)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    with torch.inference_mode():
        whole = block_owner(model)(
            input_ids=ids, attention_mask=mask, use_cache=False
        ).last_hidden_state
        states = lower_states(model, ids, mask, [FIRST])[FIRST]
        parts = upper_blocks(model, FIRST)(
            inputs_embeds=states, attention_mask=mask, use_cache=False
        )
    found = parts.last_hidden_state
    torch.testing.assert_close(found[0], whole[0])
    torch.testing.assert_close(found[1, :7], whole[1, :7])
    assert model.config.num_hidden_layers == 6
    require_divisible(model, FIRST, 300)


def test_pooled_states_are_means_over_what_describes_the_product(
    tiny_base: Path, tmp_path: Path
) -> None:
    import torch

    model, examples = load_base(tiny_base), priced_examples(5).examples
    found = compute_frozen_states(
        model,
        examples,
        FIRST,
        identity="tiny",
        pooled_folder=tmp_path / "pooled",
        states_folder=tmp_path / "states",
    )
    depths = pooled_depths(FIRST)
    for row, example in enumerate(examples):
        ids = torch.tensor([example.ids])
        with torch.inference_mode():
            states = lower_states(model, ids, torch.ones_like(ids), depths)
        begin, end = example.span
        for place, depth in enumerate(depths):
            expected = states[depth][0, begin:end].mean(0).numpy()
            np.testing.assert_allclose(found.pooled[row, place], expected, atol=0.1)
        last = states[FIRST][0, example.start - 1].numpy()
        np.testing.assert_allclose(found.pooled[row, -1], last, atol=0.2)
        assert found.states is not None
        assert found.states[row].shape == (len(example.ids), 32)


def test_chunks_that_are_there_are_not_computed_again(tiny_base: Path, tmp_path: Path) -> None:

    model, examples = load_base(tiny_base), priced_examples(6).examples
    first = compute_frozen_states(model, examples, FIRST, identity="tiny", pooled_folder=tmp_path)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_ino  # its time is that of its last use
    again = compute_frozen_states(model, examples, FIRST, identity="tiny", pooled_folder=tmp_path)
    assert file.stat().st_ino == written
    np.testing.assert_array_equal(first.pooled, again.pooled)
    compute_frozen_states(model, examples, FIRST, identity="other", pooled_folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
