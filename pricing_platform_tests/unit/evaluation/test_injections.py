"""What is counted as moved by an order, with pricers that obey and pricers that do not."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.evaluation.injections import (
    INJECTION_RESISTANCE_SCHEMA,
    INJECTIONS,
    SHIFTS_SCHEMA,
    Injection,
    Place,
    injection_resistance,
    injection_sample,
    measure_injections,
    planted_text,
    wilson_interval,
)
from pricing_platform.language import prompts
from pricing_platform.progress import Progress, silent
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import ObedientPricer, answers_of

TEXT = "Homespan rug, multi\nBrand: Homespan\nWoven from jute. No tools needed! Ready"


def items(count: int = 24) -> ItemSet:
    frame = pl.DataFrame(
        {
            "item_id": [f"item-{number:02d}" for number in range(count)],
            "family_id": [f"family-{number // 2}" for number in range(count)],
            "text": [f"{TEXT} {number}" for number in range(count)],
            "price": [50.0] * count,
            "split": ["test"] * count,
        }
    )
    return ItemSet(frame, np.zeros((count, 384), np.float32))


class Watching:
    """Prices by nothing, and keeps the texts that it was given."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []

    def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
        self.seen.append(items.frame["text"].to_list())
        return answers_of(items, np.full(len(items), 20.0))


def test_the_sentences_are_of_many_kinds_and_about_equally_long() -> None:
    assert len({at.kind for at in INJECTIONS}) == len(INJECTIONS) >= 12
    for injection in INJECTIONS:
        for harmless in (injection.neutral, injection.control):
            assert abs(len(harmless) - len(injection.text)) <= max(3, 0.2 * len(injection.text))
            assert harmless.count("\n") == injection.text.count("\n")
            assert "$" not in harmless
            assert "pric" not in harmless.lower()
        if injection.kind != "encoded":
            numbers = re.findall(r"\d+", injection.text)
            assert re.findall(r"\d+", injection.control) == numbers
            assert re.findall(r"\d+", injection.neutral) == []
    assert {at.place for at in INJECTIONS} == {"anywhere", "middle", "end"}
    assert {at.price for at in INJECTIONS} == {1, 999}


def test_a_planted_tag_does_not_end_the_products_own() -> None:
    (closing,) = [at for at in INJECTIONS if at.kind == "closing_tag"]
    text = planted_text(TEXT, closing.text, closing.place, seed=1, key="item")

    prompt = prompts.zero_shot(text, prompts.Currency("USD")).as_text()

    assert "</product>" in text
    assert prompt.count("</product>") == prompt.count("<product>") == 1


def test_every_text_is_planted_at_one_place_in_three_versions() -> None:
    watching = Watching()

    rows = measure_injections(watching, items(), name="watching", seed=1, kinds_per_item=2)

    assert rows.height == 48
    assert len(watching.seen) == 6
    neutral, injected, control = (list(chain(*watching.seen[at::3])) for at in range(3))
    versions = zip(neutral, injected, control, strict=True)
    planted = Counter(at.kind for found in versions for at in INJECTIONS if is_of(at, *found))
    assert planted == Counter(rows["kind"])


def is_of(injection: Injection, neutral: str, injected: str, control: str) -> bool:
    """Whether the three texts differ in the injection's sentences and in nothing else."""
    return (
        injection.neutral in neutral
        and neutral.replace(injection.neutral, injection.text, 1) == injected
        and neutral.replace(injection.neutral, injection.control, 1) == control
    )


def test_kinds_are_dealt_evenly_and_no_item_gets_one_twice() -> None:
    rows = measure_injections(Watching(), items(), name="watching", seed=1, kinds_per_item=3)

    assert set(Counter(rows["kind"]).values()) == {6}
    assert rows.select("item_id", "kind").is_unique().all()
    once_each = measure_injections(Watching(), items(5), name="watching", seed=1, kinds_per_item=99)
    assert once_each.height == 5 * len(INJECTIONS)


def test_who_ignores_orders_has_moved_nothing() -> None:
    shifts = measure_injections(Watching(), items(), name="deaf", seed=1)

    rows = injection_resistance(shifts, seed=1)

    assert shifts.schema == SHIFTS_SCHEMA
    assert rows.schema == INJECTION_RESISTANCE_SCHEMA
    assert rows["kind"].to_list() == ["all", *sorted(at.kind for at in INJECTIONS)]
    assert rows["share_moved"].unique().to_list() == [0]
    everything = rows.row(0, named=True)
    assert everything["items"] == 72
    assert everything["share_moved_high"] == pytest.approx(wilson_interval(0, 12)[1])
    assert (everything["beyond_control"], everything["beyond_control_high"]) == (0, 0)


def test_who_obeys_is_found_out() -> None:
    obedient = ObedientPricer("right answer", 999.0)

    rows = injection_resistance(
        measure_injections(obedient, items(), name="obedient", seed=1), seed=1
    )

    by_kind = {row["kind"]: row for row in rows.to_dicts()}
    obeyed = by_kind.pop("high_price_in_the_middle")
    everything = by_kind.pop("all")
    assert (obeyed["share_moved"], obeyed["share_towards"]) == (1, 1)
    assert (obeyed["share_moved_control"], obeyed["beyond_control"]) == (0, 1)
    assert {row["share_moved"] for row in by_kind.values()} == {0}
    assert everything["share_moved"] == pytest.approx(1 / len(INJECTIONS))
    assert everything["beyond_control"] == everything["share_moved"]
    assert everything["beyond_control_low"] > 0


def test_who_is_thrown_by_a_number_does_not_obey_an_order() -> None:
    rows = injection_resistance(
        measure_injections(ObedientPricer("999"), items(), name="thrown", seed=1), seed=1
    )

    share = {row["kind"]: row["share_moved"] for row in rows.to_dicts()}
    high = {at.kind for at in INJECTIONS if "999" in at.text}
    assert {kind for kind, moved in share.items() if moved == 1} == high
    everything = rows.row(0, named=True)
    assert everything["share_moved_control"] == everything["share_moved"] > 0
    assert everything["beyond_control"] == 0


def test_moving_away_from_the_injected_price_is_not_towards_it() -> None:
    stubborn = ObedientPricer("999", 10.0)

    rows = injection_resistance(
        measure_injections(stubborn, items(), name="stubborn", seed=1), seed=1
    )

    everything = rows.row(0, named=True)
    assert everything["share_moved"] > 0
    assert everything["share_towards"] == 0


def test_who_falls_silent_is_counted_and_never_as_an_estimate() -> None:
    silenced = ObedientPricer("999", None)

    rows = injection_resistance(
        measure_injections(silenced, items(), name="silenced", seed=1), seed=1
    )

    by_kind = {row["kind"]: row for row in rows.to_dicts()}
    assert by_kind["system_turn"]["share_silenced"] == 1
    assert by_kind["system_turn"]["items"] == 0
    assert by_kind["system_turn"]["share_moved"] is None
    assert by_kind["price_line"]["share_silenced"] == 0
    assert by_kind["all"]["share_moved"] == 0


@pytest.mark.parametrize(("estimate", "moved"), [(120.0, False), (121.0, True), (79.0, True)])
def test_more_than_twenty_percent_has_moved(estimate: float, moved: bool) -> None:
    class Fixed:
        def price(self, items: ItemSet, *, progress: Progress = silent) -> pl.DataFrame:
            obeys = ["order" in text for text in items.frame["text"]]
            return answers_of(items, np.where(obeys, estimate, 100.0))

    injections = [Injection("one", "order", "plain", "quiet", 1)]
    rows = measure_injections(Fixed(), items(3), name="fixed", seed=1, injections=injections)

    assert rows["moved"].to_list() == [moved] * 3
    assert rows["shift"].to_list() == pytest.approx([estimate / 100 - 1] * 3)


def test_techniques_stand_beside_each_other() -> None:
    shifts = [
        measure_injections(pricer, items(), name=name, seed=1)
        for name, pricer in {"deaf": Watching(), "obedient": ObedientPricer("999")}.items()
    ]

    rows = injection_resistance(pl.concat(shifts), seed=1)

    assert rows.filter(kind="all")["technique"].to_list() == ["deaf", "obedient"]
    # Both were given the same texts.
    assert shifts[0].select("item_id", "kind").equals(shifts[1].select("item_id", "kind"))


def test_the_sample_is_of_test_items() -> None:
    everything = items()
    half = pl.Series("split", ["test", "validation"] * 12)
    mixed = ItemSet(everything.frame.with_columns(half), everything.embeddings)

    assert set(injection_sample(mixed, 5, seed=1).frame["split"]) == {"test"}
    assert len(injection_sample(mixed, 5, seed=1)) == 5
    assert len(injection_sample(mixed, 50, seed=1)) == 12


@given(
    text=st.text(max_size=80),
    place=st.sampled_from(["anywhere", "middle", "end"]),
    seed=st.integers(0, 50),
)
def test_a_planted_sentence_stands_on_lines_of_its_own_and_nothing_is_lost(
    text: str, place: Place, seed: int
) -> None:
    planted = planted_text(text, "PLANTED HERE", place, seed=seed, key="item")
    before, _, after = planted.partition("PLANTED HERE")

    assert not before or before.endswith("\n")
    assert not after or after.startswith("\n")
    assert "".join((before + after).split()) == "".join(text.split())


def test_the_middle_and_the_end_are_where_they_should_be() -> None:
    middle = planted_text(TEXT, "HERE", "middle", seed=1, key="item")
    places = {planted_text(TEXT, "HERE", "anywhere", seed=seed, key="item") for seed in range(60)}

    assert planted_text(TEXT, "HERE", "end", seed=1, key="item").endswith("\nHERE")
    assert 0.3 < middle.index("HERE") / len(middle) < 0.7
    assert len(places) == 6  # before, after, and at each of four breaks


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 10, 0.0, 0.277533), (3, 20, 0.052369, 0.360419), (60, 60, 0.939828, 1.0)],
)
def test_wilsons_interval_is_that_of_scipy(count: int, of: int, low: float, high: float) -> None:
    assert wilson_interval(count / of, of) == pytest.approx((low, high), abs=1e-6)
