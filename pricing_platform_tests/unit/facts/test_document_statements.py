"""What documents state becomes observations: added, changed, dropped, moved and brought back."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.facts.document_statements import observe_documents
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.observations import RecordSummary
from pricing_platform.retrieval.documents import DocumentFolder, reconcile_documents
from pricing_platform.stores.postgres import Postgres

RULES = FactRules()
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = RecordSummary()
IRONVALE = "# Ironvale\n\n- **CEO:** Anna Berg\n- **Headquarters:** Oslo\n"


class Documents:
    """A folder that is read and observed day after day."""

    def __init__(self, postgres: Postgres, root: Path) -> None:
        self.postgres, self.root, self.day = postgres, root, 0

    def write(self, **contents: str | None) -> None:
        for name, content in contents.items():
            path = self.root / f"{name}.md"
            path.unlink() if content is None else path.write_text(content, encoding="utf-8")

    def time(self, day: int | None = None) -> datetime:
        return BEGAN + timedelta(days=self.day if day is None else day)

    def read(self) -> None:
        self.day += 1
        folder = DocumentFolder(name="docs", path=(str(self.root),), root=self.root)
        reconcile_documents(self.postgres, [folder], deletion_share_limit=1, now=self.time())

    def read_at(self, now: datetime, **contents: str | None) -> None:
        """Writes files and reads the folder at a time of any clock."""
        self.write(**contents)
        folder = DocumentFolder(name="docs", path=(str(self.root),), root=self.root)
        reconcile_documents(self.postgres, [folder], deletion_share_limit=1, now=now)

    def follow(self, **contents: str | None) -> RecordSummary:
        """Writes files, reads the folder a day later and observes it."""
        self.write(**contents)
        self.read()
        return self.observe()

    def observe(self, *names: str) -> RecordSummary:
        ids = [f"docs:{name}.md" for name in names] or None
        return observe_documents(self.postgres, RULES, document_ids=ids)

    def current(self, attribute: str, subject: str = "ironvale") -> list[str]:
        frame = self.postgres.frame(
            "SELECT value FROM knowledge.current_facts WHERE (subject, attribute) = (%s, %s)"
            " ORDER BY value",
            [subject, attribute],
        )
        return frame["value"].to_list()

    def as_of(self, day: float, attribute: str = "ceo") -> list[str]:
        at = BEGAN + timedelta(days=day)
        frame = self.postgres.frame(
            "SELECT value FROM knowledge.facts_as_of(%s, %s) WHERE attribute = %s",
            [at, at, attribute],
        )
        return frame["value"].to_list()

    def observed(self, attribute: str = "ceo") -> list[tuple[str, int, tuple[str, ...]]]:
        """Source, day and values of each observation."""
        rows = self.postgres.frame(
            "SELECT source, observed_at, array_to_string(stated, '|') AS stated"
            " FROM knowledge.observations JOIN knowledge.fact_series USING (series_id)"
            " WHERE attribute = %s ORDER BY observed_at, source, valid_from",
            [attribute],
        ).rows()
        return [
            (source.removeprefix("docs:"), (at - BEGAN).days, tuple(filter(None, said.split("|"))))
            for source, at, said in rows
        ]


@pytest.fixture
def documents(postgres: Postgres, tmp_path: Path) -> Documents:
    return Documents(postgres, tmp_path)


def test_what_a_document_states_is_a_fact(documents: Documents) -> None:
    summary = documents.follow(a=IRONVALE)
    assert (summary.observations, summary.series, summary.versions) == (2, 2, 2)
    assert documents.current("ceo") == ["Anna Berg"]
    (row,) = documents.postgres.frame(
        "SELECT source, kind, valid_since, verified_at, connector FROM knowledge.current_facts"
        " WHERE attribute = 'ceo'"
    ).rows()
    assert row == (
        "docs:a.md",
        "office_holder",
        documents.time(),
        documents.time(),
        "document_folder",
    )


def test_the_place_is_kept_with_the_chunk_that_holds_it(documents: Documents) -> None:
    documents.write(a=IRONVALE)
    documents.read()
    with documents.postgres.connection() as connection:
        for ordinal, (start, end) in enumerate([(0, 12), (12, 35), (35, len(IRONVALE) - 1)]):
            connection.execute(
                "INSERT INTO knowledge.chunks VALUES"
                " (%s, 'docs:a.md', 'docs', 'docs', 'ironvale', %s, '', %s, %s, %s, '', '')",
                [f"docs:a.md#{ordinal}", ordinal, start, end, IRONVALE[start:end]],
            )
    documents.observe()
    rows = documents.postgres.frame(
        "SELECT chunk_id, start_character, end_character FROM knowledge.observations ORDER BY 2"
    ).rows()
    assert [(chunk, IRONVALE[start:end]) for chunk, start, end in rows] == [
        ("docs:a.md#1", "Anna Berg"),
        ("docs:a.md#2", "Oslo"),
    ]
    changed = IRONVALE.replace("Anna Berg", "Ben Ode")
    documents.follow(a=changed)
    (row,) = documents.postgres.frame(
        "SELECT chunk_id, start_character, end_character FROM knowledge.observations"
        " WHERE stated = '{Ben Ode}'"
    ).rows()
    assert (row[0], changed[row[1] : row[2]]) == (None, "Ben Ode")


def test_twice_is_as_once_and_verified_again_is_observed_again(documents: Documents) -> None:
    documents.follow(a=IRONVALE)
    assert documents.observe() == NOTHING
    again = documents.follow()
    assert (again.observations, again.series, again.versions) == (2, 0, 0)
    (verified_at,) = documents.postgres.frame(
        "SELECT DISTINCT verified_at FROM knowledge.fact_series"
    ).row(0)
    assert verified_at == documents.time(2)


def test_a_changed_value_retires_the_old_one(documents: Documents) -> None:
    documents.follow(a=IRONVALE)
    documents.follow(a=IRONVALE.replace("Anna Berg", "Ben Ode"))
    assert documents.current("ceo") == ["Ben Ode"]
    assert documents.current("headquarters") == ["Oslo"]
    assert documents.as_of(1.5) == ["Anna Berg"]


def test_what_is_no_longer_stated_is_observed_once(documents: Documents) -> None:
    documents.follow(a=IRONVALE)
    without = IRONVALE.replace("- **CEO:** Anna Berg\n", "")
    documents.follow(a=without)
    documents.follow(a=without)
    assert documents.current("ceo") == []
    assert documents.current("headquarters") == ["Oslo"]
    assert documents.observed() == [("a.md", 1, ("Anna Berg",)), ("a.md", 2, ())]


def test_a_resignation_ends_what_the_document_said(documents: Documents) -> None:
    documents.follow(a=IRONVALE)
    documents.follow(a=f"{IRONVALE}\nAnna Berg resigned as CEO of Ironvale.\n")
    assert documents.current("ceo") == []
    assert documents.observe() == NOTHING


def test_a_vanished_document_states_nothing_from_now_on(documents: Documents) -> None:
    documents.follow(a=IRONVALE, b="# Other\n\n**CEO:** Cleo Das\n")
    before = datetime.now(UTC)
    documents.follow(a=None)
    assert documents.current("ceo") == []
    assert documents.current("ceo", "other") == ["Cleo Das"]
    (gone,) = documents.postgres.frame(
        "SELECT DISTINCT observed_at FROM knowledge.observations WHERE stated = '{}'"
    ).row(0)
    assert before - timedelta(seconds=5) < gone < datetime.now(UTC) + timedelta(seconds=5)
    assert documents.observe() == NOTHING


def test_a_restored_document_states_it_again(documents: Documents) -> None:
    documents.follow(a=IRONVALE, b="# Other\n\n**CEO:** Cleo Das\n")
    documents.follow(a=None)
    documents.write(a=IRONVALE)
    folder = DocumentFolder(name="docs", path=(str(documents.root),), root=documents.root)
    reconcile_documents(documents.postgres, [folder], deletion_share_limit=1)
    documents.observe()
    assert documents.current("ceo") == ["Anna Berg"]
    assert documents.current("headquarters") == ["Oslo"]


def test_a_text_changed_and_changed_back_is_as_it_was(documents: Documents) -> None:
    for content in (IRONVALE, IRONVALE.replace("Anna Berg", "Ben Ode"), IRONVALE):
        documents.follow(a=content)
    assert documents.current("ceo") == ["Anna Berg"]
    assert [documents.as_of(day) for day in (1.5, 2.5, 3.5)] == [
        ["Anna Berg"],
        ["Ben Ode"],
        ["Anna Berg"],
    ]


def test_a_moved_document_keeps_its_facts(documents: Documents) -> None:
    documents.follow(a=IRONVALE)
    documents.follow(a=None, b=IRONVALE)
    assert documents.current("ceo") == ["Anna Berg"]
    (since,) = documents.postgres.frame(
        "SELECT valid_since FROM knowledge.current_facts WHERE attribute = 'ceo'"
    ).row(0)
    assert since == documents.time(1)
    assert [(source, values) for source, _, values in documents.observed()] == [
        ("a.md", ("Anna Berg",)),
        ("b.md", ("Anna Berg",)),
        ("a.md", ()),
    ]


def test_a_renamed_subject_leaves_nothing_behind(documents: Documents) -> None:
    documents.follow(a=IRONVALE)
    documents.follow(a=IRONVALE.replace("# Ironvale", "# Ironvale Works"))
    assert documents.current("ceo") == []
    assert documents.current("ceo", "ironvale works") == ["Anna Berg"]


def test_what_two_documents_state_stays_until_neither_does(documents: Documents) -> None:
    documents.follow(a=IRONVALE, b="# News\n\nAnna Berg is the CEO of Ironvale.\n")
    assert documents.current("ceo") == ["Anna Berg"]
    documents.follow(a="# Ironvale\n\nPots.\n")
    assert documents.current("ceo") == ["Anna Berg"]
    documents.follow(b="# News\n\nNone.\n")
    assert documents.current("ceo") == []


def test_a_date_in_the_text_is_since_when_it_holds(documents: Documents) -> None:
    documents.follow(a="# News\n\nBen Ode was appointed CEO of Ironvale on 1 March 2025.\n")
    (since,) = documents.postgres.frame("SELECT valid_since FROM knowledge.current_facts").row(0)
    assert since == datetime(2025, 3, 1, tzinfo=UTC)


def test_an_earlier_date_still_ends_what_the_document_said_before(documents: Documents) -> None:
    documents.follow(a="# News\n\nAnna Berg is the CEO of Ironvale.\n")
    documents.follow(a="# News\n\nBen Ode was appointed CEO of Ironvale on 1 March 2025.\n")
    assert documents.current("ceo") == ["Ben Ode"]
    assert documents.as_of(1.5) == ["Anna Berg"]
    assert documents.observe() == NOTHING
    documents.follow()
    assert documents.current("ceo") == ["Ben Ode"]


def test_what_was_to_hold_later_is_taken_back(documents: Documents) -> None:
    documents.follow(a="# News\n\nBen Ode was appointed CEO of Ironvale on 1 March 2099.\n")
    documents.follow(a="# News\n\nNone.\n")
    later = datetime(2099, 6, 1, tzinfo=UTC)
    frame = documents.postgres.frame("SELECT value FROM knowledge.facts_as_of(%s)", [later])
    assert frame.is_empty()
    assert documents.observe() == NOTHING


def test_only_the_named_documents_are_observed(documents: Documents) -> None:
    other = "# Other\n\n**CEO:** Cleo Das\n"
    documents.follow(a=IRONVALE, b=other, c="# Third\n\n**CEO:** Dana Ek\n")
    documents.write(a=IRONVALE.replace("Anna Berg", "Ben Ode"), b=None, c=None)
    documents.read()
    documents.observe("a", "b")
    assert documents.current("ceo") == ["Ben Ode"]
    assert documents.current("ceo", "other") == []
    assert documents.current("ceo", "third") == ["Dana Ek"]
    documents.observe()
    assert documents.current("ceo", "third") == []


def test_other_sources_are_left_alone(documents: Documents) -> None:
    from pricing_platform.facts.observations import Observation, record

    shop = Observation("ironvale", "ceo", "northwind", ("Eva Fry",), BEGAN)
    record(documents.postgres, [shop], RULES)
    documents.follow(a=IRONVALE)
    documents.follow(a="# Ironvale\n\nPots.\n")
    assert documents.current("ceo") == ["Eva Fry"]
    assert [source for source, _, values in documents.observed() if not values] == ["a.md"]


def test_a_name_of_any_length_keeps_no_facts_away(documents: Documents) -> None:
    heading = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(9_900))
    documents.follow(
        a=IRONVALE,
        b=f"# {heading}\n\n**CEO:** Cleo Das\n",
        c=f"# Third\n\nPots.\n\n## {heading}\n\n- **2020:** 7\n",
    )
    assert documents.current("ceo") == ["Anna Berg"]
    assert documents.current("ceo", heading[:300]) == ["Cleo Das"]
    frame = documents.postgres.frame("SELECT title, subject FROM knowledge.documents")
    assert frame.filter(frame["title"].str.starts_with(heading[:9])).rows() == [
        (heading[:300], heading[:300])
    ]


def test_a_document_that_is_read_while_another_observes_is_not_gone(
    documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pricing_platform.facts import document_statements as module

    documents.follow(b="# Other\n\n**CEO:** Cleo Das\n")
    other = threading.Thread(target=documents.follow, kwargs={"a": IRONVALE})
    read = module._documents

    def read_then_wait(*arguments: Any) -> Any:
        found = read(*arguments)
        if threading.current_thread() is not other:
            other.start()
            while other.is_alive() and not _waits(documents.postgres):
                time.sleep(0.01)
        return found

    monkeypatch.setattr(module, "_documents", read_then_wait)
    documents.observe()
    other.join()
    assert documents.current("ceo") == ["Anna Berg"]
    assert all(values for _, _, values in documents.observed())


def _waits(postgres: Postgres) -> bool:
    return not postgres.frame("SELECT 1 FROM pg_locks WHERE NOT granted").is_empty()


def test_a_clock_that_was_ahead_stops_no_facts(documents: Documents) -> None:
    began = datetime.now(UTC)
    documents.follow(b="# Other\n\n**CEO:** Cleo Das\n")
    documents.read_at(began + timedelta(days=365), a=IRONVALE)
    with pytest.raises(PlatformError, match="future"):
        documents.observe()
    documents.read_at(began)
    documents.observe()
    assert documents.current("ceo") == ["Anna Berg"]
    documents.read_at(
        datetime.now(UTC), a=IRONVALE.replace("Anna Berg", "Ben Ode"), b="# Other\n\nNothing.\n"
    )
    documents.observe()
    assert documents.current("ceo") == ["Ben Ode"]
    assert documents.current("ceo", "other") == []


def test_each_of_several_values_is_a_fact_of_its_own(documents: Documents) -> None:
    documents.follow(a="# Ironvale\n\n**Products:** Pots, Pans and Lids\n")
    assert documents.current("products") == ["Lids", "Pans", "Pots"]
    documents.follow(a="# Ironvale\n\n**Products:** Pots\n\n**Products:** Woks\n")
    assert documents.current("products") == ["Pots", "Woks"]


def test_a_list_of_any_length_keeps_no_facts_away(documents: Documents) -> None:
    names = ["".join(chr(0x4E00 + n * k % 20_000) for k in range(1, 99)) for n in range(7001, 7099)]
    lines = "\n\n".join(f"**Products:** {name}" for name in names)
    documents.follow(a=IRONVALE, b=f"# Other\n\n{lines}\n")
    assert documents.current("ceo") == ["Anna Berg"]
    assert set(documents.current("products", "other")) < set(names)


NOTE = "# News\n\nOn 3 January 2026, Anna Berg resigned as CEO of Ironvale.\n"


def test_a_resignation_is_believed_wherever_it_is_told(documents: Documents) -> None:
    documents.follow(a=IRONVALE)
    documents.follow(news=NOTE)
    assert documents.current("ceo") == []
    assert documents.current("headquarters") == ["Oslo"]
    documents.follow()
    assert documents.current("ceo") == []
    assert documents.as_of(1.5) == ["Anna Berg"]
    documents.follow(a=IRONVALE.replace("Anna Berg", "Tom Rask"))
    assert documents.current("ceo") == ["Tom Rask"]


def test_who_came_back_holds_the_office_again(documents: Documents) -> None:
    documents.follow(a=IRONVALE, news=NOTE)
    assert documents.current("ceo") == []
    documents.follow(a=IRONVALE + "\nShe came back.\n")
    assert documents.current("ceo") == ["Anna Berg"]


def test_a_resignation_that_is_taken_back_ends_nothing(documents: Documents) -> None:
    documents.follow(a=IRONVALE, b=IRONVALE, news=NOTE)
    assert documents.current("ceo") == []
    documents.follow(news=None)
    assert documents.current("ceo") == ["Anna Berg"]


def test_an_appointment_after_the_resignation_stands(documents: Documents) -> None:
    documents.follow(
        news=NOTE, later="# More\n\nOn 5 January 2026, Anna Berg was appointed CEO of Ironvale.\n"
    )
    documents.follow()
    documents.follow()
    documents.follow()
    documents.follow()
    assert documents.current("ceo") == ["Anna Berg"]
