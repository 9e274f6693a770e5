"""Packages import those below them alone, so that each can be read without those above."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pricing_platform

ROOT = Path(pricing_platform.__file__).parent
_IMPORTED = re.compile(r"^\s*(?:from|import) pricing_platform\.(\w+)", re.M)
_ABOVE = {
    "stores": {"catalog", "retrieval", "facts", "language", "finetuning", "pricing", "evaluation"},
    "language": {"finetuning", "pricing", "evaluation"},
    "finetuning": {"pricing", "evaluation"},
}


@pytest.mark.parametrize("package", _ABOVE)
def test_nothing_imports_what_is_above_it(package: str) -> None:
    found = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / package).rglob("*.py")
        for name in _IMPORTED.findall(path.read_text(encoding="utf-8"))
        if name in _ABOVE[package]
    }
    assert found == set()
