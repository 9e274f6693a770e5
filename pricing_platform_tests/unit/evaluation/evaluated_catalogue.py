"""Small warehouses with items and predictions in them, for the tests of evaluation.

Here belongs how the tests fill tables. What the tables mean stands in ``sql/warehouse``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import ModelNotAskedError
from pricing_platform.evaluation.comparison import compare_techniques
from pricing_platform.evaluation.context_sweep import context_sweep, sweep_sample
from pricing_platform.evaluation.inference_cost import (
    BREAK_EVEN,
    INFERENCE_COST,
    CostedTechnique,
    Rates,
    break_even,
    inference_cost,
    timed_sample,
)
from pricing_platform.evaluation.injections import (
    injection_resistance,
    injection_sample,
    measure_injections,
)
from pricing_platform.evaluation.learning_curve.curve import learning_curve_rows
from pricing_platform.evaluation.learning_curve.plan import (
    CurveTechnique,
    PlannedPoint,
    PointCost,
)
from pricing_platform.evaluation.learning_curve.points import Point
from pricing_platform.evaluation.metrics import compute_technique_metrics
from pricing_platform.finetuning.style.measuring import REPLY_SCHEMA, STYLE_SCHEMA, VARIANTS
from pricing_platform.language.calls import CallLedger
from pricing_platform.language.endpoint.costs import TokenPrices
from pricing_platform.language.model import Completion, Prompt, Usage
from pricing_platform.progress import Progress, silent
from pricing_platform.resampling import Floats
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.finetuning.forgetting.measures import curve as forgetting_curve

OBSERVED = datetime(2026, 3, 1, tzinfo=UTC)
HOSTILE_TITLE = "<script>alert('x')</script> & \"kettle\""


def warehouse_of(
    folder: Path,
    prices: Sequence[float],
    estimates: Mapping[str, Sequence[float | None]],
    *,
    splits: Sequence[str] | None = None,
    **item_columns: Sequence[object],
) -> Warehouse:
    """Item k has price ``prices[k]`` and each technique's k-th estimate; a family of its own."""
    count = len(prices)
    columns: dict[str, Sequence[object]] = {
        "item_id": [f"item-{number:04d}" for number in range(count)],
        "source": ["harbour"] * count,
        "listing_id": [f"listing-{number}" for number in range(count)],
        "title": [f"Product {number}" for number in range(count)],
        "category": ["kettles"] * count,
        "price": prices,
        "currency": ["USD"] * count,
        "price_observed_at": [OBSERVED] * count,
        "family_id": [f"family-{number:04d}" for number in range(count)],
        "split": splits or ["test"] * count,
    }
    items = pl.DataFrame({**columns, **item_columns}, strict=False)
    warehouse = Warehouse(folder / "warehouse.duckdb")
    warehouse.replace("curated.items", items)
    for technique, values in estimates.items():
        store_predictions(warehouse, technique, items, values)
    return warehouse


def store_predictions(
    warehouse: Warehouse,
    technique: str,
    items: pl.DataFrame,
    estimates: Sequence[float | None],
    **columns: object,
) -> None:
    """Replaces a technique's predictions; items of train are left out."""
    rows = items.select("item_id", "split", "price").with_columns(
        pl.Series("estimate", estimates, dtype=pl.Float64),
        technique=pl.lit(technique),
        model=pl.lit(f"the model of {technique}"),
        **{
            name: value if isinstance(value, pl.Series) else pl.lit(value)
            for name, value in columns.items()
        },
    )
    rows = rows.filter(pl.col("split") != "train")
    warehouse.replace("evaluation.predictions", rows, partition=("technique", technique))


def ask_for_a_sample(
    warehouse: Warehouse, technique: str, item_ids: Sequence[str], *, split: str = "test"
) -> None:
    """The technique was asked about these items alone; what it said of others is forgotten."""
    rows = pl.DataFrame({"item_id": item_ids}).select(
        "item_id", technique=pl.lit(technique), split=pl.lit(split)
    )
    others = warehouse.frame(
        "SELECT technique, split, item_id FROM evaluation.asked_items"
        " WHERE technique = ? AND split <> ?",
        [technique, split],
    )
    asked = pl.concat([rows.select(others.columns), others])
    said = warehouse.frame("SELECT * FROM evaluation.predictions WHERE technique = ?", [technique])
    kept = said.filter((pl.col("split") != split) | pl.col("item_id").is_in(list(item_ids)))
    for table, frame in (("asked_items", asked), ("predictions", kept)):
        warehouse.replace(f"evaluation.{table}", frame, partition=("technique", technique))


def evaluate(warehouse: Warehouse, **training_seconds: float) -> pl.DataFrame:
    """Computes and stores the metrics, with fewer resamples than a user would take."""
    metrics = compute_technique_metrics(
        warehouse, seed=7, resamples=200, training_seconds=training_seconds
    )
    warehouse.replace("evaluation.technique_metrics", metrics)
    return metrics


def metric(
    metrics: pl.DataFrame,
    technique: str,
    name: str,
    *,
    split: str = "test",
    segment: str = "all",
    segment_value: str = "all",
) -> dict[str, float]:
    """The one row of a metric."""
    return metrics.row(
        by_predicate=(pl.col("technique") == technique)
        & (pl.col("metric") == name)
        & (pl.col("split") == split)
        & (pl.col("segment") == segment)
        & (pl.col("segment_value") == segment_value),
        named=True,
    )


def item_set(items: pl.DataFrame) -> ItemSet:
    """The items beside embeddings that nobody reads; the title is the text where there is none."""
    known = items.with_columns(text=pl.coalesce("text", "title"))
    return ItemSet(known, np.zeros((items.height, 384), np.float32))


@dataclass(frozen=True)
class ContextPricer:
    """Errs by ``price * spread / (1 + shown)``, and shows at most what fits the window."""

    count: int
    fits: int = 1000
    spread: float = 0.5
    failing: float = 0.0

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        progress("pricing", len(items), len(items))
        shown = min(self.count, self.fits)
        generator = np.random.default_rng(5)
        noise = generator.normal(0, 1, len(items)) * self.spread / (1 + shown)
        failed = generator.random(len(items)) < self.failing
        return answers_of(
            items,
            np.where(failed, np.nan, items.prices() * np.exp(noise)),
            tokens_in=100 + 50 * shown,
            tokens_cached=50 * shown,
            latency_ms=2.0 + shown,
            context_items=shown,
            context_cut=self.count - shown,
        )


@dataclass(frozen=True)
class ObedientPricer:
    """Answers 1 or 999 where the text says ``order``, and otherwise the length of the text."""

    order: str
    answer: float | None = 999.0

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        texts = items.frame["text"].to_list()
        estimates = [
            self.answer if self.order in text else 100.0 + len(text) / 100 for text in texts
        ]
        return answers_of(items, np.array(estimates, dtype=np.float64))


def answers_of(items: ItemSet, estimates: Floats, **columns: object) -> pl.DataFrame:
    """What a technique answers: null where the estimate is NaN."""
    of_all: dict[str, object] = {"tokens_in": 0, "tokens_cached": 0, "tokens_out": 0}
    of_all |= {"latency_ms": 1.0, "cost_usd": 0.0, "context_items": None, "context_cut": None}
    return (
        items.frame.select("item_id")
        .with_columns(pl.Series("estimate", estimates).fill_nan(None))
        .with_columns(**{name: pl.lit(value) for name, value in (of_all | columns).items()})
        .sample(fraction=1, shuffle=True, seed=1)
    )


def whole_catalogue(folder: Path) -> Warehouse:
    """600 items of two sources through all tables that a report reads: three techniques of known
    skill, a noise floor, failures, refused rows, a price leak and one hostile title."""
    generator = np.random.default_rng(3)
    count = 600
    families = np.sort(generator.integers(0, 400, count))
    prices = np.exp(generator.normal(3.8, 1.0, count)).clip(0.6, 999)
    splits = np.array(["train", "validation", "test"])[families % 3]
    worst = int(np.flatnonzero(splits == "test")[0])
    titles = [f"Product {number}" for number in range(count)]
    titles[worst] = HOSTILE_TITLE
    warehouse = warehouse_of(
        folder,
        prices.tolist(),
        {},
        splits=splits.tolist(),
        family_id=[f"family-{family:04d}" for family in families],
        source=generator.choice(["harbour", "orchard"], count).tolist(),
        category=generator.choice(["kettles", "lamps", "rugs"], count).tolist(),
        title=titles,
    )
    items = warehouse.frame("SELECT * FROM curated.items ORDER BY item_id")
    for technique, noise in {"stack": 0.3, "tfidf_ridge": 0.4, "noise_floor": 0.1}.items():
        estimates = prices * np.exp(generator.normal(0, noise, count))
        if technique == "stack":
            estimates[worst] = prices[worst] + 5000
        store_predictions(
            warehouse,
            technique,
            items,
            estimates.tolist(),
            low=pl.Series(estimates * np.exp(-1.28 * noise)),
            high=pl.Series(estimates * np.exp(1.28 * noise)),
            latency_ms=1.5,
            cost_usd=0.002,
            tokens_in=120,
            tokens_cached=80,
            tokens_out=3,
        )
    medians: list[float | None] = [float(np.median(prices))] * count
    medians[worst] = None
    store_predictions(warehouse, "category_median", items, medians, failure="no_such_category")
    _store_curation(warehouse, items)
    _store_language_models(warehouse, items)
    _store_style(warehouse)
    _store_training(warehouse, items)
    evaluate(warehouse, stack=12.0)
    comparison = compare_techniques(warehouse, seed=7, resamples=200, permutations=500)
    warehouse.replace("evaluation.technique_comparison", comparison)
    return warehouse


def _store_language_models(warehouse: Warehouse, items: pl.DataFrame) -> None:
    """Calls, a context sweep and planted injections: of pricers whose behaviour is known."""
    ledger = CallLedger("stack", "a tiny model")
    for number, item_id in enumerate(items.filter(split="test")["item_id"].head(20)):
        for step in ("attributes", "price"):
            used = Usage(100 + number, 60, 2, 5.0, 0.001, attempts=1, from_cache=number < 5)
            ledger.record(Prompt((), item_id=item_id, step=step), Completion(used))
    timed_out = Completion(Usage(attempts=3), outcome="timed_out", reason="No answer in 60 <s>.")
    ledger.record(Prompt((), item_id="item-9999"), timed_out)
    warehouse.replace("evaluation.llm_calls", ledger.frame())
    sweep = context_sweep(
        sweep_sample(item_set(items), 100, seed=1),
        lambda kind, count: ContextPricer(count, fits=10 if kind == "shots" else 1000),
        seed=7,
        resamples=100,
        permutations=200,
    )
    warehouse.replace("evaluation.context_sweep", sweep)
    chosen = injection_sample(item_set(items), 24, seed=1)
    shifts = measure_injections(ObedientPricer("999"), chosen, name="stack", seed=1)
    warehouse.replace("evaluation.injected_estimates", shifts)
    resistance = injection_resistance(shifts, seed=1, resamples=100)
    warehouse.replace("evaluation.injection_resistance", resistance)
    for table, rows in forgetting_curve().tables().items():
        warehouse.replace(table, rows)


def _store_style(warehouse: Warehouse) -> None:
    """A style that the fine-tuned model has more of than the base."""
    told = [
        ("base", "perplexity", 30.0),
        ("base", "house_share", 0.05),
        ("fine_tuned", "perplexity", 8.0),
        ("fine_tuned", "house_share", 0.9),
        ("house", "house_share", 0.95),
        ("house", "classifier_accuracy", 0.97),
    ]
    rows = [
        ("counter", variant, "a tiny model", metric, value, value * 0.9, value * 1.1, 20, 18)
        for variant, metric, value in told
    ]
    warehouse.replace("evaluation.style", pl.DataFrame(rows, schema=STYLE_SCHEMA, orient="row"))
    replies = [
        ("counter", "c1", variant, "Where is <my> parcel?", f"On the road, says {variant}.", 0.5)
        for variant in (*VARIANTS, "house")
    ]
    frame = pl.DataFrame(replies, schema=REPLY_SCHEMA, orient="row")
    warehouse.replace("evaluation.style_replies", frame)


def _store_training(warehouse: Warehouse, items: pl.DataFrame) -> None:
    """A learning curve on which stack overtakes tfidf_ridge, and what their estimates take."""
    every = item_set(items)
    test = every.split("test")
    techniques = [
        CurveTechnique(name, "1", None, PointCost(1.0, 0.0, 0.0), 1, None, test, "never fitted")
        for name in ("stack", "tfidf_ridge", "encoder_finetuned")
    ]
    points = [
        _curve_point(name, size, test, offset)
        for name, factor, exponent in (("stack", 400.0, 0.5), ("tfidf_ridge", 60.0, 0.1))
        for size in (50, 100, 200)
        for offset in (factor * size**-exponent,)
    ]
    plan = [PlannedPoint("stack", 150, 7, None, 99.0, "about 99 s, of 60 s 3 are left")]
    fallback = warehouse.frame("SELECT * FROM evaluation.fallback_estimates")
    warehouse.replace_all(
        learning_curve_rows(
            plan, techniques, points, every, fallback, seed=7, resamples=50, fitted_resamples=20
        )
    )
    costed = [
        CostedTechnique("stack", lambda: ContextPricer(0), training_seconds=12.0),
        CostedTechnique("rag", lambda: ContextPricer(5), asks=True),
        CostedTechnique("prompt_multi_shot", _not_there, asks=True),
    ]
    rates = Rates(TokenPrices(sent=2.0))
    costs = inference_cost(costed, timed_sample(test, 4, seed=1), single=4, rates=rates)
    paid = break_even(costs, costed)
    warehouse.replace_all({INFERENCE_COST: costs, BREAK_EVEN: paid})


def _curve_point(name: str, size: int, test: ItemSet, error: float) -> Point:
    """All of whose estimates are too high by the error."""
    estimates = dict(zip(test.frame["item_id"], (test.prices() + error).tolist(), strict=True))
    return Point(
        technique=name,
        model=name,
        size=size,
        is_all=size == 200,
        seed=7,
        token_budget=None,
        train_items=size,
        train_families=size,
        estimates=estimates,
        training_seconds=2.0,
        training_core_seconds=3.0,
        training_joules=40.0,
        resumed=False,
        inference_seconds=0.5,
    )


def _not_there() -> ContextPricer:
    raise ModelNotAskedError("The model <is> not there.")


def _store_curation(warehouse: Warehouse, items: pl.DataFrame) -> None:
    listings = items.select("item_id", "source", "listing_id", "title", "price", "currency")
    earlier = listings.with_columns(
        pl.col("price") * 2, snapshot=pl.lit("2026-02"), observed_at=OBSERVED - timedelta(days=28)
    )
    latest = listings.with_columns(snapshot=pl.lit("2026-03"), observed_at=pl.lit(OBSERVED))
    kept = pl.concat([earlier, latest]).with_row_index("row_number")
    warehouse.replace("curated.listings", kept)
    refused = pl.DataFrame(
        {
            "source": ["harbour", "harbour", "orchard"],
            "snapshot": ["2026-03"] * 3,
            "row_number": [9001, 9002, 9003],
            "rule": ["price_missing", "price_missing", "unreadable"],
            "detail": ["no price", "an empty price", "malformed JSON near <b>"],
        }
    )
    warehouse.replace("curated.rejected_listings", refused)
    rows = pl.concat([kept.select("source", "snapshot"), refused.select("source", "snapshot")])
    snapshots = rows.group_by("source", "snapshot").agg(pl.len().alias("row_count"))
    warehouse.replace("raw.snapshots", snapshots)
    warehouse.replace(
        "curated.price_leaks",
        pl.DataFrame(
            {
                "source": ["orchard"],
                "category": ["lamps"],
                "expression": ["price_per_watt * watts"],
                "attributes": [["price_per_watt"]],
                "row_count": [77],
                "share_explained": [0.987],
            }
        ),
    )
    warehouse.replace(
        "curated.item_families",
        items.select(
            "item_id",
            "family_id",
            "split",
            pl.len().over("family_id").alias("family_size"),
            pl.lit("minhash").alias("evidence"),
        ),
    )
