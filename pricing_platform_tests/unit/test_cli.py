"""What users type: words that mean nothing are told, not traced back."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pricing_platform.cli import app
from pricing_platform.errors import PlatformError


@pytest.mark.parametrize(
    ("content", "told"), [(None, "cannot be read"), (b"SELECT '\xff\xfe'", "not UTF-8")]
)
def test_a_query_file_that_cannot_be_read_is_told(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    path = tmp_path / "query.sql"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlatformError, match=told):
        CliRunner().invoke(app, ["sql", f"@{path}"], catch_exceptions=False)


@pytest.mark.parametrize(
    "command", [["ask", "Who is the CEO?"], ["facts", "Northwind"], ["reply", "Hello"]]
)
def test_what_reads_a_home_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("PRICING_HOME", str(tmp_path / "home"))
    with pytest.raises(PlatformError, match="no documents and no facts"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert not (tmp_path / "home").exists()
