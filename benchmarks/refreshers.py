"""How many facts a second refreshers check against a server that fails, dawdles and says 304."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.measurement import Comparison
from pricing_platform.facts.connectors.http import HttpConnector
from pricing_platform.facts.connectors.http_facts import HttpFacts, ensure_series
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.refresh import RefreshSummary, refresh
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres

SERIES = 10_000
REFRESHERS = 8
_RULES = FactRules()
_SPAWN = multiprocessing.get_context("spawn")


def compare_refreshers(folder: Path) -> Comparison:
    """A round by eight processes, and the same by one.

    Each starts from facts that were recorded. Then a tenth of the requests fails, a tenth takes
    100 ms, four tenths have changed, and half answers 304.

    Raises:
        AssertionError: when a series was not checked exactly once, or a fact was lost.
    """
    home = folder / "refreshers"
    with closing(Postgres.from_settings(Settings(home=home))) as postgres, _server() as url:
        facts = _facts(url, generation=0)
        ensure_series(postgres, [facts], _RULES)
        _round(postgres, home, facts, REFRESHERS)
        ours = _round(postgres, home, _facts(url, generation=1), REFRESHERS)
        peer = _round(postgres, home, _facts(url, generation=2), 1)
    return Comparison(
        f"{REFRESHERS} refreshers on {SERIES:,} series",
        f"{SERIES / ours:,.0f} checks a second",
        f"one refresher: {SERIES / peer:,.0f}",
        peer / ours,
        "times as fast",
        "each checked once",
        True,
        f"{ours:.1f} s and {peer:.1f} s",
    )


def _facts(url: str, generation: int) -> HttpFacts:
    return HttpFacts(
        name="shop",
        subjects=tuple(f"s{number:05d}" for number in range(SERIES)),
        attribute="ceo",
        url=f"{url}/{{subject}}",
        json_path="$.value",
        # The address stays the same, so that validators count; the server reads this one.
        headers={"X-Generation": str(generation)},
        allowed_private_hosts=frozenset({"127.0.0.1"}),
    )


def _round(postgres: Postgres, home: Path, facts: HttpFacts, refreshers: int) -> float:
    """Seconds of a round by so many processes that have started before; checks what it did."""
    with postgres.connection() as connection:
        connection.execute("TRUNCATE knowledge.checks")
        connection.execute("UPDATE knowledge.fact_series SET next_check_at = now()")
    with (
        _SPAWN.Manager() as manager,
        ProcessPoolExecutor(refreshers, mp_context=_SPAWN) as pool,
    ):
        barrier = manager.Barrier(refreshers + 1)
        running = [pool.submit(_refresh, home, facts, barrier) for _ in range(refreshers)]
        barrier.wait()
        started = time.perf_counter()
        summaries = [future.result() for future in running]
        seconds = time.perf_counter() - started
    _check(postgres, summaries)
    return seconds


def _refresh(home: Path, facts: HttpFacts, barrier: object) -> RefreshSummary:
    with closing(Postgres.from_settings(Settings(home=home))) as postgres:
        postgres.frame("SELECT 1")
        connector = HttpConnector(facts)
        barrier.wait()  # type: ignore[attr-defined]
        return refresh(postgres, {connector.name: connector}, _RULES)


def _check(postgres: Postgres, summaries: list[RefreshSummary]) -> None:
    checks, series = postgres.frame(
        "SELECT count(*), count(DISTINCT series_id) FROM knowledge.checks"
    ).row(0)
    current = postgres.frame("SELECT count(*) FROM knowledge.current_facts").item()
    assert sum(summary.checked for summary in summaries) == SERIES  # noqa: S101
    assert (checks, series, current) == (SERIES, SERIES, SERIES)  # noqa: S101


@contextmanager
def _server() -> Iterator[str]:
    """A server in a process of its own, for as long as the context lasts."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(told: Connection) -> None:
    async def serve() -> None:
        server = await asyncio.start_server(_answer, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the requests of one connection."""
    try:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").splitlines()
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            number = int(lines[0].split()[1].removeprefix("/s"))
            writer.write(await _response(number, headers))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _response(number: int, headers: dict[str, str]) -> bytes:
    generation = int(headers["x-generation"])
    if generation and number % 10 == 0:
        return b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    if generation and number % 10 == 1:
        await asyncio.sleep(0.1)
    changed = generation if number % 10 in (1, 3, 5, 7) else 0
    etag = f'"{number}-{changed}"'
    if headers.get("if-none-match") == etag:
        return f"HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n".encode()
    body = f'{{"value": "Ann {number} {changed}"}}'
    head = f"HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()
