"""The Dagster UI in a real browser, over a home that a real run has built."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pricing_platform_tests.integration.built_home import BuiltHome

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
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


def ask(address: str, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(
        f"{address}/graphql", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
    assert "errors" not in answer, answer
    return answer["data"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Any, seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.5)
    pytest.fail(f"{what} within {seconds:.0f} seconds")


@pytest.fixture(scope="module")
def ui(built_home: BuiltHome) -> Iterator[str]:
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "pricing_platform.cli", "ui", "--port", str(port)],
        env=built_home.environment,
        cwd=built_home.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until(
                lambda: ask(
                    address,
                    "{ repositoriesOrError { __typename ... on RepositoryConnection"
                    " { nodes { name } } } }",
                )["repositoriesOrError"].get("nodes"),
                240,
                "the UI did not come up",
            )
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


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
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_asset_graph_and_an_asset_page_are_shown(ui: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    pictures = Path(os.environ.get("PRICING_TEST_PICTURES", tmp_path))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
            ],
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(f"{ui}/assets/items?view=lineage&lineageScope=neighbors&lineageDepth=5")
        page.get_by_text("item_families").first.wait_for(timeout=60_000)
        page.wait_for_timeout(3_000)
        page.screenshot(path=pictures / "asset-graph.png")
        page.goto(f"{ui}/assets/technique_metrics?view=events")
        page.get_by_text("leaderboard").first.wait_for(timeout=60_000)
        page.wait_for_timeout(2_000)
        page.screenshot(path=pictures / "asset-page.png")
        browser.close()
    for name in ("asset-graph.png", "asset-page.png"):
        assert (pictures / name).stat().st_size > 20_000
