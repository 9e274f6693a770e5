"""What a card tells of models of which different things are known."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import yaml

from pricing_platform.finetuning.export.model_card import (
    Example,
    Figure,
    Forgotten,
    ModelCard,
    Training,
)
from pricing_platform.finetuning.export.model_folders import BaseReference
from pricing_platform.language.pretrained.card import licence_of

TRAINING = Training(
    technique="language_finetuned",
    checkpoint="language_finetuned/0123456789abcdef",
    created_at=datetime(2026, 3, 1, tzinfo=UTC),
    items=3_860,
    epochs=1.5,
    rank=16,
    adapted_share=0.2,
    scale=1.0,
    seconds=None,
)
CARD = ModelCard(
    form="adapter",
    file=None,
    base=BaseReference("some/model", "abc123"),
    base_sha256="0" * 64,
    licence="apache-2.0",
    currency="EUR",
    training=TRAINING,
    items=pl.DataFrame(
        {"source": ["a|b"], "split": ["train"], "items": [3_860], "families": [2_000]}
    ),
    metrics=None,
    forgotten=None,
    example=Example("item-1", "A lamp\nPrice: €", "The estimate is 12.00 EUR."),
    shows_comparables=False,
)


@pytest.mark.parametrize(
    ("licence", "fields", "read"),
    [
        ("apache-2.0", {"license": "apache-2.0"}, "apache-2.0"),
        ("Apache-2.0", {"license": "apache-2.0"}, "apache-2.0"),
        ("community", {"license": "other", "license_name": "community"}, "community"),
        ("not stated", {"license": "unknown"}, "unknown"),
    ],
)
def test_the_licence_is_the_bases_in_the_hubs_words(
    tmp_path: Path, licence: str, fields: dict[str, str], read: str
) -> None:
    card = replace(CARD, licence=licence)
    front = card.front_matter()
    assert {name: front[name] for name in front if name.startswith("license")} == fields
    card.write(tmp_path)
    assert licence_of(tmp_path) == read
    assert f"That of the base model: {licence}." in card.text()


def test_a_base_on_the_hub_is_named_with_its_revision() -> None:
    text = CARD.text()
    assert 'from_pretrained("some/model", revision="abc123")' in text
    assert yaml.safe_load(text.split("---\n")[1])["base_model"] == "some/model"


@pytest.mark.parametrize("name", ["/home/me/models/tiny", "/home/me/models/tiny.gguf"])
def test_a_place_on_this_machine_is_not_told(name: str) -> None:
    card = replace(CARD, base=BaseReference(name, gguf=Path("/home/me/tiny.Q4.gguf")))
    assert "/home/me" not in card.text()
    assert card.front_matter()["base_model"] == "tiny"
    assert "read from `tiny.Q4.gguf`" in card.text()


def test_a_prompt_stays_between_its_fences_and_in_its_command() -> None:
    prompt = "A ```lamp```\nit's 'new'\nPrice: €"
    card = replace(CARD, form="gguf", file="it.gguf", example=Example("item-1", prompt, "Yes."))
    text = card.text()
    assert f"````\n{prompt}\n````" in text
    _, _, after = text.partition("<<'END'\n")
    body, _, _ = after.partition("\nEND\n")
    assert json.loads(body)["prompt"] == prompt


def test_intervals_are_told_where_they_are_known() -> None:
    forgotten = Forgotten(Figure(0.012, -0.005, 0.03), Figure(-0.01))
    text = replace(CARD, forgotten=forgotten).text()
    assert "accuracy lost: 1.2 % (95 % interval -0.5 to 3.0);" in text
    assert "perplexity gained: -1.0 %." in text
    assert "was not measured" in CARD.text()
    assert "| a\\|b | train | 3,860 | 2,000 |" in text


def test_errors_without_an_interval_or_on_no_common_item_are_told_without() -> None:
    names = ("mae", "mae_common", "rmsle", "within_20_percent")
    row: dict[str, object] = {"technique": "rag", "items": 150}
    for name in names:
        row |= {name: 1.5, f"{name}_low": 1.0, f"{name}_high": 2.0}
    row |= {"mae_common": None, "mae_common_low": None, "mae_common_high": None}
    row |= {"rmsle_low": None, "rmsle_high": None}
    text = replace(CARD, metrics=pl.DataFrame([row])).text()
    assert "| rag | 150 | 1.50 (1.00 to 2.00) |  | 1.500 | 1.500 (1.000 to 2.000) |" in text


def test_how_it_is_read_and_was_held_is_told() -> None:
    names = ("mae", "mae_common", "rmsle", "within_20_percent")
    row: dict[str, object] = {"technique": "language_finetuned", "items": 150}
    for name in names:
        row |= {name: 1.5, f"{name}_low": 1.0, f"{name}_high": 2.0}
    merged = replace(CARD, form="merged", metrics=pl.DataFrame([row]))
    assert "is this model, read with its price head." in merged.text()
    assert "which this form does not have" in merged.text()
    assert "bitsandbytes" not in merged.text()
    held = replace(TRAINING, read_out="digits", quantization="4bit")
    text = replace(merged, training=held).text()
    assert "is this model, read as the median of the numbers that it might write." in text
    assert "which this form does not have" not in text
    assert "held in 4 bits by bitsandbytes; here they are added to its full weights" in text
    text = replace(CARD, training=replace(held, quantization="8bit")).text()
    assert "held in 8 bits by bitsandbytes: load it so" in text
