"""Recompute only what changed: a table knows the fingerprint of the inputs it was made from.

Here belongs the decision whether a table still stands, and nothing about what is in it. The
fingerprint stands in the warehouse itself and is written in the transaction that writes the rows,
so that no run, however it ended, can leave the two disagreeing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pricing_platform.stores.warehouse import TableState, Warehouse, fingerprint

Rows = Mapping[str, pl.DataFrame | Path]
"""The new rows by table: a frame, or a Parquet file in the folder that ``build`` was given."""


@dataclass(frozen=True)
class Refreshed:
    """The state of each table after a refresh, and whether its rows were kept as they were."""

    states: Mapping[str, TableState]
    reused: bool

    def state(self, table: str) -> TableState:
        """The state of one of the tables."""
        return self.states[table]


def inputs_fingerprint(warehouse: Warehouse, version: str, inputs: Sequence[str], *more: object) -> str:
    """Of the code's version, the contents of the input tables, and whatever else decides the rows."""
    return fingerprint(version, *(warehouse.data_version(table) for table in inputs), *more)


def refresh(
    warehouse: Warehouse,
    tables: Sequence[str],
    build: Callable[[Path], Rows],
    *,
    inputs: str,
    partition: tuple[str, str] | None = None,
    force: bool = False,
) -> Refreshed:
    """Replaces the tables with what ``build`` returns, unless they stand as made from ``inputs``.

    Args:
        warehouse: where the tables are.
        tables: all are replaced in one transaction.
        build: given a temporary folder for Parquet files; runs while no connection is open.
        inputs: the fingerprint of everything that the rows follow from.
        partition: the column and key, when only that partition is replaced.
        force: replace the rows even when nothing changed.
    """
    key = partition[1] if partition else ""
    known = {table: warehouse.state(table, key) for table in tables}
    standing = {
        table: state for table, state in known.items() if state and state.fingerprint == inputs
    }
    if len(standing) == len(tables) and not force:
        return Refreshed(standing, reused=True)
    with warehouse.staging_folder() as folder:
        rows = build(folder)
        return Refreshed(
            warehouse.replace_all(
                {table: rows[table] for table in tables}, partition=partition, fingerprint=inputs
            ),
            reused=False,
        )
