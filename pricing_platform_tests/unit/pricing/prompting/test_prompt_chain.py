"""A chain of three steps: each answer is checked, what is of no use is left out and told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.language import prompts
from pricing_platform.language.model import Completion, CompletionRequest, Prompt
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.prompting.prompt_chain import (
    AttributesAnswer,
    ComparablesAnswer,
    PromptChain,
)
from pricing_platform_tests.unit.language.scripted_model import USAGE, Completing, ScriptedModel
from pricing_platform_tests.unit.pricing.language_parts import bound_to, first

USD = Currency("USD")
ATTRIBUTES = " Brand: Acme\n- Category: drive\nnonsense\n"
COMPARABLES = "- Acme 500: $40\n- Bolt 2: $1,250.00\nPrice range: $30 to $50\n"


def writing(**by_step: str) -> Completing:
    def complete(prompt: Prompt, _request: CompletionRequest) -> Completion:
        return Completion(USAGE, by_step[prompt.step])

    return complete


def chain(train: ItemSet, model: ScriptedModel) -> PromptChain:
    return PromptChain.prepared(train, seed=1, language=bound_to(model))


def test_each_step_reads_what_the_ones_before_wrote(train: ItemSet, test_items: ItemSet) -> None:
    model = ScriptedModel(complete=writing(attributes=ATTRIBUTES, comparables=COMPARABLES))
    technique = chain(train, model)
    answers = technique.price(first(test_items, 3))
    assert answers["estimate"].to_list() == [42.0] * 3
    talk = model.priced[0]
    assert [turn.content for turn in talk.messages[2:]] == [
        "Brand: Acme\nCategory: drive",
        prompts.COMPARABLES_CUE,
        "- Acme 500: $40\n- Bolt 2: $1250\nPrice range: $30 to $50",
        prompts.FINAL_PRICE_CUE,
    ]
    assert talk.answer_prefix == "Price: $"
    assert [request.max_tokens for request in model.requests] == [40, 48]
    assert prompts.COMPARABLES_CUE in model.requests[0].stop
    assert prompts.FINAL_PRICE_CUE in model.requests[1].stop
    rows = technique.context.ledger.frame()
    assert rows["step"].to_list() == ["attributes", "comparables", "price"] * 3
    assert rows["call"].to_list() == [1, 2, 3] * 3
    assert rows["outcome"].unique().to_list() == ["answered"]
    assert answers["tokens_in"].to_list() == [30] * 3


def test_its_conversation_holds_all_that_was_said(train: ItemSet, test_items: ItemSet) -> None:
    model = ScriptedModel(complete=writing(attributes=ATTRIBUTES, comparables=COMPARABLES))
    technique = chain(train, model)
    (said,) = technique.conversations(first(test_items, 1))
    assert said.prompt == model.priced[0]
    assert "- Acme 500: $40" in said.prompt.as_text()
    assert technique.context.ledger.frame().is_empty()


def test_a_step_of_no_use_is_left_out_and_the_ledger_says_why(
    train: ItemSet, test_items: ItemSet
) -> None:
    down = "Price range: $50 to $30"
    model = ScriptedModel(complete=writing(attributes="well", comparables=down))
    technique = chain(train, model)
    answers = technique.price(first(test_items, 1))
    assert answers["estimate"].to_list() == [42.0]
    contents = [turn.content for turn in model.priced[0].messages]
    assert contents[2] == contents[4] == "none"
    rows = technique.context.ledger.frame()
    assert rows["outcome"].to_list() == ["unusable", "unusable", "answered"]
    assert "name: value" in rows["reason"][0]
    assert "ends below where it starts" in rows["reason"][1]


def test_a_step_that_fails_does_not_end_the_chain(train: ItemSet, test_items: ItemSet) -> None:
    model = ScriptedModel(
        complete=lambda *_: Completion(USAGE, outcome="timed_out", reason="after 60 s")
    )
    technique = chain(train, model)
    assert technique.price(first(test_items, 2))["failure"].null_count() == 2
    outcomes = technique.context.ledger.frame()["outcome"].to_list()
    assert outcomes == ["timed_out", "timed_out", "answered"] * 2


def test_what_has_no_room_is_cut_from_the_earlier_answers(
    train: ItemSet, test_items: ItemSet
) -> None:
    many = "\n".join(f"name{n}: value" for n in range(12))
    wordy = "".join(f"- {'w ' * 40}: $40\n" for _ in range(3))
    complete = writing(attributes=many, comparables=wordy + COMPARABLES)
    roomy = ScriptedModel(complete=complete)
    item = first(test_items, 1)
    assert chain(train, roomy).price(item)["context_cut"].to_list() == [0]
    (whole,) = roomy.count_tokens(roomy.priced)
    model = ScriptedModel(complete=complete, context_window=whole + 16 - 5)
    answers = chain(train, model).price(item)
    assert answers["context_cut"][0] >= 3
    text = model.priced[0].as_text()
    assert model.count_tokens(model.priced)[0] <= whole - 5
    assert "Price range: $30 to $50" in text
    assert "name0: value" in text
    assert "name11: value" not in text
    assert item.frame["text"][0] in text


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (ATTRIBUTES, ["Brand: Acme", "Category: drive"]),
        ("**Brand**: Acme", ["Brand: Acme"]),
        ("1:2", ["1: 2"]),
        ("x" * 90 + ": " + "y" * 300, None),
        ("a: " + "y" * 300, ["a: " + "y" * 120]),
        ("", None),
        ("Brand Acme", None),
        ("Price: $107\nBrand: Acme", ["Brand: Acme"]),
        ("Price: $107", None),
        (": x\nBrand:", None),
    ],
)
def test_reads_attributes(text: str, lines: list[str] | None) -> None:
    if lines is None and len(text) < 100:
        with pytest.raises(ValidationError):
            AttributesAnswer.read(text)
    elif lines is not None:
        assert AttributesAnswer.read(text).lines() == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (COMPARABLES, ["- Acme 500: $40", "- Bolt 2: $1250", "Price range: $30 to $50"]),
        ("1. Acme 500 - $40", ["- Acme 500: $40"]),
        ("Price range: 30-50", ["Price range: $30 to $50"]),
        ("\n".join(f"- p{n}: ${n + 1}" for n in range(5)), [f"- p{n}: ${n + 1}" for n in range(3)]),
        ("- Acme: no idea\nPrice range: $30 to $50", ["Price range: $30 to $50"]),
        ("- Acme: $40\nPrice range: wide", ["- Acme: $40"]),
        ("", None),
        ("- Acme: €40", None),
        ("Price range: $50 to $30", None),
        ("- Acme: $0", None),
        ("- Price: $138", None),
    ],
)
def test_reads_comparables(text: str, lines: list[str] | None) -> None:
    if lines is None:
        with pytest.raises(ValidationError):
            ComparablesAnswer.read(text, USD)
    else:
        assert ComparablesAnswer.read(text, USD).lines(USD) == lines


_LINES = st.lists(
    st.one_of(
        st.text(max_size=30), st.sampled_from([*ATTRIBUTES.split("\n"), *COMPARABLES.split("\n")])
    )
).map("\n".join)


@given(_LINES)
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (AttributesAnswer.read, lambda at: ComparablesAnswer.read(at, USD)):
        try:
            found = read(text)
        except ValidationError:
            continue
        lines = found.lines(USD) if isinstance(found, ComparablesAnswer) else found.lines()  # type: ignore[attr-defined]
        assert 1 <= len(lines) <= 12
        assert all(len(line) < 200 for line in lines)
