"""The SQL files of ``sql/queries``, which users run and the report is made of.

Here belongs finding and running them. What they ask stands in the files themselves.
"""

from __future__ import annotations

import polars as pl

from pricing_platform.settings import sql_folder
from pricing_platform.stores.warehouse import Warehouse


def run_query(warehouse: Warehouse, name: str, **parameters: object) -> pl.DataFrame:
    """The rows of ``sql/queries/NAME.sql``.

    Raises:
        FileNotFoundError: when there is no such file.
    """
    text = (sql_folder() / "queries" / f"{name}.sql").read_text(encoding="utf-8")
    return warehouse.frame(text, parameters)
