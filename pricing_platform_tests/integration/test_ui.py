"""The Dagster UI in a real browser, over a home that a real run has built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pricing_platform_tests.integration.built_home import BuiltHome
from pricing_platform_tests.integration.served_ui import (
    ask,
    browser_page,
    needs_browser,
    pictures_folder,
    served_ui,
    wait_until,
)

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
STATUS = "query S($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"


@pytest.fixture(scope="module")
def ui(built_home: BuiltHome) -> Iterator[str]:
    with served_ui(built_home) as address:
        yield address


def test_a_materialization_started_by_graphql_succeeds(ui: str) -> None:
    launched = ask(
        ui,
        LAUNCH,
        params={
            "mode": "default",
            "selector": {
                "repositoryLocationName": "pricing_platform.definitions",
                "repositoryName": "__repository__",
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": ["catalog_profile"]}],
                "assetCheckSelection": [],
            },
            "runConfigData": {},
        },
    )["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]

    def ended() -> str | None:
        status: str = ask(ui, STATUS, id=run_id)["runOrError"]["status"]
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

    assert wait_until(ended, 120, "the run did not end") == "SUCCESS"


@pytest.mark.browser
@needs_browser
def test_the_asset_graph_and_an_asset_page_are_shown(ui: str, tmp_path: Path) -> None:
    pictures = pictures_folder(tmp_path)
    with browser_page() as page:
        page.goto(f"{ui}/assets/items?view=lineage&lineageScope=neighbors&lineageDepth=5")
        page.get_by_text("item_families").first.wait_for(timeout=60_000)
        page.wait_for_timeout(3_000)
        page.screenshot(path=pictures / "asset-graph.png")
        page.goto(f"{ui}/assets/technique_metrics?view=events")
        page.get_by_text("leaderboard").first.wait_for(timeout=60_000)
        page.wait_for_timeout(2_000)
        page.screenshot(path=pictures / "asset-page.png")
    for name in ("asset-graph.png", "asset-page.png"):
        assert (pictures / name).stat().st_size > 20_000
