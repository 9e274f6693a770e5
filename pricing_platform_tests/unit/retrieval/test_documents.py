"""Documents follow their files, whatever these have become."""

from __future__ import annotations

import os
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.errors import PlatformError
from pricing_platform.retrieval.document_text import NotText, read_text
from pricing_platform.retrieval.documents import (
    DocumentFolder,
    DocumentsSummary,
    normalise_subject,
    reconcile_documents,
)
from pricing_platform.stores.postgres import Postgres
from pricing_platform_tests.unit.retrieval.document_files import folder_of, write

REAL = Path(__file__).parents[4] / "shared/data/insurellm/knowledge_base"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
SIX = {f"notes/{name}.md": f"# {name}\n\nAbout {name}." for name in "abcdef"}


def run(
    postgres: Postgres, *folders: DocumentFolder, limit: float = 0.2, now: datetime = NOON
) -> DocumentsSummary:
    return reconcile_documents(postgres, folders, deletion_share_limit=limit, now=now)


def counts(summary: DocumentsSummary) -> tuple[int, int, int, int]:
    return summary.inserted, summary.updated, summary.unchanged, summary.deleted


def state(postgres: Postgres) -> list[tuple[object, ...]]:
    """All rows, topic and date before the times at the end."""
    frame = postgres.frame("SELECT * FROM knowledge.documents ORDER BY document_id")
    times = ("observed_at", "verified_at")
    return frame.select(pl.exclude(times), *times).rows()


def field(postgres: Postgres, name: str, document_id: str) -> object:
    query = f"SELECT {name} FROM knowledge.documents WHERE document_id = %s"
    return postgres.frame(query, [document_id]).item()


def titles(postgres: Postgres) -> dict[str, str]:
    return dict(postgres.frame("SELECT path, title FROM knowledge.documents").iter_rows())


def test_documents_have_their_fields(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, {"people/ada.md": "# Ada  *Byron*\r\n\r\nMathematician."})
    assert counts(run(postgres, folder)) == (1, 0, 0, 0)
    (row,) = state(postgres)
    assert row[:7] == (
        "wiki:people/ada.md",
        "wiki",
        "people/ada.md",
        "people",
        "Ada Byron",
        "ada byron",
        "# Ada  *Byron*\n\nMathematician.",
    )
    assert row[10:] == (NOON, NOON)
    assert row[8:10] == ("ada byron", None)


def test_changes_are_followed_and_times_kept(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, SIX)
    assert counts(run(postgres, folder)) == (6, 0, 0, 0)
    write(folder.root, {"notes/a.md": "# a\n\nNew.", "notes/g.md": "# g\n\nCame."})
    (folder.root / "notes/f.md").unlink()
    assert counts(run(postgres, folder, now=LATER)) == (1, 1, 4, 1)
    times = {str(row[2]): row[10:] for row in state(postgres)}
    assert times["notes/a.md"] == times["notes/g.md"] == (LATER, LATER)
    assert times["notes/b.md"] == (NOON, LATER)
    assert "notes/f.md" not in times


def test_times_never_go_backwards(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, SIX)
    run(postgres, folder)
    write(folder.root, {"notes/a.md": "# a\n\nNew."})
    run(postgres, folder, now=NOON - timedelta(days=1))
    times = {str(row[2]): row[10:] for row in state(postgres)}
    assert times["notes/b.md"] == (NOON, NOON)
    just_after = NOON + timedelta(microseconds=1)
    assert times["notes/a.md"] == (just_after, just_after)


def test_times_ahead_of_the_clock_are_brought_back(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, SIX)
    clock = datetime.now(UTC)
    ahead = clock + timedelta(days=365)
    run(postgres, folder, now=ahead)
    write(folder.root, {"notes/a.md": "# a\n\nNew.", "notes/c.md": b"\0" * 9})
    reconcile_documents(
        postgres, [folder], deletion_share_limit=0.2, now=clock, paths=["wiki:notes/a.md"]
    )
    times = {str(row[2]): row[10:] for row in state(postgres)}
    assert times["notes/a.md"] == (clock, clock)
    assert times["notes/b.md"] == (ahead, ahead)
    run(postgres, folder, now=clock)
    times = {str(row[2]): row[10:] for row in state(postgres)}
    just_before = clock - timedelta(microseconds=1)
    assert times["notes/b.md"] == (just_before, clock)
    assert times["notes/c.md"] == (just_before, just_before)
    soon = clock + timedelta(minutes=1)
    run(postgres, folder, now=soon)
    run(postgres, folder, now=clock)
    assert field(postgres, "verified_at", "wiki:notes/b.md") == soon


def test_losing_too_many_is_refused_and_changes_nothing(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, SIX)
    run(postgres, folder)
    before = state(postgres)
    (folder.root / "notes/a.md").unlink()
    (folder.root / "notes/b.md").write_text("")
    write(folder.root, {"notes/c.md": "# c\n\nChanged."})
    with pytest.raises(PlatformError, match=r"2 of the 6 documents of wiki \(33%\)") as raised:
        run(postgres, folder, now=LATER)
    assert "PRICING_DELETION_SHARE_LIMIT=0.34" in raised.value.remedy
    assert state(postgres) == before
    assert counts(run(postgres, folder, limit=0.34)) == (0, 1, 3, 2)


@pytest.mark.parametrize("documents", [1, 6])
def test_a_folder_that_is_missing_or_empty_does_not_empty_the_store(
    postgres: Postgres, tmp_path: Path, documents: int
) -> None:
    folder, other = folder_of(tmp_path / "wiki"), folder_of(tmp_path / "big", "big")
    write(folder.root, dict(list(SIX.items())[:documents]))
    write(other.root, {f"{number}.md": f"Number {number}" for number in range(100)})
    run(postgres, folder, other)
    (folder.root / "notes").rename(tmp_path / "away")
    with pytest.raises(PlatformError, match=r"of wiki \(100%\)"):
        run(postgres, folder, other)
    folder.root.rmdir()
    with pytest.raises(PlatformError, match=r"of wiki \(100%\)"):
        run(postgres, folder, other)
    with pytest.raises(PlatformError, match=r"of wiki \(100%\)"):
        run(postgres, other)  # no longer configured
    assert run(postgres, other, limit=1.0).deleted == documents


def test_of_few_documents_one_may_go(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, {"a.md": "A", "b.md": "B", "c.md": "C"})
    run(postgres, folder)
    (folder.root / "a.md").unlink()
    assert run(postgres, folder).deleted == 1
    (folder.root / "b.md").unlink()
    assert run(postgres, folder).deleted == 1
    (folder.root / "c.md").unlink()
    with pytest.raises(PlatformError, match="1 of the 1 documents"):
        run(postgres, folder)


def test_documents_that_are_nearly_emptied_count_as_lost(
    postgres: Postgres, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, {path: text + " much" * 50 for path, text in SIX.items()})
    run(postgres, folder)
    write(folder.root, dict.fromkeys(SIX, "503"))
    with pytest.raises(PlatformError, match=r"6 of the 6 .* nearly empty"):
        run(postgres, folder)


def test_a_moved_document_is_told_and_not_counted_as_lost(
    postgres: Postgres, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, SIX)
    run(postgres, folder)
    (folder.root / "notes").rename(folder.root / "renamed")
    summary = run(postgres, folder)
    assert counts(summary) == (6, 0, 0, 6)
    assert summary.told[0] == ("wiki:renamed/a.md", "was wiki:notes/a.md before")


def test_copies_are_kept_and_told(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, {"a.md": "# Ada\n\nText", "b.md": "# Ada\n\nText"})
    summary = run(postgres, folder)
    assert counts(summary) == (2, 0, 0, 0)
    assert summary.told == [("wiki:b.md", "has the same content as wiki:a.md")]
    assert titles(postgres) == {"a.md": "Ada", "b.md": "Ada"}


def test_an_emptied_document_goes_and_is_told(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, SIX)
    run(postgres, folder)
    write(folder.root, {"notes/a.md": " \n\n"})
    summary = run(postgres, folder)
    assert counts(summary) == (0, 0, 5, 1)
    assert summary.told == [("wiki:notes/a.md", "holds no text and is left out")]


@pytest.mark.parametrize("binary", [b"text\0more", bytes(range(1, 256)) * 4])
def test_a_document_that_turned_binary_stays_as_it_was(
    postgres: Postgres, tmp_path: Path, binary: bytes
) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, SIX)
    run(postgres, folder)
    before = state(postgres)
    write(folder.root, {"notes/a.md": binary})
    summary = run(postgres, folder, now=LATER)
    assert counts(summary) == (0, 0, 5, 0)
    ((path, reason),) = summary.told
    assert path == "wiki:notes/a.md"
    assert reason.startswith("is not text")
    assert state(postgres)[0] == before[0]


def test_invalid_utf_8_is_mended_and_told(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, {"a.md": "Café – ".encode() + "naïve “quote”".encode("cp1252")})
    summary = run(postgres, folder)
    assert "not valid UTF-8" in summary.told[0][1]
    assert field(postgres, "content", "wiki:a.md") == "Café – naïve “quote”"


def test_utf_16_and_byte_order_marks_are_read(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, {"a.md": "Grüße".encode("utf-16"), "b.md": b"\xef\xbb\xbf# B\n\nText"})
    run(postgres, folder)
    assert field(postgres, "content", "wiki:a.md") == "Grüße"
    assert titles(postgres)["b.md"] == "B"


def test_a_line_of_a_megabyte_is_kept(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, {"a.md": "word " * 200_000 + "end"})
    run(postgres, folder)
    assert field(postgres, "length(content)", "wiki:a.md") == 1_000_003


def test_what_is_no_ordinary_file_of_the_folder_is_refused(
    postgres: Postgres, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(tmp_path, {"secret.md": "secret", "elsewhere/more.md": "secret"})
    write(folder.root, {"a.md": "text"})
    (folder.root / "out.md").symlink_to(tmp_path / "secret.md")
    (folder.root / "inside.md").symlink_to(folder.root / "a.md")
    (folder.root / "self.md").symlink_to(folder.root / "self.md")
    (folder.root / "gone.md").symlink_to(folder.root / "nothing.md")
    (folder.root / "folder").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder.root / "pipe.md")
    everything = folder.model_copy(update={"path": (f"{folder.root}/**/*.md", str(tmp_path))})
    for configured in (folder, everything):
        told = dict(run(postgres, configured).told)
        assert "out of the folder" in told["wiki:out.md"]
        assert "leads to itself" in told["wiki:self.md"]
        assert "ordinary file" in told["wiki:pipe.md"]
        assert sorted(titles(postgres)) == ["a.md", "inside.md"]
    assert "is not below" in told[f"wiki:{tmp_path}/secret.md"]


def test_a_folder_that_cannot_be_listed_keeps_its_documents(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, {**SIX, "other/z.md": "Z"})
    run(postgres, folder)
    scandir = os.scandir

    def denied(path: str) -> object:
        if Path(path).name == "notes":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    summary = run(postgres, folder)
    assert counts(summary) == (0, 0, 1, 0)
    assert summary.told == [
        ("wiki:notes/", "cannot be read: Permission denied; it stays as it was")
    ]
    assert len(state(postgres)) == 7


def test_a_file_that_cannot_be_read_stays_as_it_was(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, SIX)
    run(postgres, folder)
    read_bytes = Path.read_bytes

    def denied(path: Path) -> bytes:
        if path.name == "a.md":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", denied)
    summary = run(postgres, folder)
    assert counts(summary) == (0, 0, 5, 0)
    assert "Permission denied" in summary.told[0][1]


def test_names_that_cannot_be_stored_are_told(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    (folder.root / os.fsdecode(b"caf\xe9.md")).write_text("text")
    assert (r"wiki:caf\udce9.md", "has an unreadable name") in run(postgres, folder).told


def test_only_the_named_documents_are_looked_at(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    shared = {f"hr/{name}.md": f"# HR\n\n# {name}\n\nText" for name in ("Ada", "Bob", "Cy", "Di")}
    write(folder.root, shared)
    run(postgres, folder)
    write(folder.root, {path: f"{text} changed" for path, text in shared.items()})
    (folder.root / "hr/Cy.md").unlink()
    named = ["wiki:hr/Ada.md", "wiki:hr/Cy.md", "wiki:hr/none.md"]
    summary = reconcile_documents(
        postgres, [folder], deletion_share_limit=0.2, now=LATER, paths=named
    )
    assert counts(summary) == (0, 1, 0, 1)
    assert titles(postgres) == {"hr/Ada.md": "Ada", "hr/Bob.md": "Bob", "hr/Di.md": "Di"}
    assert field(postgres, "verified_at", "wiki:hr/Bob.md") == NOON


def test_headings_that_others_share_are_no_titles(postgres: Postgres, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(
        folder.root,
        {
            "people/1.md": "# HR Record\n\n# Ada\n\n## Summary\n- x",
            "people/2.md": "# HR Record\n\n# Bob\n\n## Summary\n- x",
            "people/3.md": "# Cy\n\n## Summary\n- x",
            "people/4.md": "# HR Record\n\n# Ada\n\n## Summary\n- edited",
            "logs/monday.md": "# Log\n\ntext",
            "logs/tuesday.md": "# Log\n\nother text",
            "products/Lamp.md": "Product\n===\n\n## Lamp\n\ntext",
            "products/Desk.md": "Product\n===\n\n## Desk\n\ntext",
            "top.md": "text\n\n# Later",
            "front.md": "---\ntitle: 2024-99-99\nsubject: The Lamp!\nkind: guide\n---\n# Other",
        },
    )
    run(postgres, folder)
    assert titles(postgres) == {
        "people/1.md": "Ada",
        "people/2.md": "Bob",
        "people/3.md": "Cy",
        "people/4.md": "Ada",
        "logs/monday.md": "monday",
        "logs/tuesday.md": "tuesday",
        "products/Lamp.md": "Lamp",
        "products/Desk.md": "Desk",
        "top.md": "top",
        "front.md": "2024-99-99",
    }
    assert field(postgres, "subject", "wiki:front.md") == "the lamp"
    assert field(postgres, "kind", "wiki:front.md") == "guide"
    assert field(postgres, "kind", "wiki:top.md") == "wiki"


def test_a_title_follows_its_neighbours_without_new_content(
    postgres: Postgres, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "wiki")
    write(folder.root, {"a.md": "# Log\n\ntext"})
    run(postgres, folder)
    assert titles(postgres) == {"a.md": "Log"}
    write(folder.root, {"b.md": "# Log\n\nmore"})
    assert counts(run(postgres, folder, now=LATER)) == (1, 1, 0, 0)
    assert titles(postgres) == {"a.md": "a", "b.md": "b"}
    assert field(postgres, "observed_at", "wiki:a.md") == NOON
    assert field(postgres, "verified_at", "wiki:a.md") == LATER


def test_html_becomes_markdown() -> None:
    page = (
        b"<html><head><title>Shop | Lamp</title><style>p {}</style></head><body>"
        b"<script>alert(1)</script><h1>Lamp_2</h1><p>A <a href='x'>bright</a> lamp &amp; more</p>"
        b"<table><tr><th>Key</th><th>Value</th></tr><tr><td>Watts</td><td>7</td></tr></table>"
        b"&#0;</body></html>"
    )
    found = read_text(page, html=True)
    assert found.content.startswith("# Lamp_2\n\nA bright lamp & more\n\n| Key | Value |")
    assert "alert" not in found.content
    assert "\0" not in found.content
    assert found.metadata["page_title"] == "Shop | Lamp"
    with pytest.raises(NotText, match="nested too deeply"):
        read_text(b"<div>" * 5000 + b"x", html=True)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("---\n- a\n- b\n---\ntext", "---\n- a\n- b\n---\ntext"),
        ("---\ntext with no end", "---\ntext with no end"),
        ("---\na: [\n---\ntext", "---\na: [\n---\ntext"),
        ("---\n---\ntext", "text"),
        ("---\na: !!python/object/apply:os.system [ls]\n---\ntext", None),
        ('---\ntitle: "a\\0b\\uD800"\n---\ntext', "text"),
    ],
)
def test_front_matter_is_only_data(text: str, content: str | None) -> None:
    found = read_text(text.encode(), html=False)
    assert found.content in (content, "text")
    found.metadata.get("title", "").encode()
    assert "\0" not in found.metadata.get("title", "")


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_text_that_can_be_stored_or_refused(data: bytes, html: bool) -> None:
    for prefix in (b"", b"---\ntitle: ", b"---\n", b"\xff\xfe"):
        try:
            found = read_text(prefix + data, html=html)
        except NotText:
            continue
        shown = [found.content, *found.metadata.values(), *(h.text for h in found.headings)]
        for text in shown:
            assert "\0" not in text
            assert "\r" not in text
            text.encode()


@given(st.text())
@settings(max_examples=500, deadline=None)
def test_subjects_are_normalised_once_and_for_all(text: str) -> None:
    found = normalise_subject(text)
    assert normalise_subject(found) == found
    assert found == " ".join(found.split())
    assert unicodedata.is_normalized("NFKC", found)
    found.encode()
    assert normalise_subject(f"  “{text}”. ") == found or not found


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("  Ada\u00a0 BYRON. ", "ada byron"),
        ("C#", "c#"),
        ("C++", "c++"),
        ("(Lamp)", "lamp"),
        ("Lamp (2024)", "lamp (2024)"),
        ("Lamp)", "lamp"),
        ("Michael O'Brien", "michael o'brien"),
        ("ﬁne\u200b Straße", "fine strasse"),
        ("???", ""),
    ],
)
def test_subjects(text: str, subject: str) -> None:
    assert normalise_subject(text) == subject


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not there")
def test_real_documents_are_called_what_they_are_about(postgres: Postgres) -> None:
    folder = DocumentFolder(name="insurellm", path=(str(REAL),), root=REAL)
    summary = run(postgres, folder)
    assert counts(summary) == (76, 0, 0, 0)
    found = titles(postgres)
    for path, title in found.items():
        if path.startswith("employees/"):
            assert title == Path(path).stem
    assert found["products/Carllm.md"] == "Carllm"
    assert found["company/about.md"] == "About Insurellm"
    assert counts(run(postgres, folder, now=LATER)) == (0, 0, 76, 0)


CASE_16 = Path(__file__).parents[3] / "../shared/cases/16-html-charset/site/zolta.html"


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta charset="windows-1250">', "cp1250"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-2">', "iso8859-2"),
        ("<meta charset='utf-8'>", "utf-8"),
        ("", "utf-8"),
    ],
)
def test_a_pages_declared_charset_is_honoured(head: str, encoding: str) -> None:
    page = f"<html><head>{head}</head><body><h1>Żółta Łódź</h1></body></html>"
    found = read_text(page.encode(encoding), html=True)
    assert found.content == "# Żółta Łódź"
    declared = b'<?xml version="1.0" encoding="windows-1250"?>' + page.encode("cp1250")
    if encoding == "cp1250":
        assert read_text(declared, html=True).content == "# Żółta Łódź"


def test_latin_1_is_what_browsers_take_it_for() -> None:
    page = b'<meta charset="iso-8859-1"><p>5\x80 \x96 caf\xe9</p>'
    assert read_text(page, html=True).content == "5€ – café"
    assert read_text(page.replace(b"iso-8859-1", b"klingon"), html=True).content == "5€ – café"


@pytest.mark.parametrize("label", ["hex", "rot13", "punycode", "unicode_escape", "idna", "klingon"])
def test_a_label_that_is_no_charset_is_none(label: str) -> None:
    page = f'<meta charset="{label}"><p>Café \\x41 is open</p>'.encode("cp1252")
    assert read_text(page, html=True).content == "Café \\x41 is open"


def test_a_page_in_utf_8_that_says_otherwise_is_read_and_told() -> None:
    found = read_text('<meta charset="iso-8859-2"><p>Opłaty</p>'.encode(), html=True)
    assert found.content == "Opłaty"
    assert "is in UTF-8, and not in iso8859-2 as it says" in found.told


def test_characters_that_a_declared_charset_has_not_are_told() -> None:
    page = b'<meta charset="windows-1250"><p>' + 40 * b"letters " + b"\x81</p>"
    found = read_text(page, html=True)
    assert "has 1 characters that are none in cp1250" in found.told


@pytest.mark.parametrize(("label", "encoding"), [("x-sjis", "cp932"), ("windows-874", "cp874")])
def test_charsets_have_the_labels_that_browsers_know(label: str, encoding: str) -> None:
    text = "ราคา" if encoding == "cp874" else "返品"
    page = f'<meta charset="{label}"><p>{text}</p>'.encode(encoding)
    assert read_text(page, html=True).content == text


@pytest.mark.skipif(not CASE_16.is_file(), reason="../shared/cases is not there")
def test_a_polish_page_is_read_as_it_says() -> None:
    found = read_text(CASE_16.read_bytes(), html=True)
    assert found.content.startswith("# Żółta Łódź")
    assert "**Prezes:** Łucja Święch" in found.content
    assert "\ufffd" not in found.content
