"""Products that are to be priced and stand in no catalogue yet, in the shape of items.

Here belongs the way from a text or a file of the user to item rows. They are ingested and curated
as listings are, so that a technique reads a new product as it read those it learnt from.
"""

from __future__ import annotations

import glob
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from pricing_platform.catalog.curation import curate_listings
from pricing_platform.catalog.file_layout import DeclaredLayout, file_layout
from pricing_platform.catalog.file_text import FileLayout
from pricing_platform.catalog.ingestion import ingest_source
from pricing_platform.catalog.records import count_rows, row_batches
from pricing_platform.catalog.sources import Source, top_column
from pricing_platform.errors import PlatformError
from pricing_platform.stores.warehouse import Warehouse

_FIELDS = ("title", "description", "brand", "category")
_PLACEHOLDER = 1.0
_NEW = "new"
"""The source of new products."""

UNKNOWN_CATEGORY = "unknown"
"""What curation writes where a listing names no category."""

_WITH_A_PRICE = f"""
SELECT * REPLACE (
    row_number::VARCHAR AS listing_id, coalesce(observed_at, now()) AS observed_at,
    '{_NEW}' AS source, $currency AS currency, {_PLACEHOLDER}::DOUBLE AS price,
    '{_PLACEHOLDER}' AS price_text
)
FROM raw.listings
"""
_READ = "SELECT unreadable, coalesce(title, '') FROM raw.listings ORDER BY row_number"
_NEW_ITEMS = """
SELECT (row_number - 1)::INTEGER AS row, item_id, source, listing_id, title, text,
    brand, category, model_number, NULL::DOUBLE AS price, currency,
    observed_at AS price_observed_at, quantity, unit, attributes, url,
    NULL::VARCHAR AS family_id, NULL::VARCHAR AS split, NULL::INTEGER AS token_count,
    content_hash
FROM curated.listings
ORDER BY row
"""
_WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    ".csv": lambda frame, path: _without_nesting(frame).write_csv(path),
    ".jsonl": lambda frame, path: frame.write_ndjson(path),
    ".ndjson": lambda frame, path: frame.write_ndjson(path),
    ".parquet": lambda frame, path: frame.write_parquet(path),
}


@dataclass(frozen=True, eq=False)
class Products:
    """The rows of a user's file: all columns kept, and why a row can't be read, null where it can.

    ``source`` says how the file is written and which of its columns are which; ``titles`` are what
    it says of each row, once :func:`items_of` has read them.
    """

    path: Path
    frame: pl.DataFrame
    faults: list[str | None]
    source: Source
    titles: list[str] = field(default_factory=list)


def read_products(path: Path, source: Source | None = None) -> Products:
    """The rows of a file of any kind that a source may have.

    Args:
        path: of the file.
        source: whose files are written like it; without one, what is not found in the file is
            read as it is named: ``title``, ``description``, ``brand`` and ``category``.

    Raises:
        PlatformError: when the file is missing, empty, of no known kind, or has no title.
    """
    if not path.is_file():
        raise PlatformError(f"{path}: there is no such file.", "Correct the path.")
    columns = _FIELDS if source is None else source.columns_read
    layout = file_layout(path, source or DeclaredLayout(), columns)
    count_rows(path, layout)  # which refuses a file without any
    if layout.kind == "parquet":
        with path.open("rb") as file:  # a path would be a pattern to polars
            frame = pl.read_parquet(file)
        faults: list[str | None] = [None] * frame.height
    else:
        frame, faults = _read_rows(path, layout)
    return Products(path, frame, faults, _as_source(path, frame, source))


def _read_rows(path: Path, layout: FileLayout) -> tuple[pl.DataFrame, list[str | None]]:
    rows: list[dict[str, Any]] = []
    faults: list[str | None] = []
    for batch in row_batches(path, layout):
        for line, told in zip(batch["line"].to_pylist(), batch["fault"].to_pylist(), strict=True):
            row, fault = _parsed(line) if told is None else ({}, told)
            rows.append(row)
            faults.append(fault)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    values = {name: [row.get(name) for row in rows] for name in columns}
    return pl.DataFrame([_column(name, found) for name, found in values.items()]), faults


def _parsed(line: str) -> tuple[dict[str, Any], str | None]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    return (found, None) if isinstance(found, dict) else ({}, "not a JSON object")


def _column(name: str, values: list[Any]) -> pl.Series:
    """Of one type where the values are, else of texts."""
    try:
        return pl.Series(name, values, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        texts = [
            at if at is None or isinstance(at, str) else json.dumps(at, ensure_ascii=False)
            for at in values
        ]
        return pl.Series(name, texts, dtype=pl.String)


def _as_source(path: Path, frame: pl.DataFrame, source: Source | None) -> Source:
    """The file as a source of its own, whose columns are those that it has.

    Raises:
        PlatformError: when none of them is the title.
    """
    if source is None:
        columns = _known_fields(frame)
        source = Source(name=_NEW, path=(_NEW,), format="generic", columns=columns or {"title": ""})
        source = source.model_copy(update={"name": path.name, "columns": columns})
    title = top_column(source.columns.get("title", "title"))
    if source.format == "generic" and title not in frame.columns:
        raise PlatformError(
            f"{path} has no column `{title}`; it has {', '.join(frame.columns)}.",
            "Name the product's text `title`; `description`, `brand` and `category` are read too,"
            " and every other column as an attribute. Or say with --source whose columns it has.",
        )
    return source.model_copy(
        update={
            "path": (glob.escape(str(path)),),
            "observed_at": "file_time",
            "observed_at_column": None,
        }
    )


def _known_fields(products: pl.DataFrame) -> dict[str, str]:
    """Field -> the column that is it, whatever its case; one in lower case goes before others."""
    found = {name.strip().casefold(): name for name in products.columns}
    return {
        field: field if field in products.columns else found[field]
        for field in _FIELDS
        if field in found
    }


def write_products(products: pl.DataFrame, path: Path) -> None:
    """Writes the priced rows beside their place and renames the file.

    Raises:
        PlatformError: when the name says no known kind or the file can't be written.
    """
    require_known_kind(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        _WRITERS[path.suffix.lower()](products, partial)
        partial.replace(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        partial.unlink(missing_ok=True)
        raise PlatformError(f"{path} cannot be written: {error}.", "Name another file.") from None


def _without_nesting(frame: pl.DataFrame) -> pl.DataFrame:
    """With JSON in the place of lists and objects, for which CSV has no form."""
    nested = [column for column in frame if column.dtype.is_nested()]
    return frame.with_columns(
        pl.Series(
            column.name,
            [None if at is None else json.dumps(at, default=str) for at in column.to_list()],
            dtype=pl.String,
        )
        for column in nested
    )


def require_known_kind(path: Path) -> None:
    """Refuses a file name whose ending says no known kind, before any work is done."""
    if path.suffix.lower() not in _WRITERS:
        raise PlatformError(
            f"{path}: the ending {path.suffix or '(none)'} says no kind of file that is written.",
            f"Use one of {', '.join(_WRITERS)}.",
        )


def as_items(products: pl.DataFrame, currency: str) -> pl.DataFrame:
    """Item rows of products in a frame; see :func:`items_of`.

    Args:
        products: with ``title`` and any of ``description``, ``brand`` and ``category``; all other
            columns are attributes.
        currency: of the catalogue.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.parquet"
        products.write_parquet(path)
        faults: list[str | None] = [None] * products.height
        return items_of(
            Products(path, products, faults, _as_source(path, products, None)), currency
        )


def items_of(products: Products, currency: str) -> pl.DataFrame:
    """Item rows of the products that can be read, with ``row``, their position, from 0.

    They go the way of every listing, with a price in its place: the price, the split and whatever
    else only a catalogue knows is null. Why the source's format refuses a row is added to
    ``products.faults``.

    Args:
        products: from :func:`read_products`.
        currency: of the catalogue, an ISO 4217 code; amounts in it are taken out of texts as there.
    """
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "warehouse.duckdb")
        ingest_source(warehouse, products.source, fingerprint="", required={"title"})
        products.titles.clear()
        for row, (reason, title) in enumerate(warehouse.frame(_READ).iter_rows()):
            products.faults[row] = products.faults[row] or reason
            products.titles.append(title)
        with warehouse.staging_folder() as staging:
            priced = staging / "listings.parquet"
            with warehouse.read() as connection:
                connection.execute(
                    f"COPY ({_WITH_A_PRICE}) TO $path (FORMAT parquet)",
                    {"path": str(priced), "currency": currency},
                )
            warehouse.replace("raw.listings", priced)
        curate_listings(
            warehouse, price_minimum=_PLACEHOLDER, price_maximum=_PLACEHOLDER, fingerprint=""
        )
        return warehouse.frame(_NEW_ITEMS)


def place_in_catalogue(items: pl.DataFrame, comparables: pl.DataFrame) -> pl.DataFrame:
    """The items under the source, and where they name none the category, of their comparables.

    What a technique has learnt, it has learnt of sources and their categories: a product of no
    known source would be priced without most of it. The comparables vote, each by its similarity;
    a category that the product names itself stands, and then those under it vote on the source.

    Args:
        items: as :func:`as_items` gives them.
        comparables: what ``find_comparables`` found for each of the items, in their order.
    """
    named = items.select(
        query_index=pl.int_range(pl.len(), dtype=pl.Int64),
        named=pl.when(pl.col("category") != UNKNOWN_CATEGORY).then(pl.col("category")),
    )
    place = (
        comparables.join(named, on="query_index")
        .with_columns(agrees=(pl.col("category") == pl.col("named")).fill_null(value=False))
        .group_by("query_index", "agrees", "source", "category")
        .agg(votes=pl.col("similarity").sum())
        .sort("agrees", "votes", "source", "category", descending=[True, True, False, False])
        .group_by("query_index", maintain_order=True)
        .first()
    )
    placed = named.join(place, on="query_index", how="left", maintain_order="left")
    return items.with_columns(
        source=pl.coalesce(placed["source"], items["source"]),
        category=pl.coalesce(placed["named"], placed["category"], items["category"]),
    )
