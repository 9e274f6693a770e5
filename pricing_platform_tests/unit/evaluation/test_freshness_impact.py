"""After one refresh, nothing that was superseded is served, and what is new is found first."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pricing_platform.catalog.bundled.knowledge import write_bundled_knowledge
from pricing_platform.evaluation import freshness_impact
from pricing_platform.evaluation.freshness_impact import (
    FreshnessImpact,
    measure_freshness,
    replace_documents,
)
from pricing_platform.facts.configuration import Knowledge
from pricing_platform.facts.upkeep import follow_documents
from pricing_platform.retrieval.documents import DocumentFolder
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> CachedEncoder:
    """The real one, for what is measured is what it finds."""
    return CachedEncoder.from_settings(Settings(home=Path(tmp_path_factory.mktemp("home"))))


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Knowledge:
    root = write_bundled_knowledge(Path(tmp_path_factory.mktemp("bundled")) / "knowledge")
    folder = DocumentFolder(name="knowledge", path=(str(root),), root=root)
    return replace_documents(Knowledge(), [folder])


def measured(postgres: Postgres, encoder: CachedEncoder, knowledge: Knowledge) -> FreshnessImpact:
    return measure_freshness(postgres, encoder, knowledge, seed=3)


def test_a_refresh_serves_what_documents_say_now(
    postgres: Postgres, encoder: CachedEncoder, knowledge: Knowledge
) -> None:
    with postgres.scratch() as scratch:
        impact = measured(scratch, encoder, knowledge)
    assert impact.changes.filter(change="value").height == 40
    assert impact.stale_serve_rate == 0
    assert impact.new_among_first >= 0.95
    assert impact.old_as_of == 1
    assert impact.changed_chunks <= impact.embedded_chunks <= 1.5 * impact.changed_chunks
    assert impact.restored_encoded == 0
    assert {"document_removed", "subject_renamed", "restored"} <= set(impact.changes["change"])


def test_where_there_are_no_documents_nothing_is_measured(
    postgres: Postgres, encoder: CachedEncoder
) -> None:
    impact = measured(postgres, encoder, Knowledge())
    assert impact.changes.is_empty()
    assert impact.stale_serve_rate == 0


def test_what_is_not_refreshed_is_found_out(
    postgres: Postgres,
    encoder: CachedEncoder,
    knowledge: Knowledge,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = follow_documents(postgres, encoder, knowledge, deletion_share_limit=1.0)
    calls = []

    def only_once(*arguments: object, **named: object) -> object:
        calls.append(arguments)
        return follow_documents(*arguments, **named) if len(calls) == 1 else first  # type: ignore[arg-type]

    monkeypatch.setattr(freshness_impact, "follow_documents", only_once)
    impact = measured(postgres, encoder, knowledge)
    assert impact.stale_serve_rate > 0.5
    assert impact.new_among_first < 0.5
    assert impact.changes.filter(pl.col("change") == "value")["stale_served"].mean() == 1
