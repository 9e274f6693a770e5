"""The Dagster UI as ``pricing-platform ui`` serves it: asked by GraphQL, looked at by a browser."""

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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pricing_platform_tests.integration.built_home import BuiltHome

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


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


@contextmanager
def served_ui(home: BuiltHome, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a UI over the home, which ends with the block."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "pricing_platform.cli", "ui", "--port", str(port)],
        env={**home.environment, **(environment or {})},
        cwd=home.folder,
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


@contextmanager
def browser_page() -> Iterator[Any]:
    """A page of a headless Chromium that asks nobody but the address it is given."""
    from playwright.sync_api import sync_playwright

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
        yield browser.new_page(viewport={"width": 1600, "height": 1000})
        browser.close()


def pictures_folder(fallback: Path) -> Path:
    """Where screenshots go: PRICING_TEST_PICTURES, or a folder that is thrown away."""
    return Path(os.environ.get("PRICING_TEST_PICTURES", fallback))
