from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pricing_platform.catalog.sources import date_in_name, load_sources, shard, snapshot_names
from pricing_platform.errors import PlatformError

MINIMAL = '[[source]]\nname = "shop"\npath = "shop.jsonl"\nformat = "amazon_reviews_2023"\n'


def declared(folder: Path, text: str) -> Path:
    file = folder / "sources.toml"
    file.write_text(text)
    return file


def test_a_declared_source_has_absolute_paths_and_defaults(tmp_path: Path) -> None:
    (source,) = load_sources(declared(tmp_path, MINIMAL), data=None)
    assert source.path == (str(tmp_path / "shop.jsonl"),)
    assert (source.currency, source.observed_at, source.ttl_days) == ("USD", "file_time", 30.0)
    assert source.format_file.name == "amazon_reviews_2023.sql"


def test_the_data_folder_and_lists_of_paths_are_resolved(tmp_path: Path) -> None:
    text = MINIMAL.replace('"shop.jsonl"', '["${PRICING_DATA}/a/*.csv", "b.csv"]')
    (source,) = load_sources(declared(tmp_path, text), data=tmp_path / "data")
    assert source.path == (f"{tmp_path}/data/a/*.csv", f"{tmp_path}/b.csv")


def test_only_the_declared_path_is_a_pattern(tmp_path: Path) -> None:
    folder, data = tmp_path / "mine [1]", tmp_path / "data*"
    for where in (folder, data):
        where.mkdir()
        for name in ("a[1].csv", "a1.csv", "b2.csv"):
            (where / name).write_text("x")
    text = MINIMAL.replace('"shop.jsonl"', '["a[1].csv", "b[12].csv", "${PRICING_DATA}/a?.csv"]')
    (source,) = load_sources(declared(folder, text), data=data)
    assert source.files() == (data / "a1.csv", folder / "a[1].csv", folder / "b2.csv")


def test_a_format_may_be_a_file_beside_the_declaration(tmp_path: Path) -> None:
    (tmp_path / "mine.sql").write_text("SELECT 1")
    text = MINIMAL.replace("amazon_reviews_2023", "mine.sql")
    (source,) = load_sources(declared(tmp_path, text), data=None)
    assert source.format_file == tmp_path / "mine.sql"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "declares no source"),
        ("not toml", "is not valid TOML"),
        ("[source]\nname = 'x'", "[[source]]"),
        ("[sources]\n", "unknown key 'sources'"),
        (MINIMAL + MINIMAL, "two sources named 'shop'"),
        (MINIMAL + "colour = 3", "'shop', colour: unknown key"),
        (MINIMAL.replace('path = "shop.jsonl"\n', ""), "'shop', path: this key is missing"),
        (MINIMAL.replace('"shop"', '"My Shop"'), "'My Shop', name"),
        (MINIMAL.replace('"amazon_reviews_2023"', '"amazon"'), "no such format"),
        (MINIMAL.replace('"amazon_reviews_2023"', '"mine.sql"'), "no such file"),
        (MINIMAL.replace('"shop.jsonl"', '"${PRICING_DATA}/x"'), "is not set"),
        (MINIMAL.replace('"shop.jsonl"', '"https://example.com/x"'), "is an address"),
        (MINIMAL + 'observed_at = "column"', "observed_at_column go together"),
        (MINIMAL + 'columns = { title = "t" }', 'format = "generic" and columns go together'),
        (
            MINIMAL.replace("amazon_reviews_2023", "generic") + 'columns = { titel = "t" }',
            "'titel' is not one of",
        ),
        (MINIMAL + "ttl_days = 0", "ttl_days"),
        (MINIMAL + "ttl_days = inf", "ttl_days"),
        (MINIMAL + 'currency = "dollar"', "'dollar' is the ISO 4217 code of no currency"),
        (MINIMAL + 'currency = "XYZ"', "'XYZ' is the ISO 4217 code of no currency"),
        (MINIMAL + 'date_format = "%Q"', "date_format: '%Q' is no format of dates"),
        (MINIMAL + 'date_format = "dd/mm/yyyy"', "date_format: 'dd/mm/yyyy' names no part"),
        (MINIMAL + 'encoding = "rot13"', "encoding: 'rot13' is no encoding that is known"),
        (MINIMAL + 'encoding = "base64"', "encoding: 'base64' is no encoding that is known"),
        (MINIMAL + 'encoding = "idna"', "encoding: 'idna' is no encoding that is known"),
        (MINIMAL + 'delimiter = ","\nquote = ","', "delimiter and quote are both ','"),
        (MINIMAL + "delimiter = '\"'", "delimiter and quote are both '\"'"),
        (MINIMAL + 'delimiter = "\\n"', "delimiter and quote are characters other than line ends"),
    ],
)
def test_a_wrong_declaration_is_one_clear_error(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(PlatformError) as caught:
        load_sources(declared(tmp_path, text), data=None)
    assert told in str(caught.value)
    assert "sources.toml" in str(caught.value)


def test_an_unknown_format_lists_those_that_exist(tmp_path: Path) -> None:
    text = MINIMAL.replace("amazon_reviews_2023", "amazon")
    with pytest.raises(PlatformError) as caught:
        load_sources(declared(tmp_path, text), data=None)
    assert "amazon_reviews_2023, generic" in caught.value.remedy


def test_a_missing_declaration_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="There is no") as caught:
        load_sources(tmp_path / "sources.toml", data=None)
    assert "examples/real_data/sources.toml" in caught.value.remedy


def test_files_are_found_when_asked_for_and_never_empty(tmp_path: Path) -> None:
    text = MINIMAL.replace("shop.jsonl", "*.jsonl")
    (source,) = load_sources(declared(tmp_path, text), data=None)
    with pytest.raises(PlatformError, match="no file matches"):
        source.files()
    (tmp_path / "b.jsonl").write_text("{}")
    (tmp_path / "a.jsonl").write_text("{}")
    assert [file.name for file in source.files()] == ["a.jsonl", "b.jsonl"]
    (tmp_path / "c.jsonl").touch()
    with pytest.raises(PlatformError, match=r"c.jsonl is empty"):
        source.files()


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("2024-03-27.jsonl.gz", datetime(2024, 3, 27, tzinfo=UTC)),
        ("prices_20240327.csv", datetime(2024, 3, 27, tzinfo=UTC)),
        ("2024-03.csv", datetime(2024, 3, 1, tzinfo=UTC)),
        ("2024-02-31.csv", None),
        ("part-00012345.csv", None),
        ("items.csv", None),
        ("shop-2024-03-7.csv", None),
        ("2024-03-32.csv", None),
        ("202403_7.csv", None),
        ("2024-03-0712.csv", None),
        ("2024-03-0001.csv", datetime(2024, 3, 1, tzinfo=UTC)),
        ("2024-03-27_1.csv", datetime(2024, 3, 27, tzinfo=UTC)),
        ("2024-12gb-2026-04-01.csv", None),
        ("2024-03-01_2024-03-31.csv", None),
        ("2024-03-01-until-20240301.csv", datetime(2024, 3, 1, tzinfo=UTC)),
    ],
)
def test_dates_in_file_names(name: str, date: datetime | None) -> None:
    assert date_in_name(Path(name)) == date


def test_every_file_has_a_snapshot_name_of_its_own() -> None:
    files = [
        Path(p) for p in ("a/2024-01-01.csv", "a/2024-02-01-x.csv", "a/2024-02-01-y.csv", "b/t.csv")
    ]
    names = snapshot_names([*files, Path("c/t.csv")])
    assert list(names.values()) == [
        "2024-01-01",
        "2024-02-01-x.csv",
        "2024-02-01-y.csv",
        "b/t.csv",
        "c/t.csv",
    ]


def test_numbered_parts_of_a_month_are_shards_of_their_own() -> None:
    assert len({shard(Path(f"{part}.csv")) for part in ("2024-03-0712", "2024-03-0713")}) == 2
