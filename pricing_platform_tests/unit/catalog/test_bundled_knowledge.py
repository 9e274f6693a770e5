"""The bundled documents: the same each time, consistent, and answering their own questions."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pricing_platform.catalog.bundled.knowledge import QUESTIONS, write_bundled_knowledge
from pricing_platform.catalog.bundled.vocabulary import categories
from pricing_platform.errors import PlatformError
from pricing_platform.facts.document_statements import observe_documents
from pricing_platform.facts.kinds import FactRules
from pricing_platform.retrieval.documents import DocumentFolder, reconcile_documents
from pricing_platform.stores.postgres import Postgres

CATEGORIES = {
    "direct_fact", "numerical", "temporal", "comparative", "relationship", "spanning", "holistic",
}  # fmt: skip
OVER_SEVERAL_DOCUMENTS = {"spanning", "comparative"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundled_knowledge(tmp_path_factory.mktemp("bundled") / "knowledge")


@pytest.fixture(scope="module")
def documents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".md", ".html", ".txt")
    }


@pytest.fixture(scope="module")
def questions(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / QUESTIONS).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_there_are_documents_of_every_kind(documents: dict[str, str]) -> None:
    folders = Counter(path.partition("/")[0] for path in documents)
    assert folders == {"makers": 12, "brands": 24, "people": 12, "care_guides": 10, "stores": 6}
    suffixes = Counter(path.rpartition(".")[2] for path in documents)
    assert (suffixes["html"], suffixes["txt"]) == (1, 1)
    assert all(path.isascii() for path in documents)
    assert len(set(documents.values())) == len(documents)


def test_every_document_is_a_page_of_prose(documents: dict[str, str]) -> None:
    for path, text in documents.items():
        assert 100 <= len(text.split()) <= 600, path
        assert "{" not in text, path
        assert "\n\n\n" not in text, path


def test_the_brands_are_those_of_the_catalogue(documents: dict[str, str]) -> None:
    known = {brand for category in categories() for brand in category.brands}
    headings = {
        next(brand for brand in known if f"# {brand}\n" in text)
        for path, text in documents.items()
        if path.startswith("brands/")
    }
    assert len(headings) == 24


def test_every_answer_is_in_the_documents(
    documents: dict[str, str], questions: list[dict[str, Any]]
) -> None:
    texts = [text.casefold() for text in documents.values()]
    for asked in questions:
        keywords = [keyword.casefold() for keyword in asked["keywords"]]
        for keyword in keywords:
            assert any(keyword in text for text in texts), (asked["question"], keyword)
        if asked["category"] not in OVER_SEVERAL_DOCUMENTS:
            assert any(all(keyword in text for keyword in keywords) for text in texts), asked


def test_a_spanning_answer_is_in_no_single_document(
    documents: dict[str, str], questions: list[dict[str, Any]]
) -> None:
    spanning = [asked for asked in questions if "CEO of the company behind" in asked["question"]]
    assert spanning
    for asked in spanning:
        brand = asked["question"].partition("behind ")[2].removesuffix(" earn?")
        needed = [*asked["keywords"], brand]
        assert not any(
            all(word in text for word in needed)
            for path, text in documents.items()
            if path.startswith("brands/")
        )


def test_the_questions_are_of_the_form_that_is_scored(questions: list[dict[str, Any]]) -> None:
    assert 55 <= len(questions) <= 80
    assert {asked["category"] for asked in questions} == CATEGORIES
    assert len({asked["question"] for asked in questions}) == len(questions)
    for asked in questions:
        assert asked.keys() == {"question", "keywords", "reference_answer", "category"}
        assert all(asked["keywords"])


def test_every_call_writes_the_same_within_a_second(folder: Path, tmp_path: Path) -> None:
    began = time.perf_counter()
    again = write_bundled_knowledge(tmp_path / "again")
    assert time.perf_counter() - began < 1
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for path in files:
        assert (folder / path).read_bytes() == (again / path).read_bytes()


def test_a_changed_document_stays_as_it_was_changed(tmp_path: Path) -> None:
    folder = write_bundled_knowledge(tmp_path / "knowledge")
    changed, deleted = sorted((folder / "makers").iterdir())[:2]
    changed.write_text("# Changed\n", encoding="utf-8")
    deleted.unlink()
    write_bundled_knowledge(folder)
    assert changed.read_text(encoding="utf-8") == "# Changed\n"
    assert not deleted.exists()


def test_another_version_is_written_anew(tmp_path: Path) -> None:
    folder = write_bundled_knowledge(tmp_path / "knowledge")
    (folder / "manifest.json").write_text('{"knowledge": 0}', encoding="utf-8")
    (folder / "makers" / "old.md").write_text("# Old\n", encoding="utf-8")
    write_bundled_knowledge(folder)
    assert not (folder / "makers" / "old.md").exists()
    assert len(list((folder / "makers").iterdir())) == 12


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text("# Mine\n", encoding="utf-8")
    with pytest.raises(PlatformError, match="something else"):
        write_bundled_knowledge(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["mine.md"]


def test_the_documents_state_the_facts_of_makers_people_and_stores(
    folder: Path, questions: list[dict[str, Any]], postgres: Postgres
) -> None:
    source = DocumentFolder(name="bundled", path=(str(folder),), root=folder)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    summary = reconcile_documents(postgres, [source], deletion_share_limit=0.2, now=now)
    assert (summary.inserted, summary.told) == (64, [])
    observe_documents(postgres, FactRules())
    facts = postgres.frame("SELECT subject, attribute, value FROM knowledge.current_facts")
    counts = Counter(facts["attribute"])
    for attribute in ("ceo", "founder"):
        assert counts[attribute] == 12, attribute
    for attribute in ("founded", "employee count", "headquarters"):
        assert counts[attribute] == 14, attribute  # the stores' too
    for attribute in ("salary", "date of birth", "employer"):
        assert counts[attribute] == 12, attribute
    value = {(subject, attribute): value for subject, attribute, value in facts.rows()}
    for asked in questions:
        if asked["question"].startswith("Who is the CEO of "):
            holder, maker = asked["keywords"]
            assert value[maker.casefold(), "ceo"] == holder
        if asked["question"].startswith("What is the salary of "):
            salary, person = asked["keywords"]
            assert value[person.casefold(), "salary"] == salary
