"""The schedules in a running UI: a document changes on disk, and the new value is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pricing_platform_tests.integration.built_home import BuiltHome, new_home
from pricing_platform_tests.integration.served_ui import (
    CHROMIUM,
    ask,
    browser_page,
    pictures_folder,
    served_ui,
    wait_until,
)

RUNS = """
{ runsOrError(filter: {pipelineName: "refresh_stale_facts"}) { ... on Runs {
    results { runId status tags { key value } } } } }
"""
CHECKS = """
{ assetNodes(assetKeys: [{path: ["fact_freshness"]}]) {
    freshnessStatusInfo { freshnessStatus }
    assetChecksOrError { ... on AssetChecks { checks { name
      executionForLatestMaterialization { status } } } } } }
"""
SCHEDULED = {
    "PRICING_SCHEDULES": "running",
    "PRICING_FACTS_CRON": "* * * * *",
    "PRICING_INGESTION_CRON": "0 0 29 2 *",
    "PRICING_RETRAINING_CRON": "0 0 29 2 *",
}


@pytest.fixture
def home(tmp_path: Path) -> BuiltHome:
    """A home with documents, whose office-holders are due as soon as they have been seen."""
    home = new_home(tmp_path)
    text = home.sources.read_text()
    assert 'price = "never"' in text
    due = text.replace('price = "never"', 'price = "never", office_holder = "PT1S"')
    home.sources.write_text(due)
    followed = home.command("refresh", "--all")
    assert followed.returncode == 0, followed.stderr
    return home


def answer(home: BuiltHome) -> str | None:
    asked = home.command("ask", "Who is the CEO of Bosphorus Weaving?", "--json")
    assert asked.returncode == 0, asked.stderr
    found: str | None = json.loads(asked.stdout)["answer"]
    return found


@pytest.mark.timeout(400)
def test_a_schedule_serves_what_a_document_says_now(home: BuiltHome, tmp_path: Path) -> None:
    assert answer(home) == "Elif Karaca"
    with served_ui(home, SCHEDULED) as ui:
        for document in home.sources.parent.rglob("*.md"):
            document.write_text(document.read_text().replace("Elif Karaca", "Ada Weir"))

        def refreshed() -> list[Any]:
            runs = ask(ui, RUNS)["runsOrError"]["results"]
            ended = [run for run in runs if run["status"] in ("SUCCESS", "FAILURE")]
            return ended[:1] if answer(home) == "Ada Weir" else []

        (run,) = wait_until(refreshed, 240, "no schedule served the new value")
        assert run["status"] == "SUCCESS"
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        assert tags["dagster/schedule_name"] == "refresh_stale_facts_schedule"
        (node,) = ask(ui, CHECKS)["assetNodes"]
        executed = {
            check["name"]: check["executionForLatestMaterialization"]
            for check in node["assetChecksOrError"]["checks"]
        }
        assert executed.keys() == {"facts_are_within_their_time_to_live", "sources_answer"}
        assert executed["sources_answer"]["status"] == "SUCCEEDED"
        assert node["freshnessStatusInfo"] is not None
        if CHROMIUM is not None:
            picture = pictures_folder(tmp_path) / "fact-freshness.png"
            with browser_page() as page:
                page.goto(f"{ui}/assets/fact_freshness?view=overview")
                page.get_by_text("refresh_stale_facts").first.wait_for(timeout=60_000)
                page.wait_for_timeout(3_000)
                page.screenshot(path=picture)
            assert picture.stat().st_size > 20_000
