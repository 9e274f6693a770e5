"""What answers to users' questions need to become frames: a frame holds less than SQL does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import duckdb

_AS_TEXT = {
    "bignum",
    "bit",
    "blob",
    "geometry",
    "interval",
    "time with time zone",
    "union",
    "variant",
}
_NESTED = {"array", "list", "map", "struct"}


def unique_names(names: Iterable[str]) -> list[str]:
    """Column names as a frame needs them: SELECT may give two of one name."""
    result: list[str] = []
    taken = set(names := list(names))
    for name in names:
        number, unique = 2, name
        while unique in result or (unique != name and unique in taken):
            unique, number = f"{name}_{number}", number + 1
        result.append(unique)
    return result


def with_types_of_frames(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The relation with text, as DuckDB writes it, in place of what a frame can't hold."""
    told = [_is_told_as_text(type_) for type_ in relation.types]
    if not any(told):
        return relation
    columns = [
        f"CAST(#{number} AS VARCHAR) AS {_quoted(name)}" if as_text else f"#{number}"
        for number, (name, as_text) in enumerate(zip(relation.columns, told, strict=True), start=1)
    ]
    return relation.project(", ".join(columns))


def _is_told_as_text(type_: Any) -> bool:
    if type_.id in _AS_TEXT:
        return True
    parts: Sequence[tuple[str, Any]] = type_.children if type_.id in _NESTED else ()
    return any(_is_told_as_text(part) for _, part in parts if not isinstance(part, int))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
