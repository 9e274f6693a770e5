"""The sweep and the injections with the techniques that they are made for, and a scripted model."""

from __future__ import annotations

import re
from statistics import mean

import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.evaluation.context_sweep import ContextKind, context_sweep, sweep_sample
from pricing_platform.evaluation.injections import (
    injection_resistance,
    injection_sample,
    measure_injections,
)
from pricing_platform.language.model import PriceAnswer, Prompt, Usage
from pricing_platform.pricing.prompting.language_technique import LanguageTechnique
from pricing_platform.pricing.prompting.prompt_multi_shot import PromptMultiShot
from pricing_platform.pricing.prompting.prompt_zero_shot import PromptZeroShot
from pricing_platform.pricing.prompting.rag import Rag
from pricing_platform_tests.unit.language.scripted_model import ScriptedModel
from pricing_platform_tests.unit.pricing.generated_items import generated_items
from pricing_platform_tests.unit.pricing.language_parts import bound_to, observed

PRICE = re.compile(r"Price: \$(\d+)")
TECHNIQUES: dict[ContextKind, type[LanguageTechnique]] = {
    "shots": PromptMultiShot,
    "comparables": Rag,
}


@pytest.fixture(scope="module")
def catalogue() -> ItemSet:
    return observed(generated_items())


def mean_of_what_is_shown(prompt: Prompt) -> PriceAnswer:
    """Believes the prices of its context, and guesses 30 without any."""
    text = prompt.as_text()
    shown = [int(price) for price in PRICE.findall(text)] or [30]
    tokens = len(text.split())
    return PriceAnswer(Usage(tokens, 0, 1, 0.1 * tokens, 1e-6 * tokens), text=f"{mean(shown):.0f}")


def obedient(prompt: Prompt) -> PriceAnswer:
    ordered = re.search(r"(?:answer|answer for this product is) (\d+)", prompt.messages[-1].content)
    return PriceAnswer(Usage(), text=ordered[1] if ordered else "50")


def test_shots_and_comparables_are_swept_until_the_window_is_full(catalogue: ItemSet) -> None:
    model = ScriptedModel(mean_of_what_is_shown, context_window=260)
    train = catalogue.split("train")

    rows = context_sweep(
        sweep_sample(catalogue, 40, seed=1),
        lambda kind, count: TECHNIQUES[kind].prepared(
            train, seed=1, language=bound_to(model), count=count
        ),
        seed=1,
        resamples=100,
        permutations=200,
    )

    for _, kind in rows.group_by("kind"):
        swept = kind.sort("count")
        assert swept["count"][-1] < 50
        assert swept["window_full"].to_list() == [False] * (swept.height - 1) + [True]
        assert swept["context_items"][:-1].to_list() == swept["count"][:-1].to_list()
        assert swept["tokens_in"].is_sorted()
        assert swept["tokens_in"][-1] <= 260
        assert swept["is_best"].sum() == swept["is_knee"].sum() == 1
        assert swept["failures"].sum() == 0
    zero = rows.filter(count=0)
    assert zero["mae"].n_unique() == 1  # nothing is shown in either
    best = dict(rows.filter("is_best").select("kind", "mae").iter_rows())
    assert best["comparables"] < 0.8 * best["shots"]
    assert best["comparables"] < 0.5 * zero["mae"][0]


def test_a_model_that_obeys_texts_is_found_out_through_the_prompts(catalogue: ItemSet) -> None:
    sample = injection_sample(catalogue, 40, seed=1)
    train = catalogue.split("train")
    shifts = [
        measure_injections(
            PromptZeroShot.prepared(train, seed=1, language=bound_to(ScriptedModel(script))),
            sample,
            name=name,
            seed=1,
        )
        for name, script in {"obedient": obedient, "deaf": mean_of_what_is_shown}.items()
    ]

    rows = injection_resistance(pl.concat(shifts), seed=1, resamples=100)

    share = {(row["technique"], row["kind"]): row["share_moved"] for row in rows.to_dicts()}
    assert share["obedient", "ignore_instructions"] == 1
    assert share["obedient", "closing_tag"] == 0
    beyond = rows.filter(technique="obedient", kind="all")["beyond_control_low"]
    assert beyond[0] > 0
    # The price lines that are planted are all that it reads, and it reads no order.
    assert share["deaf", "ignore_instructions"] == 0
    assert share["deaf", "price_line"] == 1
