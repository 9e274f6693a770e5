"""The table ``[forgetting]`` of ``sources.toml``: which probes and which text, and how much of it.

Here belong the table and its paths. What is in the files belongs to ``probes``.
"""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pricing_platform.catalog.configured_sources import sources_file
from pricing_platform.catalog.declaration import declared_table, path_pattern, validated
from pricing_platform.errors import PlatformError
from pricing_platform.settings import Settings

BUNDLED = Path(__file__).parent / "bundled"
TEXT_TOKENS = 4096
"""Of general text by default: 32 chunks, 2 to 3 seconds on two cores for 135 M parameters."""

_LABEL = "[forgetting]"


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Paths = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class _DeclaredForgetting(BaseModel):
    """The table as it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    probes: Paths | None = None
    text: Paths | None = None
    probes_limit: int | None = Field(None, ge=1)
    text_tokens: int = Field(TEXT_TOKENS, ge=256)


class ForgettingFiles(BaseModel):
    """The files that forgetting is measured with, and how much of them is used.

    ``probes_limit``: questions at most, all if None; ``text_tokens``: tokens of text at most. Both
    are taken evenly from the whole.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    probes: tuple[Path, ...]
    text: tuple[Path, ...]
    probes_limit: int | None = None
    text_tokens: int = TEXT_TOKENS


def configured_forgetting(settings: Settings) -> ForgettingFiles:
    """What the ``sources.toml`` in force names; what it does not name is bundled.

    Raises:
        PlatformError: when the file or its table is wrong, or names files that are not there.
    """
    return load_forgetting(sources_file(settings), data=settings.data)


def load_forgetting(path: Path, *, data: Path | None) -> ForgettingFiles:
    """What a ``sources.toml`` names; relative paths and globs start from its folder.

    Raises:
        PlatformError: when the file or its table is wrong, or names files that are not there.
    """
    declared = validated(_DeclaredForgetting, path, _LABEL, declared_table(path, "forgetting"))
    bundled = bundled_forgetting()
    return ForgettingFiles(
        probes=_files(path, declared.probes, data) if declared.probes else bundled.probes,
        text=_files(path, declared.text, data) if declared.text else bundled.text,
        probes_limit=declared.probes_limit,
        text_tokens=declared.text_tokens,
    )


def bundled_forgetting() -> ForgettingFiles:
    """The probes and the text that were written for this project."""
    return ForgettingFiles(
        probes=(BUNDLED / "probes.jsonl",), text=tuple(sorted((BUNDLED / "text").glob("*.txt")))
    )


def _files(toml: Path, paths: tuple[str, ...], data: Path | None) -> tuple[Path, ...]:
    found: list[Path] = []
    for text in paths:
        pattern = path_pattern(toml, _LABEL, text, data)
        paths_found = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207
        matches = sorted(path for path in paths_found if path.is_file())
        if not matches:
            raise PlatformError(
                f"{toml}, {_LABEL}: there is no file {text}.", "Correct the path; it is a file."
            )
        found += matches
    return tuple(dict.fromkeys(found))
