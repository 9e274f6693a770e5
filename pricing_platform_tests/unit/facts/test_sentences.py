"""Sentences and their embeddings follow the facts that hold now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.facts import sentences
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.observations import Observation, record
from pricing_platform.facts.sentences import name_of, reconcile_fact_sentences, sentence
from pricing_platform.retrieval.documents import normalise_subject
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.reconciliation import ReconciliationSummary
from pricing_platform.stores.postgres import Postgres
from pricing_platform_tests.unit.retrieval.hashing_encoder import HashingEncoder

RULES = FactRules(multi=frozenset({"feature"}))
START = datetime(2026, 1, 1, tzinfo=UTC)
STATE = """
    SELECT s.*, e.fingerprint AS embedded, e.model, e.embedding::text AS vector
    FROM knowledge.fact_sentences AS s FULL JOIN knowledge.fact_embeddings AS e USING (fact_id)
    ORDER BY fact_id
"""


@pytest.fixture
def encoder(tmp_path: Path) -> CachedEncoder:
    return CachedEncoder(HashingEncoder(), tmp_path / "embeddings.sqlite")


def state_facts(
    postgres: Postgres,
    *facts: tuple[str, str, tuple[str, ...]],
    days: int = 0,
    connector: str | None = "document_folder",
) -> None:
    observed_at = START + timedelta(days=days)
    observations = [
        Observation(subject, attribute, "wiki:a.md", values, observed_at, connector=connector)
        for subject, attribute, values in facts
    ]
    record(postgres, observations, RULES)


def counts(summary: ReconciliationSummary) -> dict[str, int]:
    """What is not nothing."""
    found = {k: v for k, v in vars(summary).items() if k != "seconds"}
    return {name: count for name, count in found.items() if count}


def texts(postgres: Postgres) -> list[str]:
    found = postgres.frame("SELECT text FROM knowledge.fact_sentences ORDER BY text")
    return found["text"].to_list()


def test_current_facts_become_sentences(postgres: Postgres, encoder: CachedEncoder) -> None:
    state_facts(
        postgres,
        ("Insurellm", "CEO", ("Avery Lancaster",)),
        ("Carllm", "feature", ("Instant quoting", "Fraud detection")),
    )
    assert counts(reconcile_fact_sentences(postgres, encoder)) == {"inserted": 3, "encoded": 3}
    assert texts(postgres) == [
        "Carllm: feature is Fraud detection",
        "Carllm: feature is Instant quoting",
        "Insurellm: CEO is Avery Lancaster",
    ]
    ids = postgres.frame(
        "SELECT count(*) FROM knowledge.fact_sentences AS s JOIN knowledge.current_facts AS f"
        " ON s.fact_id = f.series_id || '/' || f.slot"
        " AND (s.series_id, s.subject, s.attribute, s.kind, s.value, s.source)"
        " = (f.series_id, f.subject, f.attribute, f.kind, f.value, f.source)"
    )
    assert ids.item() == 3
    assert counts(reconcile_fact_sentences(postgres, encoder)) == {"unchanged": 3}


def test_a_superseded_value_has_no_sentence(postgres: Postgres, encoder: CachedEncoder) -> None:
    state_facts(
        postgres,
        ("Insurellm", "CEO", ("Avery Lancaster",)),
        ("Carllm", "feature", ("Quoting", "Detection")),
    )
    reconcile_fact_sentences(postgres, encoder)
    state_facts(
        postgres,
        ("Insurellm", "CEO", ("Jane Doe",)),
        ("Carllm", "feature", ("Quoting",)),
        days=1,
    )
    summary = reconcile_fact_sentences(postgres, encoder)
    assert counts(summary) == {"updated": 1, "deleted": 1, "unchanged": 1, "encoded": 1}
    assert texts(postgres) == ["Carllm: feature is Quoting", "Insurellm: CEO is Jane Doe"]
    state_facts(postgres, ("Insurellm", "CEO", ()), ("Carllm", "feature", ()), days=2)
    assert counts(reconcile_fact_sentences(postgres, encoder)) == {"deleted": 2}
    assert postgres.frame(STATE).is_empty()


def test_prices_of_listings_are_left_out(postgres: Postgres, encoder: CachedEncoder) -> None:
    state_facts(postgres, ("shop:1", "price", ("20.00",)), connector="snapshot_folder")
    state_facts(postgres, ("Carllm", "price", ("$1,000",)), connector=None)
    reconcile_fact_sentences(postgres, encoder)
    assert texts(postgres) == ["Carllm: price is $1,000"]


def test_a_value_that_changes_while_it_is_encoded_never_gets_the_old_vector(
    postgres: Postgres, encoder: CachedEncoder, tmp_path: Path
) -> None:
    state_facts(postgres, ("Insurellm", "CEO", ("Avery Lancaster",)))

    class Interrupted(HashingEncoder):
        def encode(self, texts, progress=None):  # type: ignore[no-untyped-def]
            if not self.encoded:
                state_facts(postgres, ("Insurellm", "CEO", ("Jane Doe",)), days=1)
                reconcile_fact_sentences(postgres, encoder)
            return super().encode(texts)

    slow = CachedEncoder(Interrupted(), tmp_path / "slow.sqlite")
    assert counts(reconcile_fact_sentences(postgres, slow)) == {"encoded": 1, "superseded": 1}
    before = postgres.frame(STATE)
    assert before["text"].to_list() == ["Insurellm: CEO is Jane Doe"]
    with postgres.connection() as connection:
        connection.execute("DELETE FROM knowledge.fact_sentences")
    reconcile_fact_sentences(postgres, encoder)
    assert postgres.frame(STATE).equals(before)


def test_another_template_or_encoder_makes_every_embedding_anew_once(
    postgres: Postgres, encoder: CachedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_facts(postgres, ("Insurellm", "CEO", ("Avery",)), ("Carllm", "feature", ("Quoting",)))
    reconcile_fact_sentences(postgres, encoder)
    monkeypatch.setattr(sentences, "SENTENCE_TEMPLATE_VERSION", "next")
    assert counts(reconcile_fact_sentences(postgres, encoder)) == {"updated": 2, "cached": 2}
    other = CachedEncoder(HashingEncoder("other:fedcba9876543210"), encoder.path)
    assert counts(reconcile_fact_sentences(postgres, other)) == {"updated": 2, "encoded": 2}
    assert counts(reconcile_fact_sentences(postgres, other)) == {"unchanged": 2}
    narrow = CachedEncoder(HashingEncoder("narrow:fedcba9876543210", 32), encoder.path)
    assert counts(reconcile_fact_sentences(postgres, narrow)) == {"inserted": 2, "encoded": 2}
    assert counts(reconcile_fact_sentences(postgres, other)) == {"inserted": 2, "cached": 2}


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("michael o'brien", "Michael O'Brien"),
        (
            "contract with brightway solutions for markellm",
            "Contract with Brightway Solutions for Markellm",
        ),
        ("the lamp", "The Lamp"),
        ("ai-powered desk (usa)", "AI-Powered Desk (USA)"),
        ("2tb drive", "2tb Drive"),
        ("", ""),
    ],
)
def test_subjects_are_written_as_names(subject: str, name: str) -> None:
    assert name_of(subject) == name


@given(st.text())
def test_a_name_is_still_its_subject(text: str) -> None:
    subject = normalise_subject(text)
    assert normalise_subject(name_of(subject)) == subject


def test_a_sentence_holds_what_it_is_made_of() -> None:
    assert sentence("insurellm", "ceo", "{subject} %s") == "Insurellm: CEO is {subject} %s"
