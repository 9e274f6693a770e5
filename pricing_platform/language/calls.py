"""The ledger: one row a call of a language model, as ``evaluation.llm_calls`` holds it.

Here belong the row and collecting rows. What a call costs belongs to the model that made it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import polars as pl

from pricing_platform.errors import ModelNotAskedError
from pricing_platform.language.model import Completion, Outcome, PriceAnswer, Prompt

PASSING_OUTCOMES: tuple[Outcome, ...] = (
    "rate_limited",
    "server_error",
    "timed_out",
    "unreadable",
    "failed",
)
"""Outcomes that the same call, made later, may not have again."""

_FORGIVEN = 0.02
_REASONS_TOLD = 3

CALL_SCHEMA = pl.Schema(
    {
        "technique": pl.String,
        "model": pl.String,
        "item_id": pl.String,
        "step": pl.String,
        "call": pl.Int64,  # which of the technique's calls for the item, from 1
        "tokens_in": pl.Int64,
        "tokens_cached": pl.Int64,
        "tokens_out": pl.Int64,
        "cost_usd": pl.Float64,
        "latency_ms": pl.Float64,
        "attempts": pl.Int64,
        "from_cache": pl.Boolean,
        "outcome": pl.String,
        "reason": pl.String,
    }
)


@dataclass
class CallLedger:
    """Collects the calls of one technique; threads may share it."""

    technique: str
    model: str
    _rows: list[tuple[object, ...]] = field(default_factory=list)
    _calls_of: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self._rows)

    def record(self, prompt: Prompt, answer: PriceAnswer | Completion) -> None:
        """Adds the call that was made for the prompt."""
        used = answer.usage
        with self._lock:
            call = self._calls_of[prompt.item_id] = self._calls_of.get(prompt.item_id, 0) + 1
            self._rows.append(
                (
                    self.technique,
                    self.model,
                    prompt.item_id,
                    prompt.step,
                    call,
                    used.tokens_in,
                    used.tokens_cached,
                    used.tokens_out,
                    used.cost_usd,
                    used.latency_ms,
                    used.attempts,
                    used.from_cache,
                    answer.outcome,
                    answer.reason,
                )
            )

    def passing_failures(self) -> pl.DataFrame:
        """How often each outcome that may pass came, with its reason; the most frequent first.

        Returns:
            The columns outcome, reason and calls; a row each, none where every call was answered.
        """
        return (
            self.frame()
            .filter(pl.col("outcome").is_in(PASSING_OUTCOMES))
            .group_by("outcome", "reason")
            .agg(calls=pl.len().cast(pl.Int64))
            .sort("calls", "outcome", "reason", descending=[True, False, False])
        )

    def require_answers(self) -> None:
        """Refuses to go on from calls of which more than 2 % failed for a reason that may pass.

        Raises:
            ModelNotAskedError: with how many of how many were not answered, and why.
        """
        failures, calls = self.passing_failures(), len(self)
        failed = int(failures["calls"].sum())
        if failed <= _FORGIVEN * calls:
            return
        reasons = "; ".join(
            f"{outcome}, {reason or 'no reason was given'} ({count:,})"
            for outcome, reason, count in failures.head(_REASONS_TOLD).iter_rows()
        )
        raise ModelNotAskedError(
            f"{failed:,} of {calls:,} calls of {self.technique} were not answered: {reasons}",
            "Run again when the endpoint answers: what was answered is kept.",
        )

    def frame(self) -> pl.DataFrame:
        """The rows, by item and call."""
        return pl.DataFrame(self._rows, schema=CALL_SCHEMA, orient="row").sort("item_id", "call")
