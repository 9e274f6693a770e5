"""Curation in rows a second against a plain Python loop, on 100,000 Amazon-format rows."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

from benchmarks.measurement import Comparison, in_turn
from benchmarks.plain_python_curation import curate
from pricing_platform.catalog.bundled import write_bundled_catalogue
from pricing_platform.catalog.curation import curate_listings
from pricing_platform.catalog.ingestion import ingest_source
from pricing_platform.catalog.sources import load_sources
from pricing_platform.stores.warehouse import Warehouse

ROWS = 100_000
_TABLE = """[[source]]
name = "many"
path = "rows.jsonl"
format = "amazon_reviews_2023"
"""


def compare_curation(folder: Path) -> Comparison:
    """From the same plain JSON Lines file to curated rows, on both sides."""
    file = _rows(folder)
    (source,) = load_sources(folder / "sources.toml", data=None)
    warehouse = Warehouse(folder / "warehouse.duckdb")

    def ours() -> None:
        ingest_source(warehouse, source, fingerprint="")
        curate_listings(warehouse, price_minimum=0.5, price_maximum=999.49, fingerprint="")

    ours_seconds, peer_seconds = in_turn(
        ours, lambda: curate([file], folder / "peer.parquet"), rounds=3
    )
    kept = warehouse.frame("SELECT count(*) FROM curated.listings").item()
    peer_kept = curate([file], folder / "peer.parquet")["kept"]
    ratio = peer_seconds / ours_seconds
    return Comparison(
        "curation",
        f"{ROWS / ours_seconds:,.0f} rows/s",
        f"json.loads and regular expressions: {ROWS / peer_seconds:,.0f} rows/s",
        ratio,
        "times as fast",
        "4",
        ratio >= 4,
        f"kept {kept:,} here, {peer_kept:,} there",
    )


def _rows(folder: Path) -> Path:
    """The bundled catalogue's rows, repeated under other identifiers until there are enough."""
    catalogue = write_bundled_catalogue(folder / "catalogue").parent
    snapshots = sorted(catalogue.glob("*/*.jsonl.gz"))
    lines = [line for path in snapshots for line in gzip.decompress(path.read_bytes()).splitlines()]
    file = folder / "rows.jsonl"
    with file.open("wb") as target:
        for number, line in enumerate(itertools.islice(itertools.cycle(lines), ROWS)):
            target.write(_renamed(line, number) + b"\n")
    (folder / "sources.toml").write_text(_TABLE)
    return file


def _renamed(line: bytes, number: int) -> bytes:
    try:
        record = json.loads(line)
        record["parent_asin"] = f"B{number:09d}"
        return json.dumps(record).encode()
    except (ValueError, TypeError):
        return line
