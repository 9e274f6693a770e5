"""What ``sources.toml`` declares besides listings: documents, facts to fetch, rules, questions.

Here belong the sections and how their paths are meant. What a document folder, a connector or a
rule is belongs to the modules that work with them.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pricing_platform.catalog.configured_sources import sources_file
from pricing_platform.catalog.declaration import (
    absolute_path,
    declared_entries,
    declared_table,
    entry_label,
    path_pattern,
    validated,
)
from pricing_platform.catalog.sources import Source
from pricing_platform.errors import PlatformError
from pricing_platform.facts.connectors.http_facts import HttpFacts
from pricing_platform.facts.kinds import FactRules
from pricing_platform.retrieval.documents import DocumentFolder
from pricing_platform.retrieval.question_language import DEFAULT_LANGUAGE
from pricing_platform.settings import Settings

NEVER = "never"
"""How a time to live is written that does not end: TOML has no null."""

_GLOB = re.compile(r"[*?\[]")


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class _DeclaredDocuments(BaseModel):
    """A ``[[documents]]`` as it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    path: Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class _DeclaredRetrieval(BaseModel):
    """The table ``[retrieval]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    questions: str | None = None
    language: str = Field(DEFAULT_LANGUAGE, min_length=1)


class _DeclaredLife(BaseModel):
    """What a ``[[source]]`` says of its prices; all else of it is the catalogue's."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    ttl_days: float | None = Field(None, gt=0)


class Knowledge(BaseModel):
    """All that is configured of documents and facts, paths made absolute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    documents: tuple[DocumentFolder, ...] = ()
    http: tuple[HttpFacts, ...] = ()
    rules: FactRules = FactRules()
    questions: Path | None = None
    language: str = DEFAULT_LANGUAGE
    """The text-search configuration of Postgres that documents and questions are read with."""
    price_lives: dict[str, timedelta] = {}
    """By source, for how long its prices are fresh; those left out are as their kind is."""


def configured_knowledge(settings: Settings) -> Knowledge:
    """The knowledge of the ``sources.toml`` in force.

    Raises:
        PlatformError: when the file is not there or is wrong; the message names the key.
    """
    return load_knowledge(sources_file(settings), data=settings.data)


def load_knowledge(path: Path, *, data: Path | None) -> Knowledge:
    """The knowledge that a ``sources.toml`` declares; relative paths start from its folder.

    Raises:
        PlatformError: when the file is not there or is wrong; the message names the key.
    """
    documents = tuple(
        _documents(path, entry, position, data)
        for position, entry in enumerate(declared_entries(path, "documents"), 1)
    )
    http = tuple(
        validated(HttpFacts, path, entry_label("http", entry, position), entry)
        for position, entry in enumerate(declared_entries(path, "http"), 1)
    )
    _refuse_repeated(path, "documents", [folder.name for folder in documents])
    _refuse_repeated(path, "http", [connector.name for connector in http])
    lives = [
        validated(_DeclaredLife, path, entry_label("source", entry, position), entry)
        for position, entry in enumerate(declared_entries(path, "source"), 1)
    ]
    table = validated(_DeclaredRetrieval, path, "[retrieval]", declared_table(path, "retrieval"))
    return Knowledge(
        documents=documents,
        http=http,
        rules=validated(FactRules, path, "[facts]", _rules(declared_table(path, "facts"))),
        questions=table.questions
        and Path(absolute_path(path, "[retrieval]", table.questions, data)),
        language=table.language,
        price_lives={
            life.name: timedelta(days=life.ttl_days or Source.model_fields["ttl_days"].default)
            for life in lives
            if life.ttl_days is not None or not _tells_price_life(path)
        },
    )


def _tells_price_life(path: Path) -> bool:
    lives = declared_table(path, "facts").get("time_to_live")
    return isinstance(lives, dict) and "price" in lives


def _documents(
    toml: Path, entry: dict[str, Any], position: int, data: Path | None
) -> DocumentFolder:
    label = entry_label("documents", entry, position)
    declared = validated(_DeclaredDocuments, toml, label, entry)
    roots = [_folder(Path(absolute_path(toml, label, part, data))) for part in declared.path]
    return DocumentFolder(
        name=declared.name,
        path=tuple(path_pattern(toml, label, part, data) for part in declared.path),
        root=Path(os.path.commonpath(roots)),
    )


def _folder(path: Path) -> Path:
    """The folder that a path or glob starts from."""
    if path.is_dir() or not (path.is_file() or _GLOB.search(path.name)):
        return path
    while _GLOB.search(str(path)) or path.is_file():
        path = path.parent
    return path


def _rules(table: dict[str, Any]) -> dict[str, Any]:
    """The table ``[facts]`` with None where it says ``never``."""
    lives = table.get("time_to_live")
    if not isinstance(lives, dict):
        return table
    ages = {kind: None if age == NEVER else age for kind, age in lives.items()}
    return {**table, "time_to_live": ages}


def _refuse_repeated(path: Path, section: str, names: list[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise PlatformError(
            f"{path} declares two [[{section}]] named {repeated[0]!r}.",
            "Give each a name of its own.",
        )
