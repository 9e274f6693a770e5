"""Rows of Excel files.

Here belongs what is taken out of a workbook. Which of its sheets is meant belongs to
``file_layout``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from pricing_platform.catalog.data_files import opened
from pricing_platform.catalog.file_text import one_line
from pricing_platform.errors import PlatformError


def filled_sheets(file: Path) -> list[str]:
    """The names of the sheets that have a row below their header."""
    book = _workbook(file)
    return [name for name in book.sheet_names if not _frame(book, name).is_empty()]


def sheet_rows(file: Path, sheet: str) -> Iterator[str]:
    """Each row that is not empty as a JSON object, its cells as texts; empty cells are left out."""
    for row in _frame(_workbook(file), sheet).iter_rows(named=True):
        told = {name: value for name, value in row.items() if value is not None}
        if told:
            yield json.dumps(told, ensure_ascii=False)


def _workbook(file: Path) -> Any:
    import fastexcel

    with opened(file) as stream:
        content = stream.read()
    try:
        return fastexcel.read_excel(content)
    except fastexcel.FastExcelError as error:
        raise PlatformError(
            f"{file} cannot be read as an Excel file: {str(error).splitlines()[0]}.",
            "Save it again as .xlsx, or export it as CSV.",
        ) from None


def _frame(book: Any, sheet: str) -> pl.DataFrame:
    found: pl.DataFrame = book.load_sheet(sheet, dtypes="string").to_polars()
    found = (
        found.rename(one_line) if len(set(map(one_line, found.columns))) == found.width else found
    )
    return found.filter(~pl.all_horizontal(pl.all().is_null())) if found.width else found
