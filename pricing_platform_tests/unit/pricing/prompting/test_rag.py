"""Retrieval for a prompt: the most comparable items, none of the own family, no later price."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.pricing.prompting.language_technique import Choosing
from pricing_platform.pricing.prompting.rag import Rag, RagOptions
from pricing_platform.pricing.prompting.tool_use.pricing_tools import ItemView
from pricing_platform.pricing.prompting.tool_use.prompt_tools import PromptTools
from pricing_platform.progress import silent
from pricing_platform_tests.unit.language.scripted_model import ScriptedModel
from pricing_platform_tests.unit.pricing.language_parts import NOON, bound_to, first, observed

FACTS = [("corva", "ceo", "Ada Byron", "news", datetime.now(UTC) - timedelta(days=3), "fresh")]


def asked_for(technique: Rag, items: ItemSet) -> list[str]:
    return [at.prompt.as_text() for at in technique.prompts(items)]


@pytest.fixture(scope="module")
def old_train(train: ItemSet) -> ItemSet:
    return observed(train, 30)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_never_shows_a_twin_of_the_own_family_nor_a_later_price(
    weight: float, old_train: ItemSet, test_items: ItemSet
) -> None:
    asked = observed(first(test_items, 4))
    twins = asked.frame.with_columns(
        item_id=pl.lit("twin-") + pl.col("item_id"), price=pl.lit(987.0), split=pl.lit("train")
    )
    later = asked.frame.with_columns(
        item_id=pl.lit("later-") + pl.col("item_id"),
        family_id=pl.lit("another-") + pl.col("family_id"),
        price=pl.lit(876.0),
        price_observed_at=pl.lit(NOON + timedelta(days=1), pl.Datetime("us", "UTC")),
    )
    frame = pl.concat([old_train.frame, twins, later])
    vectors = np.concatenate([old_train.embeddings, asked.embeddings, asked.embeddings])
    # The most similar reference of all has an old price and one of tomorrow.
    history = [("later-" + asked.frame["item_id"][0], 765.0, NOON + timedelta(hours=1))]
    history += [("later-" + asked.frame["item_id"][0], 55.0, NOON - timedelta(days=9))]
    language = bound_to(ScriptedModel(), history=history)
    technique = Rag.prepared(ItemSet(frame, vectors), seed=1, language=language, count=20)
    technique = technique.with_options(replace(technique.options, word_weight=weight))
    texts = asked_for(technique, asked)
    for text in texts:
        assert text.count("<comparable") == 20
        assert "$987" not in text
        assert "$876" not in text
        assert "$765" not in text
    found = technique.comparables(asked)
    assert found[0][0].item_id == "later-" + asked.frame["item_id"][0]
    assert (found[0][0].price, found[0][0].age_days) == (55.0, 9)
    assert '<comparable age_days="9">' in texts[0]
    without_time = ItemSet(asked.frame.drop("price_observed_at"), asked.embeddings)
    assert "$876" in asked_for(technique, without_time)[0], "priced now, it is the newest price"


def test_an_early_item_gets_as_many_comparables_as_a_late_one(
    old_train: ItemSet, test_items: ItemSet
) -> None:
    """A hundred items that are nearer were observed only later."""
    asked = observed(first(test_items, 1))
    name = pl.int_range(100).cast(pl.String)
    nearer = pl.concat([asked.frame] * 100).with_columns(
        item_id=pl.lit("nearer-") + name,
        family_id=pl.lit("nearer-") + name,
        price_observed_at=pl.lit(NOON + timedelta(days=1), pl.Datetime("us", "UTC")),
    )
    vectors = np.concatenate([old_train.embeddings, np.repeat(asked.embeddings, 100, axis=0)])
    both = ItemSet(pl.concat([old_train.frame, nearer]), vectors)
    technique = Rag.prepared(both, seed=1, language=bound_to(ScriptedModel()), count=5)
    technique = technique.with_options(replace(technique.options, word_weight=0.0))
    (found,) = technique.comparables(asked)
    similar = old_train.embeddings.astype(np.float32) @ asked.embeddings[0].astype(np.float32)
    known = dict(zip(old_train.frame["item_id"], similar.tolist(), strict=True))
    assert sorted((known[at.item_id] for at in found), reverse=True) == pytest.approx(
        sorted(similar.tolist(), reverse=True)[:5], abs=1e-3
    )


def test_what_was_planted_is_found_where_it_may_be(old_train: ItemSet, test_items: ItemSet) -> None:
    """That the twin is found without its family shows that the test above looks for it."""
    asked = observed(first(test_items, 1))
    twin = asked.frame.with_columns(
        item_id=pl.lit("twin"), family_id=pl.lit("another"), price=pl.lit(987.0)
    )
    both = ItemSet(
        pl.concat([old_train.frame, twin]),
        np.concatenate([old_train.embeddings, asked.embeddings]),
    )
    technique = Rag.prepared(both, seed=1, language=bound_to(ScriptedModel()), count=3)
    assert technique.comparables(asked)[0][0].item_id == "twin"
    assert "$987" in asked_for(technique, asked)[0]


def test_shows_facts_about_the_brand_where_there_are_some(
    old_train: ItemSet, test_items: ItemSet
) -> None:
    technique = Rag.prepared(
        old_train, seed=1, language=bound_to(ScriptedModel(), facts=FACTS), count=2
    )
    brands = test_items.frame["brand"].to_list()
    for brand, text in zip(brands, asked_for(technique, observed(test_items)), strict=True):
        assert ("<facts>" in text) == (brand == "Corva")
        assert ("Ada Byron\n" in text) == (brand == "Corva"), "verified later: without an age"
    for brand, text in zip(brands, asked_for(technique, test_items), strict=True):
        assert ("Ada Byron (verified 3 days ago)" in text) == (brand == "Corva")


def test_neither_rag_nor_a_tool_tells_a_fact_that_did_not_hold_yet(
    old_train: ItemSet, test_items: ItemSet
) -> None:
    language = bound_to(ScriptedModel(), facts=FACTS)
    later = language.brand_facts.with_columns(
        valid_since=pl.lit(NOON + timedelta(hours=1), pl.Datetime("us", "UTC"))
    )
    language = replace(language, brand_facts=later)
    technique = Rag.prepared(old_train, seed=1, language=language, count=2)
    assert not any("<facts>" in text for text in asked_for(technique, observed(test_items)))
    tools = PromptTools.prepared(old_train, seed=1, language=language).tools
    for hours, told in ((0, False), (2, True)):
        moment = int((NOON + timedelta(hours=hours)).timestamp() * 1e6)
        view = ItemView(moment, np.empty(0, np.int64))
        said = tools.call("current_facts", '{"subject": "corva"}', view).lines
        assert ("Ada Byron" in said[0]) == told


def test_puts_the_nearest_where_it_is_told_to(old_train: ItemSet, test_items: ItemSet) -> None:
    asked = observed(first(test_items, 1))
    technique = Rag.prepared(old_train, seed=1, language=bound_to(ScriptedModel()), count=4)
    nearest = technique.comparables(asked)[0][0]
    for last in (True, False):
        (text,) = asked_for(technique.with_options(RagOptions(4, 0.3, last)), asked)
        shown = text.split("<comparable")[1:]
        assert nearest.text in shown[-1 if last else 0]


def test_cuts_facts_first_then_the_least_comparable(
    old_train: ItemSet, test_items: ItemSet
) -> None:
    corva = observed(
        test_items.where((test_items.frame["brand"] == "Corva").fill_null(value=False))
    )
    asked = first(corva, 1)
    whole = Rag.prepared(
        old_train, seed=1, language=bound_to(ScriptedModel(), facts=FACTS), count=4
    )
    (full,) = whole.prompts(asked)
    assert (full.shown, full.cut) == (4, 0)
    ranked = [at.text for at in whole.comparables(asked)[0]]
    for window in range(full.tokens + 16, 60, -5):
        small = whole.bound(bound_to(ScriptedModel(context_window=window), facts=FACTS))
        (found,) = small.prompts(asked)
        text = found.prompt.as_text()
        assert found.fits
        assert found.tokens <= window - 16
        assert found.shown + found.cut == (5 if "<facts>" not in text else 4)
        shown = re.findall(r"<comparable[^>]*>\n(.*?)\n</comparable>", text, re.DOTALL)
        assert shown == ranked[: found.shown][::-1]
        assert [at.text for at in small.shown_comparables(asked)[0]] == shown[::-1]
        assert asked.frame["text"][0] in text


def test_shows_none_where_none_is_wanted(old_train: ItemSet, test_items: ItemSet) -> None:
    technique = Rag.prepared(old_train, seed=1, language=bound_to(ScriptedModel()), count=0)
    (found,) = technique.prompts(observed(first(test_items, 1)))
    assert (found.shown, found.cut) == (0, 0)
    assert "<comparable" not in found.prompt.as_text()


def test_chooses_the_options_with_the_least_error(old_train: ItemSet, validation: ItemSet) -> None:
    """A model that repeats the first price does best where that is of a close comparable."""
    from pricing_platform.language.model import PriceAnswer, Prompt
    from pricing_platform_tests.unit.language.scripted_model import USAGE

    def first_price(prompt: Prompt) -> PriceAnswer:
        return PriceAnswer(USAGE, text=prompt.as_text().split("Price: $")[1].split("\n")[0])

    language = bound_to(ScriptedModel(first_price))
    fitted = Rag.fit(old_train, observed(validation), seed=1, language=language)
    tried = {name: value for name, value in fitted.metrics.items() if name.startswith("tried")}
    assert list(tried) == [f"tried_mae_{count}_comparables" for count in (3, 5, 8)]
    assert tried[f"tried_mae_{fitted.options.count}_comparables"] == min(tried.values())
    assert max(tried.values()) > 1.1 * min(tried.values())


def test_what_words_count_is_chosen_without_asking_a_model(
    old_train: ItemSet, validation: ItemSet
) -> None:
    """Embeddings that say nothing leave the choice to the words."""
    random = np.random.default_rng(1)
    blind = ItemSet(old_train.frame, random.normal(size=old_train.embeddings.shape))
    for train in (old_train, blind):
        model = ScriptedModel(prompt_forms=("chat",))
        technique = Rag.prepared(train, seed=1, language=bound_to(model))
        choosing = Choosing(validation, validation, 1.0, 1, silent)
        found, tried = technique.with_best_form(choosing)
        assert not model.priced
        assert tried[f"median_mae_{found.options.word_weight:g}_words"] == min(tried.values())
    assert found.options.word_weight > 0


def test_the_tools_see_neither_the_own_family_nor_a_later_price(
    old_train: ItemSet, test_items: ItemSet
) -> None:
    asked = observed(first(test_items, 1))
    code = asked.frame["title"][0].split()[1]
    twin = asked.frame.with_columns(item_id=pl.lit("twin"), price=pl.lit(987.0))
    later = asked.frame.with_columns(
        item_id=pl.lit("later"),
        family_id=pl.lit("another"),
        price=pl.lit(876.0),
        price_observed_at=pl.lit(NOON + timedelta(days=1), pl.Datetime("us", "UTC")),
    )
    both = ItemSet(
        pl.concat([old_train.frame, twin, later]),
        np.concatenate([old_train.embeddings, asked.embeddings, asked.embeddings]),
    )
    kind = asked.frame["category"][0]
    actions = [
        f' find_comparables {{"query": "{code}", "count": 5}}',
        f' find_comparables {{"query": "{asked.frame["title"][0]}", "count": 5}}',
        f' price_statistics {{"category": "{kind}"}}',
        " answer",
    ]
    from pricing_platform.language.model import Completion
    from pricing_platform_tests.unit.language.scripted_model import USAGE

    script = iter(actions)
    model = ScriptedModel(complete=lambda *_: Completion(USAGE, next(script)))
    technique = PromptTools.prepared(both, seed=1, language=bound_to(model))
    technique.price(asked)
    talk = model.priced[-1].as_text()
    assert "nothing found" in talk, "the code is the twins' alone"
    assert "median: $" in talk
    assert "$987" not in talk
    assert "$876" not in talk
