"""The technique: fitted, priced, saved, loaded; and refused when it is not what it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.base_models import base_model_folder
from pricing_platform.finetuning.price_network import NetworkConfiguration
from pricing_platform.finetuning.training_loop import TrainingConfiguration
from pricing_platform.pricing.finetuned.encoder_finetuned import EncoderFinetuned
from pricing_platform.pricing.technique import ESTIMATE_SCHEMA, Technique
from pricing_platform.retrieval.encoder import EMBEDDED_MODEL
from pricing_platform_tests.unit.finetuning.conftest import make_items

NETWORK = NetworkConfiguration(max_tokens=16, rank=4, bins=48)
TRAINING = TrainingConfiguration(max_epochs=3, batch_items=16)
ONE_EPOCH = TrainingConfiguration(max_epochs=1)


@pytest.fixture(scope="module")
def fitted(train_items: ItemSet, validation_items: ItemSet) -> EncoderFinetuned:
    return EncoderFinetuned.fit(
        train_items, validation_items, seed=1, network=NETWORK, training=TRAINING
    )


def test_new_items_are_priced_far_better_than_by_the_median(
    fitted: EncoderFinetuned, train_items: ItemSet
) -> None:
    items = make_items(100, seed=3)
    priced = fitted.price(items)
    assert priced.schema == ESTIMATE_SCHEMA
    assert priced["item_id"].equals(items.frame["item_id"])
    error = np.abs(priced["estimate"].to_numpy() - items.prices()).mean()
    assert error < 0.5 * np.abs(np.median(train_items.prices()) - items.prices()).mean()
    assert (priced["low"] <= priced["estimate"]).all()
    assert (priced["estimate"] <= priced["high"]).all()
    inside = (priced["low"].to_numpy() <= items.prices()) & (
        items.prices() <= priced["high"].to_numpy()
    )
    assert 0.6 < inside.mean() < 0.95
    assert (priced["latency_ms"] > 0).all()
    assert priced["tokens_in"].is_between(5, 16).all()


def test_an_item_s_estimate_does_not_depend_on_its_company(fitted: EncoderFinetuned) -> None:
    items = make_items(40, seed=3)
    together = fitted.price(items)["estimate"]
    alone = fitted.price(items.where(items.frame["item_id"] == "3-00007"))["estimate"]
    assert alone[0] == pytest.approx(together[7], rel=0.02)


def test_nothing_and_empty_texts_are_priced_too(fitted: EncoderFinetuned) -> None:
    items = make_items(2, seed=3)
    assert fitted.price(items.where(items.frame["price"] < 0)).schema == ESTIMATE_SCHEMA
    empty = items.frame.with_columns(text=pl.Series(["", None]), price=None)
    priced = fitted.price(ItemSet(empty, items.embeddings))
    assert (priced["estimate"] > 0).all()


def test_what_is_loaded_prices_as_what_was_saved(fitted: EncoderFinetuned, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "adapter.safetensors",
        "head.safetensors",
        "encoder_finetuned.json",
    }
    loaded = EncoderFinetuned.load(tmp_path)
    assert isinstance(loaded, Technique)
    assert loaded.configuration == fitted.configuration
    assert loaded.metrics == fitted.metrics
    assert loaded.base_weights == fitted.base_weights
    items = make_items(40, seed=3)
    volatile = pl.exclude("latency_ms")
    assert loaded.price(items).select(volatile).equals(fitted.price(items).select(volatile))


def test_another_base_model_is_refused(fitted: EncoderFinetuned, tmp_path: Path) -> None:
    other = replace(fitted, base_weights={EMBEDDED_MODEL: "0" * 64})
    other.save(tmp_path)
    with pytest.raises(PlatformError, match="not the one that this checkpoint was trained on"):
        EncoderFinetuned.load(tmp_path)


def test_weights_of_another_network_are_refused(fitted: EncoderFinetuned) -> None:
    other = replace(fitted, network=NETWORK.model_copy(update={"base_model": "nowhere"}))
    with pytest.raises(PlatformError, match="no base model"):
        other.price(make_items(1))
    without_a_layer = dict(list(fitted.adapter.items())[1:])
    with pytest.raises(PlatformError, match="not those of a network"):
        replace(fitted, adapter=without_a_layer).price(make_items(1))


def test_a_local_folder_serves_as_base_model(
    train_items: ItemSet, validation_items: ItemSet, tmp_path: Path
) -> None:
    copy = tmp_path / "my-encoder"
    copy.symlink_to(base_model_folder(EMBEDDED_MODEL))
    network = NETWORK.model_copy(update={"base_model": str(copy)})
    fitted = EncoderFinetuned.fit(
        train_items, validation_items, seed=1, network=network, training=ONE_EPOCH
    )
    assert fitted.model == "my-encoder + LoRA r=4"
    assert fitted.base_weights.keys() == {str(copy)}


def test_one_price_for_everything_is_learnt(validation_items: ItemSet) -> None:
    items = make_items(60, seed=4)
    same = ItemSet(
        items.frame.with_columns(price=pl.lit(19.99), category=pl.lit("cable")), items.embeddings
    )
    fitted = EncoderFinetuned.fit(same, same, seed=1, network=NETWORK, training=ONE_EPOCH)
    assert fitted.price(validation_items)["estimate"].to_numpy() == pytest.approx(19.99, rel=0.05)


def test_one_training_item_and_no_validation_still_give_a_technique() -> None:
    one, nothing = make_items(1), make_items(1).where(pl.Series([False]))
    fitted = EncoderFinetuned.fit(one, nothing, seed=1, network=NETWORK, training=ONE_EPOCH)
    assert fitted.price(one)["estimate"][0] == pytest.approx(one.prices()[0], rel=0.1)
