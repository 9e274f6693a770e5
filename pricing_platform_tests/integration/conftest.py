"""The home that the integration tests share; tests that change one make their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pricing_platform_tests.integration.built_home import BuiltHome, new_home


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    home = new_home(Path(tmp_path_factory.mktemp("built")))
    ran = home.command("run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return replace(home, output=ran.stdout + ran.stderr)
