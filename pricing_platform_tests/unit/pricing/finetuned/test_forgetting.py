"""The gate and the curve on real trainings of a tiny base that has learnt to answer probes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.finetuning.forgetting.configuration import ForgettingFiles
from pricing_platform.finetuning.forgetting.curve import FORGETTING_SCHEMA
from pricing_platform.finetuning.forgetting.gate import KL, LOWER_RANK, NONE, REPLAY
from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.language.local.folder import content_sha256
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.finetuned.context import FineTuningContext, LanguageBase
from pricing_platform.pricing.finetuned.forgetting.forgetting_curve import SHORT, measure_forgetting
from pricing_platform.pricing.finetuned.forgetting.forgetting_gate import (
    GeneralAbility,
    largest_scale,
)
from pricing_platform.pricing.finetuned.language_finetuned import LanguageFinetuned
from pricing_platform_tests.unit.finetuning.language.tiny_base import write_tiny_base
from pricing_platform_tests.unit.pricing.generated_items import generated_items
from pricing_platform_tests.unit.pricing.language_parts import observed

ITEMS = observed(generated_items(100))
ADAPTERS = AdapterConfiguration(rank=4, alpha=8, adapted_share=0.5)
PROBES = [
    '{"question": "What is steel?", "choices": ["oak", "a metal", "lamp", "cotton"], "answer": 1}',
    '{"question": "What lights a room?", "choices": ["drill", "cable", "lamp"], "answer": 2}',
    '{"question": "What is a chair of?", "choices": ["oak", "router", "cable"], "answer": 0}',
    '{"question": "How many are 2 and 2?", "choices": ["3", "4", "5", "6"], "answer": 1}',
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ForgettingFiles:
    folder = tmp_path_factory.mktemp("general")
    (folder / "probes.jsonl").write_text("\n".join(PROBES * 5))
    (folder / "text.txt").write_text("The lamp of oak stood by the chair, and the cable lay. " * 60)
    return ForgettingFiles(
        probes=(folder / "probes.jsonl",), text=(folder / "text.txt",), text_tokens=512
    )


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, files: ForgettingFiles) -> FineTuningContext:
    folder = write_tiny_base(tmp_path_factory.mktemp("base"))
    cache = tmp_path_factory.mktemp("cache")
    base = LanguageBase("tiny", folder, content_sha256(folder), 20_000.0, cache)
    history = pl.DataFrame(
        schema={
            "item_id": pl.String,
            "price": pl.Float64,
            "observed_at": pl.Datetime("us", "UTC"),
        }
    )
    return FineTuningContext(base, Currency("USD"), 4.0, history, files, 1e9)


def fit(context: FineTuningContext, folder: Path, **training: Any) -> LanguageFinetuned:
    return LanguageFinetuned.fit(
        ITEMS.split("train"),
        ITEMS.split("validation"),
        seed=1,
        work_folder=folder,
        fine_tuning=context,
        adapters=ADAPTERS,
        training=AdapterTraining(**training),
    )


def test_adapters_that_make_a_model_forget_act_less_or_not_at_all(
    context: FineTuningContext, tmp_path: Path
) -> None:
    """Trained at a rate that breaks it, the model keeps less of its adapters than it was given."""
    wild = {"learning_rate": 0.3, "text_weight": 20.0}
    assert fit(context, tmp_path / "free", **wild).fitted.scale == 1
    gated = fit(replace(context, forgetting_limit=0.02), tmp_path / "gated", **wild)
    assert gated.fitted.scale < 1
    assert gated.metrics["adapter_scale"] == gated.fitted.scale
    assert f"x {gated.fitted.scale:g}" in gated.model


def test_adapters_that_change_little_keep_their_strength(
    context: FineTuningContext, tmp_path: Path
) -> None:
    strict = replace(context, forgetting_limit=0.02)
    mild = fit(strict, tmp_path, learning_rate=1e-6, text_weight=0.0)
    assert mild.fitted.scale == 1
    assert abs(mild.metrics["perplexity_gained"]) < 0.02


def test_the_gate_looks_at_smaller_strengths_only_where_it_must(
    context: FineTuningContext, tmp_path: Path
) -> None:
    assert context.general is not None
    ability = GeneralAbility.of_base(context.base.folder, context.general, ADAPTERS)
    adapters = fit(context, tmp_path).fitted.adapters
    free = largest_scale(ability, adapters, limit=1e9, seed=1)
    assert free.passed
    assert free.is_first_choice
    none = largest_scale(ability, adapters, limit=-1e9, seed=1)
    assert not none.passed


def test_the_curve_has_every_point_and_every_mitigation(
    context: FineTuningContext, tmp_path: Path
) -> None:
    technique = fit(context, tmp_path / "fit")
    (tmp_path / "saved").mkdir()
    technique.save(tmp_path / "saved")
    loaded = LanguageFinetuned.load(tmp_path / "saved").bound(context)
    few = ItemSet(ITEMS.frame[:40], ITEMS.embeddings[:40])
    curve = measure_forgetting(
        {"language_finetuned": loaded},
        {"language_finetuned": "language_finetuned/abc"},
        few,
        ITEMS.split("validation"),
        tmp_path / "work",
        limit=0.05,
        seed=1,
    )
    assert curve.rows.schema == FORGETTING_SCHEMA
    main = curve.rows.filter(technique="language_finetuned")
    assert sorted(zip(main["share_trained"], main["adapter_scale"], strict=True)) == [
        (0.25, 1.0),
        (0.5, 1.0),
        *((1.0, scale) for scale in (0.25, 0.5, 0.75, 1.0)),
    ]
    assert set(main["checkpoint"]) == {"language_finetuned/abc"}
    short = curve.rows.filter(technique=SHORT)
    assert short["checkpoint"].null_count() == short.height
    assert set(short["mitigation"]) == {NONE, REPLAY, KL, LOWER_RANK}
    assert curve.rows["price_mae"].is_not_null().all()
    assert short["kl_divergence"].n_unique() == 4  # each really trained otherwise
