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
    assert warnings["subject"].to_list() == [
        "warehouse",
        "documents",
        "language model",
        "evaluation",
    ]
    assert set(warnings["found"]) == {
        "its tables are not built yet",
        "0 of 1 configured folders",
        "the platform's own is not trained yet",
    }
    assert "failed" not in found["status"]


@pytest.mark.usefixtures("without_services")
def test_every_setting_is_shown_and_no_secret(tmp_path: Path) -> None:
    url = "postgresql://me:hunter2@server/prices"
    endpoint = "https://me:hunter2@127.0.0.1/v1?token=hunter2"
    found = diagnosis.diagnose(
        Settings(home=tmp_path, postgres_url=url, threads=2, llm_base_url=endpoint)
    )
    shown = dict(found.select("subject", "found").iter_rows())
    assert {f"PRICING_{name.upper()}" for name in Settings.model_fields} <= shown.keys()
    assert shown["PRICING_THREADS"] == "2"
    assert shown["PRICING_TIME_ZONE"] == "UTC (default)"
    assert shown["PRICING_DATA"] == "not set"
    assert set(shown["PRICING_POSTGRES_URL"]) == {"*"}
    assert set(shown["PRICING_LLM_BASE_URL"]) == {"*"}
    assert "hunter2" not in str(found.to_dicts())


def test_the_readme_names_every_setting() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    missing = [n for n in Settings.model_fields if f"`PRICING_{n.upper()}`" not in readme]
    assert missing == []
