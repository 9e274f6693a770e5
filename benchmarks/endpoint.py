"""The client of an endpoint: sixteen calls at once against one by one, and runs that are killed."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from pydantic import SecretStr

from benchmarks.measurement import Comparison, seconds
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.endpoint.model import EndpointLanguageModel
from pricing_platform.language.model import Message, Prompt
from pricing_platform.language.response_cache import ResponseCache

CONCURRENCY = 16
PROMPTS = 320
LATENCY_SECONDS = 0.1
_SERVER = "pricing_platform_tests.unit.language.endpoint.answering_server"
_ROOT = Path(__file__).parent.parent
_FORKS = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class KilledRuns:
    """What a run did that was killed and started again until it ended.

    ``calls`` and ``most_for_one`` (prompt) are from the server's log; ``under_way`` is how many
    calls the cache knew to be under way at each kill.
    """

    answered: int
    killed: int
    calls: int
    most_for_one: int
    under_way: tuple[int, ...]
    seconds: float


def compare_endpoint(folder: Path) -> Comparison:
    """The same prompts by sixteen calls at once and one by one, at a server with 100 ms latency.

    Raises:
        AssertionError: when a prompt was not answered, or not asked exactly once.
    """
    log = folder / "endpoint.log"
    with _server(log, LATENCY_SECONDS) as url:
        _read(url, folder / "warm.sqlite", 1, 1)  # the library's import
        ours = seconds(lambda: _read(url, folder / "ours.sqlite", CONCURRENCY, PROMPTS))
        peer = seconds(lambda: _read(url, folder / "peer.sqlite", 1, PROMPTS))
    assert len(_asked(log)) == 1 + 2 * PROMPTS  # noqa: S101
    return Comparison(
        f"endpoint, {PROMPTS} prompts, {LATENCY_SECONDS * 1000:.0f} ms latency",
        f"{CONCURRENCY} at once: {ours:.1f} s",
        f"one by one: {peer:.1f} s",
        peer / ours,
        "times as fast",
        "at least 10",
        peer / ours >= 10,
        f"{PROMPTS / ours:.0f} calls a second",
    )


def killed_runs(
    folder: Path,
    *,
    prompts: int = 2_000,
    kills: int = 3,
    latency: float = LATENCY_SECONDS,
    concurrency: int = CONCURRENCY,
) -> KilledRuns:
    """A run in a process of its own, killed each time another part of it is done."""
    log, cache_path = folder / "killed.log", folder / "killed.sqlite"
    _FORKS.set_forkserver_preload(["benchmarks.endpoint", "openai", "openai.resources.chat"])
    started, under_way = time.perf_counter(), []
    with _server(log, latency) as url, closing(ResponseCache(cache_path)) as cache:
        for kill in range(1, kills + 1):
            with _run(url, cache_path, concurrency, prompts) as process:
                _wait_for_calls(log, prompts * kill // (kills + 1), process)
                process.kill()
            under_way.append(_claims(cache))
        with _run(url, cache_path, concurrency, prompts) as process:
            process.join()
        kept = len(_keys_kept(cache))
        asked = _asked(log)
    most = max(Counter(asked).values())
    took = time.perf_counter() - started
    return KilledRuns(kept, kills, len(asked), most, tuple(under_way), took)


def compare_killed_runs(folder: Path) -> Comparison:
    """2,000 prompts by a run that is killed three times, by the server's own log."""
    told = killed_runs(folder)
    most = 2_000 + sum(told.under_way)
    return Comparison(
        "a run of 2,000 prompts, killed 3 times",
        f"{told.calls:,} calls",
        f"prompts and those under way at the kills: {most:,}",
        told.calls / most,
        "of the most there may be",
        "at most 1",
        told.calls <= most and told.answered == 2_000,
        f"{told.answered:,} answered, {told.seconds:.0f} s",
    )


def _read(url: str, cache_path: Path, concurrency: int, count: int) -> None:
    with closing(ResponseCache(cache_path)) as cache:
        configuration = EndpointConfiguration(
            SecretStr(url), "numbers", concurrency=concurrency, attempts=1
        )
        answers = list(EndpointLanguageModel(configuration, cache).read_prices(_prompts(count)))
    assert {answer.outcome for _, answer in answers} == {"answered"}  # noqa: S101


def _prompts(count: int) -> list[Prompt]:
    instructions = Message("system", "Estimate what a product costs.")
    return [
        Prompt((instructions, Message("user", f"product {number:05d}")), "Price: $", str(number))
        for number in range(count)
    ]


@contextmanager
def _server(log: Path, latency: float) -> Iterator[str]:
    """The base URL of a server in a process of its own, which writes each call to the log."""
    port_file = log.with_suffix(".port")
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", _SERVER, str(port_file), str(log), str(latency)]
    process = subprocess.Popen(command, cwd=_ROOT)  # noqa: S603
    try:
        while not port_file.exists():
            assert process.poll() is None  # noqa: S101
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text(encoding='ascii')}/v1"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _run(url: str, cache_path: Path, concurrency: int, count: int) -> Iterator[BaseProcess]:
    """A run in a process of its own, which is killed at the end of the context if it still is."""
    process = _FORKS.Process(target=_read, args=(url, cache_path, concurrency, count))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _wait_for_calls(log: Path, count: int, process: BaseProcess) -> None:
    while len(_asked(log)) < count and process.is_alive():
        time.sleep(0.005)


def _asked(log: Path) -> list[str]:
    """The prompt of each call that the server was asked."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [line.partition(" ")[2] for line in lines]


def _claims(cache: ResponseCache) -> int:
    with cache._transaction(write=False) as connection:
        return int(connection.execute("SELECT count(*) FROM claims").fetchone()[0])


def _keys_kept(cache: ResponseCache) -> list[str]:
    with cache._transaction(write=False) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM responses")]
