"""The language model that the platform trains itself: when it is trained, and on what.

Here belongs the way from the stores to its checkpoint. How it learns belongs to the package
``language.base_model``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.catalog.items import catalogue_currency
from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.checkpoints import (
    Checkpoint,
    Manifest,
    data_hash,
    find_checkpoint,
    open_checkpoint,
    prune_checkpoints,
    unfinished_folder,
    write_checkpoint,
)
from pricing_platform.language.base_model.configuration import BaseModelConfiguration
from pricing_platform.language.base_model.corpus import TrainingItems
from pricing_platform.language.base_model.training import train_base_model, training_version
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.fitting import CHECKPOINTS_KEPT, require_enough_items
from pricing_platform.pricing.neighbours import FamilyCodes, dense_neighbours
from pricing_platform.pricing.pricing_tools import TOOLS
from pricing_platform.pricing.text_model import families_of
from pricing_platform.progress import Progress, silent
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres, contents_version
from pricing_platform.stores.warehouse import Warehouse, fingerprint, make_folder

BASE_MODEL = "base_model"
_DOCUMENTS = "SELECT content FROM knowledge.documents ORDER BY document_id"
HIGHEST_PRICE = 1_000
"""The model has a token for each whole price up to this; dearer catalogues need another model."""

_CLOSEST = 16
"""Neighbours that an item's training documents are drawn from."""


@dataclass(frozen=True)
class BaseModelFitting:
    """What decides the model's checkpoint, apart from its own code."""

    items_version: str
    documents_version: str
    encoder: str
    configuration: BaseModelConfiguration
    currency: Currency
    seed: int
    checkpoints: Path

    @classmethod
    def current(
        cls, warehouse: Warehouse, postgres: Postgres, encoder: str, settings: Settings
    ) -> Self:
        """That of the items and documents that now stand in the stores."""
        return cls(
            warehouse.data_version("curated.items"),
            _documents_version(postgres),
            encoder,
            BaseModelConfiguration(
                token_budget=settings.base_model_tokens,
                highest_price=min(math.ceil(settings.price_maximum), HIGHEST_PRICE),
            ),
            Currency(catalogue_currency(warehouse)),
            settings.seed,
            settings.checkpoints_folder,
        )

    @property
    def fingerprint(self) -> str:
        """Equal for two fittings that give the same checkpoint."""
        return fingerprint(
            training_version(TOOLS, self.currency, self.configuration, self.seed),
            self.items_version,
            self.documents_version,
            self.encoder,
        )

    def find(self) -> Path | None:
        """Its checkpoint for these items and documents, or None when it has to be trained."""
        return find_checkpoint(self.checkpoints, BASE_MODEL, self.fingerprint)

    def require(self) -> Checkpoint:
        """Its verified checkpoint.

        Raises:
            PlatformError: when it was not trained on them, or its files were changed since.
        """
        path = self.find()
        if path is None:
            raise PlatformError(
                "There is no base model that was trained on the current items and documents.",
                "Materialize base_model: `pricing-platform run` does.",
            )
        return open_checkpoint(path)


def fit_base_model(
    fitting: BaseModelFitting,
    items: Callable[[], ItemSet],
    documents: Callable[[], Sequence[str]],
    *,
    force: bool = False,
    progress: Progress = silent,
) -> tuple[Checkpoint, bool]:
    """The base model's checkpoint, trained now unless it is there; and whether it was there.

    Args:
        fitting: what decides the checkpoint.
        items: loads all items; of these the train split is read.
        documents: loads the texts of the knowledge documents.
        force: train again although the checkpoint is there.
        progress: is told how far the training is.
    """
    existing = fitting.find()
    if existing is not None and not force:
        return open_checkpoint(existing), True
    everything = items()
    require_enough_items(everything)
    train = everything.split("train")
    work_folder = unfinished_folder(fitting.checkpoints, BASE_MODEL, fitting.fingerprint)
    make_folder(work_folder)
    started = time.perf_counter()
    trained = train_base_model(
        _training_items(train),
        documents(),
        tools=TOOLS,
        currency=fitting.currency,
        configuration=fitting.configuration,
        seed=fitting.seed,
        work_folder=work_folder,
        progress=progress,
    )
    manifest = Manifest(
        fingerprint=fitting.fingerprint,
        data_hash=data_hash(train.frame, train.frame.clear()),
        configuration=fitting.configuration.model_dump(mode="json"),
        metrics={**trained.metrics, "training_seconds": time.perf_counter() - started},
        seed=fitting.seed,
    )
    path = write_checkpoint(fitting.checkpoints, BASE_MODEL, trained.save, manifest)
    prune_checkpoints(fitting.checkpoints, BASE_MODEL, keep=CHECKPOINTS_KEPT)
    return open_checkpoint(path), False


def read_documents(postgres: Postgres, version: str) -> list[str]:
    """The texts of the knowledge documents, in order of their ids.

    Args:
        postgres: where they are.
        version: theirs when the training was planned, which its checkpoint is filed under.

    Raises:
        PlatformError: when another run has replaced them since.
    """
    found = postgres.frame(_DOCUMENTS)["content"].to_list()
    if _documents_version(postgres) != version:
        raise PlatformError(
            "The documents were replaced while they were about to be learnt from.",
            "Run again when the run that replaced them has ended.",
        )
    return found


def _documents_version(postgres: Postgres) -> str:
    return contents_version(postgres, "knowledge.documents", "document_id, content_hash")


def _training_items(train: ItemSet) -> TrainingItems:
    """The train split, each item beside its nearest of other families."""
    frame = train.frame
    families = FamilyCodes(families_of(train))
    neighbours = dense_neighbours(
        train.embeddings, train.embeddings, _CLOSEST, families.reference, families.reference
    )
    return TrainingItems(
        texts=frame["text"].to_list(),
        titles=frame["title"].to_list(),
        brands=frame["brand"].to_list(),
        categories=frame["category"].to_list(),
        prices=train.prices(),
        families=families_of(train),
        neighbours=neighbours.index,
    )
