"""What can be configured, what is refused, and that tests are not configured by anybody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pricing_platform.settings import Settings


def test_tests_do_not_use_what_is_configured_where_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PRICING_POSTGRES_URL=postgresql://precious/data\n")
    monkeypatch.chdir(tmp_path)
    assert Settings().postgres_url is None
    configured = [name for name in os.environ if name.upper().startswith("PRICING_")]
    assert all(name.startswith("PRICING_TEST_") for name in configured)
