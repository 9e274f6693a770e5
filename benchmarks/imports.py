"""Time to load the code location against the time to import Dagster alone."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from benchmarks.measurement import Comparison, in_turn


def compare_imports() -> Comparison:
    """Whole interpreters, started in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:

        def load(code: str) -> None:
            subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)  # noqa: S603

        built = "from pricing_platform.definitions import defs; defs()"
        ours, peer = in_turn(lambda: load(built), lambda: load("import dagster"), rounds=5)
    return Comparison(
        "building the definitions",
        f"{ours:.2f} s",
        f"import dagster: {peer:.2f} s",
        ours / peer,
        "times as long",
        "below 1.5",
        ours / peer < 1.5,
    )
