"""What one estimate takes: tokens, milliseconds, memory, USD; and when training pays.

Here belong timing techniques on a few test items, one by one and in batches, and the number of
estimates after which a fine-tuned model has earned its training. Which techniques these are, and
opening them so that nothing is answered from a cache, belongs to ``pricing``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from pricing_platform.catalog.item_samples import chosen_items
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import ModelNotAskedError
from pricing_platform.evaluation.pricer import PartOf, Pricer
from pricing_platform.language.endpoint.costs import TokenPrices
from pricing_platform.progress import Progress, silent
from pricing_platform.resource_use import (
    Meter,
    peak_device_memory_bytes,
    peak_memory_bytes,
    reset_peak_memory,
)

INFERENCE_COST_VERSION = "1"
INFERENCE_COST = "evaluation.inference_cost"
BREAK_EVEN = "evaluation.break_even"

BATCH = 32
COMPARED_WITH = ("prompt_multi_shot", "rag")
"""What a fine-tuned model is to pay against: those that show a context with every product."""

_COST_SCHEMA = pl.Schema(
    {
        "technique": pl.String,
        "batch_size": pl.Int64,
        "source": pl.String,
        "left_out": pl.String,
        "calls": pl.Int64,
        "items": pl.Int64,
        "failures": pl.Float64,
        "tokens_in": pl.Float64,
        "tokens_cached": pl.Float64,
        "tokens_out": pl.Float64,
        "ms_mean": pl.Float64,
        "ms_p50": pl.Float64,
        "ms_p95": pl.Float64,
        "core_ms": pl.Float64,
        "model_bytes": pl.Int64,
        "peak_memory_bytes": pl.Int64,
        "device_memory_bytes": pl.Int64,
        "usd_per_1000": pl.Float64,
        "usd_basis": pl.String,
    }
)
_BREAK_EVEN_SCHEMA = pl.Schema(
    {
        "technique": pl.String,
        "compared_with": pl.String,
        "batch_size": pl.Int64,
        "training_seconds": pl.Float64,
        "seconds_saved_per_1000": pl.Float64,
        "estimates": pl.Float64,
        "training_usd": pl.Float64,
        "usd_saved_per_1000": pl.Float64,
        "estimates_usd": pl.Float64,
    }
)


@dataclass(frozen=True, eq=False)
class CostedTechnique:
    """A technique whose estimates are costed.

    ``open`` gives it ready to compute, with no cache of answers before it. ``answers``, rows of its
    estimates, stand in for timing where an endpoint computes them. ``asks`` says that it prompts a
    language model, whose tokens have a price. ``model_bytes`` are those of its files, the base
    model's included. What training took is None where it is not known or nothing was trained.
    """

    name: str
    open: Callable[[], Pricer]
    asks: bool = False
    answers: pl.DataFrame | None = None
    model_bytes: int | None = None
    training_seconds: float | None = None
    training_core_seconds: float | None = None


@dataclass(frozen=True)
class Rates:
    """USD for tokens of a language model and for an hour of one core; 0 where it has no price."""

    tokens: TokenPrices
    core_hour: float = 0.0

    def usd_per_1000(
        self, technique: CostedTechnique, row: Mapping[str, float | None]
    ) -> tuple[float | None, Literal["tokens", "core_time"] | None]:
        """What a thousand estimates cost, and by what: tokens where they have a price."""
        if technique.asks and self.tokens != TokenPrices():
            read, cached, written = (
                row.get(name) or 0.0 for name in ("tokens_in", "tokens_cached", "tokens_out")
            )
            per_million = (
                (read - cached) * self.tokens.sent
                + cached * self.tokens.cached
                + written * self.tokens.written
            )
            return per_million / 1_000, "tokens"
        core_ms = row.get("core_ms")
        if self.core_hour > 0 and core_ms is not None:
            return core_ms / 3_600 * self.core_hour, "core_time"
        return None, None


def timed_sample(asked: ItemSet, single: int, *, seed: int) -> ItemSet:
    """The items that are timed: twice ``single`` at most, chosen by a seeded hash."""
    return chosen_items(asked, 2 * single, seed=seed)


def inference_cost(
    techniques: Sequence[CostedTechnique],
    items: ItemSet,
    *,
    single: int,
    rates: Rates,
    progress: Progress = silent,
) -> pl.DataFrame:
    """Rows for ``evaluation.inference_cost``: two a technique, one by one and in batches of 32.

    Each technique is opened, estimates one item that is not timed, and is then timed: on the first
    ``single`` items one by one, on all of them in batches. One whose model can't be asked has a row
    that says why.

    Args:
        techniques: in the order of the rows.
        items: see :func:`timed_sample`.
        single: how many items are estimated one by one.
        rates: what tokens and cores cost.
        progress: told while a technique estimates.
    """
    rows: list[dict[str, object]] = []
    for technique in techniques:
        told = PartOf(progress, technique.name)
        try:
            if technique.answers is not None:
                rows.append(_answered(technique, technique.answers, rates))
            else:
                rows += _timed(technique, items, single, rates, told)
        except ModelNotAskedError as error:
            rows.append({"technique": technique.name, "left_out": error.problem})
    return pl.DataFrame(rows, schema=_COST_SCHEMA)


def _timed(
    technique: CostedTechnique, items: ItemSet, single: int, rates: Rates, progress: Progress
) -> list[dict[str, object]]:
    reset_peak_memory()
    pricer = technique.open()
    pricer.price(items.take([len(items) - 1]))
    one_by_one = [[place] for place in range(min(single, len(items)))]
    batches = [
        list(range(start, min(start + BATCH, len(items)))) for start in range(0, len(items), BATCH)
    ]
    found: list[dict[str, object]] = []
    for size, calls in ((1, one_by_one), (BATCH, batches)):
        answers, milliseconds = [], []
        meter = Meter.start()
        for number, places in enumerate(calls, 1):
            asked = items.take(places)
            started = time.perf_counter()
            answers.append(pricer.price(asked))
            milliseconds.append(1000 * (time.perf_counter() - started) / len(places))
            progress(f"batches of {size}", number, len(calls))
        used = meter.used()
        every = pl.concat(answers)
        row: dict[str, float | None] = {
            **_tokens(every),
            "ms_mean": 1000 * used.seconds / len(every),
            "ms_p50": float(np.quantile(milliseconds, 0.5)),
            "ms_p95": float(np.quantile(milliseconds, 0.95)),
            "core_ms": 1000 * used.core_seconds / len(every),
        }
        usd, basis = rates.usd_per_1000(technique, row)
        found.append(
            {
                "technique": technique.name,
                "batch_size": size,
                "source": "timed",
                "calls": len(calls),
                "items": len(every),
                **row,
                "usd_per_1000": usd,
                "usd_basis": basis,
            }
        )
    memory = {
        "model_bytes": technique.model_bytes,
        "peak_memory_bytes": peak_memory_bytes(),
        "device_memory_bytes": peak_device_memory_bytes(),
    }
    return [row | memory for row in found]


def _answered(technique: CostedTechnique, answers: pl.DataFrame, rates: Rates) -> dict[str, object]:
    """Of an endpoint's answers: what they took when they were given."""
    latency = answers["latency_ms"].cast(pl.Float64)
    row = {
        **_tokens(answers),
        "ms_mean": _average(answers, "latency_ms"),
        "ms_p50": latency.quantile(0.5, "linear"),
        "ms_p95": latency.quantile(0.95, "linear"),
    }
    usd, basis = rates.usd_per_1000(technique, row)
    return {
        "technique": technique.name,
        "batch_size": 1,
        "source": "answered",
        "calls": len(answers),
        "items": len(answers),
        **row,
        "usd_per_1000": usd,
        "usd_basis": basis,
    }


def _tokens(answers: pl.DataFrame) -> dict[str, float | None]:
    return {
        "failures": _average(answers.select(failed=pl.col("estimate").is_null()), "failed"),
        **{name: _average(answers, name) for name in ("tokens_in", "tokens_cached", "tokens_out")},
    }


def _average(frame: pl.DataFrame, column: str) -> float | None:
    return frame.select(pl.col(column).cast(pl.Float64).mean()).item()  # type: ignore[no-any-return]


def break_even(
    costs: pl.DataFrame,
    techniques: Sequence[CostedTechnique],
    *,
    core_hour: float = 0.0,
    compared_with: Sequence[str] = COMPARED_WITH,
) -> pl.DataFrame:
    """Rows for ``evaluation.break_even``: after how many estimates training has paid.

    Args:
        costs: see :func:`inference_cost`.
        techniques: those with a time of training are compared.
        core_hour: USD for an hour of one core; 0 where it has no price.
        compared_with: whom they are compared with, at batches of the same size.
    """
    timed = costs.filter(source="timed")
    rows = []
    for technique in techniques:
        if technique.training_seconds is None:
            continue
        training_usd = None
        if core_hour > 0 and technique.training_core_seconds is not None:
            training_usd = technique.training_core_seconds / 3_600 * core_hour
        for own in timed.filter(technique=technique.name).iter_rows(named=True):
            others = costs.filter(
                pl.col("technique").is_in(compared_with), batch_size=own["batch_size"]
            )
            for other in others.iter_rows(named=True):
                seconds = _difference(other, own, "ms_mean") if other["source"] == "timed" else None
                usd = _difference(other, own, "usd_per_1000")
                rows.append(
                    {
                        "technique": technique.name,
                        "compared_with": other["technique"],
                        "batch_size": own["batch_size"],
                        "training_seconds": technique.training_seconds,
                        "seconds_saved_per_1000": seconds,
                        "estimates": _paid_after(technique.training_seconds, seconds),
                        "training_usd": training_usd,
                        "usd_saved_per_1000": usd,
                        "estimates_usd": _paid_after(training_usd, usd),
                    }
                )
    return pl.DataFrame(rows, schema=_BREAK_EVEN_SCHEMA)


def _difference(
    other: Mapping[str, float | None], own: Mapping[str, float | None], column: str
) -> float | None:
    before, after = other[column], own[column]
    return None if before is None or after is None else before - after


def _paid_after(training: float | None, saved_per_1000: float | None) -> float | None:
    """The number of estimates; None where nothing is saved, or it is not known."""
    if training is None or saved_per_1000 is None or saved_per_1000 <= 0:
        return None
    return float(math.ceil(1000 * training / saved_per_1000))
