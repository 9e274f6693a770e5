"""An answer in a sentence that a language model writes from what was found, and is held to.

Here belongs asking for the sentence and refusing one that contradicts what is known. Finding the
answer belongs to ``answers``; a sentence that is refused leaves the found answer standing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from pricing_platform.facts.answers import FoundAnswer
from pricing_platform.language import prompts
from pricing_platform.language.model import Completion, CompletionRequest, LanguageModel, Prompt
from pricing_platform.retrieval.search import Passage
from pricing_platform.stores.postgres import Postgres

_LONGEST = 120  # tokens
_SUPERSEDED = """
SELECT DISTINCT value FROM knowledge.fact_versions
WHERE series_id = ANY(%(series)s)
EXCEPT
SELECT value FROM knowledge.current_facts WHERE series_id = ANY(%(series)s)
"""
_DENIAL = re.compile(r"\b(no longer|not|never|nobody|former(ly)?|previous(ly)?)\b|n't\b", re.I)
_DIFFERING = "sources differ, and nothing tells which is newer"
_NUMBER = re.compile(r"\d+")
_NOT_A_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class WrittenAnswer:
    """The sentence with its source and age, or the reason why the found answer stands instead."""

    sentence: str | None
    reason: str | None = None


@dataclass(frozen=True)
class AnswerGuard:
    """What was found, and what it once was and no longer is: the measure of any sentence about it.

    ``superseded`` are values that the found facts used to have.
    """

    found: FoundAnswer
    superseded: tuple[str, ...] = ()

    @classmethod
    def of(cls, postgres: Postgres, found: FoundAnswer) -> Self:
        """With what the facts found used to say."""
        return cls(found, tuple(_superseded(postgres, found)))

    def refusal(self, sentence: str) -> str | None:
        """Why the sentence can't stand; None where it says what is current and nothing else.

        It can't when sources differ, when the answer is a fact and its current value is not in it
        or is denied, when it has a value in it that one of the found facts used to have, and when
        it has a number that stands in nothing that was found.
        """
        if not sentence:
            return "the model wrote nothing"
        if self.found.differing:
            return _DIFFERING
        if self.found.origin == "fact" and not self.keeps_value(sentence):
            return f"the model's sentence does not say {self.found.answer!r}"
        return self.contradiction(sentence)

    def contradiction(self, sentence: str) -> str | None:
        """What in a sentence speaks against what was found, whether or not it says that."""
        found, answer = self.found, self.found.answer or ""
        if found.origin == "fact" and (denial := _DENIAL.search(sentence)):
            return f"the model's sentence denies something: {denial[0]!r}"
        if invented := _invented_numbers(sentence, found):
            return f"the model's sentence says {invented[0]}, which was not found"
        for value in self.superseded:
            if _says(sentence, value) and not _says(answer, value):
                return f"the model's sentence says {value!r}, which no longer holds"
        return None

    def keeps_value(self, text: str) -> bool:
        """Whether the text has the current value in it, word for word."""
        return self.found.answer is not None and _says(text, self.found.answer)

    def cited(self, sentence: str) -> str:
        """The sentence with its source and age, where something was found."""
        return sentence if self.found.answer is None else f"{sentence} [{_citation(self.found)}]"


def write_answer(model: LanguageModel, postgres: Postgres, found: FoundAnswer) -> WrittenAnswer:
    """Asks for a sentence; gives it only if nothing speaks against it, see :class:`AnswerGuard`."""
    if found.answer is None:
        return WrittenAnswer(None, "nothing that is known answers the question")
    if found.differing:
        return WrittenAnswer(None, _DIFFERING)
    completion = _completed(model, _prompt(found))
    if completion.outcome != "answered":
        return WrittenAnswer(None, completion.reason or completion.outcome)
    sentence = " ".join(completion.text.split())
    guard = AnswerGuard.of(postgres, found)
    if refused := guard.refusal(sentence):
        return WrittenAnswer(None, refused)
    return WrittenAnswer(guard.cited(sentence))


def _completed(model: LanguageModel, prompt: Prompt) -> Completion:
    request = CompletionRequest(max_tokens=_LONGEST, stop=("\n",))
    return next(answer for _, answer in model.complete([prompt], request))


def _prompt(found: FoundAnswer) -> Prompt:
    facts = [_with_age(at) for at in found.passages if at.origin == "fact"]
    passages = [_with_date(at) for at in found.passages if at.origin == "chunk"]
    if found.origin == "fact" and found.statement:
        facts = list(dict.fromkeys([found.statement, *facts]))
    return prompts.answer(found.question, facts, passages)


def _with_age(fact: Passage) -> str:
    age = "" if fact.verified_at is None else f" (verified {_days_ago(fact.verified_at)})"
    return f"{fact.text}{age}"


def _with_date(passage: Passage) -> str:
    return passage.text if passage.dated is None else f"{passage.text}\n(dated {passage.dated})"


def _citation(found: FoundAnswer) -> str:
    parts = [str(found.source)]
    if found.dated:
        parts.append(f"dated {found.dated}")
    if found.last_verified:
        parts.append(f"verified {_days_ago(found.last_verified)}")
    if found.freshness:
        parts.append(found.freshness)
    return ", ".join(parts)


def _days_ago(time: datetime) -> str:
    days = (datetime.now(UTC) - time).days
    return "today" if days < 1 else f"{days} day{'s' * (days > 1)} ago"


def _superseded(postgres: Postgres, found: FoundAnswer) -> list[str]:
    """Values that the found facts once had and no longer have."""
    asked = [found.series_id, *(at.series_id for at in found.passages)]
    series = sorted({at for at in asked if at is not None})
    return postgres.frame(_SUPERSEDED, {"series": series})["value"].to_list()


def _invented_numbers(sentence: str, found: FoundAnswer) -> list[str]:
    """Numbers of the sentence that stand in nothing that the model was shown."""
    shown = [found.question, found.statement or "", *map(_with_date, found.passages)]
    known = set(_NUMBER.findall(" ".join(shown)))
    return [number for number in _NUMBER.findall(sentence) if number not in known]


def _says(sentence: str, value: str) -> bool:
    """Whether the value stands there word for word, whatever the punctuation and case."""
    return f" {_words(value)} " in f" {_words(sentence)} "


def _words(text: str) -> str:
    return _NOT_A_WORD.sub(" ", text.casefold()).strip()
