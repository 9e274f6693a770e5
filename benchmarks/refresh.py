"""What a refresh costs in which one row in a hundred has changed, against the full job."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from benchmarks.measurement import Comparison
from pricing_platform.build import build_platform
from pricing_platform.catalog.bundled import write_bundled_catalogue
from pricing_platform.settings import Settings

ONE_IN = 100


def compare_refresh(folder: Path) -> list[Comparison]:
    """Builds everything once; then one new snapshot is ingested and embedded."""
    sources = write_bundled_catalogue(folder / "refreshed")
    settings = Settings(home=folder / "home", sources=sources)
    full = build_platform(settings)
    _add_snapshot(sources.parent)
    refresh = build_platform(settings, stages=["ingest_and_embed"])
    encoding, time = refresh.encoded / full.encoded, refresh.seconds / full.seconds
    return [
        Comparison(
            "refresh of 1 %: encoding",
            f"{refresh.encoded:,} texts",
            f"full job: {full.encoded:,} texts",
            encoding,
            "of the encodings",
            "below 0.05",
            encoding < 0.05,
        ),
        Comparison(
            "refresh of 1 %: time",
            f"{refresh.seconds:.0f} s",
            f"full job: {full.seconds:.0f} s",
            time,
            "of the time",
            "below 0.2",
            time < 0.2,
            "ingest_and_embed against both jobs",
        ),
    ]


def _add_snapshot(catalogue: Path) -> None:
    """A copy of every shop's newest snapshot in which one title in a hundred is another."""
    for shop in sorted(path for path in catalogue.iterdir() if path.is_dir()):
        lines = gzip.decompress(max(shop.glob("*.jsonl.gz")).read_bytes()).splitlines()
        for position in range(0, len(lines), ONE_IN):
            try:
                record = json.loads(lines[position])
                record["title"] = f"{record['title']} II"
            except (ValueError, TypeError, KeyError):
                continue
            lines[position] = json.dumps(record).encode()
        (shop / "2025-04-30.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
