"""What every asset tells Dagster of what it made: versions, schema, rows, a preview.

Here belongs the shape of a materialization's metadata. What an asset adds of its own, and how its
rows are made, do not.
"""

import base64
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import dagster as dg
import polars as pl
from psycopg import sql

from pricing_platform.bounded_cache import DAY_SECONDS, MEBIBYTE, mark_used, prune_cache
from pricing_platform.retrieval.reconciliation import ReconciliationSummary
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.provenance import Refreshed, refresh
from pricing_platform.stores.warehouse import Warehouse, make_folder

OWNERS = ["team:pricing"]
_PICTURES_BYTES = 20 * MEBIBYTE
"""What the pictures of an asset may take, with those of earlier versions."""

_PREVIEW_ROWS = 5
_PREVIEW_CHARACTERS = 80
_POSTGRES_COLUMNS = """
SELECT
    attname::text AS name,
    format_type(atttypid, atttypmod) AS type,
    coalesce(col_description(attrelid, attnum), '') AS description
FROM pg_attribute
WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped
ORDER BY attnum
"""


class RefreshConfig(dg.Config):
    """How an asset is materialized."""

    force: bool = False
    """Recompute although nothing that it depends on has changed."""


def refreshed_table(
    warehouse: Warehouse,
    table: str,
    build: Callable[[Path], pl.DataFrame | Path],
    *,
    inputs: str,
    force: bool,
    metadata: Callable[[], Mapping[str, Any]] = dict,
) -> dg.MaterializeResult[None]:
    """Makes a table again, unless it stands as made from these inputs, and tells what came of it.

    Args:
        warehouse: where the table is.
        table: its schema and name.
        build: gives its rows; see :func:`refresh`.
        inputs: the fingerprint of all that the rows follow from.
        force: make it again in any case.
        metadata: what else is told, asked for when the table stands.
    """
    started = time.perf_counter()
    refreshed = refresh(
        warehouse, [table], lambda folder: {table: build(folder)}, inputs=inputs, force=force
    )
    seconds = time.perf_counter() - started
    return table_result(warehouse, table, refreshed, seconds=seconds, metadata=metadata())


def table_result(
    warehouse: Warehouse,
    table: str,
    refreshed: Refreshed,
    *,
    seconds: float,
    metadata: Mapping[str, Any] | None = None,
    asset_key: str | None = None,
) -> dg.MaterializeResult[None]:
    """The materialization of a table: its content's version, schema, rows and a preview."""
    return dg.MaterializeResult(
        asset_key=asset_key,
        data_version=dg.DataVersion(warehouse.data_version(table)),
        metadata={
            **table_metadata(warehouse, table),
            "reused": refreshed.reused,
            "seconds": seconds,
            **(metadata or {}),
        },
    )


def table_metadata(warehouse: Warehouse, table: str) -> dict[str, Any]:
    """Name, rows, column schema and a preview of a table."""
    columns = [
        dg.TableColumn(column.name, column.type, column.description)
        for column in warehouse.columns(table)
    ]
    rows = warehouse.frame(f"SELECT count(*) AS rows FROM {table}").item()
    return {
        "dagster/table_name": f"warehouse.{table}",
        "dagster/row_count": rows,
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "preview": dg.MetadataValue.md(preview(warehouse, table)),
    }


def postgres_table_metadata(
    server: Postgres, table: str, *, shown: Sequence[str] = ()
) -> dict[str, Any]:
    """Name, rows and column schema of a table in Postgres, and a preview of the columns shown."""
    columns = server.frame(_POSTGRES_COLUMNS, {"table": table})
    name = sql.Identifier(*table.split("."))
    rows = server.frame(sql.SQL("SELECT count(*) FROM {}").format(name).as_string()).item()
    metadata: dict[str, Any] = {
        "dagster/table_name": f"postgres.{table}",
        "dagster/row_count": rows,
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(*column) for column in columns.iter_rows()]
        ),
    }
    if shown:
        cut = sql.SQL(", ").join(
            sql.SQL("left({0}::text, {1}) AS {0}").format(sql.Identifier(c), _PREVIEW_CHARACTERS)
            for c in shown
        )
        first = sql.SQL("SELECT {} FROM {} LIMIT {}").format(cut, name, _PREVIEW_ROWS)
        metadata["preview"] = dg.MetadataValue.md(markdown_table(server.frame(first.as_string())))
    return metadata


def reconciled(summary: ReconciliationSummary, started: float) -> dict[str, Any]:
    """What a reconciliation did, in rows, and the seconds since ``started``."""
    rows = summary.unchanged + summary.inserted + summary.updated
    return {
        "inserted": summary.inserted,
        "updated": summary.updated,
        "deleted": summary.deleted,
        "encoded": summary.encoded,
        "reused": rows == summary.unchanged and not summary.deleted,
        "seconds": time.perf_counter() - started,
        "summary": f"{summary.encoded:,} encoded",
    }


def preview(warehouse: Warehouse, table: str) -> str:
    """The first rows as a Markdown table; long texts are cut."""
    names = [column.name for column in warehouse.columns(table)]
    cut = ", ".join(f'left("{n}"::VARCHAR, {_PREVIEW_CHARACTERS}) AS "{n}"' for n in names)
    return markdown_table(warehouse.frame(f"SELECT {cut} FROM {table} LIMIT {_PREVIEW_ROWS}"))


def markdown_table(frame: pl.DataFrame) -> str:
    """A frame as a Markdown table, in which no text can be mistaken for Markdown or HTML."""
    lines = [frame.columns, ["---"] * frame.width]
    lines += [[_plain(value) for value in row] for row in frame.iter_rows()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def pictures(
    folder: Path, version: str, draw: Callable[[], Mapping[str, bytes]]
) -> dict[str, dg.MarkdownMetadataValue]:
    """PNGs by name as Dagster shows pictures, drawn once for each version of what they show."""
    drawn = folder / version
    if not drawn.is_dir():
        make_folder(folder)
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            for name, png in draw().items():
                (Path(partial) / f"{quote(name, safe='')}.png").write_bytes(png)
            shutil.copytree(partial, f"{partial}.whole")
            Path(f"{partial}.whole").replace(drawn)
    mark_used(drawn)
    prune_cache(folder, _PICTURES_BYTES, used_since=time.time() - DAY_SECONDS)
    return {unquote(path.stem): _picture(path.read_bytes()) for path in sorted(drawn.glob("*.png"))}


def _picture(png: bytes) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![](data:image/png;base64,{base64.b64encode(png).decode()})")


def _plain(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:,.4g}" if isinstance(value, float) else str(value)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("`", "&#96;")):
        text = text.replace(character, entity)
    return " ".join(text.split())
