"""The rows of ``evaluation.predictions``, a technique at a time, made again only when they must be.

Here belongs what each kind of partition follows from: a technique from its checkpoint, the ensemble
from its members' predictions, the noise floor from the sources' reference prices. Fitting and
pricing belong to ``fitting``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import ModelNotAskedError, PlatformError
from pricing_platform.language.calls import CALL_SCHEMA, PASSING_OUTCOMES, CallLedger
from pricing_platform.pricing.fitting import (
    EvaluationSample,
    Fitting,
    as_predictions,
    evaluated_items,
    fit_ensemble,
    predict,
)
from pricing_platform.pricing.reference_rows import NOISE_FLOOR, reference_predictions
from pricing_platform.pricing.registry import (
    ASKING_TECHNIQUES,
    ENSEMBLE,
    ENSEMBLE_MEMBERS,
    FINE_TUNED_LANGUAGE,
    SAMPLED_TECHNIQUES,
)
from pricing_platform.pricing.technique import ESTIMATE_SCHEMA
from pricing_platform.progress import Progress, silent
from pricing_platform.stores.provenance import Refreshed, inputs_fingerprint, refresh, standing
from pricing_platform.stores.warehouse import Warehouse

if TYPE_CHECKING:
    from pricing_platform.finetuning.checkpoints import Checkpoint
    from pricing_platform.pricing.finetuned.context import FineTuningContext
    from pricing_platform.pricing.prompting.language_technique import LanguageContext

PREDICTIONS = "evaluation.predictions"
CALLS = "evaluation.llm_calls"
ASKED_ITEMS = "evaluation.asked_items"
PREDICTIONS_VERSION = "4"
_NOT_ASKED_PREFIX = "not_asked: "
_NOT_ASKED = """
SELECT technique, substr(any_value(failure), 1 + length($1)) AS reason
FROM evaluation.predictions
WHERE starts_with(failure, $1)
GROUP BY technique
ORDER BY technique
"""
_TAKEN = """
SELECT technique, count(*) AS calls, sum(tokens_in) AS tokens_in,
    sum(tokens_cached) AS tokens_cached, sum(tokens_out) AS tokens_out, sum(cost_usd) AS cost_usd,
    sum(cost_usd) FILTER (NOT from_cache) AS spent_usd
FROM evaluation.llm_calls
WHERE starts_with(technique, ?)
GROUP BY technique
ORDER BY technique
"""


def record_calls(warehouse: Warehouse, ledger: CallLedger) -> None:
    """Puts the calls of a ledger in the place of those of the same technique or purpose."""
    warehouse.replace(CALLS, ledger.frame(), partition=("technique", ledger.technique))


def taken_by_purpose(warehouse: Warehouse, purposes: str) -> pl.DataFrame:
    """What the calls took that were made for techniques or purposes that begin so.

    ``cost_usd`` is what their answers cost when they were given, ``spent_usd`` what was paid now.
    """
    return warehouse.frame(_TAKEN, [purposes])


def not_asked(warehouse: Warehouse) -> dict[str, str]:
    """The techniques whose language model could not be asked at all, and why."""
    return dict(warehouse.frame(_NOT_ASKED, [_NOT_ASKED_PREFIX]).iter_rows())


@dataclass(frozen=True)
class PredictionMaker:
    """Refreshes partitions of the predictions.

    ``items`` loads all items, ``references`` the reference prices, ``language`` what techniques
    need that ask a language model, and ``fine_tuning`` what those need that adapt one, when they
    are needed. ``told_version`` tells that of what such techniques are told besides the items;
    ``sample`` is what they are asked about.
    """

    warehouse: Warehouse
    fitting: Fitting
    items: Callable[[], ItemSet]
    references: Callable[[], pl.DataFrame]
    language: Callable[[], LanguageContext]
    fine_tuning: Callable[[], FineTuningContext]
    told_version: Callable[[], str]
    sample: EvaluationSample
    progress: Progress = silent

    def refresh(self, technique: str, *, force: bool = False) -> Refreshed:
        """Replaces the technique's rows, unless they stand as they would be made.

        Raises:
            ModelNotAskedError: when its language model can't be asked, or could not be when the
                technique was to be fitted.
            PlatformError: when the technique, or a member of the ensemble, has not been fitted (or
                priced) on the current items.
        """
        make, inputs = self._plan(technique)
        asks = technique in ASKING_TECHNIQUES
        return refresh(
            self.warehouse,
            self._tables(technique),
            lambda _folder: make(),
            inputs=inputs,
            partition=("technique", technique),
            force=force or (asks and self._was_let_down(technique)),
        )

    def record_failure(self, technique: str, error: ModelNotAskedError) -> Refreshed:
        """Puts a row with the reason in the place of each estimate that could not be asked for.

        Rows that stand as they would be made are kept. The next refresh asks again.
        """
        kept = self._standing(technique)
        if kept is not None:
            return kept
        evaluated = evaluated_items(technique, self.items(), self.sample).frame
        nothing = {name: pl.lit(None, dtype=kind) for name, kind in ESTIMATE_SCHEMA.items()}
        told = {"item_id": pl.col("item_id"), "failure": pl.lit(_NOT_ASKED_PREFIX + error.problem)}
        rows = as_predictions(
            evaluated.select(**(nothing | told)),
            evaluated,
            technique=technique,
            model="",
            checkpoint=None,
        )
        states = self.warehouse.replace_all(
            {PREDICTIONS: rows, ASKED_ITEMS: self._asked_items(technique)},
            partition=("technique", technique),
            fingerprint="not asked",
        )
        return Refreshed(states, reused=False)

    def _standing(self, technique: str) -> Refreshed | None:
        """The rows of a technique that asks, where they follow from what stands at present."""
        try:
            _, inputs = self._plan(technique)
        except ModelNotAskedError:
            return None
        return standing(
            self.warehouse, [PREDICTIONS], inputs=inputs, partition=("technique", technique)
        )

    def _tables(self, technique: str) -> list[str]:
        """The tables that have rows of the technique."""
        asked = [ASKED_ITEMS] if technique in SAMPLED_TECHNIQUES else []
        return [PREDICTIONS, *asked, *([CALLS] if technique in ASKING_TECHNIQUES else [])]

    def _was_let_down(self, technique: str) -> bool:
        """Whether a call failed for a reason that may have passed: what was answered is kept."""
        found = self.warehouse.frame(
            f"SELECT 1 FROM {CALLS} WHERE technique = ? AND list_contains(?, outcome) LIMIT 1",
            [technique, list(PASSING_OUTCOMES)],
        )
        return not found.is_empty()

    def _plan(self, technique: str) -> tuple[Callable[[], Mapping[str, pl.DataFrame]], str]:
        """How the rows of the tables are made, and the fingerprint of what they follow from."""
        if technique == NOISE_FLOOR:
            known = self.references()
            return lambda: {PREDICTIONS: self._noise_floor(known)}, self._inputs(
                self.fitting.items_version, known.hash_rows(seed=0).sort().to_list()
            )
        if technique == ENSEMBLE:
            states = [self._member_state(name) for name in ENSEMBLE_MEMBERS]
            return lambda: {PREDICTIONS: self._ensemble()}, self._inputs(
                self.fitting.fingerprint(ENSEMBLE), *states
            )
        checkpoint = self.fitting.require(technique)
        follows_from = [self.fitting.fingerprint(technique), checkpoint.manifest.files]
        if technique in ASKING_TECHNIQUES:
            return (
                lambda: self._asked(technique, checkpoint),
                self._inputs(*follows_from, self.told_version(), self.sample),
            )
        if technique in FINE_TUNED_LANGUAGE:
            return (
                lambda: self._fine_tuned(technique, checkpoint),
                self._inputs(*follows_from, self.told_version(), self.sample),
            )
        return (
            lambda: {
                PREDICTIONS: predict(technique, checkpoint, self.items(), progress=self.progress)
            },
            self._inputs(*follows_from),
        )

    def _fine_tuned(self, technique: str, checkpoint: Checkpoint) -> Mapping[str, pl.DataFrame]:
        rows = predict(
            technique,
            checkpoint,
            self.items(),
            fine_tuning=self.fine_tuning(),
            sample=self.sample,
            progress=self.progress,
        )
        return {PREDICTIONS: rows, ASKED_ITEMS: self._asked_items(technique)}

    def _asked(self, technique: str, checkpoint: Checkpoint) -> Mapping[str, pl.DataFrame]:
        """The technique's rows, and its language model's calls."""
        language = self.language().of(technique)
        try:
            rows = predict(
                technique,
                checkpoint,
                self.items(),
                language=language,
                sample=self.sample,
                progress=self.progress,
            )
        except PlatformError:
            self._record_failed_calls(technique, language.ledger)
            raise
        return {
            PREDICTIONS: rows,
            ASKED_ITEMS: self._asked_items(technique),
            CALLS: language.ledger.frame(),
        }

    def _asked_items(self, technique: str) -> pl.DataFrame:
        """What the sample decides and not what was answered: an item left out is a failure."""
        asked = evaluated_items(technique, self.items(), self.sample).frame
        return asked.select(pl.lit(technique).alias("technique"), "split", "item_id")

    def _record_failed_calls(self, technique: str, ledger: CallLedger) -> None:
        """Keeps what was asked in vain, which was paid for, beside the calls of rows that stand."""
        made = ledger.frame()
        if self._standing(technique) is not None:
            before = self.warehouse.frame(f"SELECT * FROM {CALLS} WHERE technique = ?", [technique])
            unasked = before.join(made, on="item_id", how="anti")
            made = pl.concat([unasked.cast(CALL_SCHEMA), made]).sort("item_id", "call")
        self.warehouse.replace(CALLS, made, partition=("technique", technique))

    def _inputs(self, *parts: object) -> str:
        return inputs_fingerprint(self.warehouse, PREDICTIONS_VERSION, [], *parts)

    def _ensemble(self) -> pl.DataFrame:
        answers = {
            name: self.warehouse.frame(
                "SELECT * FROM evaluation.predictions WHERE technique = ?", [name]
            )
            for name in ENSEMBLE_MEMBERS
        }
        checkpoint = fit_ensemble(self.fitting, self.items(), answers)
        return predict(ENSEMBLE, checkpoint, self.items(), answers=answers)

    def _noise_floor(self, known: pl.DataFrame) -> pl.DataFrame:
        items = self.warehouse.frame("SELECT * FROM curated.items ORDER BY item_id")
        return reference_predictions(items, known)

    def _member_state(self, member: str) -> str:
        """The version of a member's rows, which must be those of its current checkpoint."""
        state = self.warehouse.state(PREDICTIONS, member)
        if state is None or state.fingerprint != self._plan(member)[1]:
            raise PlatformError(
                f"The ensemble's member {member} has not priced the current items yet.",
                f"Materialize the partition {member} of predictions first.",
            )
        return state.data_version
