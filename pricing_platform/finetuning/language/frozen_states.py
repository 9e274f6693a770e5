"""What the blocks below the adapters make of each text: computed once, kept on disk.

The blocks below the adapters never change in a training, so their part of every forward pass is
always the same. Here belong computing it in chunks that survive a kill, and reading it. What is
trained on it belongs to ``training``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pricing_platform.bounded_cache import mark_used
from pricing_platform.finetuning.language.token_examples import (
    Integers,
    TokenExample,
    examples_digest,
    lengths_of,
)
from pricing_platform.finetuning.language.upper_blocks import lower_states
from pricing_platform.finetuning.price_network import mixed_precision
from pricing_platform.language.local.length_batches import BATCH_TOKENS, length_sorted_batches
from pricing_platform.progress import Progress, silent
from pricing_platform.stores.warehouse import fingerprint, make_folder

if TYPE_CHECKING:
    import torch

Singles = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]

_CHUNK_TOKENS = 32_768
_BATCH_ITEMS = 64
_DEPTHS_APART = 3
_WIDTH_STEP = 16
_ARRAY = "states"


def pooled_depths(first: int) -> tuple[int, ...]:
    """Depths at which the mean of a text's states is kept: every third, the adapters' own last."""
    return tuple(sorted({*range(0, first, _DEPTHS_APART), first}))


@dataclass(frozen=True, eq=False)
class FrozenStates:
    """The states of many examples below the adapters.

    ``pooled``: float32 of shape (examples, depths + 1, hidden): the mean over each example's
    described tokens at every pooled depth, and last the state of the last token that is read, as it
    enters the adapted blocks. ``states``: of each example, float16 of shape (tokens, hidden);
    None where only the pooled ones were asked for.
    """

    pooled: Singles
    lengths: Integers
    states: list[Halves] | None

    def padded(self, rows: Integers, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """States and mask of some examples, padded on the right to the longest of them."""
        import torch

        assert self.states is not None  # noqa: S101
        width = padded_width(self.lengths[rows])
        found = np.zeros((len(rows), width, self.states[0].shape[1]), np.float32)
        for row, example in enumerate(rows):
            found[row, : self.lengths[example]] = self.states[example]
        mask = np.arange(width)[None, :] < self.lengths[rows][:, None]
        return (
            torch.from_numpy(found).to(device),
            torch.from_numpy(mask.astype(np.int64)).to(device),
        )


def padded_width(lengths: Integers) -> int:
    """The longest, rounded up: kernels and buffers are kept for every width that was ever seen."""
    return -(-int(lengths.max()) // _WIDTH_STEP) * _WIDTH_STEP


def padded_ids(examples: Sequence[TokenExample]) -> tuple[Integers, Integers]:
    """Ids, padded on the right, and the mask of those that are there; shape (examples, width)."""
    lengths = lengths_of(examples)
    ids = np.zeros((len(examples), padded_width(lengths)), np.int64)
    for row, example in enumerate(examples):
        ids[row, : lengths[row]] = example.ids
    mask = np.arange(ids.shape[1])[None, :] < lengths[:, None]
    return ids, mask.astype(np.int64)


def compute_frozen_states(
    model: Any,
    examples: Sequence[TokenExample],
    first: int,
    *,
    identity: str,
    pooled_folder: Path,
    states_folder: Path | None = None,
    progress: Progress = silent,
) -> FrozenStates:
    """The states of the examples; chunks that stand in the folders already are read from there.

    A chunk of pooled states is marked as used, so that ``bounded_cache`` can tell which are not.

    Args:
        model: a causal language model.
        examples: of which the states are wanted.
        first: the lowest block that is adapted.
        identity: of the model's weights and of how it computes.
        pooled_folder: where the pooled states are kept, which are small.
        states_folder: where those of single tokens are kept, a kilobyte a token, until the caller
            removes them; None where they are not wanted.
        progress: is told how far it is.
    """
    lengths = lengths_of(examples)
    order = np.argsort(lengths, kind="stable")
    depths = pooled_depths(first)
    hidden = model.get_input_embeddings().weight.shape[1]
    pooled = np.zeros((len(examples), len(depths) + 1, hidden), np.float32)
    states: list[Halves] = [np.empty((0, hidden), np.float16)] * len(examples)
    done = 0
    for chunk in _chunks(order, lengths):
        name = f"{_chunk_name(identity, first, examples, chunk)}.safetensors"
        files = [folder / name for folder in (pooled_folder, states_folder) if folder]
        if not all(file.exists() for file in files):
            _write_chunk(model, examples, chunk, depths, files)
        mark_used(files[0])
        pooled[chunk] = _read_array(files[0])
        if states_folder:
            tokens = _read_array(files[1])
            for at, end in zip(chunk, np.cumsum(lengths[chunk]), strict=True):
                states[at] = tokens[end - lengths[at] : end]
        done += len(chunk)
        progress("reading texts up to the adapters", done, len(examples))
    return FrozenStates(pooled, lengths, states if states_folder else None)


def _chunks(order: Integers, lengths: Integers) -> list[Integers]:
    """Examples of about one length together, so many tokens at a time."""
    bounds = np.flatnonzero(np.diff(np.cumsum(lengths[order]) // _CHUNK_TOKENS)) + 1
    return [at for at in np.split(order, bounds) if len(at)]


def _chunk_name(
    identity: str, first: int, examples: Sequence[TokenExample], chunk: Integers
) -> str:
    digest = examples_digest(examples[at] for at in chunk)
    return fingerprint(identity, first, digest)[:32]


def _write_chunk(
    model: Any,
    examples: Sequence[TokenExample],
    chunk: Integers,
    depths: Sequence[int],
    files: Sequence[Path],
) -> None:
    """Writes the chunk's pooled states and, where there is a second file, those of its tokens."""
    lengths = lengths_of(examples)
    pooled: list[Singles] = [np.empty(0, np.float32)] * len(chunk)
    states: list[Halves] = [np.empty(0, np.float16)] * len(chunk)
    place = {int(example): row for row, example in enumerate(chunk)}
    batches = length_sorted_batches(
        lengths,
        batch_tokens=BATCH_TOKENS[model.device.type],
        batch_items=_BATCH_ITEMS,
        order=chunk,
    )
    for rows in batches:
        for example, means, tokens in _batch_states(model, examples, rows, depths):
            pooled[place[example]], states[place[example]] = means, tokens
    arrays: list[npt.NDArray[Any]] = [np.stack(pooled), np.concatenate(states)]
    for file, array in zip(files, arrays, strict=False):
        _write_array(file, array)


def _write_array(file: Path, array: npt.NDArray[Any]) -> None:
    from safetensors.numpy import save_file

    make_folder(file.parent)
    partial = file.with_suffix(".partial")
    save_file({_ARRAY: array}, partial)
    partial.replace(file)


def _read_array(file: Path) -> npt.NDArray[Any]:
    from safetensors.numpy import load_file

    found: npt.NDArray[Any] = load_file(file)[_ARRAY]
    return found


def _batch_states(
    model: Any, examples: Sequence[TokenExample], rows: Integers, depths: Sequence[int]
) -> list[tuple[int, Singles, Halves]]:
    import torch

    device = model.device
    lengths = [len(examples[at].ids) for at in rows]
    ids, mask = padded_ids([examples[at] for at in rows])
    with torch.inference_mode(), mixed_precision(device):
        found = lower_states(
            model,
            torch.from_numpy(ids).to(device),
            torch.from_numpy(mask).to(device),
            depths,
        )
    entering = found[depths[-1]].float().cpu().numpy()
    result = []
    for row, at in enumerate(rows):
        begin, end = examples[at].span
        means = [found[d][row, begin:end].float().mean(0).cpu().numpy() for d in depths]
        means.append(entering[row, examples[at].start - 1])
        tokens = entering[row, : lengths[row]].astype(np.float16)
        result.append((int(at), np.stack(means), tokens))
    return result
