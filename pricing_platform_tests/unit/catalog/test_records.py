from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricing_platform.catalog.data_files import file_kind
from pricing_platform.catalog.file_layout import DeclaredLayout, file_layout
from pricing_platform.catalog.file_text import FileLayout, text_lines
from pricing_platform.catalog.records import count_rows, row_batches, stage_records
from pricing_platform.errors import PlatformError

Row = tuple[int, dict[str, str] | None, str | None, str | None]


def counted(file: Path, **declared: str) -> int:
    return count_rows(file, file_layout(file, DeclaredLayout(**declared)))


def staged(file: Path, **declared: str) -> list[Row]:
    """(row number, record, fault, line) of every row, after the count was found right."""
    target = file.with_suffix(".staged")
    layout = file_layout(file, DeclaredLayout(**declared))
    with duckdb.connect() as connection:
        stage_records(connection, file, layout, target)
        rows = connection.execute(
            "SELECT row_number, record, fault, line FROM read_parquet(?) ORDER BY row_number",
            [str(target)],
        ).fetchall()
    assert count_rows(file, layout) == len(rows)
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    return [(number, record and json.loads(record), *rest) for number, record, *rest in rows]


def written(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return file


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.NDJSON"])
def test_json_lines_all_come_out(tmp_path: Path, name: str) -> None:
    lines = [
        b'\xef\xbb\xbf{"a": 1}',
        b"",
        b'{"a": "x',
        b"[1, 2]",
        b'{"a": "\xff"}',
        b'{"long": "' + b"x" * 200_000 + b'"}',
        b'{"a": 2}\r',
    ]
    rows = staged(written(tmp_path, name, b"\n".join(lines)))
    assert [(record is not None, fault) for _, record, fault, _ in rows] == [
        (True, None),
        (False, "not a JSON object"),
        (False, "not a JSON object"),
        (False, "not UTF-8 at byte 8"),
        (True, None),
        (True, None),
    ]
    assert [line for *_, line in rows if line] == ['{"a": "x', "[1, 2]", '{"a": "\\xff"}']


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv_rows_all_come_out(tmp_path: Path, name: str) -> None:
    lines = [
        b"id;title;price",
        "1;plän;2".encode(),
        b'2;"two',
        b'lines; and a ""quote""";3',
        b'3;15" screen;4',
        b"4;caf\xe9;5",
        b"5;too;many;fields",
        b"6;few",
        b"",
        '7;"ökay";8'.encode(),
    ]
    rows = staged(written(tmp_path, name, b"\r\n".join(lines)))
    assert [record["title"] if record else fault for _, record, fault, _ in rows] == [
        "plän",
        'two\nlines; and a "quote"',
        '15" screen',
        "not UTF-8 at byte 6",
        "not 3 fields separated by ';'",
        "not 3 fields separated by ';'",
        "ökay",
    ]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pieces=st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"\xff", b" "]), max_size=20),
    size=st.integers(1, 8),
)
def test_lines_do_not_depend_on_how_many_bytes_are_read_at_once(
    tmp_path: Path, pieces: list[bytes], size: int
) -> None:
    content = b"".join(pieces)
    file = written(tmp_path, "a.jsonl", content)
    lines = [line.rstrip(b"\r") for line in content.removesuffix(b"\n").split(b"\n") if content]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pricing_platform.catalog.file_text._BLOCK_BYTES", size)
        assert list(text_lines(file, FileLayout("json", encoding="utf-8"))) == lines


def test_batches_are_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pricing_platform.catalog.records._BATCH_BYTES", 1_000)
    lines = ["id,title", *(f"{n},{'x' * 400}" for n in range(10))]
    file = written(tmp_path, "a.csv", "\n".join(lines).encode())
    batches = list(row_batches(file, file_layout(file, DeclaredLayout())))
    assert [batch.num_rows for batch in batches] == [3, 3, 3, 1]


def test_a_quote_that_is_never_closed_costs_its_own_row_only(tmp_path: Path) -> None:
    good = [f"{n},title {n}" for n in range(2, 1200)]
    file = written(tmp_path, "a.csv", "\n".join(["id,title", '1,"open', *good]).encode())
    rows = staged(file)
    assert len(rows) == 1199
    assert [number for number, record, *_ in rows if record is None] == [1]


@pytest.mark.parametrize("lines", [601, 20_000])
def test_a_quoted_value_may_have_many_lines(tmp_path: Path, lines: int) -> None:
    text = "\n".join(f"<p>size {n}, colour {n}</p>" for n in range(lines))
    file = written(tmp_path, "a.csv", f'id,title,price\n1,"{text}",5\n2,Pan,6\n'.encode())
    rows = staged(file)
    assert [record["title"] if record else fault for _, record, fault, _ in rows] == [text, "Pan"]


def test_rows_after_an_open_quote_keep_their_lines(tmp_path: Path) -> None:
    rows = [f'{n},"two\nlines {n}"' for n in range(2, 50)]
    file = written(tmp_path, "a.csv", "\n".join(["id,title", '1,"open', *rows]).encode())
    found = staged(file)
    assert [record for _, record, *_ in found[1:]] == [
        {"id": str(n), "title": f"two\nlines {n}"} for n in range(2, 50)
    ]
    assert found[0][2:] == ("not 2 fields separated by ','", '1,"open')


def test_two_open_quotes_do_not_swallow_the_rows_between(tmp_path: Path) -> None:
    good = [f"{n},title {n}" for n in range(2, 300)]
    lines = ["id,title", '1,"open', *good, '300,screen of 15"', "301,x"]
    found = staged(written(tmp_path, "a.csv", "\n".join(lines).encode()))
    assert [number for number, record, *_ in found if record is None] == [1]
    assert len(found) == 301


@pytest.mark.parametrize("heading", ['"Preis\nEUR"', '"Preis\r\n EUR"', '"Preis\rEUR"'])
def test_a_heading_may_have_a_line_break(tmp_path: Path, heading: str) -> None:
    file = written(tmp_path, "a.csv", f"sep=,\nid,{heading}\n1,5\n".encode())
    assert [record for _, record, *_ in staged(file)] == [{"id": "1", "Preis EUR": "5"}]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("field", ['"<p>one\r<p>two"', "<p>one\r<p>two"])
def test_carriage_returns_in_fields_are_blanks(tmp_path: Path, end: str, field: str) -> None:
    lines = ["id,title,price", f"1,{field},5", "2,Pan;big,6", ""]
    rows = staged(written(tmp_path, "a.csv", end.join(lines).encode()))
    titles = [record["title"].split() for _, record, *_ in rows if record]
    assert titles == [["<p>one", "<p>two"], ["Pan;big"]]


def test_a_field_may_be_long(tmp_path: Path) -> None:
    text = "x" * 200_000
    rows = staged(written(tmp_path, "a.csv", f"id,title\n1,{text}\n2,y\n".encode()))
    assert [len(record["title"]) for _, record, *_ in rows if record] == [200_000, 1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\x85"), max_size=8),
                 min_size=3, max_size=3),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_what_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b", "c"], *rows])
    file = written(tmp_path_factory.mktemp("csv"), "x.csv", buffer.getvalue().encode())
    assert [list(record.values()) for _, record, *_ in staged(file) if record] == rows


def test_parquet_rows_are_numbered(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    duckdb.execute(f"COPY (SELECT i, 'n' || i AS n FROM range(3) r(i)) TO '{file}'")
    assert [record for _, record, *_ in staged(file)] == [{"i": i, "n": f"n{i}"} for i in range(3)]


@pytest.mark.parametrize(("name", "other"), [("a[1]", "a1"), ("a*", "ab"), ("a?", "ab")])
def test_a_name_is_no_pattern(tmp_path: Path, name: str, other: str) -> None:
    for text in (name, other):
        duckdb.execute(f"COPY (SELECT '{text}' AS n) TO '{tmp_path}/{text}.parquet'")
    file = tmp_path / f"{name}.parquet"
    layout = file_layout(file, DeclaredLayout())
    assert count_rows(file, layout) == 1
    with duckdb.connect() as connection:
        stage_records(connection, file, layout, tmp_path / "staged.parquet")
    ((record,),) = duckdb.execute(f"SELECT record FROM '{tmp_path}/staged.parquet'").fetchall()
    assert json.loads(record) == {"n": name}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", b"PK\x03\x04\0\0\0", "is not text but binary"),
        ("a.csv", b"\0\1\2", "is not text but binary"),
        ("a.jsonl", b"\n\n", "has no rows"),
        ("a.csv", b"id,title\n", "has no rows"),
        ("a.csv", b"just a sentence\nand one more\n", "not a CSV file with a header"),
        ("a.csv", b"id,id\n1,2\n", "not a CSV file with a header"),
        ("a.parquet", b"no parquet", "cannot be read as a Parquet file"),
        ("a.xlsx", b"x", "cannot be read as an Excel file"),
        ("a.doc", b"x", "does not say what kind of file it is"),
        ("a.zip", b"x", "cut off or damaged"),
        ("a.json", b'{"a": {"b": 1}, \n "c": 2}', "a JSON document without an array of objects"),
        ("a.json", b'[{"a": 1}, {"a":', "cut off or is no JSON"),
    ],
)
def test_a_file_that_is_something_else_is_refused(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    with pytest.raises(PlatformError, match=told):
        counted(written(tmp_path, name, content))


def test_damaged_compression_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"a": 1}\n' * 10_000)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_bytes(b'{"a": 1}\n')
    for file in (cut, plain):
        with pytest.raises(PlatformError, match="cut off or damaged"):
            counted(file)


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pricing_platform.catalog.file_text.LONGEST_LINE", 2**20)
    with pytest.raises(PlatformError, match="a line of more than 1 MB"):
        counted(written(tmp_path, "a.jsonl", b"x" * (2**20 + 5)))


def test_a_parquet_file_with_broken_pages_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    duckdb.execute(f"COPY (SELECT i, 'n' || i AS n FROM range(5000) r(i)) TO '{file}'")
    content = bytearray(file.read_bytes())
    content[4:600] = bytes(596)
    file.write_bytes(content)
    assert counted(file) == 5000
    with pytest.raises(PlatformError, match="cannot be read as a Parquet file"):
        staged(file)


def test_names_say_what_a_file_is() -> None:
    names = ("A.JSONL.GZ", "b.tsv", "c.parquet", "D.CSV", "e.json", "f.XLSX")
    assert [file_kind(Path(name)) for name in names] == [
        "json",
        "csv",
        "parquet",
        "csv",
        "json",
        "xlsx",
    ]
