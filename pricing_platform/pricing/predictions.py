"""The rows of ``evaluation.predictions``, a technique at a time, made again only when they must be.

Here belongs what each kind of partition follows from: a technique from its checkpoint, the ensemble
from its members' predictions, the noise floor from the sources' reference prices. Fitting and
pricing belong to ``fitting``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import PlatformError
from pricing_platform.evaluation.reference import NOISE_FLOOR, reference_predictions
from pricing_platform.pricing.fitting import ENSEMBLE, MEMBERS, Fitting, fit_ensemble, predict
from pricing_platform.progress import Progress, silent
from pricing_platform.stores.provenance import Refreshed, inputs_fingerprint, refresh
from pricing_platform.stores.warehouse import Warehouse

PREDICTIONS = "evaluation.predictions"
PREDICTIONS_VERSION = "2"


@dataclass(frozen=True)
class PredictionMaker:
    """Refreshes partitions of the predictions.

    ``items`` loads all items and ``references`` the reference prices, when they are needed.
    """

    warehouse: Warehouse
    fitting: Fitting
    items: Callable[[], ItemSet]
    references: Callable[[], pl.DataFrame]
    progress: Progress = silent

    def refresh(self, technique: str, *, force: bool = False) -> Refreshed:
        """Replaces the technique's rows, unless they stand as they would be made.

        Raises:
            PlatformError: when the technique, or a member of the ensemble, has not been fitted (or
                priced) on the current items.
        """
        make, inputs = self._plan(technique)
        return refresh(
            self.warehouse,
            [PREDICTIONS],
            lambda _folder: {PREDICTIONS: make()},
            inputs=inputs,
            partition=("technique", technique),
            force=force,
        )

    def _plan(self, technique: str) -> tuple[Callable[[], pl.DataFrame], str]:
        """How the rows are made, and the fingerprint of what they follow from."""
        if technique == NOISE_FLOOR:
            known = self.references()
            return lambda: self._noise_floor(known), self._inputs(
                self.fitting.items_version, known.hash_rows(seed=0).sort().to_list()
            )
        if technique == ENSEMBLE:
            states = [self._member_state(name) for name in MEMBERS]
            return self._ensemble, self._inputs(self.fitting.fingerprint(ENSEMBLE), *states)
        checkpoint = self.fitting.require(technique)
        return (
            lambda: predict(technique, checkpoint, self.items(), progress=self.progress),
            self._inputs(self.fitting.fingerprint(technique), checkpoint.manifest.files),
        )

    def _inputs(self, *parts: object) -> str:
        return inputs_fingerprint(self.warehouse, PREDICTIONS_VERSION, [], *parts)

    def _ensemble(self) -> pl.DataFrame:
        answers = {
            name: self.warehouse.frame(
                "SELECT * FROM evaluation.predictions WHERE technique = ?", [name]
            )
            for name in MEMBERS
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
