"""The date that a document gives itself, and what is none."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.retrieval.document_dates import (
    begins,
    dates_in,
    document_date,
    ends,
    is_newer,
    read_date,
)

DAYS = st.dates(date(1900, 1, 1), date(2099, 12, 31))


@given(DAYS)
def test_one_day_in_all_spellings(day: date) -> None:
    iso = day.isoformat()
    spellings = [
        iso,
        f"{iso}T10:00:00Z",
        f"{iso} 10:00:00+02:00",
        f"{day:%Y%m%d}",
        f"{day:%Y/%m/%d}",
        f"{day:%d.%m.%Y}",
        f"{day.day} {day:%B %Y}",
        f"{day:%B} {day.day}, {day.year}",
        f"{day:%a, %d %b %Y} 10:00:00 GMT",
    ]
    assert {read_date(spelling) for spelling in spellings} == {iso}
    assert read_date(f"{day:%B %Y}") == f"{day:%Y-%m}"
    assert read_date(str(day.year)) == str(day.year)
    in_name = dict(dates_in(f"returns_{iso}_final"))
    assert in_name == {iso: (8, 18)}


@given(DAYS)
def test_what_may_be_two_days_is_none(day: date) -> None:
    read = read_date(f"{day:%m/%d/%Y}")
    assert read == (day.isoformat() if day.day > 12 or day.day == day.month else None)


@given(st.text(max_size=40))
def test_any_text_is_read(text: str) -> None:
    found = read_date(text)
    assert found is None or datetime.fromisoformat(f"{found}-01-01"[:10])
    assert document_date(f"{text}.md", text, text, text, text).topic is not None


@pytest.mark.parametrize(
    ("text", "dated"),
    [
        ("1. Februar 2026", "2026-02-01"),
        ("1er février 2026", "2026-02-01"),
        ("1 de febrero de 2026", "2026-02-01"),
        ("Q3 2026", "2026-07"),
        ("2026-13-01", None),
        ("2026-02-30", None),
        ("soon", None),
        ("3026", None),
    ],
)
def test_dates(text: str, dated: str | None) -> None:
    assert read_date(text) == dated


@pytest.mark.parametrize(
    ("name", "dated", "topic"),
    [
        ("returns-2023", "2023", "returns"),
        ("2026-02-01-returns", "2026-02-01", "returns"),
        ("returns (2026)", "2026", "returns"),
        ("returns, february 2026", "2026-02", "returns"),
        ("pricelist_q3_2026", "2026-07", "pricelist"),
        ("handbook 2023-2024", None, "handbook 2023-2024"),
        ("iso 9001:2015 certificate", None, "iso 9001:2015 certificate"),
        ("acme 2000", None, "acme 2000"),
        ("pycharm 2026.1", None, "pycharm 2026.1"),
        ("2023", "2023", "2023"),
    ],
)
def test_a_title_is_a_topic_and_its_date(name: str, dated: str | None, topic: str) -> None:
    found = document_date("x.md", name, name, "", None)
    assert (found.dated, found.topic) == (dated, topic)


@pytest.mark.parametrize(
    ("path", "title", "content", "declared", "dated"),
    [
        ("2023/returns.md", "Returns", "", None, "2023"),
        ("a/2026/02/03/returns.md", "Returns", "", None, "2026-02-03"),
        ("2026/q2/returns.md", "Returns", "", None, "2026-04"),
        ("archive-2023/returns.md", "Returns", "", None, "2023"),
        ("returns-2024.md", "Returns", "", None, "2024"),
        ("returns.md", "Returns 2025", "", None, "2025"),
        ("returns.md", "Returns", "Valid from 1 February 2026.", None, "2026-02-01"),
        ("returns.md", "Returns", "x\n\n**Last updated:** 2026-02-01", None, "2026-02-01"),
        ("returns.md", "Returns", "| Effective date | 1 March 2026 |", None, "2026-03-01"),
        ("returns.md", "Returns", "Stand: 01.02.2026", None, "2026-02-01"),
        ("returns.md", "Returns", "Updated: 2026-01-01\n\nUpdated: 2026-02-01", None, None),
        ("returns.md", "Returns", "Goods were sold on 1 March 2026.", None, None),
        ("returns.md", "Returns", "", "2026-02-01", "2026-02-01"),
        ("returns.md", "Returns", "", "02/01/2026", None),
        ("returns.md", "Returns", "", None, None),
    ],
)
def test_where_a_document_has_its_date(
    path: str, title: str, content: str, declared: str | None, dated: str | None
) -> None:
    assert document_date(path, title, title.casefold(), content, declared).dated == dated


def test_what_does_not_agree_is_told() -> None:
    found = document_date("2026/returns.md", "Returns", "returns", "", "2023-02-01")
    assert found.dated == "2023-02-01"
    assert found.told == ("is of 2023-02-01 by its declaration, not of 2026 as its folder says",)
    assert not document_date("2026/returns.md", "Returns", "returns", "", "2026-02-01").told
    (told,) = document_date("returns.md", "Returns", "returns", "", "02/01/2026").told
    assert "'02/01/2026'" in told


def test_dates_of_different_exactness_are_compared_as_far_as_they_go() -> None:
    assert is_newer("2026", "2023-02-01")
    assert is_newer("2026-03", "2026-02-28")
    assert not is_newer("2026-02", "2026")
    assert not is_newer("2026", "2026-02")
    assert not is_newer("2026", "2026")
    assert not is_newer("2026", None)
    assert not is_newer(None, "2023")
    assert begins("2026-02") == datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lines", "dated"),
    [
        ("Effective: 1 January 2024\nLast updated: 3 March 2026", "2024-01-01"),
        ("Last reviewed: 2025-05-05\nUpdated 2024-04-04", "2024-04-04"),
        ("- Last updated: 3 March 2026", "2026-03-03"),
        ("Last updated: 3 March 2026 by Jane", "2026-03-03"),
        ("Letzte Änderung: 3. März 2026", "2026-03-03"),
        ("Gültig ab dem 1.2.2026", "2026-02-01"),
        ("Dernière mise à jour : 2 février 2026", "2026-02-02"),
        ("Última actualización: 2026-02-02", "2026-02-02"),
        ("Ultimo aggiornamento: 2026-02-02", "2026-02-02"),
        ("Obowiązuje od 2026-02-02 r.", "2026-02-02"),
        ("```\ndate: 2019-01-01\n```", None),
        ("Updated 2024-04-04\nUpdated 2025-05-05", None),
    ],
)
def test_lines_that_date_a_document(lines: str, dated: str | None) -> None:
    found = document_date("a.md", "Returns", "Returns", f"# Returns\n\n{lines}\n", None)
    assert found.dated == dated


@pytest.mark.parametrize(
    ("dated", "after"),
    [("2026", "2027-01-01"), ("2026-02", "2026-03-01"), ("2026-12", "2027-01-01"),
     ("2024-02-29", "2024-03-01")],
)  # fmt: skip
def test_when_a_date_ends(dated: str, after: str) -> None:
    assert ends(dated) == begins(after)
