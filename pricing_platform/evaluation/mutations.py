"""Documents that change: a seeded script of edits, each with the question that must notice it.

Here belong choosing what to change in a folder of documents and changing it. Whether retrieval
notices is measured by ``freshness_impact``.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Change = Literal["value", "document_removed", "subject_renamed", "restored"]

_NUMBER = re.compile(r"\d[\d,]*")
_YEAR = re.compile(r"\b(1[89]|20)\d\d\b")
_MONTH = re.compile(r"\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b", re.IGNORECASE)
_NEW_NAME = "Meridian"
_OF_AN_ATTRIBUTE = 4  # values to change, so that a frequent one does not crowd out the others


@dataclass(frozen=True)
class StatedFact:
    """A fact as a document states it, with the place of its value in the document's content."""

    subject: str
    attribute: str
    kind: str
    value: str
    document_id: str
    start_character: int
    end_character: int


@dataclass(frozen=True)
class Mutation:
    """A change of a document: what was stated and what is stated now; None: nothing.

    ``superseded`` is the text that no retrieved passage may hold any more.
    """

    change: Change
    subject: str
    attribute: str
    kind: str
    document_id: str
    old_value: str | None
    new_value: str | None
    superseded: str | None

    @property
    def question(self) -> str:
        """What is asked after the change."""
        return f"What is the {self.attribute} of {self.subject}?"


def mutated(
    facts: Sequence[StatedFact],
    files: Mapping[str, Path],
    contents: Mapping[str, str],
    *,
    values: int,
    removed: int,
    renamed: int,
    seed: int,
) -> list[Mutation]:
    """Changes the files on disk and returns what was changed, in a seeded random order.

    Values are changed before documents are removed and subjects renamed, each in documents of
    their own, so that every change can be asked for by itself.

    Args:
        facts: what the documents state.
        files: the file of each document; its text holds the document's content.
        contents: the content of each document, as the facts' places count it.
        values: how many values to change at most, spread over kinds and documents.
        removed: how many documents to delete.
        renamed: how many subjects to give another name, wherever they stand.
        seed: of the choices.
    """
    rng = random.Random(seed)  # noqa: S311
    usable = [at for at in facts if _is_editable(at, files, contents)]
    documents = sorted({at.document_id for at in usable})
    rng.shuffle(documents)
    gone, named = documents[:removed], documents[removed : removed + renamed]
    changes = _changed_values(usable, {*gone, *named}, files, contents, values, rng)
    for document_id in gone:
        first = next(at for at in usable if at.document_id == document_id)
        files[document_id].unlink()
        changes.append(_mutation("document_removed", first, None, contents[document_id]))
    for document_id in named:
        first = next(at for at in usable if at.document_id == document_id)
        changes += _renamed(first, files)
    return changes


def _is_editable(fact: StatedFact, files: Mapping[str, Path], contents: Mapping[str, str]) -> bool:
    """Whether the value stands in the file as it stands in the content."""
    content = contents.get(fact.document_id)
    if content is None or fact.document_id not in files:
        return False
    stated = content[fact.start_character : fact.end_character]
    return fact.value in stated and content in _text(files[fact.document_id])


def _changed_values(
    facts: Sequence[StatedFact],
    spared: set[str],
    files: Mapping[str, Path],
    contents: Mapping[str, str],
    wanted: int,
    rng: random.Random,
) -> list[Mutation]:
    """Some of each attribute, those first that most subjects have: titles, prices, dates."""
    by_attribute: dict[str, list[StatedFact]] = defaultdict(list)
    for fact in facts:
        if fact.document_id not in spared:
            by_attribute[fact.attribute].append(fact)
    frequent_first = sorted(by_attribute.items(), key=lambda found: (-len(found[1]), found[0]))
    queue: list[StatedFact] = []
    for _, found in frequent_first:
        queue += rng.sample(found, min(_OF_AN_ATTRIBUTE, len(found)))
    pool: dict[str, list[str]] = defaultdict(list)
    for fact in facts:
        pool[fact.attribute].append(fact.value)
    edits: dict[str, list[tuple[StatedFact, str]]] = defaultdict(list)
    chosen = 0
    for fact in queue:
        new = _other_value(fact.value, pool[fact.attribute], rng)
        if chosen < wanted and new is not None and not _overlaps(fact, edits[fact.document_id]):
            edits[fact.document_id].append((fact, new))
            chosen += 1
    changes = []
    for document_id, edited in edits.items():
        if edited:
            changes += _edited(files[document_id], contents[document_id], edited)
    return changes


def _overlaps(fact: StatedFact, edits: Sequence[tuple[StatedFact, str]]) -> bool:
    return any(
        fact.start_character < other.end_character and other.start_character < fact.end_character
        for other, _ in edits
    )


def _edited(file: Path, content: str, edits: Sequence[tuple[StatedFact, str]]) -> list[Mutation]:
    changes, new_content = [], content
    for fact, new in sorted(edits, key=lambda edit: -edit[0].start_character):
        stated = content[fact.start_character : fact.end_character]
        changes.append(_mutation("value", fact, new, _line_of(content, fact)))
        new_content = (
            new_content[: fact.start_character]
            + stated.replace(fact.value, new)
            + new_content[fact.end_character :]
        )
    _write(file, _text(file).replace(content, new_content))
    return changes


def _line_of(content: str, fact: StatedFact) -> str:
    start = content.rfind("\n", 0, fact.start_character) + 1
    end = content.find("\n", fact.end_character)
    return content[start : len(content) if end < 0 else end].strip()


def _renamed(fact: StatedFact, files: Mapping[str, Path]) -> list[Mutation]:
    """Gives a subject another name in every document that mentions it."""
    name = re.compile(rf"\b{re.escape(fact.subject)}\b", re.IGNORECASE)
    new = f"{_NEW_NAME} {fact.subject.split()[0].title()[:4]}"
    for file in files.values():
        if file.exists() and name.search(text := _text(file)):
            _write(file, name.sub(new, text))
    renamed = StatedFact(new, fact.attribute, fact.kind, fact.value, fact.document_id, 0, 0)
    return [
        Mutation(
            "subject_renamed",
            renamed.subject,
            fact.attribute,
            fact.kind,
            fact.document_id,
            fact.value,
            fact.value,
            fact.subject,
        )
    ]


def _mutation(change: Change, fact: StatedFact, new: str | None, superseded: str) -> Mutation:
    return Mutation(
        change,
        fact.subject,
        fact.attribute,
        fact.kind,
        fact.document_id,
        fact.value,
        new,
        superseded,
    )


def _other_value(value: str, pool: Sequence[str], rng: random.Random) -> str | None:
    """Another value of the same form; None where none can be thought of."""
    if _MONTH.search(value) and (year := _YEAR.search(value)):
        return value[: year.start()] + str(int(year[0]) - 1) + value[year.end() :]
    number = max(_NUMBER.finditer(value), key=lambda found: len(found[0]), default=None)
    if number is not None:
        old = int(number[0].replace(",", ""))
        new = old + max(1, round(0.07 * old)) + rng.randrange(3)
        form = f"{new:,}" if "," in number[0] else str(new)
        return value[: number.start()] + form + value[number.end() :]
    others = sorted({other for other in pool if other.casefold() != value.casefold()})
    return rng.choice(others) if others else None


def _text(file: Path) -> str:
    return file.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")
