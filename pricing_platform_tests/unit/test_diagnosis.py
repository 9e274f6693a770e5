"""What the doctor finds where little is there."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pytest

from pricing_platform import diagnosis
from pricing_platform.settings import Settings


@pytest.fixture
def without_services(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("_sources", "_postgres", "_encoder"):

        def nothing(_settings: Settings) -> list[diagnosis.Finding]:
            return []

        monkeypatch.setattr(diagnosis, part, nothing)


@pytest.mark.usefixtures("without_services")
def test_a_warehouse_without_tables_is_a_finding(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "warehouse.duckdb")).close()
    found = diagnosis.diagnose(Settings(home=tmp_path))
    warnings = found.filter(pl.col("status") == "warning")
    assert warnings["subject"].to_list() == ["warehouse", "evaluation"]
    assert set(warnings["found"]) == {"its tables are not built yet"}
    assert "failed" not in found["status"]
