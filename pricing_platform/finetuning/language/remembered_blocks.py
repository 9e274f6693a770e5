"""What a model's lower blocks made of a sequence of calls, remembered for models that share them.

Models that are adapted in their upper blocks alone and asked the same things differ in those blocks
alone. Here belongs skipping the others. Running a part of a model by itself belongs to
``upper_blocks``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pricing_platform.finetuning.language.adapters import block_list, block_owner

if TYPE_CHECKING:
    import torch


@dataclass
class LowerBlockMemory:
    """Call by call, what entered the lowest of the blocks and what came out of the highest."""

    calls: list[tuple[str, torch.Tensor]] = field(default_factory=list)

    def found(self, call: int, digest: str) -> torch.Tensor | None:
        """What came out at a call, if the same went in; else all from there on is forgotten."""
        if call < len(self.calls) and self.calls[call][0] == digest:
            return self.calls[call][1]
        del self.calls[call:]
        return None


@contextmanager
def remembered_lower_blocks(model: Any, first: int, memory: LowerBlockMemory) -> Iterator[None]:
    """Skips the blocks below ``first`` at each call that was made before in this place.

    What a call gives may follow from the calls before it, by way of a cache of keys and values; so
    calls are known by their place, and by what goes in.

    Args:
        model: a causal language model whose blocks below ``first`` are as they were.
        first: the lowest block that is computed always.
        memory: of a model with the same lower blocks; it is read and filled.
    """
    owner, blocks = block_owner(model), block_list(model)
    name = next(name for name, child in owner.named_children() if child is blocks)
    try:
        setattr(owner, name, _with_memory(blocks, first, memory))
        yield
    finally:
        setattr(owner, name, blocks)


def _with_memory(blocks: Any, first: int, memory: LowerBlockMemory) -> torch.nn.ModuleList:
    import torch

    call, answer, digest = -1, None, ""

    class Remembered(torch.nn.Module):
        """A lower block; as many stand in the list as before, since masks go by their places."""

        def __init__(self, block: torch.nn.Module, place: int) -> None:
            super().__init__()
            self.block, self.place = block, place

        def forward(self, states: torch.Tensor, *args: Any, **more: Any) -> torch.Tensor:
            nonlocal call, answer, digest
            if self.place == 0:
                call += 1
                digest = sha256(states.float().cpu().numpy().tobytes()).hexdigest()
                answer = memory.found(call, digest)
            if answer is not None:
                return answer
            states = self.block(states, *args, **more)
            if self.place == first - 1:
                memory.calls.append((digest, states))
            return states

    lower = [Remembered(block, place) for place, block in enumerate(blocks[:first])]
    return torch.nn.ModuleList([*lower, *blocks[first:]])
