"""Products that are to be priced and stand in no catalogue yet, in the shape of items.

Here belongs the way from a text or a file of the user to item rows. They are curated by the same
SQL as listings are, so that a technique reads a new product as it read those it learnt from.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import polars as pl

from pricing_platform.catalog.curation import curate_listings
from pricing_platform.errors import PlatformError
from pricing_platform.stores.warehouse import Warehouse

_FIELDS = ("title", "description", "brand", "category")
_PLACEHOLDER = 1.0
UNKNOWN_CATEGORY = "unknown"
"""What curation writes where a listing names no category."""

_READERS: dict[str, Callable[[BinaryIO], pl.DataFrame]] = {
    ".csv": lambda file: pl.read_csv(file, infer_schema=False),
    ".jsonl": pl.read_ndjson,
    ".ndjson": pl.read_ndjson,
    ".parquet": pl.read_parquet,
}
_WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    ".csv": lambda frame, path: frame.write_csv(path),
    ".jsonl": lambda frame, path: frame.write_ndjson(path),
    ".ndjson": lambda frame, path: frame.write_ndjson(path),
    ".parquet": lambda frame, path: frame.write_parquet(path),
}


def read_products(path: Path) -> pl.DataFrame:
    """The user's rows as they are, all columns kept.

    Raises:
        PlatformError: when the file is missing, empty, of no known kind, or has no ``title``.
    """
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise _unknown_kind(path)
    try:
        with path.open("rb") as file:  # a path would be a pattern to polars
            products = reader(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise PlatformError(
            f"{path} cannot be read as {path.suffix}: {str(error).splitlines()[0]}.",
            "Check that the file is there, in UTF-8, and with commas where it is CSV.",
        ) from None
    if products.is_empty():
        raise PlatformError(f"{path} has no rows.", "Give at least one product.")
    if "title" not in _known_fields(products):
        raise PlatformError(
            f"{path} has no column `title`; it has {', '.join(products.columns)}.",
            "Name the product's text `title`; `description`, `brand` and `category` are read too,"
            " and every other column as an attribute.",
        )
    return products


def _known_fields(products: pl.DataFrame) -> dict[str, str]:
    """Field -> the column that is it, whatever its case; one in lower case goes before others."""
    found = {name.strip().casefold(): name for name in products.columns}
    return {
        field: field if field in products.columns else found[field]
        for field in _FIELDS
        if field in found
    }


def titles_of(products: pl.DataFrame) -> pl.Series:
    """What stands as title in each row; an empty text where there is none."""
    return products[_known_fields(products)["title"]].cast(pl.String, strict=False).fill_null("")


def write_products(products: pl.DataFrame, path: Path) -> None:
    """Writes the priced rows beside their place and renames the file.

    Raises:
        PlatformError: when the name says no known kind or the file can't be written.
    """
    require_known_kind(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        _WRITERS[path.suffix](products, partial)
        partial.replace(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        partial.unlink(missing_ok=True)
        raise PlatformError(f"{path} cannot be written: {error}.", "Name another file.") from None


def require_known_kind(path: Path) -> None:
    """Refuses a file name whose ending says no known kind, before any work is done."""
    if path.suffix not in _WRITERS:
        raise _unknown_kind(path)


def as_items(products: pl.DataFrame) -> pl.DataFrame:
    """Item rows of the products that can be read, with ``row``, their position, from 0.

    The price, the split and whatever else only a catalogue knows is null.

    Args:
        products: with ``title`` and any of ``description``, ``brand`` and ``category``; all other
            columns are attributes.
    """
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Warehouse(Path(folder) / "warehouse.duckdb")
        with warehouse.staging_folder() as staging:
            _stage_listings(warehouse, products, staging / "listings.parquet")
            warehouse.replace("raw.listings", staging / "listings.parquet")
        curate_listings(
            warehouse, price_minimum=_PLACEHOLDER, price_maximum=_PLACEHOLDER, fingerprint=""
        )
        return warehouse.frame(
            """
            SELECT (row_number - 1)::INTEGER AS row, item_id, source, listing_id, title, text,
                brand, category, model_number, NULL::DOUBLE AS price, currency,
                observed_at AS price_observed_at, quantity, unit, attributes, url,
                NULL::VARCHAR AS family_id, NULL::VARCHAR AS split, NULL::INTEGER AS token_count,
                content_hash
            FROM curated.listings
            ORDER BY row
            """
        )


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


def _stage_listings(warehouse: Warehouse, products: pl.DataFrame, path: Path) -> None:
    """The products as ``raw.listings``; a placeholder stands for the price that curation needs."""
    products = products.rename({column: f for f, column in _known_fields(products).items()})
    known = [field for field in _FIELDS if field in products.columns]
    others = [column for column in products.columns if column not in _FIELDS]
    texts = products.select(
        pl.col(*known, *others).cast(pl.String, strict=False) if products.width else pl.lit(None)
    )
    rows = texts.select(
        *known,
        pl.concat_list(
            [pl.struct(pl.lit(name).alias("key"), pl.col(name).alias("value")) for name in others]
        ).alias("entries")
        if others
        else pl.lit([], dtype=pl.List(pl.Struct({"key": pl.String, "value": pl.String}))).alias(
            "entries"
        ),
    ).with_row_index("row_number", offset=1)
    missing = ", ".join(f"NULL::VARCHAR AS {f}" for f in _FIELDS if f not in known)
    with warehouse.scratch() as connection:
        connection.register("products", rows.to_arrow())
        connection.execute(
            f"""
            COPY (
                SELECT * EXCLUDE (entries), {missing + "," if missing else ""}
                    'new' AS source, 'new' AS snapshot, row_number::VARCHAR AS listing_id,
                    $now::TIMESTAMPTZ AS observed_at, 'USD' AS currency,
                    {_PLACEHOLDER} AS price, '{_PLACEHOLDER}' AS price_text,
                    map_from_entries(list_filter(entries, lambda e: e.value IS NOT NULL))
                        AS attributes
                FROM products
            ) TO $path (FORMAT parquet)
            """,
            {"now": datetime.now(UTC), "path": str(path)},
        )


def _unknown_kind(path: Path) -> PlatformError:
    return PlatformError(
        f"{path}: the ending {path.suffix or '(none)'} says no known kind of file.",
        f"Use one of {', '.join(_READERS)}.",
    )
