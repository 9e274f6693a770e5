"""Benchmarks know nothing of the configuration of the machine that they run on."""

from __future__ import annotations

import os

from pricing_platform.settings import Settings


def forget_configuration() -> None:
    """Sees to it that no store is written to but those that a benchmark makes for itself."""
    for name in [name for name in os.environ if name.upper().startswith("PRICING_")]:
        del os.environ[name]
    Settings.model_config["env_file"] = None
