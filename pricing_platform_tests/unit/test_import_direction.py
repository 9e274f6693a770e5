"""Packages import those below them alone, so that each can be read without those above."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pricing_platform

ROOT = Path(pricing_platform.__file__).parent
_IMPORTED = re.compile(r"^\s*(?:from|import) pricing_platform\.(\w+)", re.M)
_ORDER = (
    ("stores",),
    ("catalog",),
    ("retrieval", "language"),
    ("facts",),
    ("finetuning",),
    ("pricing",),
    ("evaluation",),
    ("assets", "resources"),
)
"""The packages, lowest first; those that stand together do not import each other."""

_ABOVE = {
    package: {other for rank in _ORDER[place:] for other in rank} - {package}
    for place, rank in enumerate(_ORDER[:-1])
    for package in rank
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
