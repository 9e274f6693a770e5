"""The styles that ``sources.toml`` declares.

Here belongs the section ``[[style]]`` and how its paths are meant. What stands in the files belongs
to ``pairs``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pricing_platform.catalog.configured_sources import sources_file
from pricing_platform.catalog.declaration import (
    declared_entries,
    entry_label,
    path_pattern,
    validated,
)
from pricing_platform.errors import PlatformError
from pricing_platform.settings import Settings

_SECTION = "style"


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class StyleColumns(BaseModel):
    """What the keys of the files are called; where one is None, the files may have it or not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    message: str = "message"
    reply: str = "reply"
    conversation: str | None = None
    facts: str | None = None


class StyleSource(BaseModel):
    """A style: its name, the patterns of its files, and their columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    pairs: Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    columns: StyleColumns = StyleColumns()


def configured_styles(settings: Settings) -> tuple[StyleSource, ...]:
    """The styles of the ``sources.toml`` in force; the bundled catalogue brings one.

    Raises:
        PlatformError: when the file is not there or is wrong; the message names the key.
    """
    return load_styles(sources_file(settings), data=settings.data)


def load_styles(path: Path, *, data: Path | None) -> tuple[StyleSource, ...]:
    """The styles that a ``sources.toml`` declares; relative paths start from its folder.

    Raises:
        PlatformError: when the file is not there or is wrong; the message names the key.
    """
    styles: dict[str, StyleSource] = {}
    for position, entry in enumerate(declared_entries(path, _SECTION), 1):
        label = entry_label(_SECTION, entry, position)
        style = validated(StyleSource, path, label, entry)
        if style.name in styles:
            raise PlatformError(
                f"{path} declares two [[{_SECTION}]] named {style.name!r}.",
                "Give each a name of its own.",
            )
        patterns = tuple(path_pattern(path, label, part, data) for part in style.pairs)
        styles[style.name] = style.model_copy(update={"pairs": patterns})
    return tuple(styles.values())


def required_style(settings: Settings, name: str | None) -> StyleSource:
    """The style of this name; without a name the only one.

    Raises:
        PlatformError: when there is none of the name, or several and no name.
    """
    styles = {style.name: style for style in configured_styles(settings)}
    if name is None and len(styles) == 1:
        return next(iter(styles.values()))
    if name is not None and name in styles:
        return styles[name]
    known = ", ".join(styles) or "none"
    raise PlatformError(
        f"There is no style {name!r}; there is {known}."
        if name is not None
        else f"Which style is meant? There is {known}.",
        f"Declare a [[{_SECTION}]] in sources.toml, or name one with --style.",
    )
