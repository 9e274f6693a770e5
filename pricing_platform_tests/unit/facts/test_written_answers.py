"""A language model's sentence stands only when it says what is known now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pricing_platform.facts.answers import FoundAnswer
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.observations import Observation, record
from pricing_platform.facts.written_answers import WrittenAnswer, write_answer
from pricing_platform.language.model import Completion, CompletionRequest, Prompt, Usage
from pricing_platform.stores.postgres import Postgres
from pricing_platform_tests.unit.language.scripted_model import ScriptedModel

NOW = datetime.now(UTC)
QUESTION = "Who is the CEO of Kvist Acoustics?"


@pytest.fixture
def known(postgres: Postgres) -> Postgres:
    said = [("Anna Berg", 100), ("Ben Ode", 3)]
    record(
        postgres,
        [
            Observation("Kvist Acoustics", "ceo", "docs:a.md", (name,), NOW - timedelta(days=days))
            for name, days in said
        ],
        FactRules(),
    )
    return postgres


def found_answer(postgres: Postgres) -> FoundAnswer:
    series = postgres.frame("SELECT series_id FROM knowledge.fact_series").item()
    return FoundAnswer(
        question=QUESTION,
        answer="Ben Ode",
        statement="The CEO of Kvist Acoustics is Ben Ode.",
        origin="fact",
        source="docs:a.md",
        valid_since=NOW - timedelta(days=3),
        last_verified=NOW - timedelta(days=3),
        freshness="fresh",
        series_id=series,
        passages=(),
    )


def written(postgres: Postgres, sentence: str) -> tuple[WrittenAnswer, ScriptedModel]:
    def complete(_prompt: Prompt, _request: CompletionRequest) -> Completion:
        return Completion(Usage(), text=sentence)

    model = ScriptedModel(complete=complete)
    return write_answer(model, postgres, found_answer(postgres)), model


def test_a_sentence_that_says_the_current_value_stands_with_its_source_and_age(
    known: Postgres,
) -> None:
    answer, model = written(known, "Kvist Acoustics is led by  BEN-ODE.")
    assert answer == WrittenAnswer(
        "Kvist Acoustics is led by BEN-ODE. [docs:a.md, verified 3 days ago, fresh]"
    )
    asked = model.completed[0].as_text()
    assert "The CEO of Kvist Acoustics is Ben Ode." in asked
    assert QUESTION in asked


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("Its CEO is Anna Berg.", "does not say 'Ben Ode'"),
        ("I do not know.", "does not say 'Ben Ode'"),
        ("Ben Odell leads it.", "does not say 'Ben Ode'"),
        ("Ben Ode and Anna Berg lead it.", "says 'Anna Berg', which no longer holds"),
        ("Ben Ode is no longer the CEO.", "denies something: 'no longer'"),
        ("Ben Ode has led it since 1950.", "says 1950, which was not found"),
        ("  ", "wrote nothing"),
    ],
)
def test_a_sentence_that_contradicts_a_current_fact_does_not(
    known: Postgres, sentence: str, reason: str
) -> None:
    answer, _model = written(known, sentence)
    assert answer.sentence is None
    assert answer.reason is not None
    assert reason in answer.reason


def test_a_model_that_does_not_answer_leaves_what_was_found(known: Postgres) -> None:
    model = ScriptedModel(
        complete=lambda _prompt, _request: Completion(
            Usage(), outcome="timed_out", reason="no answer within 60 s"
        )
    )
    answer = write_answer(model, known, found_answer(known))
    assert answer == WrittenAnswer(None, "no answer within 60 s")


def test_nothing_found_asks_nobody(known: Postgres) -> None:
    model = ScriptedModel()
    answer = write_answer(model, known, replace(found_answer(known), answer=None))
    assert answer.sentence is None
    assert not model.completed
