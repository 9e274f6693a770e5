"""The evaluation as one HTML file that needs nothing but itself: to be mailed, archived, disputed.

Here belongs what the report tells and how it is written. Its numbers come from the warehouse
through the SQL files that users have too, its pictures from ``pictures`` and ``training_pictures``;
it computes nothing.
"""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pricing_platform.currencies import price_decimals
from pricing_platform.errors import PlatformError
from pricing_platform.evaluation.leaderboard import best_technique, leaderboard
from pricing_platform.evaluation.pictures import currencies, draw_evaluation
from pricing_platform.evaluation.queries import run_query
from pricing_platform.evaluation.style_pictures import draw_style
from pricing_platform.evaluation.training_pictures import (
    draw_inference_cost,
    draw_learning_curve,
)
from pricing_platform.stores.warehouse import Warehouse, make_folder

REPORT_VERSION = "6"
"""Of the report's contents and layout: another version, another file from the same numbers."""

_BASELINE = "category_median"
_MISSES = 15
_CATEGORIES = 20
_FAMILIES = 8
_PACKAGES = (
    "pricing-platform",
    "duckdb",
    "polars",
    "numpy",
    "scikit-learn",
    "lightgbm",
    "torch",
    "transformers",
    "peft",
)
_TECHNIQUES = """
    SELECT technique, any_value(model) AS model, any_value(checkpoint) AS checkpoint,
        count(*) AS rows
    FROM evaluation.predictions GROUP BY technique ORDER BY technique
"""


def write_report(
    warehouse: Warehouse, path: Path, *, fingerprint: str = "", now: datetime | None = None
) -> Path:
    """Writes the report to ``path``: the whole of it, or nothing of it.

    Args:
        warehouse: with predictions and metrics in it.
        path: the HTML file; its folder is created.
        fingerprint: of the inputs, put at the end of the file to know it by.
        now: the time that the report bears; the same time and tables give the same bytes.

    Raises:
        PlatformError: when no technique has been evaluated, or the file cannot be written.
    """
    text = render_report(warehouse, fingerprint=fingerprint, now=now or datetime.now(UTC))
    make_folder(path.parent)
    try:
        _write_atomically(path, text.encode())
    except OSError as error:
        raise PlatformError(
            f"The report {path} cannot be written: {error.strerror}.",
            "Free some space there, or set PRICING_HOME to a folder that you may write to.",
        ) from None
    return path


def is_report_of(path: Path, fingerprint: str) -> bool:
    """Whether the file is a whole report that was written of inputs with this fingerprint."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 500, 0))
        return f"inputs: {fingerprint} " in file.read().decode(errors="replace")


def render_report(warehouse: Warehouse, *, fingerprint: str, now: datetime) -> str:
    """The report's HTML; every text that came out of a listing is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, percent=_percent, day=_day)
    template = environment.get_template("report.html.jinja")
    return template.render(_contents(warehouse), fingerprint=fingerprint, now=now)


def _contents(warehouse: Warehouse) -> dict[str, Any]:
    chosen = best_technique(warehouse)
    currency = currencies(warehouse)
    board = leaderboard(warehouse).to_dicts()
    by_name = {row["technique"]: row for row in board}
    tables = {
        "sources": run_query(warehouse, "sources"),
        "splits": run_query(warehouse, "splits"),
        "families": run_query(warehouse, "families", rows=_FAMILIES),
        "differences": run_query(warehouse, "differences", technique=chosen),
        "by_source": run_query(warehouse, "by_source"),
        "price_bands": run_query(warehouse, "price_bands", technique=chosen),
        "by_category": run_query(warehouse, "by_category", technique=chosen),
        "worst_misses": run_query(warehouse, "worst_misses", technique=chosen, rows=_MISSES),
        "failures": run_query(warehouse, "failures"),
        "rejected_by_rule": run_query(warehouse, "rejected_by_rule"),
        "price_leaks": run_query(warehouse, "price_leaks"),
        "techniques": warehouse.frame(_TECHNIQUES),
        "prompting_costs": run_query(warehouse, "prompting_costs"),
        "llm_failures": run_query(warehouse, "llm_failures"),
        "context_sweep": run_query(warehouse, "context_sweep"),
        "injection_resistance": run_query(warehouse, "injection_resistance"),
        "style": run_query(warehouse, "style"),
        "style_replies": run_query(warehouse, "style_replies"),
        "learning_curve": run_query(warehouse, "learning_curve"),
        "learning_curve_fits": run_query(warehouse, "learning_curve_fits"),
        "learning_curve_crossings": run_query(warehouse, "learning_curve_crossings"),
        "inference_cost": run_query(warehouse, "inference_cost"),
        "break_even": run_query(warehouse, "break_even"),
    }
    pictures = (
        draw_evaluation(warehouse)
        | draw_style(warehouse)
        | draw_learning_curve(warehouse)
        | draw_inference_cost(warehouse)
    )
    return {
        "chosen": by_name.get(chosen) or {"technique": chosen, "mae": None},
        "baseline": by_name.get(_BASELINE),
        "references": [row for row in board if row["is_reference"]],
        "ranked_by": next((row["ranked_by"] for row in board if row["ranked_by"]), "mae"),
        "leader": next((row for row in board if row["rank"] == 1), None),
        "leaderboard": board,
        "categories_shown": _CATEGORIES,
        "currency": currency,
        "decimals": price_decimals(currency),
        "pictures": {name: base64.b64encode(png).decode() for name, png in pictures.items()},
        "versions": _versions(),
        "data_versions": {
            table: warehouse.data_version(table)
            for table in ("curated.items", "evaluation.predictions")
        },
        **{name: frame.to_dicts() for name, frame in tables.items()},
    }


def _versions() -> Mapping[str, str]:
    found = {"python": python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _write_atomically(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}".replace("-", "−")


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:,.{digits}f} %"


def _day(moment: datetime | None) -> str:
    return "–" if moment is None else f"{moment:%Y-%m-%d}"
