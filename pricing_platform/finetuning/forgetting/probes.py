"""Multiple-choice questions and general text, as they stand in files.

Here belongs reading them, with what is told when a file is wrong. How a model is asked belongs to
``measuring``.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pricing_platform.errors import PlatformError

GENERAL = "general"
"""The kind of a question that names none."""

_SHAPE = (
    'Write one object a line: {"question": "…", "choices": ["…", "…"], "answer": 0,'
    ' "kind": "knowledge"}, where answer counts from 0 and kind may be left out.'
)
_TEXT_SHAPE = "Name text files in UTF-8, plain or gzipped (.gz)."


class Probe(BaseModel):
    """A multiple-choice question; ``answer`` is the place of the right choice, counted from 0.

    Published sets hold questions with a choice twice; the texts are what counts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    question: str
    choices: tuple[str, ...] = Field(min_length=2)
    answer: int = Field(ge=0, strict=True)
    kind: str = Field(GENERAL, min_length=1)

    @field_validator("question")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("it is empty")
        return value.strip()

    @field_validator("choices")
    @classmethod
    def _say_something(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        choices = tuple(choice.strip() for choice in value)
        if not all(choices):
            raise ValueError("one of them is empty")
        if len(set(choices)) < 2:
            raise ValueError("all of them are equal")
        return choices

    @field_validator("question", "choices")
    @classmethod
    def _can_be_written(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        try:
            "".join(value).encode()
        except UnicodeEncodeError:  # half of a pair, which JSON can escape
            raise ValueError("it holds half a character") from None
        return value

    @model_validator(mode="after")
    def _is_answered_by_a_choice(self) -> Self:
        if self.answer >= len(self.choices):
            raise ValueError(
                f"answer is {self.answer}, and the choices are 0 to {len(self.choices) - 1}"
            )
        return self

    @property
    def chance(self) -> float:
        """How often a guess is right."""
        return self.choices.count(self.choices[self.answer]) / len(self.choices)

    def is_right(self, choice: int) -> bool:
        """Whether the choice at this place reads as the right one."""
        return self.choices[choice] == self.choices[self.answer]


def read_probes(paths: Sequence[Path]) -> list[Probe]:
    """The questions of JSON Lines files, plain or gzipped, in their order.

    Raises:
        PlatformError: naming the file and the line that is wrong.
    """
    probes: list[Probe] = []
    for path in paths:
        found = list(_probes(path))
        if not found:
            raise PlatformError(f"{path} holds no question.", _SHAPE)
        probes += found
    return probes


def read_texts(paths: Sequence[Path]) -> list[str]:
    """The text of each file, plain or gzipped.

    Raises:
        PlatformError: naming the file that can't be read or is empty.
    """
    texts = [_content(path, _TEXT_SHAPE).strip() for path in paths]
    for path, text in zip(paths, texts, strict=True):
        if not text:
            raise PlatformError(f"{path} holds no text.", _TEXT_SHAPE)
    return texts


def _probes(path: Path) -> Iterator[Probe]:
    # Not by splitlines(), which also splits at signs that JSON allows within a string.
    for number, line in enumerate(_content(path, _SHAPE).split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield Probe.model_validate(json.loads(line))
        except json.JSONDecodeError as error:
            raise PlatformError(f"{path}, line {number}: not JSON: {error.msg}.", _SHAPE) from None
        except (RecursionError, ValueError) as error:
            told = _first_fault(error)
            raise PlatformError(f"{path}, line {number}{told}.", _SHAPE) from None


def _first_fault(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return ": no JSON that can be read"
    first = error.errors(include_input=False)[0]
    key = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    return f"{', ' if key else ''}{key}: {message}"


def _content(path: Path, remedy: str) -> str:
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise PlatformError(f"{path} is not gzipped, or is cut off.", remedy) from None
    except OSError as error:
        raise PlatformError(f"{path} cannot be read: {error.strerror}.", remedy) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PlatformError(f"{path} is not UTF-8 text.", remedy) from None
