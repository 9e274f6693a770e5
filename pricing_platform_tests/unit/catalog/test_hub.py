"""Fetching the published dataset, against a server that speaks the hub's protocol."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pricing_platform.catalog.hub import REVISION, fetch_amazon_reviews_2023
from pricing_platform.errors import PlatformError
from pricing_platform_tests.unit.catalog.hub_server import COMMIT, Hub, serve

SMALL = b'{"main_category": "Appliances", "title": "Ice maker", "price": "89.99"}\n' * 50
# The client writes in pieces of 10 MiB, so that only a larger file can be continued.
LARGE = b"".join(b'{"title": "row %08d"}\n' % number for number in range(1_000_000))
PIECE = 10 * 1024 * 1024


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    files = {"meta_Appliances.jsonl": SMALL, "meta_Home_and_Kitchen.jsonl": LARGE}
    with serve(Hub(files)) as hub:
        yield hub


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def test_a_category_is_downloaded_whole_with_progress(hub: Hub, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    path = fetch_amazon_reviews_2023(
        "Appliances", tmp_path / "new", endpoint=hub.url, progress=lambda *at: told.append(at)
    )
    assert path == tmp_path / "new" / "meta_Appliances.jsonl"
    assert path.read_bytes() == SMALL
    assert told[0] == ("meta_Appliances.jsonl", 0, len(SMALL))
    assert told[-1] == ("meta_Appliances.jsonl", len(SMALL), len(SMALL))
    assert names(path.parent) == {path.name, f".{path.name}.origin.json"}
    assert REVISION == COMMIT


def test_a_finished_download_is_not_asked_for_again(hub: Hub, tmp_path: Path) -> None:
    path = fetch_amazon_reviews_2023("Appliances", tmp_path, endpoint=hub.url)
    asked = len(hub.requests)
    assert fetch_amazon_reviews_2023("Appliances", tmp_path, endpoint=hub.url) == path
    assert len(hub.requests) == asked
    path.write_bytes(b"cut off")
    fetch_amazon_reviews_2023("Appliances", tmp_path, endpoint=hub.url)
    assert path.read_bytes() == SMALL


def test_a_broken_connection_is_continued_within_the_same_call(hub: Hub, tmp_path: Path) -> None:
    hub.break_after = [PIECE + 1000]
    path = fetch_amazon_reviews_2023("Home_and_Kitchen", tmp_path, endpoint=hub.url)
    assert path.read_bytes() == LARGE
    assert hub.downloads() == [None, f"bytes={PIECE}-"]


def test_a_server_that_ignores_ranges_still_gives_the_right_file(hub: Hub, tmp_path: Path) -> None:
    hub.ranges = False
    hub.break_after = [PIECE + 1000]
    path = fetch_amazon_reviews_2023("Home_and_Kitchen", tmp_path, endpoint=hub.url)
    assert path.read_bytes() == LARGE


def test_a_killed_download_is_continued_by_the_next_process(hub: Hub, tmp_path: Path) -> None:
    hub.stall_after = PIECE + 100_000
    script = (
        "import sys, pathlib; from pricing_platform.catalog.hub import fetch_amazon_reviews_2023;"
        " print(fetch_amazon_reviews_2023('Home_and_Kitchen', pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = os.environ | {"HF_ENDPOINT": hub.url}
    first = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[3])
    try:
        deadline = time.monotonic() + 60
        while not any(part.stat().st_size >= PIECE - 8192 for part in tmp_path.glob(".*.part")):
            assert time.monotonic() < deadline
            assert first.poll() is None
            time.sleep(0.05)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert not (tmp_path / "meta_Home_and_Kitchen.jsonl").exists()
    kept = next(iter(tmp_path.glob(".*.part"))).stat().st_size
    hub.stall_after = None
    hub.released.set()
    second = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert second.returncode == 0, second.stderr
    assert Path(second.stdout.strip()).read_bytes() == LARGE
    assert hub.downloads() == [None, f"bytes={kept}-"]
    assert not list(tmp_path.glob(".*.part"))


def test_a_redirect_to_storage_is_followed_without_the_token(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serve(Hub(hub.files)) as storage:
        hub.storage_url = storage.url
        path = fetch_amazon_reviews_2023("Appliances", tmp_path, endpoint=hub.url)
    assert path.read_bytes() == SMALL
    assert hub.requests[0][2]["authorization"] == "Bearer hf_secret"
    assert [("authorization" in headers) for *_, headers in storage.requests] == [False]
    record = (tmp_path / ".meta_Appliances.jsonl.origin.json").read_text()
    assert "secret" not in record


def test_an_unknown_category_names_those_that_exist(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(PlatformError) as caught:
        fetch_amazon_reviews_2023("Aplliances", tmp_path, endpoint=hub.url)
    assert "no category Aplliances" in caught.value.problem
    assert "Did you mean Appliances?" in caught.value.remedy
    assert "Appliances, Home_and_Kitchen" in caught.value.remedy
    assert names(tmp_path) == set()


@pytest.mark.parametrize("category", ["", "../../etc/passwd", "Home & Kitchen", "a/b"])
def test_a_category_that_is_no_name_is_refused_before_any_request(
    hub: Hub, tmp_path: Path, category: str
) -> None:
    with pytest.raises(PlatformError, match="is no category"):
        fetch_amazon_reviews_2023(category, tmp_path, endpoint=hub.url)
    assert hub.requests == []


def test_an_unknown_revision_is_named(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="no revision nightly"):
        fetch_amazon_reviews_2023("Appliances", tmp_path, revision="nightly", endpoint=hub.url)


def test_a_server_that_is_down_is_told_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(PlatformError) as caught:
            fetch_amazon_reviews_2023("Appliances", tmp_path, endpoint=address)
    assert address in caught.value.problem
    assert "HF_ENDPOINT" in caught.value.remedy


@pytest.mark.parametrize("status", [403, 503])
def test_a_refusal_is_told_with_its_status(hub: Hub, tmp_path: Path, status: int) -> None:
    hub.status = status
    with pytest.raises(PlatformError, match=f"status {status}"):
        fetch_amazon_reviews_2023("Appliances", tmp_path, endpoint=hub.url)


def test_a_damaged_download_is_refused_and_not_continued(hub: Hub, tmp_path: Path) -> None:
    hub.damaged = True
    with pytest.raises(PlatformError, match="damaged"):
        fetch_amazon_reviews_2023("Appliances", tmp_path, endpoint=hub.url)
    assert names(tmp_path) == set()
    hub.damaged = False
    path = fetch_amazon_reviews_2023("Appliances", tmp_path, endpoint=hub.url)
    assert path.read_bytes() == SMALL


def test_a_server_that_is_no_hub_is_refused(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(PlatformError):
        fetch_amazon_reviews_2023("Appliances", tmp_path, endpoint=f"{hub.url}/not-a-hub")


def test_a_folder_that_cannot_be_made_is_told(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlatformError, match="cannot be created"):
        fetch_amazon_reviews_2023("Appliances", tmp_path / "file" / "below", endpoint=hub.url)
