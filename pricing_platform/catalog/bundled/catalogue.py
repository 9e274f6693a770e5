"""Writes the bundled catalogue: the files of each shop, the reference prices, the manifest.

Here belongs what is on disk and how it gets there. What the files say is decided elsewhere.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock

from pricing_platform.catalog.bundled import noise
from pricing_platform.catalog.bundled.hedonics import LISTING_SIGMA, SNAPSHOT_SIGMA, seeded_random
from pricing_platform.catalog.bundled.house_style import STYLE_FILE, write_house_style
from pricing_platform.catalog.bundled.knowledge import write_bundled_knowledge
from pricing_platform.catalog.bundled.shops import SHOPS, SNAPSHOTS, Listing, Shop, listings
from pricing_platform.errors import PlatformError

VERSION = 3
"""Raised with every change of what is written, so that catalogues on disk are written anew."""

REFERENCE_PRICES = "reference_prices.parquet"
MANIFEST = "manifest.json"
SOURCES = "sources.toml"

_SOURCE = """[[source]]
name = "{name}"
path = "{name}/*.jsonl.gz"
format = "amazon_reviews_2023"
observed_at = "file_name"
currency = "USD"
ttl_days = 45
reference_prices = "{reference_prices}"
"""


_KNOWLEDGE = """
[[documents]]
name = "knowledge"
path = "knowledge"

[retrieval]
questions = "knowledge/questions.jsonl"

[facts]
# The catalogue is of the past and stays as it is: its prices are not waited for.
time_to_live = { price = "never" }
"""

_STYLE = f"""
[[style]]
name = "house"
pairs = "style/{STYLE_FILE}"
"""


@dataclass(frozen=True)
class _Snapshot:
    """A file as it was written."""

    path: str
    rows: int
    noise: dict[str, int]


def write_bundled_catalogue(folder: Path, *, seed: int = 42, products: int = 4000) -> Path:
    """Writes the catalogue into the folder, unless it is there, and returns its ``sources.toml``.

    A catalogue of other parameters is replaced as a whole. Equal parameters give equal bytes.
    Raises PlatformError where the folder holds something else, or cannot be written.
    """
    if products < 100:
        raise PlatformError(
            f"The bundled catalogue cannot have {products} products.", "Ask for 100 or more."
        )
    asked = {"version": VERSION, "seed": seed, "products": products}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not _holds(folder, asked):
                _refuse_foreign(folder)
                _write_anew(folder, asked)
    except OSError as error:
        raise PlatformError(
            f"The bundled catalogue cannot be written to {folder}: {error.strerror or error}.",
            "Name a folder that you may write to, on a disk with 50 MB to spare.",
        ) from error
    return folder / SOURCES


def _holds(folder: Path, asked: dict[str, int]) -> bool:
    """Whether the folder holds the catalogue of these parameters, whole and unchanged."""
    manifest = _manifest(folder)
    if manifest is None or {name: manifest.get(name) for name in asked} != asked:
        return False
    return all(
        (folder / path).is_file() and _sha256(folder / path) == sha256
        for path, sha256 in manifest["sha256"].items()
    )


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "sha256" in found else None


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and not (
        folder.is_dir() and (not any(folder.iterdir()) or (folder / MANIFEST).is_file())
    ):
        raise PlatformError(
            f"{folder} holds something else than the bundled catalogue.",
            "Name an empty or a new folder.",
        )


def _write_anew(folder: Path, asked: dict[str, int]) -> None:
    """Builds beside the folder, then renames; what a killed run left there is thrown away."""
    scratch = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    _build(scratch / "new", asked)
    if folder.exists():
        folder.rename(scratch / "old")
    (scratch / "new").rename(folder)
    shutil.rmtree(scratch)


def _build(folder: Path, asked: dict[str, int]) -> None:
    folder.mkdir(parents=True)
    everything = list(listings(asked["seed"], asked["products"]))
    snapshots = [
        _write_snapshot(folder, shop, month, [at for at in everything if at.shop is shop])
        for shop in SHOPS
        for month in range(len(SNAPSHOTS))
    ]
    _write_reference_prices(folder / REFERENCE_PRICES, everything)
    write_house_style(folder / "style")
    _write_sources(folder / SOURCES)
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    # Not among the files that must stay as they are: documents are there to be edited.
    write_bundled_knowledge(folder / "knowledge")
    manifest = {
        **asked,
        "noise": {"listing_sigma": LISTING_SIGMA, "snapshot_sigma": SNAPSHOT_SIGMA},
        "listings": len(everything),
        **_duplicate_counts(everything),
        "leaks": [
            {
                "source": shop.name,
                "category": shop.leak.category,
                "expression": shop.leak.expression,
                "attributes": shop.leak.attributes,
            }
            for shop in SHOPS
        ],
        "files": {at.path: {"rows": at.rows, "noise": at.noise} for at in snapshots},
        "sha256": {str(path.relative_to(folder)): _sha256(path) for path in written},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _write_snapshot(folder: Path, shop: Shop, month: int, offered: list[Listing]) -> _Snapshot:
    present = [listing for listing in offered if listing.present[month]]
    seed = present[0].seed
    last = month == len(SNAPSHOTS) - 1
    rng = seeded_random(seed, "dirt", shop.name, month)
    planted = noise.plan(len(present), rng, huge=last and shop is SHOPS[0])
    path = folder / shop.name / f"{SNAPSHOTS[month]}.jsonl.gz"
    path.parent.mkdir(exist_ok=True)
    rows = 0
    # Without a time and a name in the header, equal lines give equal bytes.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        for number, listing in enumerate(present):
            kind = planted.kind(number)
            row = listing.row(month, spare_title=kind in noise.HIDES_TITLE)
            if shop.style.details_as_json:
                row["details"] = json.dumps(row["details"], ensure_ascii=False)
            lines = noise.soil(row, kind, listing.price(month), rng)
            rows += lines.count(b"\n")
            file.write(lines)
    return _Snapshot(str(path.relative_to(folder)), rows, planted.counts())


def _write_reference_prices(path: Path, everything: Iterable[Listing]) -> None:
    rows = [
        (
            listing.shop.name,
            listing.listing_id,
            datetime.combine(day, time(), UTC),
            listing.reference_price(month),
        )
        for listing in everything
        for month, day in enumerate(SNAPSHOTS)
        if listing.present[month]
    ]
    schema: dict[str, Any] = {
        "source": pl.String,
        "listing_id": pl.String,
        "observed_at": pl.Datetime("us", "UTC"),
        "reference_price": pl.Float64,
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    frame.sort("source", "observed_at", "listing_id").write_parquet(path)


def _write_sources(path: Path) -> None:
    entries = [_SOURCE.format(name=shop.name, reference_prices=REFERENCE_PRICES) for shop in SHOPS]
    path.write_text("\n".join(entries) + _KNOWLEDGE + _STYLE, encoding="utf-8")


def _duplicate_counts(everything: list[Listing]) -> dict[str, int]:
    by_product: dict[int, list[Listing]] = {}
    for listing in everything:
        by_product.setdefault(listing.product.number, []).append(listing)
    shared = [found for found in by_product.values() if len({at.shop.name for at in found}) > 1]
    wordings = {listing.wording for listing in everything}
    return {
        "products_in_both_shops": len(shared),
        "of_these_with_a_shared_model_number": sum(
            len({at.shop.name for at in found if at.states_model_number}) > 1 for found in shared
        ),
        "near_duplicates_within_a_shop": len(everything) - len(wordings),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
