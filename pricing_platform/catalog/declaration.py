"""The file ``sources.toml``: its sections, the paths in it, and what is told when it is wrong.

Here belongs what all of its sections share. What a section declares belongs to the package that it
configures.
"""

from __future__ import annotations

import glob
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pricing_platform.errors import PlatformError

DATA_VARIABLE = "${PRICING_DATA}"
LISTS = ("source", "documents", "http", "style")
"""Sections of which there may be many, each written with double brackets."""

TABLES = ("facts", "forgetting", "retrieval")
"""Sections of which there is one."""

EXAMPLE = "See examples/real_data/sources.toml for one that works."

_PROTOCOL = re.compile(r"[a-z][a-z0-9+.-]*://")

Declared = TypeVar("Declared", bound=BaseModel)


def declared_entries(path: Path, section: str) -> list[dict[str, Any]]:
    """The entries ``[[section]]`` of the file, as they are written.

    Raises:
        PlatformError: when the file is not there, is not TOML, or has a section nobody knows.
    """
    entries = _parse(path).get(section, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise PlatformError(
            f"{path} has [{section}] where [[{section}]] is meant.",
            f"Double the brackets. {EXAMPLE}",
        )
    return entries


def declared_table(path: Path, section: str) -> dict[str, Any]:
    """The table ``[section]`` of the file; empty where it has none.

    Raises:
        PlatformError: as :func:`declared_entries` does.
    """
    table = _parse(path).get(section, {})
    if not isinstance(table, dict):
        raise PlatformError(f"{path}: {section} is not a table.", f"Write it as [{section}].")
    return table


def entry_label(section: str, entry: dict[str, Any], position: int) -> str:
    """How an entry is named in messages."""
    return f"{section} {entry['name']!r}" if "name" in entry else f"{section} number {position}"


def validated(model: type[Declared], path: Path, label: str, entry: dict[str, Any]) -> Declared:
    """The entry as a record.

    Raises:
        PlatformError: naming the key that is wrong.
    """
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"unknown key; the keys are {', '.join(model.model_fields)}"
    elif first["type"] == "missing":
        message = "this key is missing"
    problem = f"{path}, {label}{f', {key}' if key else ''}: {message}."
    raise PlatformError(problem, "Correct that line.")


def path_pattern(toml: Path, label: str, text: str, data: Path | None) -> str:
    """The glob that a path means: only what stands in the declaration itself is one.

    The folder of the file and that of the data are taken as they are, and so is a path that is the
    name of a file or a folder.
    """
    literal = Path(absolute_path(toml, label, text, data))
    if literal.exists():
        return glob.escape(str(literal))
    folder = glob.escape(str(toml.resolve().parent))
    if data is not None:
        text = text.replace(DATA_VARIABLE, glob.escape(str(data.expanduser().resolve())))
    return str(Path(folder) / Path(text).expanduser())


def absolute_path(toml: Path, label: str, text: str, data: Path | None) -> str:
    """A path of the file, which starts from the file's folder.

    Raises:
        PlatformError: when it is an address, or starts from ``${PRICING_DATA}`` and that is unset.
    """
    if _PROTOCOL.match(text):
        raise PlatformError(
            f"{toml}, {label}: {text} is an address, and files are expected here.",
            "Download it first (`pricing-platform fetch` does that for published data sets).",
        )
    if DATA_VARIABLE in text:
        if data is None:
            raise PlatformError(
                f"{toml}, {label}: its path starts from {DATA_VARIABLE}, which is not set.",
                "Set PRICING_DATA to the folder that holds the data.",
            )
        text = text.replace(DATA_VARIABLE, str(data.expanduser().resolve()))
    return str(toml.resolve().parent / Path(text).expanduser())


def _parse(path: Path) -> dict[str, Any]:
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PlatformError(
            f"There is no {path}.", f"Create it, or set PRICING_SOURCES. {EXAMPLE}"
        ) from None
    except OSError as error:
        raise PlatformError(f"{path} cannot be read: {error.strerror}.", EXAMPLE) from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise PlatformError(f"{path} is not valid TOML: {error}.", EXAMPLE) from None
    unknown = sorted(parsed.keys() - {*LISTS, *TABLES})
    if unknown:
        raise PlatformError(
            f"{path} has the unknown key {unknown[0]!r}.",
            f"A source starts with the line [[source]]. {EXAMPLE}",
        )
    return parsed
