"""A reply in a style stands only when it says what is known now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pricing_platform.facts.answers import FoundAnswer
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.known_answers import known_answers
from pricing_platform.facts.observations import Observation, record
from pricing_platform.facts.written_answers import AnswerGuard, WrittenAnswer
from pricing_platform.finetuning.style.dialogue import reply_prompt
from pricing_platform.finetuning.style.writing import (
    complete_replies,
    styled_replies,
    write_in_style,
)
from pricing_platform.language.model import Completion, CompletionRequest, Prompt, Usage
from pricing_platform.stores.postgres import Postgres
from pricing_platform_tests.unit.language.scripted_model import ScriptedModel

FOUND = FoundAnswer(
    question="Who is the CEO of Kvist Acoustics?",
    answer="Ben Ode",
    statement="Kvist Acoustics: CEO is Ben Ode",
    origin="fact",
    source="docs:a.md",
    valid_since=None,
    last_verified=None,
    freshness="fresh",
    series_id=None,
    passages=(),
)
GUARD = AnswerGuard(FOUND, ("Anna Berg",))


def saying(*texts: str) -> ScriptedModel:
    """Says the first text, and after a prefix that is put into its mouth the second."""

    def complete(prompt: Prompt, _request: CompletionRequest) -> Completion:
        return Completion(Usage(tokens_out=3), text=texts[bool(prompt.answer_prefix)])

    return ScriptedModel(complete=complete)


def test_a_reply_that_says_what_is_known_stands_as_it_is() -> None:
    model = saying("Good day. It is led by Ben Ode.", "unasked")
    (reply,) = styled_replies(model, [GUARD])
    assert reply.written == WrittenAnswer("Good day. It is led by Ben Ode. [docs:a.md, fresh]")
    assert reply.first_refusal is None
    assert len(model.completed) == 1
    assert FOUND.statement in model.completed[0].as_text()


@pytest.mark.parametrize(
    "first",
    [
        "Good day. Anna Berg leads it.",
        "Good day. We can not say.",
        "Good day. Ben Ode and Anna Berg lead it.",
        "Good day. Ben Ode leads it since 1950.",
    ],
)
def test_a_reply_that_is_refused_is_written_around_what_was_found(first: str) -> None:
    model = saying(first, " We are glad to help.")
    (reply,) = styled_replies(model, [GUARD])
    assert reply.first == first
    assert reply.first_refusal is not None
    assert reply.written.sentence == (
        "Good day. Kvist Acoustics: CEO is Ben Ode. We are glad to help. [docs:a.md, fresh]"
    )


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (" Anna Berg was before.", "does not say 'Ben Ode'"),
        (" He is never there.", "does not say 'Ben Ode'"),
        (" He has 12 children.", "does not say 'Ben Ode'"),
    ],
)
def test_where_the_second_is_refused_too_what_was_found_stands(second: str, reason: str) -> None:
    (reply,) = styled_replies(saying("Good day. Who knows.", second), [GUARD])
    assert reply.written.sentence is None
    assert reason in (reply.written.reason or "")


def test_an_opening_that_says_something_wrong_is_left_out() -> None:
    (reply,) = styled_replies(saying("Anna Berg leads it. Good day.", " Good day."), [GUARD])
    assert (reply.written.sentence or "").startswith("Kvist Acoustics: CEO is Ben Ode. Good day.")


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("Good day. Your parcel is on the road.", True),
        ("Good day. Parcel 77 is on the road.", True),
        ("Good day. It comes in 3 days.", False),
        ("Anna Berg will see to it.", False),
        ("", False),
    ],
)
def test_where_nothing_is_found_nothing_is_invented(text: str, stands: bool) -> None:
    nothing = replace(
        FOUND, question="Where is parcel 77?", answer=None, statement=None, origin=None
    )
    model = saying(text, "unasked")
    (reply,) = styled_replies(model, [replace(GUARD, found=nothing)])
    assert reply.written.sentence == (text if stands else None)
    assert len(model.completed) == 1


def test_a_model_that_does_not_answer_is_asked_once() -> None:
    def silent(_prompt: Prompt, _request: CompletionRequest) -> Completion:
        return Completion(Usage(), outcome="timed_out", reason="no answer within 60 s")

    model = ScriptedModel(complete=silent)
    (reply,) = styled_replies(model, [GUARD])
    assert reply.written == WrittenAnswer(None, "no answer within 60 s")
    assert len(model.completed) == 1


def test_a_reply_that_reaches_the_limit_ends_with_a_whole_sentence() -> None:
    def long(_prompt: Prompt, request: CompletionRequest) -> Completion:
        return Completion(Usage(tokens_out=request.max_tokens), text="Good day. We have\n it and")

    model = ScriptedModel(complete=long)
    assert complete_replies(model, [reply_prompt("a")], max_tokens=9)[0][1] == "Good day."


def test_a_reply_that_goes_in_circles_ends_before_it_repeats_itself() -> None:
    def circling(_prompt: Prompt, _request: CompletionRequest) -> Completion:
        return Completion(Usage(), text="Good day. It is open. IT IS open. It is shut.")

    model = ScriptedModel(complete=circling)
    assert complete_replies(model, [reply_prompt("a")], max_tokens=9)[0][1] == (
        "Good day. It is open."
    )


@pytest.fixture
def known(postgres: Postgres) -> Postgres:
    now = datetime.now(UTC)
    said = [("Kvist Acoustics", "ceo", "Anna Berg", 100), ("Kvist Acoustics", "ceo", "Ben Ode", 3)]
    said += [(f"Maker {n}", at, f"Value {n}", 5) for n in range(4) for at in ("founder", "city")]
    record(
        postgres,
        [
            Observation(subject, at, "docs:a.md", (value,), now - timedelta(days=days))
            for subject, at, value, days in said
        ],
        FactRules(),
    )
    return postgres


def test_a_superseded_value_is_refused_from_the_store(known: Postgres) -> None:
    series = known.frame(
        "SELECT series_id FROM knowledge.fact_series WHERE attribute = 'ceo'"
    ).item()
    found = replace(FOUND, series_id=series)
    refused = write_in_style(
        saying("Ben Ode followed Anna Berg.", " Anna Berg left."), known, found
    )
    assert refused.sentence is None
    assert "Anna Berg" in (refused.reason or "")
    assert write_in_style(saying("Ben Ode leads it.", ""), known, found).sentence is not None


def test_questions_are_about_current_facts_and_changed_ones_come_first(known: Postgres) -> None:
    guards = known_answers(known, 5)
    assert guards == known_answers(known, 5)
    subjects = [str(guard.found.question) for guard in guards]
    assert len(set(subjects)) == 5  # one of each subject before a second of any
    (changed,) = [guard for guard in guards if guard.found.answer == "Ben Ode"]
    assert changed.superseded == ("Anna Berg",)
    assert len(known_answers(known, 100)) == 9
    for guard in guards:
        assert guard.refusal(guard.found.statement or "") is None
