"""Documents are read again for the facts that come from them, and what came of it is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pricing_platform.facts.connectors import document_folder
from pricing_platform.facts.connectors.document_folder import DocumentFolderConnector
from pricing_platform.facts.document_statements import observe_documents
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.refresh import RefreshSummary, refresh
from pricing_platform.retrieval.documents import DocumentFolder, reconcile_documents
from pricing_platform.stores.postgres import Postgres

RULES = FactRules()


@pytest.fixture
def root(tmp_path: Path, postgres: Postgres) -> Path:
    """Six companies with a CEO and a price each, observed; nothing is due yet."""
    folder = tmp_path / "companies"
    folder.mkdir()
    for number in range(6):
        write(folder, f"Company {number}", ceo=f"Ann {number}")
    reconcile_documents(postgres, folders(folder), deletion_share_limit=1.0)
    observe_documents(postgres, RULES)
    return folder


def write(root: Path, name: str, *, ceo: str, file: str | None = None) -> None:
    text = f"# {name}\n\n- **CEO:** {ceo}\n- **Price:** $10\n"
    (root / f"{file or name}.md").write_text(text)


def folders(root: Path) -> Sequence[DocumentFolder]:
    return [DocumentFolder(name="companies", path=(str(root),), root=root)]


def run(postgres: Postgres, root: Path, limit: float = 0.5, **options: Any) -> RefreshSummary:
    connector = DocumentFolderConnector(postgres, folders(root), RULES, limit)
    chosen = options or {"everything": True}
    return refresh(postgres, {connector.name: connector}, RULES, **chosen)


def outcomes(summary: RefreshSummary) -> dict[str, int]:
    return dict(summary.by_connector.get("document_folder", {}))


def ceos(postgres: Postgres) -> dict[str, str]:
    return dict(
        postgres.frame(
            "SELECT subject, value FROM knowledge.current_facts WHERE attribute = 'ceo'"
        ).rows()
    )


def last_failures(postgres: Postgres) -> dict[str, str]:
    return dict(
        postgres.frame(
            "SELECT subject, last_failure FROM knowledge.fact_series"
            " WHERE attribute = 'ceo' AND last_failure IS NOT NULL"
        ).rows()
    )


def test_only_what_the_documents_state_otherwise_has_changed(
    postgres: Postgres, root: Path
) -> None:
    query = "SELECT min(verified_at) FROM knowledge.fact_series"
    first = postgres.frame(query).item()
    assert outcomes(run(postgres, root)) == {"confirmed": 12}
    assert postgres.frame(query).item() > first
    write(root, "Company 3", ceo="Zoë Lee")
    assert outcomes(run(postgres, root)) == {"changed": 1, "confirmed": 11}
    assert ceos(postgres)["company 3"] == "Zoë Lee"
    history = postgres.frame(
        "SELECT value FROM knowledge.fact_history WHERE subject = 'company 3'"
        " AND attribute = 'ceo' ORDER BY known_from, valid_from"
    )
    assert {"Ann 3", "Zoë Lee"} == set(history["value"])


def test_all_folders_are_read_once_however_many_batches_ask(
    postgres: Postgres, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = count_readings(monkeypatch)
    write(root, "Company 1", ceo="Bob")
    write(root, "Company 2", ceo="Bob")
    summary = run(postgres, root, everything=True, batch=1)
    assert outcomes(summary) == {"changed": 2, "confirmed": 10}
    assert len(read) == 1
    assert ceos(postgres)["company 2"] == "Bob"


def count_readings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by one with each reading of the folders."""
    read: list[Any] = []

    def reading(*arguments: Any, **options: Any) -> Any:
        read.append(options)
        return reconcile_documents(*arguments, **options)

    monkeypatch.setattr(document_folder, "reconcile_documents", reading)
    return read


def test_what_a_document_no_longer_states_is_absent(postgres: Postgres, root: Path) -> None:
    (root / "Company 1.md").write_text("# Company 1\n\n- **Price:** $10\n")
    (root / "Company 2.md").unlink()
    assert outcomes(run(postgres, root)) == {"absent": 3, "confirmed": 9}
    assert set(ceos(postgres)) == {f"company {n}" for n in (0, 3, 4, 5)}


def test_a_document_under_another_name_still_states_its_facts(
    postgres: Postgres, root: Path
) -> None:
    (root / "Company 1.md").rename(root / "Firm.md")
    assert outcomes(run(postgres, root, subjects=["company 1"])) == {"confirmed": 2}
    assert ceos(postgres)["company 1"] == "Ann 1"


def test_what_can_not_be_read_fails_and_stays(postgres: Postgres, root: Path) -> None:
    before = ceos(postgres)
    (root / "Company 1.md").write_bytes(b"\x00\x01\x02" * 1000)
    assert outcomes(run(postgres, root)) == {"confirmed": 10, "failed": 2}
    failures = last_failures(postgres)
    assert list(failures) == ["company 1"]
    assert failures["company 1"].startswith("companies:Company 1.md ")
    assert ceos(postgres) == before


def test_a_folder_that_vanished_retires_nothing(postgres: Postgres, root: Path) -> None:
    before = ceos(postgres)
    for file in root.iterdir():
        file.unlink()
    assert outcomes(run(postgres, root)) == {"failed": 12}
    assert "6 of the 6 documents of companies" in last_failures(postgres)["company 0"]
    assert ceos(postgres) == before


def test_batches_do_not_defeat_the_limit_of_what_may_be_lost(
    postgres: Postgres, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6, 40):
        write(root, f"Company {number}", ceo=f"Ann {number}")
    reconcile_documents(postgres, folders(root), deletion_share_limit=1.0)
    observe_documents(postgres, RULES)
    before = ceos(postgres)
    assert len(before) == 40
    for file in root.iterdir():
        file.write_text("")
    read = count_readings(monkeypatch)
    assert outcomes(run(postgres, root, 0.2, everything=True, batch=5)) == {"failed": 80}
    assert ceos(postgres) == before
    assert len(read) == 1
    assert all("40 of the 40 documents" in why for why in last_failures(postgres).values())


def test_files_that_were_refused_are_told(postgres: Postgres, root: Path) -> None:
    (root / "Company 1.md").write_bytes(b"\x00\x01\x02" * 1000)
    connector = DocumentFolderConnector(postgres, folders(root), RULES, 0.5)
    assert connector.told == ()
    refresh(postgres, {connector.name: connector}, RULES, everything=True, batch=3)
    assert [document for document, _ in connector.told] == ["companies:Company 1.md"]


def test_a_folder_that_is_no_longer_configured_is_told(postgres: Postgres, root: Path) -> None:
    connector = DocumentFolderConnector(postgres, [], RULES, 0.5)
    summary = refresh(postgres, {connector.name: connector}, RULES, everything=True)
    assert outcomes(summary) == {"failed": 12}
    assert "None of the configured folders" in last_failures(postgres)["company 0"]
