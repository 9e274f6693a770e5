"""The card of a language model's folder: its README.md, whose front matter tells the licence.

Here belongs writing and reading it. The figures of a model belong to ``description``.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

_CARD = "README.md"
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*$", re.DOTALL | re.MULTILINE)
NOT_STATED = "not stated"


def write_card(folder: Path, *, name: str, licence: str, source: str) -> None:
    """Writes what a model hub reads of a model, and what the folder was made from."""
    told = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    if licence:
        told["license"] = licence
    text = f"---\n{yaml.safe_dump(told)}---\n# {name}\n\nMade from {source}.\n"
    (folder / _CARD).write_text(text, encoding="utf-8")


def licence_of(folder: Path) -> str:
    """The licence that a model's card names, or that none is stated."""
    try:
        text = (folder / _CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return NOT_STATED
    found = _FRONT_MATTER.match(text)
    try:
        told = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return NOT_STATED
    if not isinstance(told, dict):
        return NOT_STATED
    return str(told.get("license_name") or told.get("license") or NOT_STATED)
