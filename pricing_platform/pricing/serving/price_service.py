"""Estimating new products: the fitted techniques, the encoder and the comparables, put together.

Here belongs what happens between a user's text or file and the estimate. How a technique estimates
belongs to its module, curating the new products to ``new_products``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.catalog.items import catalogue_currency
from pricing_platform.catalog.sources import Source
from pricing_platform.currencies import price_decimals
from pricing_platform.errors import PlatformError
from pricing_platform.pricing.finetuned.context import (
    fine_tuning_context,
    fine_tuning_identity,
)
from pricing_platform.pricing.fitting import Fitting, load
from pricing_platform.pricing.prompting.asked_model import (
    current_asked_model,
    current_brand_facts,
    language_context,
)
from pricing_platform.pricing.prompting.language_technique import LanguageTechnique
from pricing_platform.pricing.prompting.rag import Rag
from pricing_platform.pricing.registry import ASKING_TECHNIQUES, FINE_TUNED_LANGUAGE
from pricing_platform.pricing.serving.new_products import (
    as_items,
    items_of,
    place_in_catalogue,
    read_products,
    require_known_kind,
    write_products,
)
from pricing_platform.pricing.technique import Technique
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval.comparable_search import find_comparables
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse

COMPARABLES_SHOWN = 8
UNLIKE = 0.5
"""Of a hundred items of a catalogue hardly one has no comparable more similar than this."""


@dataclass(frozen=True)
class PricedText:
    """An estimate, its 80 % interval, and comparable items of the catalogue.

    ``comparables`` are those that the technique used, where ``are_used`` says so, else the most
    similar.
    ``unlike_all`` says that nothing in the catalogue is much like the text: the interval is then
    too narrow, for it was calibrated on products of the catalogue. ``prompt`` is what a language
    model had been told and had said when it was asked for the price; None where that is not wanted
    and for a technique that asks none.
    """

    estimate: float
    low: float
    high: float
    currency: str
    technique: str
    comparables: pl.DataFrame
    are_used: bool
    unlike_all: bool
    prompt: str | None

    def to_json(self) -> str:
        """One JSON object."""
        fields = {**self.__dict__, "comparables": self.comparables.to_dicts()}
        return json.dumps(fields, default=str, ensure_ascii=False)


@dataclass(frozen=True)
class PricedFile:
    """How many rows have an estimate, and why others have none: their numbers from 1, by reason.

    ``unlike_all`` rows with an estimate are like nothing in the catalogue; ``replaced`` are the
    user's columns that the estimates took the place of.
    """

    priced: int
    failures: dict[str, list[int]]
    unlike_all: int
    replaced: list[str]


@dataclass(frozen=True)
class PricingService:
    """A fitted technique with everything that it needs to estimate new products."""

    technique: str
    currency: str
    _fitted: Technique
    _encoder: CachedEncoder
    _postgres: Postgres

    @classmethod
    @contextmanager
    def open(cls, settings: Settings, technique: str) -> Iterator[PricingService]:
        """The service for a technique.

        Raises:
            PlatformError: when nothing has been built, or the technique's checkpoint is not there
                or was changed since it was written.
        """
        warehouse = Warehouse.from_settings(settings)
        encoder = CachedEncoder.from_settings(settings)
        with closing(Postgres.from_settings(settings)) as postgres:
            asked = current_asked_model(warehouse, settings)
            fitting = Fitting.current(
                warehouse,
                encoder.identity,
                lambda: asked.identity,
                lambda: fine_tuning_identity(settings, asked.currency),
                settings,
            )
            checkpoint = fitting.require(technique)
            language = fine_tuning = None
            if technique in FINE_TUNED_LANGUAGE:
                fine_tuning = fine_tuning_context(settings, asked.currency, warehouse)
            if technique in ASKING_TECHNIQUES:
                facts = current_brand_facts(warehouse, postgres)
                language = language_context(asked, warehouse, facts).of(technique)
            fitted = load(technique, checkpoint, language, fine_tuning)
            yield cls(technique, catalogue_currency(warehouse), fitted, encoder, postgres)

    def price_text(self, text: str, *, explained: bool = False) -> PricedText:
        """The estimate for a text, with comparables, their prices and the prices' ages in days.

        Args:
            text: of the product.
            explained: also what a language model was told and said.

        Raises:
            PlatformError: when nothing of the text can be read, or the technique gave no estimate.
        """
        items, found = self._placed(as_items(pl.DataFrame({"title": [text]}), self.currency))
        if not len(items):
            raise PlatformError(
                f"There is nothing to price: {_unread(text)}.", "Describe the product."
            )
        row = self._fitted.price(items).row(0, named=True)
        if row["estimate"] is None:
            raise PlatformError(f"{self.technique} gave no estimate: {row['failure'].rstrip('.')}.")
        return PricedText(
            estimate=row["estimate"],
            low=row["low"],
            high=row["high"],
            currency=self.currency,
            technique=self.technique,
            comparables=self._comparables(items, found),
            are_used=isinstance(self._fitted, Rag),
            unlike_all=not _like_some(found, 1)[0],
            prompt=self._prompt(items) if explained else None,
        )

    def _comparables(self, items: ItemSet, found: pl.DataFrame) -> pl.DataFrame:
        """What the technique showed its model of the one item, or what was found for it."""
        if isinstance(self._fitted, Rag):
            used = self._fitted.shown_comparables(items)[0]
            schema = {
                "item_id": pl.String,
                "title": pl.String,
                "price": pl.Float64,
                "age_days": pl.Int64,
            }
            return pl.DataFrame(
                [[getattr(at, n) for n in schema] for at in used], schema, orient="row"
            ).insert_column(3, pl.lit(self.currency).alias("currency"))
        return found.select(
            "item_id",
            "title",
            pl.col("similarity").round(3),
            "price",
            "currency",
            pl.col("age").dt.total_days().alias("age_days"),
        )

    def _prompt(self, items: ItemSet) -> str | None:
        if not isinstance(self._fitted, LanguageTechnique):
            return None
        return self._fitted.conversations(items)[0].prompt.as_text()

    def price_file(
        self,
        path: Path,
        target: Path,
        *,
        source: Source | None = None,
        progress: Progress = silent,
    ) -> PricedFile:
        """Writes the file's rows with the columns of an estimate.

        These are ``estimate``, ``low``, ``high``, ``unlike_all`` (see :class:`PricedText`),
        ``failure`` and ``technique``. They take the place of columns of these names.

        Args:
            path: of any kind of file that a source may have.
            target: CSV, JSON Lines or Parquet.
            source: whose files are written like this one.
            progress: is told how far it is.

        Raises:
            PlatformError: when the file can't be read or the target not be written; the target
                is then as it was.
        """
        require_known_kind(target)
        products = read_products(path, source)
        rows = items_of(products, self.currency)
        items, found = self._placed(rows)
        estimates = self._fitted.price(items, progress=progress).with_columns(
            unlike_all=~pl.Series(_like_some(found, len(items)), dtype=pl.Boolean)
        )
        answers = (
            pl.DataFrame(
                {
                    "unread": pl.Series(
                        [
                            fault or _unread(title)
                            for fault, title in zip(products.faults, products.titles, strict=True)
                        ],
                        dtype=pl.String,
                    )
                }
            )
            .with_row_index("row")
            .with_columns(pl.col("row").cast(pl.Int32))
            .join(rows.select("row", "item_id"), on="row", how="left", maintain_order="left")
            .join(estimates, on="item_id", how="left", maintain_order="left")
            .select(
                pl.col("estimate", "low", "high").round(price_decimals(self.currency)),
                pl.col("unlike_all"),
                failure=pl.when(pl.col("item_id").is_null())
                .then(pl.col("unread"))
                .otherwise(pl.col("failure")),
                technique=pl.lit(self.technique),
            )
        )
        # Side by side and not joined, so that no column of the user's can be taken for ours.
        replaced = [name for name in products.frame.columns if name in answers.columns]
        priced = products.frame.drop(replaced).hstack(answers)
        write_products(priced, target)
        failures = (
            answers.with_row_index("row", offset=1)
            .drop_nulls("failure")
            .group_by("failure")
            .agg("row")
            .sort(pl.col("row").list.len(), "failure", descending=[True, False])
        )
        return PricedFile(
            answers["estimate"].count(),
            dict(failures.iter_rows()),
            int((answers["unlike_all"] & answers["estimate"].is_not_null()).sum()),
            replaced,
        )

    def _placed(self, items: pl.DataFrame) -> tuple[ItemSet, pl.DataFrame]:
        """The items where they belong in the catalogue, and their comparables."""
        vectors = self._encoder.embed(items["text"].to_list()).vectors
        found = find_comparables(self._postgres, vectors, COMPARABLES_SHOWN)
        return ItemSet(place_in_catalogue(items, found), vectors), found


def _like_some(found: pl.DataFrame, items: int) -> list[bool]:
    """Of each item whether something in the catalogue is much like it."""
    like = set(found.filter(pl.col("similarity") >= UNLIKE)["query_index"])
    return [place in like for place in range(items)]


def _unread(text: str) -> str:
    """Why a text can't be priced of which nothing is left when it is curated."""
    if any(character.isalnum() for character in text):
        return "nothing is left without prices and marks"
    return "no letter or digit"
