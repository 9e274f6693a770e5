"""The bundled catalogue on disk: reproducible, atomic, and as dirty as its manifest says."""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import math
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pricing_platform.catalog.bundled import VERSION, catalogue, noise, write_bundled_catalogue
from pricing_platform.catalog.bundled.hedonics import LISTING_SIGMA, SNAPSHOT_SIGMA
from pricing_platform.catalog.bundled.shops import SHOPS, SNAPSHOTS
from pricing_platform.errors import PlatformError

PRODUCTS = 600
_ROWS = "90b0158901f5e4d60073669027bc9b9e808d0b24057541b1ae6a3b476d15def6"
PINNED_CONTENT = {1: _ROWS, 2: _ROWS, 3: _ROWS}
"""By version, the sha256 of all rows of the catalogue of 100 products."""

FIELDS = {
    "main_category", "title", "average_rating", "rating_number", "features", "description",
    "price", "images", "videos", "store", "categories", "details", "parent_asin",
    "bought_together",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundled") / "catalogue"
    write_bundled_catalogue(folder, products=PRODUCTS)
    return folder


@pytest.fixture(scope="module")
def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


@pytest.fixture(scope="module")
def lines(folder: Path) -> dict[str, list[bytes]]:
    """The lines of every file, by its path in the folder."""
    return {
        str(path.relative_to(folder)): gzip.decompress(path.read_bytes()).splitlines()
        for path in sorted(folder.glob("*/*.jsonl.gz"))
    }


def parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        write_bundled_catalogue(tmp_path / name, seed=seed, products=150)
    one, two, three = (content(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert one.keys() == three.keys()
    same = {name for name in one if one[name] == three[name]}
    unseeded = ("knowledge", ".knowledge", "style")
    assert {name for name in same if not name.startswith(unseeded)} == {"sources.toml"}


def test_a_document_that_was_edited_stays_so(tmp_path: Path) -> None:
    write_bundled_catalogue(tmp_path / "catalogue", products=100)
    document = next((tmp_path / "catalogue" / "knowledge" / "makers").glob("*.md"))
    document.write_text("# Edited\n")
    write_bundled_catalogue(tmp_path / "catalogue", products=100)
    assert document.read_text() == "# Edited\n"


def test_what_is_written_has_not_changed_without_a_new_version(tmp_path: Path) -> None:
    write_bundled_catalogue(tmp_path / "catalogue", products=100)
    digest = hashlib.sha256()
    for path in sorted((tmp_path / "catalogue").glob("*/*.jsonl.gz")):
        digest.update(gzip.decompress(path.read_bytes()))
    assert PINNED_CONTENT[VERSION] == digest.hexdigest(), (
        "The catalogue's content changed: raise VERSION and pin the new digest beside it."
    )


def test_a_catalogue_that_is_there_is_left_alone(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    sources = write_bundled_catalogue(folder, products=PRODUCTS)
    assert sources == folder / "sources.toml"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_damaged_or_different_catalogue_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "catalogue"
    write_bundled_catalogue(folder, products=100)
    whole = content(folder)
    victim = folder / SHOPS[0].name / f"{SNAPSHOTS[0]}.jsonl.gz"
    victim.write_bytes(victim.read_bytes()[:-1])
    write_bundled_catalogue(folder, products=100)
    assert content(folder) == whole
    write_bundled_catalogue(folder, products=120)
    assert json.loads((folder / "manifest.json").read_text())["products"] == 120


def test_a_run_that_breaks_leaves_the_old_catalogue_and_the_next_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "catalogue"
    write_bundled_catalogue(folder, products=100)
    before = content(folder)

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "_write_reference_prices", full_disk)
        with pytest.raises(PlatformError, match="No space left"):
            write_bundled_catalogue(folder, products=110)
    assert content(folder) == before
    write_bundled_catalogue(folder, products=110)
    assert json.loads((folder / "manifest.json").read_text())["products"] == 110
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["catalogue"]


def test_a_folder_of_something_else_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(PlatformError, match="something else"):
        write_bundled_catalogue(tmp_path, products=100)
    assert (tmp_path / "thesis.txt").read_text() == "three years of work"


def test_a_file_in_place_of_the_folder_and_too_few_products_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlatformError):
        write_bundled_catalogue(tmp_path / "file", products=100)
    with pytest.raises(PlatformError):
        write_bundled_catalogue(tmp_path / "file" / "below", products=100)
    with pytest.raises(PlatformError, match="100 or more"):
        write_bundled_catalogue(tmp_path / "few", products=99)


def test_sources_name_the_files_and_the_reference_prices(folder: Path) -> None:
    sources = tomllib.loads((folder / "sources.toml").read_text())["source"]
    assert [source["name"] for source in sources] == [shop.name for shop in SHOPS]
    for source in sources:
        assert source["format"] == "amazon_reviews_2023"
        assert len(list(folder.glob(source["path"]))) == len(SNAPSHOTS)
        assert (folder / source["reference_prices"]).is_file()


def test_rows_are_counted_and_have_the_fields_of_the_dataset(
    manifest: dict[str, Any], lines: dict[str, list[bytes]]
) -> None:
    assert lines.keys() == manifest["files"].keys()
    for name, found in lines.items():
        assert len(found) == manifest["files"][name]["rows"]
        for row in filter(None, map(parsed, found)):
            assert FIELDS - {"price"} <= row.keys() <= FIELDS
            assert isinstance(row["description"], list)
            assert isinstance(row["details"], str if name.startswith(SHOPS[1].name) else dict)


def test_every_kind_of_dirt_is_there_as_often_as_the_manifest_says(
    manifest: dict[str, Any], lines: dict[str, list[bytes]]
) -> None:
    total: Counter[str] = Counter()
    for name, found in lines.items():
        seen = dict.fromkeys(noise.SHARES, 0) | _noise_of(found)
        planted = dict.fromkeys(seen, 0) | manifest["files"][name]["noise"]
        assert seen == planted, name
        total.update(planted)
    assert total[noise.HUGE_DESCRIPTION] == 1
    assert all(total[kind] >= len(lines) for kind in noise.SHARES)


def _noise_of(found: list[bytes]) -> dict[str, int]:
    """Counts each kind of noise from what the lines look like, not from how it was planted."""
    rows = [parsed(line) for line in found]
    seen: Counter[str] = Counter()
    seen["exact_duplicate"] = len(found) - len(set(found))
    for line, row in zip(found, rows, strict=True):
        if row is None:
            try:
                line.decode()
            except UnicodeDecodeError:
                seen["invalid_utf8"] += 1
            else:
                seen["malformed_json"] += 1
            continue
        seen.update(_kinds_of(row))
    return dict(seen)


def _kinds_of(row: dict[str, Any]) -> list[str]:
    price, description = row.get("price"), " ".join(row["description"])
    text = price if isinstance(price, str) else ""
    kinds = {
        "price_missing": "price" not in row,
        "price_null": "price" in row and price is None,
        "price_number": isinstance(price, float),
        "price_object": isinstance(price, dict),
        "price_zero": text == "0.00",
        "price_absurd": text == "999999.99",
        "price_negative": text.startswith("-"),
        "price_dollar_text": text.startswith("$"),
        "price_from_text": text.startswith("from "),
        "price_in_text": text[:1].isdigit() and f"${float(text):,.2f}" in description,
        "title_number": isinstance(row["title"], int),
        "empty_title": row["title"] == "",
        "features_string": isinstance(row["features"], str),
        "html_description": "<p>" in description and html.unescape(description) != description,
        "mojibake": "â€™" in description,
        noise.HUGE_DESCRIPTION: len(description) >= noise.HUGE_CHARACTERS,
    }
    return [kind for kind, found in kinds.items() if found]


def test_reference_prices_cover_every_listing_and_the_noise_is_what_is_documented(
    folder: Path, lines: dict[str, list[bytes]]
) -> None:
    reference = pl.read_parquet(folder / "reference_prices.parquet")
    rows = [
        (name.split("/")[0], row["parent_asin"], name.split("/")[1][:10], float(row["price"]))
        for name, found in lines.items()
        for row in filter(None, map(parsed, found))
        if isinstance(row.get("price"), str) and row["price"][0].isdigit()
    ]
    priced = pl.DataFrame(
        rows, schema=["source", "listing_id", "day", "price"], orient="row"
    ).with_columns(observed_at=pl.col("day").str.to_datetime("%Y-%m-%d", time_zone="UTC"))
    usable = priced.filter(pl.col("price").is_between(0.5, 999.49)).unique()
    joined = usable.join(
        reference, on=["source", "listing_id", "observed_at"], how="left", coalesce=True
    )
    assert joined["reference_price"].null_count() == 0
    assert reference.select("source", "listing_id", "observed_at").is_unique().all()
    noise = (joined["price"] / joined["reference_price"]).log()
    assert noise.std() == pytest.approx(math.hypot(LISTING_SIGMA, SNAPSHOT_SIGMA), rel=0.1)
    assert abs(noise.median()) < 0.02
    # Most of the noise is a listing's own: it comes again in its other snapshots.
    within = joined.with_columns(noise=noise).group_by("source", "listing_id").agg(
        pl.col("noise").std()
    )["noise"]  # fmt: skip
    assert within.drop_nulls().pow(2).mean() ** 0.5 == pytest.approx(SNAPSHOT_SIGMA, rel=0.2)


def test_prices_lie_mostly_within_the_default_range(folder: Path) -> None:
    reference = pl.read_parquet(folder / "reference_prices.parquet")["reference_price"]
    assert reference.is_between(0.5, 999.0).mean() > 0.99


def test_reference_prices_stand_in_no_file_that_models_are_shown(
    folder: Path, lines: dict[str, list[bytes]]
) -> None:
    reference = pl.read_parquet(folder / "reference_prices.parquet")
    known = {
        (row["source"], row["listing_id"]): f"{row['reference_price']:.2f}"
        for row in reference.filter(pl.col("reference_price") > 25).iter_rows(named=True)
    }
    shown = [
        (row, known[key])
        for name, found in lines.items()
        for row in filter(None, map(parsed, found))
        if (key := (name.split("/")[0], row["parent_asin"])) in known
    ]
    assert len(shown) > 1000
    # What ends in .99 may equal a price by chance; nothing else can.
    assert not [price for row, price in shown if price in json.dumps(row) and price[-2:] != "99"]


def test_the_leaking_attributes_give_the_price_away(
    manifest: dict[str, Any], lines: dict[str, list[bytes]]
) -> None:
    leaks = {leak["source"]: leak for leak in manifest["leaks"]}
    explained: Counter[str] = Counter()
    for name, found in lines.items():
        leak = leaks[name.split("/")[0]]
        for row in filter(None, map(parsed, found)):
            price = row.get("price")
            plain = isinstance(price, str) and price[0].isdigit() and 0 < float(price) < 999_999
            if row["main_category"] == leak["category"] and plain:
                details = row["details"]
                details = json.loads(details) if isinstance(details, str) else details
                product = math.prod(float(details[attribute]) for attribute in leak["attributes"])
                scale = 1 if len(leak["attributes"]) > 1 else 100
                assert product / scale == pytest.approx(float(price), rel=0.01)
                explained[leak["source"]] += 1
    assert all(explained[source] > 30 for source in leaks)
