"""Answers from folders of documents: which statement counts where copies of it differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pricing_platform.cli import _print_answer
from pricing_platform.facts.answers import _SENTENCE_END, FoundAnswer, answer, answer_as_of
from pricing_platform.facts.document_statements import observe_documents
from pricing_platform.facts.fact_queries import facts_of
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.observations import Observation, record
from pricing_platform.facts.sentences import reconcile_fact_sentences
from pricing_platform.facts.written_answers import AnswerGuard, write_answer
from pricing_platform.retrieval.chunk_embeddings import reconcile_chunk_embeddings
from pricing_platform.retrieval.documents import DocumentFolder, reconcile_documents
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.encoder import Encoder
from pricing_platform.retrieval.question_language import use_language
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres
from pricing_platform_tests.unit.language.scripted_model import ScriptedModel
from pricing_platform_tests.unit.retrieval.document_files import write

CASE_20 = Path(__file__).parents[3] / "../shared/cases/20-dated-copies/handbook"
RULES = FactRules()
WINDOW = "What is the return window?"
BACK = "Within how many days may customers give goods back?"


class Knowledge:
    """A folder of documents, and what is answered from it."""

    def __init__(self, postgres: Postgres, encoder: CachedEncoder, root: Path) -> None:
        self.postgres, self.encoder, self.root = postgres, encoder, root

    def follow(self, files: dict[str, str], *, hours_ago: float = 0) -> list[tuple[str, str]]:
        """Writes files and brings documents, facts and embeddings up to date; what was told."""
        write(self.root, dict(files))
        folder = DocumentFolder(name="docs", path=(str(self.root),), root=self.root)
        now = datetime.now(UTC) - timedelta(hours=hours_ago)
        told = reconcile_documents(self.postgres, [folder], deletion_share_limit=1, now=now).told
        reconcile_chunk_embeddings(self.postgres, self.encoder, deletion_share_limit=1)
        observe_documents(self.postgres, RULES)
        reconcile_fact_sentences(self.postgres, self.encoder)
        return told

    def ask(self, question: str) -> FoundAnswer:
        return answer(self.postgres, self.encoder, question, rules=RULES)

    def said(self, question: str) -> list[str | None]:
        """The answer, or all of them where sources differ."""
        found = self.ask(question)
        return [at.answer for at in found.differing] or [found.answer]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> CachedEncoder:
    home = tmp_path_factory.mktemp("encoder")
    return CachedEncoder(Encoder.from_settings(Settings(home=home)), home / "embeddings.sqlite")


@pytest.fixture
def knowledge(postgres: Postgres, encoder: CachedEncoder, tmp_path: Path) -> Knowledge:
    return Knowledge(postgres, encoder, tmp_path / "docs")


def window(days: int, front: str = "") -> str:
    return f"{front}# Returns\n\n**Return window:** {days} days\n"


def sentence(days: int, front: str = "") -> str:
    return f"{front}# Returns\n\nCustomers may give goods back within {days} days of delivery.\n"


DATED = [
    lambda text: {"2023/returns.md": text(30), "2026/returns.md": text(14)},
    lambda text: {"returns-2023.md": text(30), "returns-2026-02.md": text(14)},
    lambda text: {
        "a.md": text(14, "---\ndate: 2026-02-01\n---\n"),
        "b.md": text(30, "---\nlast_updated: 1 March 2023\n---\n"),
    },
    lambda text: {
        "a.md": text(14).replace("# Returns", "# Returns (2026)"),
        "b.md": text(30).replace("# Returns", "# Returns (2023)"),
    },
    lambda text: {
        "a.md": text(14) + "\nValid from 1 February 2026.\n",
        "b.md": text(30) + "\n*Last updated: 2023-02-01*\n",
    },
    lambda text: {
        f"{year}/returns.md": text(days)
        for year, days in zip(range(2012, 2027), [*range(90, 15, -6), 20, 14][-15:], strict=True)
    },
]
Files = Callable[[Callable[..., str]], dict[str, str]]


@pytest.mark.parametrize("files", DATED)
@pytest.mark.parametrize(("text", "question"), [(window, WINDOW), (sentence, BACK)])
def test_the_newer_copy_counts_and_is_dated(
    knowledge: Knowledge, files: Files, text: Callable[..., str], question: str
) -> None:
    knowledge.follow(files(text))
    found = knowledge.ask(question)
    assert found.answer is not None
    assert "14 days" in found.answer
    assert not found.differing
    assert found.dated is not None
    assert found.dated.startswith("2026")
    assert found.freshness == "fresh"
    assert json.loads(found.to_json())["dated"] == found.dated
    if found.origin == "fact":
        assert found.valid_since is not None
        assert found.valid_since.year == 2026
    else:
        assert not any("30 days" in at.text for at in found.passages)


UNKNOWN = [
    lambda text: {"a.md": text(30), "b.md": text(14)},
    lambda text: {"archive/returns.md": text(30), "new/returns.md": text(14)},
    lambda text: {"2026/a/returns.md": text(30), "2026/b/returns.md": text(14)},
    lambda text: {"2026/returns.md": text(30), "2026/02/returns.md": text(14)},
    lambda text: {"2023/returns.md": text(30), "returns.md": text(14)},
    lambda text: {
        "a.md": text(30, "---\ndate: 02/01/2026\n---\n"),
        "b.md": text(14, "---\ndate: 02/03/2026\n---\n"),
    },
]


@pytest.mark.parametrize("files", UNKNOWN)
@pytest.mark.parametrize(("text", "question"), [(window, WINDOW), (sentence, BACK)])
def test_where_nothing_tells_which_is_newer_both_are_shown(
    knowledge: Knowledge, files: Files, text: Callable[..., str], question: str
) -> None:
    knowledge.follow(files(text))
    found = knowledge.ask(question)
    said = " ".join(at.answer for at in found.differing)
    assert len(found.differing) == 2
    assert "30 days" in said
    assert "14 days" in said
    assert found.freshness == "disputed"
    assert "30 days" in str(found.answer)
    assert "14 days" in str(found.answer)
    assert {at.source for at in found.differing} == {f"docs:{name}" for name in files(text)}
    assert AnswerGuard.of(knowledge.postgres, found).refusal("It is 30 days.")
    written = write_answer(ScriptedModel(), knowledge.postgres, found)
    assert (written.sentence, "differ" in str(written.reason)) == (None, True)


def test_copies_that_agree_are_one_answer(knowledge: Knowledge) -> None:
    knowledge.follow({"a/returns.md": window(30), "b/returns.md": window(30)})
    found = knowledge.ask(WINDOW)
    assert (found.answer, found.differing, found.freshness) == ("30 days", (), "fresh")


def test_what_was_seen_to_change_is_newer_than_what_was_not(knowledge: Knowledge) -> None:
    knowledge.follow({"a.md": window(30), "b.md": window(30)}, hours_ago=2)
    knowledge.follow({"a.md": window(14)}, hours_ago=1)
    assert knowledge.said(WINDOW) == ["14 days"]
    knowledge.follow({"b.md": window(21)})
    assert knowledge.said(WINDOW) == ["21 days"]


def test_what_was_seen_to_change_is_newer_than_an_old_date(knowledge: Knowledge) -> None:
    knowledge.follow({"2023/returns.md": window(30), "returns.md": window(21)}, hours_ago=2)
    assert sorted(knowledge.said(WINDOW)) == ["21 days", "30 days"]
    knowledge.follow({"returns.md": window(14)})
    assert knowledge.said(WINDOW) == ["14 days"]


def test_a_dispute_ends_with_a_date(knowledge: Knowledge) -> None:
    knowledge.follow({"a.md": window(30), "b.md": window(14)}, hours_ago=1)
    assert sorted(knowledge.said(WINDOW)) == ["14 days", "30 days"]
    knowledge.follow({"a.md": window(30, "---\ndate: 2020-01-01\n---\n")})
    assert sorted(knowledge.said(WINDOW)) == ["14 days", "30 days"]
    knowledge.follow({"b.md": window(14, "---\ndate: 2021\n---\n")})
    assert knowledge.said(WINDOW) == ["14 days"]
    knowledge.follow({"a.md": window(30, "---\ndate: 2022\n---\n")})
    assert "30 days" in knowledge.said(WINDOW)


def test_other_documents_are_no_copies(knowledge: Knowledge) -> None:
    knowledge.follow(
        {
            "drill.md": "# Drill\n\nThe warranty of it lasts for 24 months after purchase.\n",
            "lamp.md": "# Lamp\n\nThe warranty of it lasts for 12 months after purchase.\n",
        }
    )
    found = knowledge.ask("How many months is the warranty of the lamp?")
    assert "12 months" in str(found.answer)
    assert not found.differing


def test_a_question_may_name_the_copy(knowledge: Knowledge) -> None:
    knowledge.follow(
        {
            "Report 2023.md": "# Report 2023\n\n**Revenue:** 5 million\n",
            "Report 2024.md": "# Report 2024\n\n**Revenue:** 7 million\n",
        }
    )
    assert knowledge.said("What was the revenue in the report of 2023?") == ["5 million"]
    assert knowledge.said("What is the revenue by the report?") == ["7 million"]


def test_lists_of_an_older_copy_are_not_added(knowledge: Knowledge) -> None:
    text = "# Acme\n\n**Locations:** {}\n".format
    knowledge.follow(
        {"2023/acme.md": text("Oslo; Bergen"), "2026/acme.md": text("Oslo; Moss")}, hours_ago=1
    )
    assert facts_of(knowledge.postgres, "acme")["value"].to_list() == ["Moss", "Oslo"]
    (knowledge.root / "2026/acme.md").unlink()
    knowledge.follow({})
    assert facts_of(knowledge.postgres, "acme")["value"].to_list() == ["Bergen", "Oslo"]


def test_what_differs_is_shown_with_the_facts_of_a_subject(knowledge: Knowledge) -> None:
    knowledge.follow({"a/returns.md": window(30), "b/returns.md": window(14)})
    (row,) = facts_of(knowledge.postgres, "returns").iter_rows(named=True)
    assert row["freshness"] == "disputed"
    assert {row["value"], str(row["differing"]).partition(" (")[0]} == {"14 days", "30 days"}
    (passage, *_) = knowledge.ask(WINDOW).passages
    assert (passage.origin, passage.freshness) == ("fact", "disputed")


def test_what_was_true_is_asked_for_by_date_among_dated_copies(knowledge: Knowledge) -> None:
    knowledge.follow({"2023/returns.md": window(30), "2026/returns.md": window(14)})
    at = datetime(2024, 6, 1, tzinfo=UTC)
    found = answer_as_of(knowledge.postgres, knowledge.encoder, WINDOW, at)
    assert (found.answer, found.differing) == ("30 days", ())


def test_live_sources_are_as_new_as_their_observation(postgres: Postgres) -> None:
    now = datetime.now(UTC)
    said = [("http:a", "Ann", 3), ("http:b", "Bob", 2), ("http:b", "Bob", 1), ("http:a", "Ann", 1)]
    record(
        postgres,
        [Observation("x", "ceo", by, (name,), now - timedelta(days=day)) for by, name, day in said],
        RULES,
    )
    assert facts_of(postgres, "x")["value"].to_list() == ["Bob"]
    assert facts_of(postgres, "x")["differing"].to_list() == [None]
    same = now - timedelta(hours=1)
    record(postgres, [Observation("y", "ceo", by, (by,), same) for by in ("p", "q")], RULES)
    assert facts_of(postgres, "y")["freshness"].to_list() == ["disputed"]


def test_a_copy_that_says_something_else_is_no_newer_statement(knowledge: Knowledge) -> None:
    knowledge.follow(
        {
            "2023/leave.md": "# Leave rules\n\nFull-time staff get 30 days of leave.\n",
            "2026/leave.md": "# Leave rules\n\nPart-time staff get 15 days of leave.\n",
        }
    )
    found = knowledge.ask("How many days of leave do full-time staff get?")
    assert found.answer == "Full-time staff get 30 days of leave."
    assert found.dated == "2023"
    assert found.valid_since == datetime(2023, 1, 1, tzinfo=UTC)
    assert found.source == "docs:2023/leave.md"


@pytest.mark.parametrize(
    ("line", "question", "answer_is"),
    [
        ("**Hotel limit:** 120 EUR", "What is the hotel limit of travel?", "120 EUR"),
        ("Refunds of fares are paid within 5 days.", "When are refunds of fares paid?", "5 days"),
    ],
)
def test_what_a_newer_copy_leaves_out_is_not_fresh(
    knowledge: Knowledge, line: str, question: str, answer_is: str
) -> None:
    rest = "# Travel\n\n**Class:** second\n\n"
    knowledge.follow({"2024/travel.md": f"{rest}{line}\n", "2026/travel.md": rest})
    found = knowledge.ask(question)
    assert answer_is in str(found.answer)
    assert (found.dated, found.freshness, found.silent) == ("2024", "stale", "docs:2026/travel.md")
    current = knowledge.ask("What is the class of travel?")
    assert (current.answer, current.freshness, current.silent) == ("second", "fresh", None)


@pytest.mark.parametrize(("text", "question"), [(window, WINDOW), (sentence, BACK)])
def test_what_begins_later_does_not_count_yet(
    knowledge: Knowledge, text: Callable[..., str], question: str
) -> None:
    later = datetime.now(UTC).year + 2
    knowledge.follow({"2023/returns.md": text(30), f"{later}/returns.md": text(14)})
    found = knowledge.ask(question)
    assert "30 days" in str(found.answer)
    assert found.dated == "2023"


@pytest.mark.parametrize(
    ("question", "days"),
    [
        ("What was the return window in 2024?", "30 days"),
        ("What was the return window in March 2025?", "30 days"),
        ("What was the return window in 2026?", "14 days"),
        ("What is the return window since 2024?", "14 days"),
        ("What was the return window in 2019?", "14 days"),
    ],
)
def test_a_question_may_name_the_date_that_it_is_about(
    knowledge: Knowledge, question: str, days: str
) -> None:
    knowledge.follow({"2023/returns.md": window(30), "2026/returns.md": window(14)})
    found = knowledge.ask(question)
    assert found.answer == days
    if days == "30 days":
        assert (found.dated, found.freshness) == ("2023", None)
        assert found.source == "docs:2023/returns.md"


@pytest.mark.parametrize(
    "text",
    ["Alles wurde geprüft. Über 14 Tage wird gestritten.", "Masz 14 dni. Żadne inne nie są ważne.",
     "Son 14 días. ¿Quién lo sabe hoy?", "Это верно. Срок 14 дней всегда."],
)  # fmt: skip
def test_sentences_end_in_every_script(text: str) -> None:
    first, second = _SENTENCE_END.split(text)
    assert first.endswith(".")
    assert f"{first} {second}" == text


def test_both_are_printed(knowledge: Knowledge, capsys: pytest.CaptureFixture[str]) -> None:
    knowledge.follow({"a/returns.md": window(30), "b/returns.md": window(14)})
    _print_answer(knowledge.ask(WINDOW))
    shown = capsys.readouterr().out
    assert "Sources differ" in shown
    assert "source docs:a/returns.md, without a date" in shown
    assert "30 days" in shown
    assert "14 days" in shown


@pytest.mark.skipif(not CASE_20.is_dir(), reason="../shared/cases is not there")
def test_the_newer_handbook_counts(knowledge: Knowledge) -> None:
    files = {str(at.relative_to(CASE_20)): at.read_text() for at in CASE_20.glob("*/*.md")}
    assert knowledge.follow(files) == []
    found = knowledge.ask(WINDOW)
    assert (found.answer, found.dated, found.differing) == ("14 days", "2026-02-01", ())
    assert found.source == "docs:2026/returns.md"
    assert found.valid_since == datetime(2026, 2, 1, tzinfo=UTC)


CASE_15 = Path(__file__).parents[3] / "../shared/cases/15-german-question/handbuch"
CHIEF = "Wer ist die Geschäftsführerin von Nordwind Möbel?"
NORDWIND = {
    "nordwind.md": "# Nordwind Möbel\n\n**Geschäftsführerin:** Ida Falkner\n\n## Rückgabe\n\n"
    "Ware kann innerhalb von 21 Tagen zurückgegeben werden.\n",
    "hire.md": "# Tool hire\n\nA late fee of 12 euros is charged for each day.\n",
}


@pytest.mark.parametrize("language", ["english", "german", "simple"])
def test_a_german_question_is_answered(knowledge: Knowledge, language: str) -> None:
    use_language(knowledge.postgres, language)
    knowledge.follow(NORDWIND)
    assert knowledge.said(CHIEF) == ["Ida Falkner"]
    assert knowledge.said("Wer ist der Chefkoch von Südwind?") == [None]
    (found,) = knowledge.said("Innerhalb von wie vielen Tagen kann Ware zurückgegeben werden?")
    assert "21 Tagen" in str(found)


def test_a_plural_finds_its_singular(knowledge: Knowledge) -> None:
    knowledge.follow(NORDWIND)
    assert "12 euros" in str(knowledge.ask("What are the late fees?").answer)
    assert "12 euros" in str(knowledge.ask("Tell me the late fee").answer)
    assert knowledge.ask("What are the parking fees of Hans?").answer is None


@pytest.mark.skipif(not CASE_15.is_dir(), reason="../shared/cases is not there")
def test_the_german_handbook_answers_in_both_languages(knowledge: Knowledge) -> None:
    knowledge.follow({at.name: at.read_text(encoding="utf-8") for at in CASE_15.glob("*.md")})
    assert knowledge.said(CHIEF) == ["Ida Falkner"]
    assert "12 euros" in str(knowledge.ask("What are the late fees?").answer)
