"""What a training at an endpoint follows from, and what it may take."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pricing_platform.settings import Settings


@dataclass(frozen=True)
class HostedTraining:
    """A training at an endpoint; two of equal representation make the same model of the same items.

    ``items`` is how many train items are shown at most. ``usd_per_million`` is the price of a
    million trained tokens, None where nobody told it; ``wait_seconds`` how long one run follows the
    job, looking again after ``first_look_seconds`` and ever more rarely. ``folder`` keeps what was
    sent and what the endpoint calls it.
    """

    base_model: str
    epochs: int
    items: int
    folder: Path = field(repr=False, compare=False)
    usd_per_million: float | None = field(default=None, repr=False, compare=False)
    wait_seconds: float = field(default=3600.0, repr=False, compare=False)
    first_look_seconds: float = field(default=2.0, repr=False, compare=False)
    longest_look_seconds: float = field(default=60.0, repr=False, compare=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """The configured one; None where none is asked for."""
        base_model = settings.llm_fine_tuning_model or settings.llm_model
        if not settings.llm_fine_tuning or base_model is None:
            return None
        return cls(
            base_model,
            settings.llm_fine_tuning_epochs,
            settings.llm_fine_tuning_items,
            settings.home_folder / "fine_tuning",
            settings.llm_usd_per_million_training,
            settings.llm_fine_tuning_wait_seconds,
        )

    def cost_usd(self, tokens: int) -> float:
        """What training on so many tokens costs, all epochs together; 0 where no price is told."""
        return tokens * (self.usd_per_million or 0.0) / 1_000_000
