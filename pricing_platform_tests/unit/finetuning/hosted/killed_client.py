"""A process that trains at an endpoint, for tests that kill it: the URL and the home's folder."""

from __future__ import annotations

import sys
from pathlib import Path

from pricing_platform.language.response_cache import ResponseCache
from pricing_platform_tests.unit.finetuning.hosted.conftest import Run

if __name__ == "__main__":
    home = Path(sys.argv[2])
    Run(home, ResponseCache(home / "cache" / "language_responses.sqlite"))(sys.argv[1])
