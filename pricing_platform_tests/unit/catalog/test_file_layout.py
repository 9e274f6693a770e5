"""How files are written is declared or found, recorded, and never guessed in silence."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zipfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pricing_platform.catalog.curation import curate_listings
from pricing_platform.catalog.file_layout import DeclaredLayout, file_layout
from pricing_platform.catalog.ingestion import ingest_source
from pricing_platform.catalog.records import row_batches
from pricing_platform.catalog.sources import Source
from pricing_platform.errors import PlatformError
from pricing_platform.stores.warehouse import Warehouse

CASES = Path(__file__).parents[3] / "../shared/cases"
GERMAN = "Nr;Name;Preis\r\n1;Gläser für Größen;19,66\r\n2;Töpfe – 25 °C;5,03\r\n"
GLASSES = {"Nr": "1", "Name": "Gläser für Größen", "Preis": "19,66"}
POTS = {"Nr": "2", "Name": "Töpfe – 25 °C", "Preis": "5,03"}


def rows_of(file: Path, **declared: str) -> list[dict[str, str] | str]:
    """Each row as a dictionary, or what is wrong with it."""
    layout = file_layout(file, DeclaredLayout(**declared))
    return [
        row["fault"] or json.loads(row["line"])
        for batch in row_batches(file, layout)
        for row in batch.to_pylist()
    ]


def written(folder: Path, name: str, content: bytes) -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


@pytest.mark.parametrize(
    ("mark", "encoding", "found"),
    [
        (b"", "utf-8", "utf-8"),
        (codecs.BOM_UTF8, "utf-8", "utf-8-sig"),
        (b"", "cp1252", "cp1252"),
        (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16"),
        (b"", "utf-16-le", "utf-16-le"),
        (b"", "utf-16-be", "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le", "utf-32"),
    ],
)
def test_the_encoding_is_found(tmp_path: Path, mark: bytes, encoding: str, found: str) -> None:
    file = written(tmp_path, "a.CSV", mark + GERMAN.encode(encoding))
    layout = file_layout(file, DeclaredLayout())
    assert (layout.encoding, layout.delimiter, layout.quote) == (found, ";", '"')
    assert rows_of(file) == [GLASSES, POTS]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("cp1251", "Стеклянная кружка для чая"), ("cp1250", "Żółta łódź, gęś i źdźbło"),
     ("shift_jis", "ガラスのコップ、赤")],
)  # fmt: skip
def test_what_is_neither_utf8_nor_western_is_asked_for(
    tmp_path: Path, encoding: str, text: str
) -> None:
    lines = ["nr;name", *(f"{number};{text} {number}" for number in range(40))]
    file = written(tmp_path, "a.csv", "\n".join(lines).encode(encoding))
    with pytest.raises(PlatformError, match=r"40 rows are not UTF-8") as raised:
        file_layout(file, DeclaredLayout())
    assert "encoding = " in raised.value.remedy
    assert rows_of(file, encoding=encoding)[0] == {"nr": "0", "name": f"{text} 0"}


WRITTEN_IN = {
    "cp1250": ["Żółta filiżanka", "Deska z dębu", "Patelnia z powłoką", "Nóż do chleba"],
    "iso8859-2": ["Příbor čistý", "Hrnec s poklicí", "Dřevěné prkénko", "Nůž na chléb"],
    "cp1254": ["Işık geçirmez perde", "Şık bardak", "Ekmek bıçağı", "Ahşap kesme tahtası"],
    "cp1257": ["Ąžuolinė lentelė", "Žalias puodelis", "Duonos peilis", "Vaikiška lovytė"],
    "koi8-r": ["Стеклянная кружка", "Нож для хлеба", "Доска разделочная", "Детская кровать"],
    "gb18030": ["红色玻璃杯", "不锈钢锅", "面包刀", "木制砧板"],
    "cp932": ["ガラスのコップ", "ステンレス鍋", "パン切り包丁", "木製まな板"],
    "iso8859-15": ["Œuvre à 5 €", "Cœur en émail 7 €", "Façon crème 9 €", "Théière"],
}


@pytest.mark.parametrize("encoding", WRITTEN_IN)
def test_an_encoding_that_is_not_western_is_suggested(tmp_path: Path, encoding: str) -> None:
    lines = ["nr;name", *(f"{n};{name}" for n, name in enumerate(WRITTEN_IN[encoding]))]
    file = written(tmp_path, "a.csv", "\n".join(lines).encode(encoding))
    with pytest.raises(PlatformError, match="not clearly Windows-1252 either") as raised:
        file_layout(file, DeclaredLayout())
    suggested = re.search(r"encoding = '(.+?)'", raised.value.remedy)
    assert suggested, raised.value.remedy
    read = rows_of(file, encoding=suggested[1])
    assert [row["name"] for row in read if isinstance(row, dict)] == WRITTEN_IN[encoding]


WESTERN = {
    "German": ["Gläser für Größen", "Töpfe – 25 °C", "Käsemesser"],
    "French": ["Théière en émail", "Crème brûlée à l’ancienne", "Cuillère à café"],
    "Italian": ["Tazza da caffè", "Coltello più grande", "Qualità", "Perché no"],
    "Spanish": ["Taza de té pequeña", "Sartén de acero", "Silla para niños"],
    "Icelandic": ["Bolli úr gleri", "Þykkur pottur", "Brauðhnífur", "Skurðarbretti"],
    "English": ["Pan 25 °C", "Pan 28 °C", "Men’s shoes", "£9 mug", "½ pint"],
    "diameters": ["Tube Ø 12 mm", "Tube Ø 15 mm", "Pan ø 28 cm"],
    "sizes": ["Mat 3 × 4 cm", "Mat 5 × 9 cm", "Mat 7 × 9 cm"],
    "several": ["Gläser", "Théière", "Taza pequeña", "Køkkenstol", "Chávena de chá", "Più caffè"],
    "brands": ["Citroën C3 mat", "Häagen-Dazs", "Nestlé", "Škoda mat", "Løv organic"],
}


@pytest.mark.parametrize("language", WESTERN)
def test_western_texts_are_windows_1252(tmp_path: Path, language: str) -> None:
    lines = ["nr;name", *(f"{n};{name}" for n, name in enumerate(WESTERN[language]))]
    file = written(tmp_path, "a.csv", "\n".join(lines).encode("cp1252"))
    assert file_layout(file, DeclaredLayout()).encoding == "cp1252"


@pytest.mark.parametrize(
    ("declared", "content", "told", "suggested"),
    [
        ("utf-8", GERMAN.encode("cp1252"), "2 rows are not utf-8, which it is declared", "cp1252"),
        ("utf-8", GERMAN.encode("utf-16"), "begins with the mark of utf-16", "utf-16"),
        ("cp1252", GERMAN.encode("utf-8-sig"), "begins with the mark of utf-8-sig", "utf-8-sig"),
        ("cp1252", GERMAN.encode(), "its text is UTF-8", "utf-8"),
    ],
)
def test_a_declared_encoding_has_to_fit(
    tmp_path: Path, declared: str, content: bytes, told: str, suggested: str
) -> None:
    file = written(tmp_path, "a.csv", content)
    with pytest.raises(PlatformError, match=told) as raised:
        file_layout(file, DeclaredLayout(encoding=declared))
    assert f"encoding = {suggested!r}" in raised.value.remedy


def test_a_damaged_line_among_good_ones_is_one_row(tmp_path: Path) -> None:
    lines = [b"nr;name", *(f"{n};Größe".encode() for n in range(5)), b"5;Gr\xf6\xdfe"]
    rows = rows_of(written(tmp_path, "a.csv", b"\n".join(lines)))
    assert rows[-1] == "not utf-8 at byte 5".replace("utf-8", "UTF-8")
    assert rows[0] == {"nr": "0", "name": "Größe"}


def test_beside_lines_that_escape_their_letters_others_are_damaged(tmp_path: Path) -> None:
    whole = [json.dumps({"name": f"Größe {n}"}).encode() for n in range(40)]
    damaged = [b'{"name": "\xff\xfe\x81"}'] * 20
    rows = rows_of(written(tmp_path, "a.jsonl", b"\n".join([*whole, *damaged])))
    assert rows[0] == {"name": "Größe 0"}
    assert rows[40:] == ["not UTF-8 at byte 11"] * 20
    with pytest.raises(PlatformError, match="60 rows are not UTF-8"):
        rows_of(written(tmp_path, "b.jsonl", b"\n".join([*whole, *damaged, *damaged, *damaged])))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "#"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    header = delimiter.join(["nr", "name", '"size (L,B,H;D|E#F)"'])
    lines = [header, *(delimiter.join([str(n), "a, b; c", "1"]) for n in range(3))]
    if delimiter in ",;":
        lines = [line.replace("a, b; c", '"a, b; c"') for line in lines]
    file = written(tmp_path, "a.csv", "\n".join(lines).encode())
    assert file_layout(file, DeclaredLayout()).delimiter == delimiter
    assert rows_of(file)[0] == {"nr": "0", "name": "a, b; c", "size (L,B,H;D|E#F)": "1"}


def test_a_line_that_names_the_delimiter_is_no_header(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", b"\xef\xbb\xbfsep=;\r\n" + GERMAN.encode())
    assert rows_of(file) == [GLASSES, POTS]


def test_what_is_declared_decides(tmp_path: Path) -> None:
    file = written(tmp_path, "a.txt", b"a:b;c\n'x:y':1;2\n")
    assert rows_of(file, delimiter=":", quote="'") == [{"a": "x:y", "b;c": "1;2"}]
    file = written(tmp_path, "b.csv", b'a,b\n15",2\n3,"\n')
    assert rows_of(file, quote="") == [{"a": '15"', "b": "2"}, {"a": "3", "b": '"'}]
    with pytest.raises(ValidationError, match="no encoding that is known"):
        DeclaredLayout(encoding="klingon")


@pytest.mark.parametrize("encoding", ["iso2022_jp", "cp037", "utf-7"])
def test_encodings_whose_bytes_are_not_those_of_ascii(tmp_path: Path, encoding: str) -> None:
    name = "ガラス" if encoding != "cp037" else "Töpfe"
    file = written(tmp_path, "a.csv", f'a,b\n1,"{name}, 2"\n'.encode(encoding))
    assert rows_of(file, encoding=encoding) == [{"a": "1", "b": f"{name}, 2"}]


def test_a_quote_is_no_delimiter(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", b"a;|b|\n1;|x;y|\n")
    assert rows_of(file, quote="|") == [{"a": "1", "b": "x;y"}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "gb18030"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", "a,b\n1,x\n"), ("a.jsonl", '{"a": "1", "b": "x"}\n{"a": "2"}'),
     ("a.json", '[\n{"a": "1", "b": "x"}]'), ("a.xml", "<r><item><a>1</a><b>x</b></item></r>")],
)  # fmt: skip
def test_a_mark_before_a_declared_encoding_is_no_text(
    tmp_path: Path, encoding: str, name: str, text: str
) -> None:
    file = written(tmp_path, name, f"\ufeff{text}".encode(encoding))
    assert rows_of(file, encoding=encoding)[0] == {"a": "1", "b": "x"}


def test_blanks_before_quotes_are_skipped(tmp_path: Path) -> None:
    text = 'id, name, price\n1, "Pan, big", 5\n2, Pot, 6\n3, "15"" screen", 7\n'
    file = written(tmp_path, "a.csv", text.encode())
    assert rows_of(file) == [
        {"id": "1", "name": "Pan, big", "price": "5"},
        {"id": "2", "name": "Pot", "price": "6"},
        {"id": "3", "name": '15" screen', "price": "7"},
    ]
    file = written(tmp_path, "b.csv", b'id;name\n1; 15" screen\n2;so "called"\n')
    assert rows_of(file) == [{"id": "1", "name": ' 15" screen'}, {"id": "2", "name": 'so "called"'}]


@pytest.mark.parametrize("wrap", ["[{}]", '{{"products": [{}]}}'])
def test_what_json_has_no_number_for_costs_its_row(tmp_path: Path, wrap: str) -> None:
    big = 2**80
    rows = [f'{{"a": {big}, "b": 19.99}}', '{"a": NaN}', '{"a": [-Infinity]}', '{"a": "NaN \\" x"}']
    file = written(tmp_path, "a.json", wrap.format(",\n".join(rows * 3000)).encode())
    odd = "NaN or Infinity, which are no JSON: write null"
    assert rows_of(file) == [{"a": big, "b": 19.99}, odd, odd, {"a": 'NaN " x'}] * 3000
    layout = file_layout(file, DeclaredLayout())
    lines = [line for batch in row_batches(file, layout) for line in batch["line"].to_pylist()]
    assert lines[1:3] == ['{"a": NaN}', '{"a": [-Infinity]}']


def test_a_document_that_is_cut_off_says_so(tmp_path: Path) -> None:
    text = json.dumps([{"name": "a", "price": 5}] * 3, indent=2)[2:-1].replace("},", "}")
    whole = written(tmp_path, "a.json", text.encode())
    assert rows_of(whole) == [{"name": "a", "price": 5}] * 3
    with pytest.raises(PlatformError, match="is cut off or is no JSON"):
        rows_of(written(tmp_path, "b.json", text[:-10].encode()))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_zero_byte_costs_its_row(tmp_path: Path, name: str) -> None:
    lines = ["a,b", "1,x", "2,y\0", "3,z"]
    if name == "a.jsonl":
        lines = ['{"a": "1"}', '{"a": "2"}', '{"a": "3\0"}', '{"a": "4"}']
    file = written(tmp_path, name, "\n".join(lines).encode())
    layout = file_layout(file, DeclaredLayout())
    assert layout.encoding == "utf-8"
    if name == "a.csv":
        found = rows_of(file)
        assert found == [{"a": "1", "b": "x"}, "a zero byte at byte 4", {"a": "3", "b": "z"}]


def test_blank_lines_within_quotes_stay(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", b'a,b\n\n1,"one\n\n\ntwo"\n\n2,x\n')
    assert rows_of(file) == [{"a": "1", "b": "one\n\n\ntwo"}, {"a": "2", "b": "x"}]


def test_lines_may_end_in_a_carriage_return(tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", b"a,b\r1,x\r2,y\r")
    assert rows_of(file) == [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]


@pytest.mark.parametrize(
    "text",
    [
        '[{"a": 1}, {"a": 2.5}]',
        '[\n  {"a": 1},\n  {"a": 2.5}\n]\n',
        '{"shop": {"tags": [{"x": 1}]}, "products": [{"a": 1}, {"a": 2.5}]}',
        '{\n"products": [\n{"a": 1}, {"a": 2.5}\n]\n}',
        '{"a": 1}\n\n{"a": 2.5}\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_json_in_every_shape(tmp_path: Path, text: str, encoding: str) -> None:
    assert rows_of(written(tmp_path, "a.json", text.encode(encoding))) == [{"a": 1}, {"a": 2.5}]


def test_what_stands_in_an_array_and_is_no_object_is_a_row_that_says_so(tmp_path: Path) -> None:
    file = written(tmp_path, "a.json", b'[{"a": {"b": [1]}}, 5]')
    assert rows_of(file) == [{"a": {"b": [1]}}, "not a JSON object"]


def workbook(file: Path, **sheets: pl.DataFrame) -> Path:
    import xlsxwriter

    with xlsxwriter.Workbook(str(file)) as book:
        for name, frame in sheets.items():
            frame.write_excel(book, worksheet=name)
    return file


def test_the_one_sheet_with_rows_is_read(tmp_path: Path) -> None:
    frame = pl.DataFrame({"name": ["Töpfe", None, "Gläser"], "price": [5.03, None, 19.5]})
    file = workbook(tmp_path / "a.xlsx", empty=pl.DataFrame({"x": []}), list=frame)
    assert file_layout(file, DeclaredLayout()).sheet == "list"
    assert rows_of(file) == [
        {"name": "Töpfe", "price": "5.03"},
        {"name": "Gläser", "price": "19.5"},
    ]


def test_of_several_sheets_one_is_named(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": ["1"], "b": ["x"]})
    file = workbook(tmp_path / "a.xlsx", first=frame, second=frame)
    with pytest.raises(PlatformError, match="2 sheets with rows: 'first', 'second'"):
        file_layout(file, DeclaredLayout())
    with pytest.raises(PlatformError, match="no sheet 'third'"):
        file_layout(file, DeclaredLayout(sheet="third"))
    assert rows_of(file, sheet="second") == [{"a": "1", "b": "x"}]


def test_archives_hold_one_file(tmp_path: Path) -> None:
    content = GERMAN.encode("cp1252")
    packed = written(tmp_path, "a.csv.gz", gzip.compress(content))
    assert rows_of(packed) == [GLASSES, POTS]
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("__MACOSX/._a.csv", "x")
        target.writestr("export/a.csv", content)
    assert rows_of(archive) == [GLASSES, POTS]
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr("b.csv", content)
    with pytest.raises(PlatformError, match=r"holds 2 files: export/a.csv, b.csv"):
        file_layout(archive, DeclaredLayout())


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    st.lists(
        st.lists(st.text("abcxyz äöüßéñ,;.|12\n\"'", max_size=12), min_size=3, max_size=3),
        min_size=2,
        max_size=12,
    ),
)
def test_what_a_shop_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    delimiter: str,
    encoding: str,
    rows: list[list[str]],
) -> None:
    import csv

    assume(encoding != "cp1252" or not re.search("[äöüßéñ]{4}", str(rows)))
    file = tmp_path_factory.mktemp("csv") / "a.csv"
    with file.open("w", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerows([["erstes", "zweites", "drittes"], *rows])
    assert [list(row.values()) for row in rows_of(file) if isinstance(row, dict)] == rows


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not there")
@pytest.mark.parametrize(
    ("name", "price"),
    [("a_cp1252.csv", 19.66), ("b_cp1252_some_rows.csv", 19.66), ("c_sep_line.csv", 19.66),
     ("d_commas_in_header.csv", 19.66)],
)  # fmt: skip
def test_exports_of_excel(tmp_path: Path, name: str, price: float) -> None:
    columns = {"listing_id": "Artikelnummer", "title": "Bezeichnung", "price": "Preis"}
    source = Source(
        name="excel", path=(str(CASES / "07-excel-csv" / name),), format="generic",
        currency="EUR", columns=columns,
    )  # fmt: skip
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    ingest_source(warehouse, source, fingerprint="")
    curate_listings(warehouse, price_minimum=0.5, price_maximum=10_000, fingerprint="")
    read = warehouse.frame("SELECT * FROM raw.listings ORDER BY row_number")
    kept = warehouse.frame("SELECT * FROM curated.listings ORDER BY row_number")
    assert read["unreadable"].null_count() == read.height == kept.height
    assert kept["price"][0] == price
    assert not read["title"].str.contains("\ufffd|\\\\x").any()
    (snapshot,) = warehouse.frame("SELECT * FROM raw.snapshots").to_dicts()
    assert snapshot["row_count"] == read.height
    assert (snapshot["delimiter"], snapshot["decimal"]) == (";", ",")
    assert snapshot["encoding"] == {"a": "cp1252", "b": "cp1252", "c": "utf-8-sig"}.get(
        name[0], snapshot["encoding"]
    )


def test_with_decimal_commas_a_full_stop_parts_thousands(tmp_path: Path) -> None:
    text = "nr;name;preis\n1;a;1.299\n2;b;5,03\n3;c;2.500,00 €\n"
    file = written(tmp_path, "a.csv", text.encode())
    columns = {"listing_id": "nr", "title": "name", "price": "preis"}
    source = Source(
        name="shop", path=(str(file),), format="generic", currency="EUR", columns=columns
    )
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    for declared, prices in ((None, [1299, 5.03, 2500]), (".", [1.299, None, None])):
        changed = source.model_copy(update={"decimal": declared})
        ingest_source(warehouse, changed, fingerprint="")
        read = warehouse.frame("SELECT price FROM raw.listings ORDER BY row_number")
        assert read["price"].to_list() == prices
