"""Prompts that begin alike: what they share is computed once.

Here belongs how much prompts share and which of them share more than all do. Computing it belongs
to ``network``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

_GROUP_PROMPTS = 8
_GROUP_TOKENS = 64
"""Fewer prompts, or so little more than all share, are not worth a group of their own."""


def common_prefix(sequences: Sequence[list[int]]) -> int:
    """How many tokens all of them begin with alike."""
    first, last = min(sequences), max(sequences)
    for at, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return at
    return min(len(first), len(last))


def groups_by_beginning(prompts: Mapping[int, list[int]]) -> list[list[int]]:
    """Prompts in groups that share much more than all do, and the others together.

    Such are prompts with the same shots, where those of another time have other prices.

    Args:
        prompts: token ids by whatever the groups are to name them by; at least one.
    """
    order = sorted(prompts, key=lambda name: prompts[name])
    shared = [common_prefix([prompts[one], prompts[other]]) for one, other in pairwise(order)]
    groups, least = [[order[0]]], min(shared, default=0)
    for name, tokens in zip(order[1:], shared, strict=True):
        if tokens < least + _GROUP_TOKENS:
            groups.append([])
        groups[-1].append(name)
    large = [group for group in groups if len(group) >= _GROUP_PROMPTS]
    others = [name for group in groups if len(group) < _GROUP_PROMPTS for name in group]
    return [*large, others] if others else large
