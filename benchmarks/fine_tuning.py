"""How soon a fine-tuned price model is as good as one that plain ``transformers.Trainer`` trains.

``python -m benchmarks.fine_tuning [FOLDER]`` measures with the language model of a folder, by
default with the embedded one. Here belong our side, and what is told of both. The peer belongs to
``plain_fine_tuning``.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.configuration import forget_configuration
from benchmarks.measurement import Clock, Comparison
from benchmarks.plain_fine_tuning import (
    SEED,
    Curve,
    MeanError,
    PlainTraining,
    Told,
    train_plainly,
)
from pricing_platform.build import build_platform
from pricing_platform.catalog.bundled import write_bundled_catalogue
from pricing_platform.catalog.item_samples import stratified_sample
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.finetuning.language.price_model import (
    FitFolders,
    LearntExamples,
    PricedExamples,
    PriceModelBase,
    PriceRecipe,
    fit_price_model,
)
from pricing_platform.finetuning.language.token_examples import lengths_of
from pricing_platform.language.local.folder import content_sha256
from pricing_platform.language.pretrained import language_model_folder
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.finetuned.fine_tuned_technique import priced_examples
from pricing_platform.pricing.finetuned.item_examples import ItemTokens
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import Warehouse

_AIM = 4.0
_PEER = "Trainer, LoRA on all blocks"
_CURRENCY = Currency("USD")


def _silent(_line: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Sizes:
    """What both sides are given; the defaults are those of ``python -m benchmarks``.

    ``epochs`` are of our adapters, ``seconds_at_most`` the peer's.
    """

    items: int = 240
    epochs: float = 1.0
    seconds_at_most: float = 120.0
    validation_items: int = 100
    products: int = 1_000


@dataclass(frozen=True)
class Ours:
    """Our training: its seconds, by part and in all, and the passes of items through adapters."""

    reading_seconds: float
    anchor_seconds: float
    adapter_seconds: float
    seconds: float
    trained: int
    error: MeanError

    @property
    def items_a_second(self) -> float:
        """Trained in the adapters' part."""
        return self.trained / self.adapter_seconds

    @property
    def items_a_second_over_all(self) -> float:
        """The same, with all other parts counted."""
        return self.trained / self.seconds

    def __str__(self) -> str:
        return (
            f"{self.seconds:.0f} s ({self.reading_seconds:.0f} reading,"
            f" {self.anchor_seconds:.0f} anchor, {self.adapter_seconds:.0f} adapters),"
            f" {self.error}, {self.items_a_second:.1f} items trained a second by the adapters,"
            f" {self.items_a_second_over_all:.1f} over all"
        )


@dataclass(frozen=True)
class Race:
    """Both sides on the same items."""

    ours: Ours
    peer: Curve

    @property
    def peer_caught_up(self) -> bool:
        """Whether it became as good as ours."""
        return self.peer.last.error.mean <= self.ours.error.mean

    @property
    def times_sooner(self) -> float:
        """The peer's seconds over ours: a lower bound where it did not catch up."""
        return self.peer.last.seconds / self.ours.seconds

    def comparisons(self) -> list[Comparison]:
        """Seconds until equal validation error, and items trained a second."""
        ours, peer = self.ours, self.peer
        curve = ", ".join(f"{at.error.mean:.1f} at {at.seconds:.0f} s" for at in peer.looks)
        rate = ours.items_a_second / peer.items_a_second
        return [
            Comparison(
                "fine-tuning until equal validation error",
                f"{ours.seconds:.0f} s, {ours.error}",
                f"{_PEER}: {peer.last.seconds:.0f} s, {peer.last.error}",
                self.times_sooner,
                "times sooner" if self.peer_caught_up else "times sooner, or more",
                f"{_AIM:g}",
                self.times_sooner >= _AIM,
                f"the peer {'caught up' if self.peer_caught_up else 'never caught up'}: {curve}",
            ),
            Comparison(
                "fine-tuning: items trained",
                f"{ours.items_a_second:.1f} a second by the adapters",
                f"{_PEER}: {peer.items_a_second:.1f} a second",
                rate,
                "times as many",
                f"{_AIM:g}",
                rate >= _AIM,
                f"ours over all, with reading and anchor: {ours.items_a_second_over_all:.1f}",
            ),
        ]


def compare_fine_tuning(
    folder: Path,
    model_folder: Path | None = None,
    *,
    sizes: Sizes | None = None,
    training: PlainTraining | None = None,
    told: Told = _silent,
) -> list[Comparison]:
    """Trains both sides on items of the bundled catalogue.

    Args:
        folder: where the catalogue, and what is learnt, are written.
        model_folder: of a causal language model in the layout of ``transformers``; by default the
            embedded one's.
        sizes: of what is learnt from and measured on.
        training: the peer's.
        told: is given each figure as soon as it is known.
    """
    sizes = sizes or Sizes()
    sources = write_bundled_catalogue(folder / "fine_tuning_catalogue", products=sizes.products)
    settings = Settings(home=folder / "fine_tuning", sources=sources)
    base = model_folder or language_model_folder(settings)
    build_platform(settings, stages=["ingest_and_embed"])
    items = _items(Warehouse.from_settings(settings))
    tokens = ItemTokens(base, _CURRENCY)
    train, validation = (
        priced_examples(stratified_sample(items.split(split), most, seed=SEED), tokens)
        for split, most in (("train", sizes.items), ("validation", sizes.validation_items))
    )
    told(
        f"{len(train):,} train items of {lengths_of(train.examples).mean():.0f} tokens,"
        f" {len(validation):,} validation items"
    )
    found = race(
        base, train, validation, sizes, training or PlainTraining(), settings.home, told=told
    )
    return found.comparisons()


def race(
    base: Path,
    train: PricedExamples,
    validation: PricedExamples,
    sizes: Sizes,
    training: PlainTraining,
    folder: Path,
    *,
    told: Told = _silent,
) -> Race:
    """Ours, then the peer until it is as good on the validation items, or its time is up."""
    _import_what_is_timed()
    ours = _train_ours(base, train, validation, sizes.epochs, folder / "ours")
    told(f"ours: {ours}")
    peer = train_plainly(
        base,
        train,
        validation,
        training,
        until=ours.error.mean,
        seconds_at_most=sizes.seconds_at_most,
        work_folder=folder / "peer",
        told=told,
    )
    return Race(ours, peer)


def _train_ours(
    base: Path, train: PricedExamples, validation: PricedExamples, epochs: float, folder: Path
) -> Ours:
    """With the defaults of the platform; nothing is kept from before."""
    identity = content_sha256(base)
    clock = Clock()
    model, metrics = fit_price_model(
        PriceModelBase(base, identity),
        LearntExamples.all_of(train),
        PriceRecipe(epochs, AdapterConfiguration(), AdapterTraining(), SEED),
        FitFolders(folder, folder / "work", folder / "pooled_states"),
    )
    seconds = clock.seconds()
    (estimates,) = model.quantiles(validation.examples, validation.numbers, (0.5,))
    return Ours(
        metrics["reading_seconds"],
        metrics["anchor_seconds"],
        metrics["adapter_seconds"],
        seconds,
        max(1, round(epochs * len(train))),
        MeanError.of(estimates, validation),
    )


def _items(warehouse: Warehouse) -> ItemSet:
    """All items; neither side reads embeddings."""
    frame = warehouse.frame("SELECT * FROM curated.items ORDER BY item_id")
    return ItemSet(frame, np.zeros((frame.height, 0), np.float32))


def _import_what_is_timed() -> None:
    """Whoever is first would else pay for importing what both need."""
    for name in ("peft", "scipy.linalg", "scipy.special", "transformers.trainer"):
        importlib.import_module(name)


def main(arguments: list[str] | None = None) -> None:
    """Prints each figure as it comes, and the two comparisons."""
    parser = argparse.ArgumentParser("benchmarks.fine_tuning", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="of the language model")
    parser.add_argument("--items", type=int, default=600, help="train items")
    parser.add_argument("--epochs", type=float, default=1.0, help="of our adapters")
    parser.add_argument("--seconds-at-most", type=float, default=600.0, help="for the peer")
    parser.add_argument(
        "--tuned-peer", action="store_true", help="with our rounded weights and attention"
    )
    asked = parser.parse_args(arguments)
    forget_configuration()
    sizes = Sizes(asked.items, asked.epochs, asked.seconds_at_most, products=4_000)
    tell = partial(print, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for at in compare_fine_tuning(
            Path(folder),
            asked.folder,
            sizes=sizes,
            training=PlainTraining(is_tuned=asked.tuned_peer),
            told=tell,
        ):
            tell(f"{at.subject}: ours {at.ours}; {at.peer}; {at.ratio:.2f} {at.meaning}; {at.note}")


if __name__ == "__main__":
    main()
