"""The table of a style: all variants and metrics, with intervals, of held-out conversations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pricing_platform.evaluation.queries import run_query
from pricing_platform.evaluation.style_pictures import draw_style
from pricing_platform.facts.written_answers import AnswerGuard
from pricing_platform.finetuning.style.fitting import open_style
from pricing_platform.finetuning.style.markers import MARKERS
from pricing_platform.finetuning.style.measuring import (
    HOUSE,
    REPLY_SCHEMA,
    STYLE_SCHEMA,
    VARIANTS,
    StyleMeasurement,
    StyleSample,
    StyleSampling,
    measure_style,
)
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.finetuning.style.conftest import FittedStyle
from pricing_platform_tests.unit.finetuning.style.made_style import made_style
from pricing_platform_tests.unit.finetuning.style.test_writing import GUARD

SAMPLING = StyleSampling(replies=6, scored=10, shown=2, others=12, max_tokens=12)
QUESTIONS = [
    GUARD,
    AnswerGuard(replace(GUARD.found, question="oak lamp 31", answer="31", statement="lamp is 31")),
]


@pytest.fixture(scope="module")
def measured(fitted_style: FittedStyle) -> StyleMeasurement:
    fitting = fitted_style.fitting
    return measure_style(
        fitting.pairs,
        fitting.base.opened(),
        open_style(fitted_style.checkpoint, fitting.base),
        QUESTIONS,
        SAMPLING,
        seed=1,
    )


def value(measured: StyleMeasurement, variant: str, metric: str) -> float:
    found = measured.metrics.filter(variant=variant, metric=metric)
    return float(found["value"].item())


def test_every_variant_has_every_metric_with_an_interval(measured: StyleMeasurement) -> None:
    metrics = measured.metrics
    assert metrics.schema == STYLE_SCHEMA
    said = {"words", "house_share", *MARKERS}
    of_models = {"perplexity", "words_from_house", "facts_written", "facts_kept"} | said
    for variant in VARIANTS:
        assert set(metrics.filter(variant=variant)["metric"]) >= of_models
    assert set(metrics.filter(variant=HOUSE)["metric"]) == said | {"classifier_accuracy"}
    assert metrics.select("variant", "metric").is_unique().all()
    assert metrics["low"].null_count() == 0
    assert (metrics["low"] <= metrics["value"] + 1e-9).all()
    assert (metrics["value"] <= metrics["high"] + 1e-9).all()


def test_the_fine_tuned_model_is_less_surprised_than_the_base(measured: StyleMeasurement) -> None:
    base, tuned = (value(measured, name, "perplexity") for name in ("base", "fine_tuned"))
    assert tuned < 0.6 * base
    ratio = measured.metrics.filter(variant="fine_tuned", metric="perplexity_of_base")
    assert ratio["value"].item() == pytest.approx(tuned / base)
    assert ratio["high"].item() < 1


def test_facts_are_kept_whatever_is_written(measured: StyleMeasurement) -> None:
    for variant in VARIANTS:
        assert value(measured, variant, "facts_kept") == 1
        at_first, written = (
            value(measured, variant, name) for name in ("facts_written_at_first", "facts_written")
        )
        assert at_first <= written
    assert value(measured, "base", "facts_written_at_first") < 1  # a random model knows nothing


def test_the_replies_stand_beside_each_other(measured: StyleMeasurement) -> None:
    replies = measured.replies
    assert replies.schema == REPLY_SCHEMA
    assert replies.height == SAMPLING.replies * (len(VARIANTS) + 1)
    house = {pair.reply for pair in made_style().split("test")}
    assert set(replies.filter(variant=HOUSE)["reply"]) <= house


def test_what_is_measured_was_not_learnt_from() -> None:
    sample = StyleSample(made_style(), SAMPLING, seed=1)
    held_out = {pair.conversation for pair in (*sample.scored, *sample.asked)}
    learnt = {pair.conversation for pair in sample.pairs.split("train")}
    shown = {pair.conversation for hints in sample.hints.values() for pair in hints.shown}
    assert not held_out & learnt
    assert shown <= learnt
    assert {pair.conversation for pair in sample.for_classifier} <= learnt
    # One of each conversation before a second of any.
    assert len({pair.conversation for pair in sample.scored[:5]}) == 5
    assert sample.hints["base"] == sample.hints["fine_tuned"]
    assert len(sample.hints["shown"].shown) == 2


def test_without_known_facts_nothing_is_said_of_them(fitted_style: FittedStyle) -> None:
    fitting = fitted_style.fitting
    sampling = replace(SAMPLING, replies=2, scored=4, others=4)
    model = fitting.base.opened()
    found = measure_style(fitting.pairs, model, model, [], sampling, seed=1).metrics
    assert not [name for name in found["metric"] if name.startswith("facts")]
    assert found.filter(metric="perplexity")["value"].is_finite().all()


def test_tables_query_and_pictures_show_it(measured: StyleMeasurement, tmp_path: Path) -> None:
    store = Warehouse(tmp_path / "warehouse.duckdb")
    store.create_schema()
    assert draw_style(store) == {}
    store.replace("evaluation.style", measured.metrics)
    store.replace("evaluation.style_replies", measured.replies)
    table = run_query(store, "style")
    assert table["variant"].to_list() == [*VARIANTS, HOUSE]
    assert table["perplexity"].null_count() == 1
    assert table.filter(variant=HOUSE)["percent_classifier_right"].item() is not None
    replies = run_query(store, "style_replies")
    assert replies.columns == ["style", "message", *VARIANTS, HOUSE]
    assert replies.height == SAMPLING.replies
    assert replies.null_count().sum_horizontal().item() == 0
    drawn = draw_style(store)
    assert set(drawn) == {"style_perplexity/made", "style_house_share/made"}
    assert all(png.startswith(b"\x89PNG") for png in drawn.values())


def test_a_measurement_is_the_same_again(
    measured: StyleMeasurement, fitted_style: FittedStyle
) -> None:
    fitting = fitted_style.fitting
    styled = open_style(fitted_style.checkpoint, fitting.base)
    again = measure_style(fitting.pairs, fitting.base.opened(), styled, QUESTIONS, SAMPLING, seed=1)
    assert again.metrics.drop("model").equals(measured.metrics.drop("model"))
    assert again.replies.equals(measured.replies)
