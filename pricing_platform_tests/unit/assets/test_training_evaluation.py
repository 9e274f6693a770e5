"""The assets of training: what they measure of real techniques, and that it is measured once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.assets import training_evaluation
from pricing_platform.assets.training_evaluation import (
    _cost_headline,
    _costs,
    _costs_identity,
    _curve_headline,
    _measured_curve,
    _rates,
)
from pricing_platform.evaluation.costed_techniques import CostedInputs
from pricing_platform.evaluation.inference_cost import BREAK_EVEN, INFERENCE_COST
from pricing_platform.evaluation.learning_curve.curve import CURVE, FITS
from pricing_platform.evaluation.learning_curve.curve_techniques import CurveInputs
from pricing_platform.pricing.fitting import EvaluationSample, fit, predict
from pricing_platform.progress import silent
from pricing_platform_tests.unit.assets.given_inputs import GivenInputs, given_inputs

NOWHERE = "/nowhere/at/all"


@pytest.fixture
def inputs(tmp_path: Path) -> GivenInputs:
    """Without a language model; with a budget for the ridge alone."""
    found = given_inputs(tmp_path, base_model=NOWHERE, learning_curve_seconds=0.5, timed_items=2)
    found.given.frame.insert_column(0, found.given.frame["price"].alias("token_count").cast(int))
    stored = found.given.frame.select("item_id", "split", "price", "category", "title", "text")
    found.store.replace("curated.items", stored)
    return found


def curve_of(inputs: GivenInputs) -> CurveInputs:
    sample = EvaluationSample.from_settings(inputs.settings)
    return CurveInputs(inputs.store, inputs.fitting, sample, inputs.fine_tuning)


def test_the_curve_is_measured_within_the_budget_and_told(inputs: GivenInputs) -> None:
    checkpoint, _ = fit("tfidf_ridge", inputs.fitting, inputs.items)
    rows = predict("tfidf_ridge", checkpoint, inputs.items())
    inputs.store.replace("evaluation.predictions", rows, partition=("technique", "tfidf_ridge"))

    tables = _measured_curve(inputs, curve_of(inputs), silent)
    inputs.store.replace_all(tables)
    told = _curve_headline(inputs.store, inputs.settings)

    measured = tables[CURVE].filter(tables[CURVE]["left_out"].is_null())
    assert measured.select("technique", "size", "is_all").rows() == [
        ("tfidf_ridge", 250, False),
        ("tfidf_ridge", 320, True),
    ]
    assert set(tables[CURVE]["technique"]) == {
        "tfidf_ridge",
        "stack",
        "encoder_finetuned",
        "language_finetuned",
    }
    assert tables[FITS].height == 4
    assert told["summary"].startswith("a further 1,000 items bring tfidf_ridge ")
    assert told["left_out"] == tables[CURVE]["left_out"].count()
    assert "learning_curve" in told


def test_a_second_measurement_fits_nothing(
    inputs: GivenInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _measured_curve(inputs, curve_of(inputs), silent)
    monkeypatch.setattr(training_evaluation, "import_libraries", lambda: None)
    monkeypatch.setattr(
        "pricing_platform.pricing.tabular.tfidf_ridge.TfidfRidge.fit",
        lambda *_, **__: pytest.fail("fits"),
    )
    assert _measured_curve(inputs, curve_of(inputs), silent)[CURVE].equals(first[CURVE])


def test_costs_are_measured_and_told(inputs: GivenInputs) -> None:
    fit("stack", inputs.fitting, inputs.items)
    costed = CostedInputs(
        inputs.store, inputs.fitting, inputs.language, inputs.fine_tuning, Path, False
    )

    tables = _costs(inputs, costed, _rates(inputs.settings), silent)
    inputs.store.replace_all(tables)
    told = _cost_headline(inputs.store, inputs.settings)

    timed = tables[INFERENCE_COST].filter(source="timed")
    assert timed.select("technique", "batch_size").rows() == [("stack", 1), ("stack", 32)]
    assert tables[INFERENCE_COST]["left_out"].count() == 6
    assert tables[BREAK_EVEN].is_empty()
    assert told["summary"].startswith("ms an estimate: stack ")


def test_timings_are_those_of_a_processor_and_a_gpu(
    inputs: GivenInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    costed = CostedInputs(
        inputs.store, inputs.fitting, inputs.language, inputs.fine_tuning, Path, False
    )

    def identity() -> str:
        return _costs_identity(costed, _rates(inputs.settings), inputs.settings)

    here = identity()
    assert identity() == here
    machines = [("a processor",), ("a processor", "a GPU"), ("a processor", "another GPU")]
    found = set[str]()
    for named in machines:
        monkeypatch.setattr(training_evaluation, "machine", lambda named=named: named)
        found.add(identity())
    assert len(found | {here}) == 4
