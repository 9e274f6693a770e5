"""How long work tells how far it is, without knowing who watches."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with a description, how much is done and how much there is."""


def silent(_description: str, _done: int, _total: int) -> None:
    """The progress of work that nobody watches."""
