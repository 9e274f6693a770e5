"""Time to load the code location against the time to import Dagster alone."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from benchmarks.measurement import Comparison, in_turn


def compare_imports() -> Comparison:
    """Whole interpreters, started in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:

        def load(module: str) -> None:
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True, cwd=folder)  # noqa: S603

        ours, peer = in_turn(
            lambda: load("pricing_platform.definitions"), lambda: load("dagster"), rounds=5
        )
    return Comparison(
        "loading the definitions",
        f"{ours:.2f} s",
        f"import dagster: {peer:.2f} s",
        ours / peer,
        "times as long",
        "below 1.5",
        ours / peer < 1.5,
    )
