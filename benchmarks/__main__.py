"""Runs every comparison and prints one table; ``python -m benchmarks NAME …`` runs some of them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.binary_copy import compare_binary_copy
from benchmarks.configuration import forget_configuration
from benchmarks.curation import compare_curation
from benchmarks.encoder import compare_encoders
from benchmarks.endpoint import compare_endpoint, compare_killed_runs
from benchmarks.fine_tuning import compare_fine_tuning
from benchmarks.imports import compare_imports
from benchmarks.measurement import Comparison
from benchmarks.price_facts import compare_price_facts
from benchmarks.price_readout import compare_price_readout
from benchmarks.refresh import compare_refresh
from benchmarks.refreshers import compare_refreshers
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse


def _binary_copy(folder: Path) -> Iterable[Comparison]:
    postgres = Postgres.from_settings(Settings(home=folder / "copy"))
    try:
        return [compare_binary_copy(postgres)]
    finally:
        postgres.close()


def _refresh_then_encoder(folder: Path) -> Iterable[Comparison]:
    yield from compare_refresh(folder)
    items = Warehouse(folder / "home" / "warehouse.duckdb").frame("SELECT * FROM curated.items")
    yield compare_encoders(items)


COMPARISONS: dict[str, Callable[[Path], Iterable[Comparison]]] = {
    "imports": lambda _folder: [compare_imports()],
    "copy": _binary_copy,
    "curation": lambda folder: [compare_curation(folder)],
    "prices": compare_price_facts,
    "refreshers": lambda folder: [compare_refreshers(folder)],
    "price_readout": compare_price_readout,
    "fine_tuning": compare_fine_tuning,
    "endpoint": lambda folder: [compare_endpoint(folder)],
    "killed_runs": lambda folder: [compare_killed_runs(folder)],
    "refresh": _refresh_then_encoder,
}


def main(names: list[str]) -> None:
    """Prints a line a figure; nothing here passes or fails a build."""
    forget_configuration()
    table = Table("subject", "ours", "peer", "ratio", "aim", "met", "note")
    with tempfile.TemporaryDirectory() as folder:
        for name in names or COMPARISONS:
            for c in COMPARISONS[name](Path(folder)):
                met = "yes" if c.met else "no"
                ratio = f"{c.ratio:.2f} {c.meaning}"
                table.add_row(c.subject, c.ours, c.peer, ratio, c.aim, met, c.note)
    Console(width=180).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
