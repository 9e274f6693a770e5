"""A home that the real command has built from a small bundled catalogue, once a session."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pricing_platform.catalog.bundled import write_bundled_catalogue
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.language.local.model_folders import build

PRODUCTS = 400
TOKENS = 25_000
"""Not even an epoch: the tests ask whether fine-tuning works, not how well."""

SMALL = {
    "fine_tuning_tokens": TOKENS,
    "fine_tuning_seconds": 2,
    "language_tokens_per_second": 20_000,
    "style_seconds": 2,
    "style_replies": 2,
    "measured_items": 8,
    "injected_items": 2,
    "learning_curve_seconds": 4,
    "timed_items": 2,
}
"""Settings that make every training and measurement a matter of seconds."""


@dataclass(frozen=True)
class BuiltHome:
    """A working folder, the home in it, and what the first ``run`` printed."""

    folder: Path
    sources: Path
    output: str = ""

    @property
    def settings(self) -> Settings:
        return Settings(
            home=self.folder / "home", sources=self.sources, base_model=str(tiny_model()), **SMALL
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command on this home, and nothing configured besides."""
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("PRICING_", "DAGSTER"))
        }
        return {
            **inherited,
            "PRICING_HOME": str(self.folder / "home"),
            "PRICING_SOURCES": str(self.sources),
            "PRICING_BASE_MODEL": str(tiny_model()),
            **{f"PRICING_{name.upper()}": str(value) for name, value in SMALL.items()},
            "COLUMNS": "300",
        }

    def command(
        self, *arguments: str, timeout: float = 280, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs ``pricing-platform`` as a user does, in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "pricing_platform.cli", *arguments],
            env={**self.environment, **(environment or {})},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
        )


@functools.cache
def tiny_model() -> Path:
    """A random Llama that writes numbers more often than not, the same for all homes."""
    folder = Path(tempfile.mkdtemp(prefix="tiny_model"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build("single_digits", folder, window=2048, likely=[*"0123456789", "<0x0A>"])


def new_home(folder: Path) -> BuiltHome:
    """A home in which nothing has been built yet, with a small catalogue beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    return BuiltHome(folder, write_bundled_catalogue(folder / "catalogue", products=PRODUCTS))
