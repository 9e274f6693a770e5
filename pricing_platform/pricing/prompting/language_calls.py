"""Asking a language model about many items at once, and what that took for each of them.

Here belongs that every call reaches the ledger, that its tokens and time are summed up by item, and
that no item is lost where an answer does not come. What is asked belongs to the techniques.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import polars as pl

from pricing_platform.errors import told_as_not_asked
from pricing_platform.language.calls import CallLedger
from pricing_platform.language.model import (
    Completion,
    CompletionRequest,
    LanguageModel,
    PriceAnswer,
    Prompt,
    Usage,
)
from pricing_platform.pricing.estimates import Stopwatch
from pricing_platform.progress import Progress

_UNANSWERED = Usage(attempts=0)
_SUMMED = ("tokens_in", "tokens_cached", "tokens_out", "latency_ms", "cost_usd")
_REPORTED = 50
"""Times that progress is told at most, a round of calls."""

Answer = TypeVar("Answer", PriceAnswer, Completion)
Check = Callable[[int, Completion], str | None]
"""Why what a model wrote for an item is of no use; None where it is."""


@dataclass(eq=False)
class LanguageCalls:
    """The calls for the items of one pricing; a conversation goes by the place of its item."""

    model: LanguageModel
    ledger: CallLedger
    items: int
    progress: Progress

    def __post_init__(self) -> None:
        self._used = {name: np.zeros(self.items) for name in _SUMMED}
        self.seconds = 0.0
        """How long the model was waited for."""

    def read_prices(self, prompts: Mapping[int, Prompt]) -> dict[int, PriceAnswer]:
        """The answer for each item, also where none came back."""
        asked = list(prompts.values())
        missing = PriceAnswer(_UNANSWERED, outcome="failed", reason="no answer came back")
        answers = self._timed(lambda: self.model.read_prices(asked))
        return self._collected(prompts, answers, "pricing", missing)

    def complete(
        self,
        prompts: Mapping[int, Prompt],
        request: CompletionRequest,
        *,
        check: Check | None = None,
    ) -> dict[int, Completion]:
        """As :meth:`read_prices`; what the check refuses stands in the ledger as unusable."""
        asked = list(prompts.values())
        missing = Completion(_UNANSWERED, outcome="failed", reason="no answer came back")
        step = asked[0].step if asked else ""
        answers = self._timed(lambda: self.model.complete(asked, request))
        return self._collected(prompts, answers, step, missing, check)

    def usage(self) -> pl.DataFrame:
        """What all calls of an item took, a row an item."""
        frame = pl.DataFrame(self._used)
        return frame.with_columns(pl.col("^tokens_.*$").cast(pl.Int64))

    def _timed(
        self, ask: Callable[[], Iterator[tuple[int, Answer]]]
    ) -> Iterator[tuple[int, Answer]]:
        """The answers; only the time in which the model has to be waited for is counted."""
        watch = Stopwatch()
        with told_as_not_asked():
            answers = ask()
            while (answer := next(answers, None)) is not None:
                self.seconds += watch.seconds()
                yield answer
                watch = Stopwatch()
        self.seconds += watch.seconds()

    def _collected(
        self,
        prompts: Mapping[int, Prompt],
        answers: Iterator[tuple[int, Answer]],
        step: str,
        missing: Answer,
        check: Check | None = None,
    ) -> dict[int, Answer]:
        places = list(prompts)
        found: dict[int, Answer] = {}
        if not places:
            return found
        every = max(len(places) // _REPORTED, 1)
        for number, answer in answers:
            place = places[number]
            if place in found:
                continue
            found[place] = self._recorded(place, prompts[place], answer, check)
            if len(found) % every == 0 or len(found) == len(places):
                self.progress(step, len(found), len(places))
        for place in places:
            if place not in found:
                found[place] = self._recorded(place, prompts[place], missing, None)
        return found

    def _recorded(self, place: int, prompt: Prompt, answer: Answer, check: Check | None) -> Answer:
        if check is not None and isinstance(answer, Completion) and answer.outcome == "answered":
            reason = check(place, answer)
            if reason is not None:
                answer = replace(answer, outcome="unusable", reason=reason)
        self.ledger.record(prompt, answer)
        for name in _SUMMED:
            self._used[name][place] += getattr(answer.usage, name)
        return answer
