"""A run that is killed goes on where it stopped, by the server's own log."""

from __future__ import annotations

from pathlib import Path

from benchmarks.endpoint import killed_runs


def test_a_run_killed_three_times_asks_no_more_than_what_was_under_way_again(
    tmp_path: Path,
) -> None:
    told = killed_runs(tmp_path, prompts=200, kills=3, latency=0.05, concurrency=8)
    assert told.answered == 200
    assert told.killed == 3
    assert 200 <= told.calls <= 200 + sum(told.under_way)
    assert told.most_for_one <= 1 + told.killed
