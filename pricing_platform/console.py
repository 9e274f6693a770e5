"""What the command line prints: tables, progress, errors.

Here belongs the look of the terminal. What a command does belongs to `cli.py` and the domain.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pricing_platform.currencies import price_decimals
from pricing_platform.errors import PlatformError
from pricing_platform.progress import Progress as ReportProgress

output = Console(width=None if sys.stdout.isatty() else 160)
messages = Console(stderr=True)

Format = Literal["table", "csv", "json"]

_PRICES = frozenset({"price", "change", "estimate", "low", "high"})
"""Columns that are in the currency which a row names, where it names one."""


def print_error(error: PlatformError) -> None:
    """One clear message on standard error: the problem, then what to do."""
    messages.print("error:", style="bold red", end=" ")
    messages.print(error.problem, markup=False, highlight=False, soft_wrap=True)
    if error.remedy:
        messages.print(error.remedy, markup=False, highlight=False, soft_wrap=True)


def print_frame(frame: pl.DataFrame, layout: Format = "table", title: str | None = None) -> None:
    """A frame as a table for people, or as CSV or JSON lines for programs."""
    if layout == "csv":
        sys.stdout.write(_flat(frame).write_csv())
    elif layout == "json":
        for row in frame.iter_rows(named=True):
            sys.stdout.write(_json(row) + "\n")
    else:
        output.print(_table(frame, title))


def print_leaderboard(board: pl.DataFrame, currency: str) -> None:
    """The leaderboard in as many columns as a terminal holds; the report and SQL have all."""
    decimals = price_decimals(currency)
    shown = board.select(
        "rank",
        "technique",
        _answered_items(),
        pl.format(
            "{} ({} to {})",
            *(_fixed(column, decimals) for column in ("mae", "mae_low", "mae_high")),
        ).alias("MAE (95 %)"),
        _fixed("mae_common", decimals).alias("MAE, common"),
        _fixed("rmsle", 3).alias("RMSLE"),
        _fixed("smape", 1).alias("SMAPE %"),
        _fixed("within_20_percent", 3).alias("within 20 %"),
        _fixed("r2", 3).alias("R²"),
        _fixed("interval_coverage", 3).alias("coverage"),
        _fixed("latency_p50_ms", 2).alias("ms/item"),
        _fixed("training_seconds", 0).alias("training s"),
    )
    by = " by MAE on common items" if "mae_common" in board["ranked_by"] else ""
    print_frame(shown, title=f"Leaderboard: the test items, best first{by}")


def _answered_items() -> pl.Expr:
    """Of how many items there is an estimate, where that is not all of them."""
    answered = (pl.col("items") * pl.col("answered")).round().cast(pl.Int64)
    some = pl.format("{} of {}", answered, "items")
    whole = pl.format("{}", "items")
    return pl.when(pl.col("answered") < 1).then(some).otherwise(whole).alias("items")


def _fixed(column: str, digits: int) -> pl.Expr:
    return pl.col(column).map_elements(lambda v: f"{v:,.{digits}f}", return_dtype=pl.String)


def _table(frame: pl.DataFrame, title: str | None) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for name, dtype in frame.schema.items():
        table.add_column(
            name, justify="right" if dtype.is_numeric() else "left", overflow="fold", max_width=60
        )
    for row in frame.iter_rows(named=True):
        currency = row.get("currency")
        decimals = price_decimals(currency) if isinstance(currency, str) else None
        table.add_row(
            *(
                f"{value:,.{decimals}f}"
                if name in _PRICES and decimals is not None and isinstance(value, float)
                else _cell(value)
                for name, value in row.items()
            )
        )
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.2f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("[", r"\[")


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame as CSV can hold it: JSON for what is nested, text for what has no other form."""
    return frame.with_columns(
        pl.Series(column.name, [_flat_cell(value) for value in column.to_list()], dtype=pl.String)
        for column in frame
        if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Duration, pl.Object)
    )


def _flat_cell(value: Any) -> str | None:
    if value is None:
        return None
    return _json(value) if isinstance(value, dict | list) else _plain(value)


def _json(value: Any) -> str:
    return json.dumps(_finite(value), default=_plain, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    """The value with null for the numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value


def _plain(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


class TerminalProgress:
    """The progress of a run's assets as bars; nothing where standard error is no terminal."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=messages,
            transient=True,
            disable=not messages.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    @contextmanager
    def shown(self) -> Iterator[TerminalProgress]:
        """Shows the bars while the block runs."""
        with self._bars:
            yield self

    def of(self, _context: object) -> ReportProgress:
        """One bar for each description that the asset reports."""
        return self.report

    def report(self, description: str, done: int, total: int) -> None:
        """Moves the bar of this description; a finished one disappears."""
        if description not in self._tasks:
            self._tasks[description] = self._bars.add_task(description, total=total)
        self._bars.update(self._tasks[description], completed=done, total=total)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(description))
