"""Files as shops publish them, for the tests of reading and curating."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pricing_platform.catalog.curation import curate_listings
from pricing_platform.catalog.ingestion import ingest_source
from pricing_platform.catalog.sources import Source
from pricing_platform.stores.warehouse import Warehouse


def amazon_row(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A row of item metadata with every field of the published files."""
    return {
        "main_category": "Appliances",
        "title": f"Acme Water Filter {number}",
        "average_rating": 4.5,
        "rating_number": 12,
        "features": ["Fits most fridges", "Lasts 6 months"],
        "description": ["Clean water.", "Made of coconut."],
        "price": "12.99",
        "images": [],
        "videos": [],
        "store": "Acme",
        "categories": ["Appliances", "Parts", "Filters"],
        "details": {"Material": "Carbon", "Item model number": "AF-100"},
        "parent_asin": f"B{number:09d}",
        "bought_together": None,
    } | changes


def write_json_lines(file: Path, rows: list[dict[str, Any] | bytes]) -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file


def source_of(*files: Path, **declared: Any) -> Source:
    given = {"name": "shop", "format": "amazon_reviews_2023"} | declared
    return Source(path=tuple(map(str, files)), **given)


def ingest(warehouse: Warehouse, rows: list[dict[str, Any] | bytes], **declared: Any) -> None:
    """Ingests the rows from a file beside the warehouse."""
    warehouse.create_schema()
    name = declared.get("name", "shop")
    file = write_json_lines(warehouse.path.parent / f"{name}.jsonl", rows)
    ingest_source(warehouse, source_of(file, **declared), fingerprint="")


def curate(warehouse: Warehouse, rows: list[dict[str, Any] | bytes], **declared: Any) -> None:
    """Ingests and curates the rows."""
    ingest(warehouse, rows, **declared)
    curate_listings(warehouse, price_minimum=0.5, price_maximum=999.49, fingerprint="")


def kept(warehouse: Warehouse) -> list[dict[str, Any]]:
    return warehouse.frame(
        "SELECT * FROM curated.listings ORDER BY snapshot, row_number"
    ).to_dicts()


def refused(warehouse: Warehouse) -> dict[int, str]:
    """Row number -> rule."""
    found = warehouse.frame("SELECT row_number, rule FROM curated.rejected_listings")
    return dict(found.sort("row_number").iter_rows())
