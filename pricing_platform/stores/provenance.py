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


def inputs_fingerprint(
    warehouse: Warehouse, version: str, inputs: Sequence[str], *more: object
) -> str:
    """Of the code's version, the input tables' contents, and whatever else decides the rows."""
    return fingerprint(version, *(warehouse.data_version(table) for table in inputs), *more)


def standing(
    warehouse: Warehouse,
    tables: Sequence[str],
    *,
    inputs: str,
    partition: tuple[str, str] | None = None,
) -> Refreshed | None:
    """The tables' states when all of them were made from ``inputs``, else None."""
    key = partition[1] if partition else ""
    states = {table: warehouse.state(table, key) for table in tables}
    current = {t: state for t, state in states.items() if state and state.fingerprint == inputs}
    return Refreshed(current, reused=True) if len(current) == len(tables) else None


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
    current = standing(warehouse, tables, inputs=inputs, partition=partition)
    if current is not None and not force:
        return current
    with warehouse.staging_folder() as folder:
        rows = build(folder)
        states = warehouse.replace_all(
            {table: rows[table] for table in tables}, partition=partition, fingerprint=inputs
        )
    return Refreshed(states, reused=False)


def refresh_by(
    warehouse: Warehouse,
    tables: Sequence[str],
    write: Callable[[], object],
    *,
    inputs: str,
    partition: tuple[str, str] | None = None,
    force: bool = False,
) -> Refreshed:
    """Like :func:`refresh`, where ``write`` itself replaces the tables with this fingerprint."""
    current = standing(warehouse, tables, inputs=inputs, partition=partition)
    if current is not None and not force:
        return current
    write()
    written = standing(warehouse, tables, inputs=inputs, partition=partition)
    if written is None:
        raise RuntimeError(f"{', '.join(tables)} were not written with the inputs' fingerprint")
    return Refreshed(written.states, reused=False)
