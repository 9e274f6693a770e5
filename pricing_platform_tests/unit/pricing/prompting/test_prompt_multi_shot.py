"""Fixed shots: the same for every item, over all prices and categories, none of the own family."""

from __future__ import annotations

import itertools
from datetime import timedelta

import numpy as np
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.language.context_packing import FittedPrompt
from pricing_platform.language.model import PriceAnswer, Prompt
from pricing_platform.pricing.prompting.prompt_multi_shot import PromptMultiShot, choose_shots
from pricing_platform_tests.unit.language.scripted_model import USAGE, ScriptedModel
from pricing_platform_tests.unit.pricing.language_parts import NOON, bound_to, first, observed


@pytest.mark.parametrize("count", [0, 1, 3, 6, 50])
def test_shots_cover_prices_and_categories(train: ItemSet, count: int) -> None:
    shots = choose_shots(train, count, seed=1)
    assert len(shots) == len(set(shots.item_ids)) == count
    assert len(set(shots.families)) == count
    ordered = np.sort(train.prices())
    ranks = sorted(np.searchsorted(ordered, price) * count // len(train) for price in shots.prices)
    assert all(abs(rank - stratum) <= 2 for stratum, rank in enumerate(ranks))
    if count >= 6:
        assert set(shots.categories) == set(train.frame["category"])


def test_shots_follow_from_the_seed(train: ItemSet) -> None:
    ids = [choose_shots(train, 6, seed=seed).item_ids for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_every_beginning_of_the_shots_spreads_over_the_prices(train: ItemSet) -> None:
    shots = choose_shots(train, 12, seed=1)
    three = np.log(shots.prices[:3])
    whole = np.log(train.prices())
    assert np.ptp(three) > 0.5 * np.ptp(whole)


def test_there_are_no_more_shots_than_items(train: ItemSet) -> None:
    assert len(choose_shots(first(train, 4), 9, seed=1)) == 4


def test_all_prompts_begin_alike(train: ItemSet, test_items: ItemSet) -> None:
    technique = PromptMultiShot.prepared(train, seed=1, language=bound_to(ScriptedModel()), count=5)
    fitted = technique.prompts(test_items)
    assert {at.shown for at in fitted} == {5}
    texts = sorted(at.prompt.as_text() for at in fitted)
    alike = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(texts[0], texts[-1], strict=False)
    )
    shared = "".join(at for at, _ in alike)
    assert shared.count("Price: $") == 5
    turns = fitted[0].prompt.messages
    assert [at.role for at in turns] == ["system", *["user", "assistant"] * 5, "user"]


def test_a_shot_of_the_own_family_is_not_shown(train: ItemSet) -> None:
    technique = PromptMultiShot.prepared(train, seed=1, language=bound_to(ScriptedModel()), count=5)
    family = technique.shots.families[0]
    own = train.where(train.frame["family_id"] == family)
    for at in technique.prompts(own):
        assert at.shown == 4
        assert technique.shots.texts[0] not in at.prompt.as_text().split("<product>")[:-1]


def test_a_shot_has_the_price_that_was_known_when_the_item_was_observed(
    train: ItemSet, test_items: ItemSet
) -> None:
    """One shot is dearer since; another is not older than the item."""
    now = observed(train)
    shots = choose_shots(now, 3, seed=1)
    earlier = NOON - timedelta(days=40)
    history = [(shots.item_ids[0], 7.0, earlier), (shots.item_ids[2], 9.0, earlier)]
    language = bound_to(ScriptedModel(), history=history)
    technique = PromptMultiShot.prepared(now, seed=1, language=language, count=3)
    (then,) = technique.prompts(observed(first(test_items, 1), 30))
    assert told_prices(then) == ["Price: $7", "Price: $9"]
    assert shots.texts[1] not in then.prompt.as_text()
    (today,) = technique.prompts(observed(first(test_items, 1)))
    assert told_prices(today) == [f"Price: ${round(price)}" for price in shots.prices]


def told_prices(fitted: FittedPrompt) -> list[str]:
    return [at.content for at in fitted.prompt.messages if at.role == "assistant"]


def test_the_last_shots_are_cut_first(train: ItemSet, test_items: ItemSet) -> None:
    item = first(test_items, 1)
    technique = PromptMultiShot.prepared(
        train, seed=1, language=bound_to(ScriptedModel(context_window=110)), count=9
    )
    (found,) = technique.prompts(item)
    assert 0 < found.shown < 9
    assert found.shown + found.cut == 9
    kept = [f"{text}\n</product>" in found.prompt.as_text() for text in technique.shots.texts]
    assert kept == [n < found.shown for n in range(9)]


def test_chooses_the_number_of_shots_with_the_least_error(
    train: ItemSet, validation: ItemSet
) -> None:
    """A model that answers well with 12 shots alone."""

    def answer(prompt: Prompt) -> PriceAnswer:
        shots = sum(turn.role == "assistant" for turn in prompt.messages)
        return PriceAnswer(USAGE, text="40" if shots == 12 else "4000")

    language = bound_to(ScriptedModel(answer))
    fitted = PromptMultiShot.fit(train, validation, seed=1, language=language)
    assert len(fitted.shots) == 12
    assert fitted.settings["shots"] == 12
    assert fitted.metrics["tried_mae_3_shots"] > fitted.metrics["tried_mae_12_shots"]
