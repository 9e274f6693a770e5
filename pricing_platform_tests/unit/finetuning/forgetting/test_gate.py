"""The gate: from numbers, and on a model that really forgets."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.finetuning.forgetting.comparison import Forgetting, Interval, compare
from pricing_platform.finetuning.forgetting.gate import Candidate, decide
from pricing_platform.finetuning.language.adapters import adapter_scale
from pricing_platform.language.local.network import Network
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.finetuning.forgetting import trained_models

LIMIT = 0.05
NAN, INF = float("nan"), float("inf")


def candidate(
    mitigation: str,
    scale: float,
    lost: float,
    gained: float,
    mae: float | None = None,
    *,
    width: float = 0.01,
) -> Candidate:
    def interval(value: float) -> Interval:
        return Interval(value, value - width, value + width)

    forgetting = Forgetting(
        interval(0.6), interval(20.0), interval(0.1), interval(lost), interval(gained)
    )
    return Candidate(mitigation, scale, forgetting, mae)


def test_what_forgets_little_passes_as_it_is() -> None:
    decision = decide(
        [candidate("none", 1.0, 0.02, 0.03), candidate("scaled", 0.5, 0.0, 0.0)], LIMIT
    )

    assert decision.passed
    assert decision.is_first_choice
    assert decision.is_certain
    assert decision.chosen is not None
    assert decision.chosen.adapter_scale == 1.0
    assert "loses 2.0% (1.0% to 3.0%) of the probe accuracy" in decision.reason
    assert "raises the perplexity by 3.0%" in decision.reason


@pytest.mark.parametrize(
    ("lost", "gained", "passes"),
    [
        (0.05, 0.05, True),
        (0.0501, 0.0, False),
        (0.0, 0.0501, False),
        (-0.3, -0.3, True),
        (NAN, 0.0, False),
        (0.0, NAN, False),
        (0.0, INF, False),
    ],
)
def test_both_shares_have_to_be_within_the_limit(lost: float, gained: float, passes: bool) -> None:
    assert decide([candidate("none", 1.0, lost, gained)], LIMIT).passed == passes


def test_the_largest_scale_within_the_limit_is_taken() -> None:
    decision = decide(
        [
            candidate("scaled", 0.25, 0.0, 0.01, 36.0),
            candidate("none", 1.0, 0.2, 0.5, 25.0),
            candidate("scaled", 0.75, 0.06, 0.2, 27.0),
            candidate("scaled", 0.5, 0.01, 0.02, 30.0),
            candidate("replay", 1.0, 0.0, 0.0, 24.0),
        ],
        LIMIT,
    )

    assert decision.chosen is not None
    assert (decision.chosen.mitigation, decision.chosen.adapter_scale) == ("scaled", 0.5)
    assert not decision.is_first_choice
    assert "over the limit of 5.0%; adapter scale 0.5" in decision.reason
    assert "Its price error is 30.00 against 25.00." in decision.reason


def test_where_no_scale_helps_the_best_pricing_mitigation_is_taken() -> None:
    given = [
        candidate("none", 1.0, 0.2, 0.5),
        candidate("scaled", 0.25, 0.1, 0.1),
        candidate("scaled", 0.0, 0.0, 0.0),
        candidate("replay", 1.0, 0.01, 0.02, 27.0),
        candidate("kl", 1.0, 0.02, 0.02, 26.0),
        candidate("replay", 1.0, 0.3, 0.02, 20.0),
        candidate("lower_rank", 1.0, 0.0, 0.0),
    ]

    decision = decide(given, LIMIT)

    assert decision.chosen is not None
    assert decision.chosen.mitigation == "kl"
    assert "; kl, adapter scale 1 " in decision.reason
    equal = [candidate("none", 1.0, 0.2, 0.5), candidate("kl", 1.0, 0.03, 0.0, 26.0),
             candidate("replay", 1.0, 0.01, 0.0, 26.0)]  # fmt: skip
    assert decide(equal, LIMIT).chosen is equal[2]


def test_where_everything_forgets_nothing_passes() -> None:
    decision = decide(
        [candidate("none", 1.0, 0.2, INF), candidate("scaled", 0.25, 0.1, 0.1),
         candidate("scaled", 0.0, 0.0, 0.0), candidate("replay", 1.0, NAN, 0.0, 5.0)],
        LIMIT,
    )  # fmt: skip

    assert not decision.passed
    assert decision.chosen is None
    assert not decision.is_first_choice
    assert "nothing is promoted" in decision.reason
    assert decision.metadata() == {
        "limit": LIMIT,
        "is_certain": True,
        "reason": decision.reason,
    }


@pytest.mark.parametrize(
    ("lost", "width", "is_certain"),
    [(0.04, 0.005, True), (0.04, 0.02, False), (0.06, 0.005, True), (0.06, 0.02, False)],
)
def test_the_reason_says_how_sure_it_is(lost: float, width: float, is_certain: bool) -> None:
    decision = decide([candidate("none", 1.0, lost, 0.0, width=width)], LIMIT)

    assert decision.passed == (lost < LIMIT)
    assert decision.is_certain == is_certain
    assert ("could decide otherwise" in decision.reason) != is_certain


def test_the_check_has_numbers_that_plot() -> None:
    metadata = decide([candidate("none", 1.0, -0.02, -0.01, 31.5)], LIMIT).metadata()

    assert metadata["accuracy_lost"] == -0.02
    assert metadata["adapter_scale"] == 1.0
    assert metadata["price_mae"] == 31.5
    assert metadata["mitigation"] == "none"
    reason = str(metadata["reason"])
    assert "gains 2.0% (1.0% to 3.0%) of the probe accuracy and lowers" in reason


def test_the_checkpoint_itself_is_needed() -> None:
    with pytest.raises(ValueError, match="without a mitigation"):
        decide([candidate("replay", 1.0, 0.0, 0.0)], LIMIT)


def candidates(base_folder: Path, learnt: list[str], *, steps: int, rate: float) -> list[Candidate]:
    """A LoRA adapter that was really trained, at all scales."""
    tokenizer = PromptTokenizer(base_folder)
    tests = trained_models.general_tests(tokenizer)
    base = tests.measure_base(trained_models.load(base_folder))
    adapted: Network = trained_models.with_adapter(
        trained_models.load(base_folder), tokenizer, learnt, steps=steps, rate=rate
    )
    found = []
    for scale in (0.25, 0.5, 0.75, 1.0):
        with adapter_scale(adapted.module, scale):
            measure = tests.measure(adapted, base)
        name = "none" if scale == 1 else "scaled"
        found.append(Candidate(name, scale, compare(base.measure, measure, seed=1)))
    return found


def test_a_model_that_was_made_to_forget_is_refused_and_scaled(base_folder: Path) -> None:
    limit = Settings().forgetting_limit

    made = candidates(base_folder, trained_models.nonsense(), steps=5, rate=2e-3)
    decision = decide(made, limit)

    assert limit == 0.05
    assert not made[-1].is_within(limit)
    assert decision.chosen is not None
    assert 0 < decision.chosen.adapter_scale < 1
    assert decision.chosen.forgetting.share <= limit
    larger = [at for at in made if at.adapter_scale > decision.chosen.adapter_scale]
    assert not any(at.is_within(limit) for at in larger)


def test_a_model_that_forgot_everything_is_refused_whatever_the_scale(base_folder: Path) -> None:
    made = candidates(base_folder, trained_models.nonsense(), steps=40, rate=1e-2)

    decision = decide(made, LIMIT)

    assert not decision.passed
    assert decision.is_certain


def test_an_adapter_that_harms_nothing_passes(base_folder: Path) -> None:
    made = candidates(base_folder, trained_models.known_texts(), steps=5, rate=2e-3)

    decision = decide(made, LIMIT)

    assert decision.is_first_choice
