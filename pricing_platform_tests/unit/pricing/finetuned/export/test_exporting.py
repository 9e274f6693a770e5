"""Techniques that were fitted for real, exported, and asked by those whom the exports are for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from pydantic import SecretStr
from typer.testing import CliRunner

from benchmarks.export_agreement import (
    ServedModel,
    adapted_model,
    medians,
    merged_model,
    relative_differences,
)
from benchmarks.export_agreement import main as compare_exports
from benchmarks.llama_cpp import llama_server
from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.cli import app
from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.checkpoints import Manifest, write_checkpoint
from pricing_platform.finetuning.export.forms import ExportForm, GgufType
from pricing_platform.finetuning.export.model_folders import read_adapter
from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.endpoint.model import EndpointLanguageModel
from pricing_platform.language.price_distribution import PriceDistribution
from pricing_platform.language.prompts import Currency
from pricing_platform.language.response_cache import ResponseCache
from pricing_platform.pricing.finetuned.context import (
    FineTuningContext,
    fine_tuning_context,
    fine_tuning_identity,
)
from pricing_platform.pricing.finetuned.export.exporting import export_technique
from pricing_platform.pricing.finetuned.fine_tuned_technique import FineTunedTechnique
from pricing_platform.pricing.finetuned.language_finetuned import LanguageFinetuned
from pricing_platform.pricing.finetuned.rag_finetuned import RagFinetuned
from pricing_platform.pricing.fitting import Fitting
from pricing_platform.pricing.prompting.asked_model import current_asked_model
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import evaluate, store_predictions
from pricing_platform_tests.unit.finetuning.export.llama_base import (
    HIGHEST,
    WINDOW,
    write_llama_base,
)
from pricing_platform_tests.unit.language.endpoint.tiny_llama import number_probabilities
from pricing_platform_tests.unit.pricing.generated_items import generated_items
from pricing_platform_tests.unit.pricing.language_parts import observed

SCALE = 0.5
FORMS: tuple[ExportForm, ...] = ("adapter", "merged", "gguf")
LOST = {"accuracy_lost": 0.031, "perplexity_gained": 0.042, "training_seconds": 2.5}


@dataclass(frozen=True)
class FittedHome:
    """A home whose items two techniques were fitted on, one with its adapters at half strength."""

    settings: Settings
    items: ItemSet
    context: FineTuningContext
    fitted: dict[str, FineTunedTechnique]
    checkpoints: dict[str, Path]

    def exported(self, technique: str, folder: Path, form: ExportForm, **more: Any) -> Path:
        return export_technique(self.settings, technique, folder, form=form, **more).folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> FittedHome:
    root = tmp_path_factory.mktemp("export")
    (root / "sources.toml").touch()
    settings = Settings(
        home=root / "home",
        sources=root / "sources.toml",
        base_model=str(write_llama_base(root / "tiny-llama")),
        price_maximum=HIGHEST,
        fine_tuning_seconds=2,
        language_tokens_per_second=20_000,
    )
    items = catalogued(observed(generated_items(120)))
    warehouse = Warehouse.from_settings(settings)
    warehouse.replace("curated.items", items.frame)
    context = replace(fine_tuning_context(settings, Currency("USD"), warehouse), general=None)
    fitting = fitting_of(settings)
    fitted: dict[str, FineTunedTechnique] = {}
    checkpoints = {}
    for technique, scale in ((LanguageFinetuned, SCALE), (RagFinetuned, 1.0)):
        found: FineTunedTechnique = technique.fit(
            items.split("train"),
            items.split("validation"),
            seed=1,
            work_folder=tmp_path_factory.mktemp("work"),
            fine_tuning=context,
            adapters=AdapterConfiguration(rank=4, alpha=8, adapted_share=1 / 3),
            training=AdapterTraining(learning_rate=5e-3, text_weight=1.0),
        )
        found = replace(found, fitted=found.fitted.scaled(scale))
        manifest = Manifest(
            fingerprint=fitting.fingerprint(found.name),
            data_hash="of the test",
            metrics={**found.metrics, **LOST, "adapter_scale": scale},
            seed=1,
        )
        checkpoints[found.name] = write_checkpoint(
            settings.checkpoints_folder, found.name, found.save, manifest
        )
        fitted[found.name] = found
    return FittedHome(settings, items, context, fitted, checkpoints)


def catalogued(items: ItemSet) -> ItemSet:
    more = items.frame.with_columns(
        currency=pl.lit("USD"), content_hash="text", listing_id="item_id"
    )
    return ItemSet(more, items.embeddings)


def fitting_of(settings: Settings) -> Fitting:
    warehouse = Warehouse.from_settings(settings)
    asked = current_asked_model(warehouse, settings)
    return Fitting.current(
        warehouse,
        CachedEncoder.from_settings(settings).identity,
        lambda: asked.identity,
        lambda: fine_tuning_identity(settings, asked.currency),
        settings,
    )


@pytest.fixture(scope="module")
def adapter(home: FittedHome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return home.exported("language_finetuned", tmp_path_factory.mktemp("to") / "it", "adapter")


@pytest.fixture(scope="module")
def merged(home: FittedHome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return home.exported("language_finetuned", tmp_path_factory.mktemp("to") / "it", "merged")


@pytest.fixture(scope="module")
def expected(home: FittedHome) -> np.ndarray[Any, Any]:
    """What the checkpoint's adapters make the model write for the test items."""
    fitted = home.fitted["language_finetuned"]
    base, adapters = fitted.fitted.base, home.checkpoints[fitted.name] / "adapter"
    with adapted_model(base, adapters, highest=HIGHEST, scale=SCALE) as model:
        return medians(model, fitted.prompts(home.items.split("test")))


def test_the_adapters_folder_is_plain_peft_with_the_strength_in_it(
    home: FittedHome, adapter: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    told = json.loads((adapter / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == home.settings.base_model
    assert told["lora_alpha"] == 8 * SCALE
    base = AutoModelForCausalLM.from_pretrained(told["base_model_name_or_path"])
    ids = torch.arange(3, 20)[None]
    with torch.inference_mode():
        plain = base.eval()(ids).logits
        adapted = PeftModel.from_pretrained(base, adapter).eval()(ids).logits
    assert (adapted - plain).abs().max() > 0.01
    assert {path.name for path in adapter.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "price_head", "README.md",
    }  # fmt: skip


@pytest.mark.parametrize("technique", ["language_finetuned", "rag_finetuned"])
def test_the_price_head_estimates_as_the_checkpoint_does(
    home: FittedHome, technique: str, tmp_path: Path
) -> None:
    folder = home.exported(technique, tmp_path / "it", "adapter")
    loaded = type(home.fitted[technique]).load(home.checkpoints[technique]).bound(home.context)
    items = home.items.split("test")
    exported = replace(loaded, fitted=read_adapter(folder, home.context.base.folder))
    same = ("item_id", "estimate", "low", "high")
    assert exported.price(items).select(same).equals(loaded.price(items).select(same))


def test_what_is_written_is_the_same_from_the_adapter_and_the_merged_folder(
    home: FittedHome, adapter: Path, merged: Path, expected: np.ndarray[Any, Any]
) -> None:
    fitted = home.fitted["language_finetuned"]
    prompts = fitted.prompts(home.items.split("test"))
    with adapted_model(fitted.fitted.base, adapter, highest=HIGHEST) as model:
        np.testing.assert_allclose(medians(model, prompts), expected, rtol=1e-4)
    np.testing.assert_allclose(
        medians(merged_model(merged, highest=HIGHEST), prompts), expected, rtol=1e-4
    )
    untouched = medians(merged_model(fitted.fitted.base, highest=HIGHEST), prompts)
    assert np.median(relative_differences(untouched, expected)) > 0.005


@pytest.mark.parametrize(("kind", "apart"), [("f32", 5e-3), ("f16", 0.02), ("q8_0", 0.1)])
def test_what_is_written_is_the_same_from_llama_cpp(
    home: FittedHome,
    merged: Path,
    expected: np.ndarray[Any, Any],
    tmp_path: Path,
    kind: GgufType,
    apart: float,
) -> None:
    """The server is sent texts, and cuts them into tokens itself.

    Where a number is a token, the client knows its probability, though not that it ends there.
    """
    pytest.importorskip("xllamacpp")
    prompts = home.fitted["language_finetuned"].prompts(home.items.split("test"))
    folder = home.exported("language_finetuned", tmp_path / "it", "gguf", gguf_type=kind)
    (path,) = folder.glob("*.gguf")
    assert path.name == f"tiny-llama-language_finetuned-{kind.upper()}.gguf"
    with (
        llama_server(path, context=WINDOW) as url,
        closing(ResponseCache(tmp_path / "kept.sqlite")) as cache,
    ):
        configuration = EndpointConfiguration(
            SecretStr(url), "model", api="completions", top_logprobs=2_000, concurrency=1
        )
        answers = dict(EndpointLanguageModel(configuration, cache).read_prices(prompts))
        ours = merged_model(merged, highest=HIGHEST)
        served = ServedModel(url, ours.tokenizer, vocabulary_of(merged), HIGHEST, negligible=0.0)
        assert all(map(served.tokenises_alike, prompts))
        token_by_token = served.medians(prompts[:2])
    assert relative_differences(token_by_token, expected[:2]).max() < apart
    texts = [prompt.as_text() for prompt in prompts]
    for at, next_token in enumerate(number_probabilities(merged, texts, HIGHEST)):
        distribution = answers[at].distribution
        assert distribution is not None
        assert distribution.prices.tolist() == list(range(1, HIGHEST + 1))
        local = PriceDistribution(distribution.prices, next_token)
        assert distribution.quantile(0.5) == pytest.approx(local.quantile(0.5), rel=apart)


def test_the_benchmark_shows_how_far_all_forms_lie_apart(
    home: FittedHome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xllamacpp")
    for name, value in environment_of(home.settings).items():
        monkeypatch.setenv(name, value)
    compare_exports(
        home.settings.home, items=2, technique="rag_finetuned", gguf_type="f32", threads=1
    )
    told = capsys.readouterr().out
    rows = re.findall(r"│ ([\w ',.]+?) +│ ([\w ',.]+?) +│ 2 +│ ([\d.]+) % +│ ([\d.]+) %", told)
    assert [row[1] for row in rows] == [
        "the adapter's folder",
        "the adapter's folder",
        "the merged folder",
        "llama.cpp, f32",
    ]
    assert rows[0][3] == "0.0000"
    assert all(float(row[3]) < 1 for row in rows)
    assert "2 of 2 prompts into the same tokens" in told


def vocabulary_of(folder: Path) -> int:
    return int(json.loads((folder / "config.json").read_text())["vocab_size"])


def test_the_merged_folder_is_a_model_of_its_own(home: FittedHome, merged: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    base = home.context.base.folder
    model = AutoModelForCausalLM.from_pretrained(merged, use_safetensors=True)
    assert not hasattr(model, "peft_config")
    assert GenerationConfig.from_pretrained(merged).eos_token_id == model.config.eos_token_id
    tokenizer = AutoTokenizer.from_pretrained(merged)
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(base).chat_template
    assert (merged / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_the_adapters_folder_serves_as_a_base_model(
    home: FittedHome, adapter: Path, merged: Path
) -> None:
    from safetensors.numpy import load_file

    from pricing_platform.language.pretrained import language_model_folder

    named = home.settings.model_copy(update={"base_model": str(adapter)})
    found = load_file(language_model_folder(named) / "model.safetensors")
    expected = load_file(merged / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        np.testing.assert_allclose(found[name], weights, rtol=1e-5, atol=1e-6)


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front), text


def test_the_card_tells_what_it_is_and_how_it_is_asked(
    home: FittedHome, adapter: Path, merged: Path
) -> None:
    fitted = home.fitted["language_finetuned"]
    front, text = card_of(adapter)
    assert front["base_model"] == "tiny-llama"
    assert front["base_model_relation"] == "adapter"
    assert str(home.context.base.folder) not in text
    assert front["license"] == "apache-2.0"
    assert front["library_name"] == "peft"
    assert front["datasets"] == ["north", "south"]
    assert "language_finetuned" in front["tags"]
    first = home.items.split("test").take([0])
    (prompt,) = fitted.prompts(first)
    assert f"```\n{prompt.as_text()}\n```" in text
    estimate = fitted.price(first)["estimate"].item()
    assert f"estimate is {estimate:,.2f} USD" in text
    for row in home.items.frame.group_by("source", "split").len().iter_rows():
        assert re.search(r"\| {} \| {} \| {} \| \d+ \|".format(*row), text)
    assert "at 0.5 of the strength" in text
    assert "accuracy lost: 3.1 %;" in text
    assert "perplexity gained: 4.2 %." in text
    front, text = card_of(merged)
    assert front["library_name"] == "transformers"
    (median,) = medians(merged_model(merged, highest=HIGHEST), [prompt])
    told = re.search(r"goes on with `(\d+)`; the median .* is ([\d.,]+) USD", text)
    assert told is not None
    assert float(told[2]) == pytest.approx(median, rel=0.01)


@pytest.fixture
def evaluated(home: FittedHome) -> Iterator[Warehouse]:
    """The warehouse with what the checkpoint and a baseline said of the items."""
    warehouse = Warehouse.from_settings(home.settings)
    frame = home.items.frame
    name = home.checkpoints["language_finetuned"].name
    told = {"language_finetuned": 1.1, "category_median": 1.5, "stack": 1.2}
    for technique, factor in told.items():
        store_predictions(
            warehouse,
            technique,
            frame,
            (frame["price"] * factor).to_list(),
            checkpoint=f"{technique}/{name}",
        )
    evaluate(warehouse)
    yield warehouse
    for table in ("predictions", "technique_metrics"):
        with warehouse.write() as connection:
            connection.execute(f"DELETE FROM evaluation.{table}")


def test_the_card_tells_the_errors_with_intervals_beside_a_baselines(
    home: FittedHome, evaluated: Warehouse, tmp_path: Path
) -> None:
    _, text = card_of(home.exported("language_finetuned", tmp_path / "it", "adapter"))
    board = evaluated.frame("SELECT * FROM evaluation.leaderboard ORDER BY rank")
    for row in board.filter(pl.col("technique") != "stack").iter_rows(named=True):
        mae = f"{row['mae']:,.2f} ({row['mae_low']:,.2f} to {row['mae_high']:,.2f})"
        assert f"| {row['technique']} | {row['items']} | {mae} |" in text
    assert board["technique"].to_list() == ["language_finetuned", "stack", "category_median"]
    assert "stack" not in text


def test_the_card_tells_no_errors_of_another_checkpoint(
    home: FittedHome, evaluated: Warehouse, tmp_path: Path
) -> None:
    frame = home.items.frame
    store_predictions(
        evaluated, "language_finetuned", frame, frame["price"].to_list(), checkpoint="language/old"
    )
    _, text = card_of(home.exported("language_finetuned", tmp_path / "it", "adapter"))
    assert "has not been evaluated" in text
    assert "MAE" not in text


@pytest.mark.parametrize(
    ("checkpoint", "told"),
    [
        (None, "accuracy lost: 2.0 % (95 % interval 1.0 to 3.0);"),
        ("language_finetuned/older", "accuracy lost: 3.1 %;"),
    ],
)
def test_the_card_tells_what_this_checkpoint_forgot_and_no_other(
    home: FittedHome, tmp_path: Path, checkpoint: str | None, told: str
) -> None:
    """Its own measure stands in its manifest; intervals where the table is of it."""
    warehouse = Warehouse.from_settings(home.settings)
    row = {
        "technique": "language_finetuned",
        "checkpoint": checkpoint
        or f"language_finetuned/{home.checkpoints['language_finetuned'].name}",
        "mitigation": "scaled",
        "adapter_scale": SCALE,
        "step": 9,
        "is_promoted": True,
    }
    for name, value in (("accuracy_lost", 0.02), ("perplexity_gained", 0.03)):
        row |= {name: value, f"{name}_low": value - 0.01, f"{name}_high": value + 0.01}
    warehouse.replace("evaluation.forgetting", pl.DataFrame([row]))
    try:
        _, text = card_of(home.exported("language_finetuned", tmp_path / "it", "adapter"))
    finally:
        with warehouse.write() as connection:
            connection.execute("DELETE FROM evaluation.forgetting")
    assert told in text


@pytest.mark.parametrize("estimate", [12.5, None])
def test_the_card_tells_the_estimate_as_it_is_read_or_that_there_is_none(
    home: FittedHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estimate: float | None
) -> None:
    """Numbers are no more than probable: a text may leave none of them."""
    row = {
        "item_id": "a",
        "estimate": estimate,
        "low": None if estimate is None else 10.0,
        "high": None if estimate is None else 15.0,
        "failure": None if estimate is not None else "unreadable: no number is likely.",
    }
    monkeypatch.setattr(
        LanguageFinetuned, "price", lambda *_, **__: pl.DataFrame([row], infer_schema_length=None)
    )
    monkeypatch.setattr(
        LanguageFinetuned, "load", classmethod(_read_by_digits(LanguageFinetuned.load))
    )
    _, text = card_of(home.exported("language_finetuned", tmp_path / "it", "adapter"))
    if estimate is None:
        assert "It gives no estimate of it: unreadable: no number is likely." in text
    else:
        assert "By the numbers that it might write, the estimate is 12.50 USD (80 %" in text


def _read_by_digits(load: Any) -> Any:
    def loaded(_cls: object, folder: Path) -> LanguageFinetuned:
        found: LanguageFinetuned = replace(load(folder), read_out="digits")
        return found

    return loaded


def test_comparables_are_in_the_prompt_of_one_that_is_shown_them(
    home: FittedHome, tmp_path: Path
) -> None:
    _, text = card_of(home.exported("rag_finetuned", tmp_path / "it", "adapter"))
    assert "\nSimilar:\n- " in text
    assert "not part of this folder" in text


def test_the_command_writes_a_folder_and_says_so(home: FittedHome, tmp_path: Path) -> None:
    ran = command(home.settings, "rag_finetuned", tmp_path / "a" / "it", "--as", "merged")
    assert ran.exit_code == 0
    assert f"rag_finetuned as merged: {len(list((tmp_path / 'a' / 'it').iterdir()))} files" in (
        ran.stdout
    )
    assert ran.stderr == ""
    (tmp_path / "empty").mkdir()
    ran = command(home.settings, "language_finetuned", tmp_path / "empty")
    assert "language_finetuned as adapter" in ran.stdout
    assert "act at 0.5 of their strength" in ran.stdout


def environment_of(settings: Settings) -> dict[str, str]:
    told = settings.model_dump(exclude_unset=True)
    return {f"PRICING_{name.upper()}": str(value) for name, value in told.items()}


def command(settings: Settings, *arguments: object) -> Any:
    environment = environment_of(settings)
    words = ["export", *map(str, arguments)]
    return CliRunner().invoke(app, words, env=environment, catch_exceptions=False)


@pytest.mark.parametrize("technique", ["stack", "rag", "endpoint_finetuned", "no_such_thing"])
def test_a_technique_without_a_model_to_give_away_is_refused(
    home: FittedHome, tmp_path: Path, technique: str
) -> None:
    with pytest.raises(PlatformError, match=f"{technique}.*language model on this machine"):
        command(home.settings, technique, tmp_path / "it")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("form", FORMS)
def test_what_is_there_is_not_overwritten(
    home: FittedHome, tmp_path: Path, form: ExportForm
) -> None:
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "mine.txt").write_text("mine")
    with pytest.raises(PlatformError, match="is not empty"):
        command(home.settings, "language_finetuned", tmp_path / "it", "--as", form)
    with pytest.raises(PlatformError, match="is no folder"):
        command(home.settings, "language_finetuned", tmp_path / "it" / "mine.txt", "--as", form)
    assert [path.name for path in tmp_path.rglob("*")] == ["it", "mine.txt"]


def test_a_technique_that_was_not_fitted_is_told(home: FittedHome, tmp_path: Path) -> None:
    other = home.settings.model_copy(update={"fine_tuning_seconds": 3.0})
    with pytest.raises(PlatformError, match="no checkpoint of language_finetuned"):
        command(other, "language_finetuned", tmp_path / "it")
    with pytest.raises(PlatformError, match="There is no warehouse"):
        command(Settings(home=tmp_path / "home"), "language_finetuned", tmp_path / "it")
    assert not (tmp_path / "it").exists()


def test_another_base_model_is_told(home: FittedHome, tmp_path: Path) -> None:
    other = write_llama_base(tmp_path / "other", seed=8)
    named = home.settings.model_copy(update={"base_model": str(other)})
    with pytest.raises(PlatformError, match=r"was trained on .*tiny-llama; the base model is"):
        command(named, "language_finetuned", tmp_path / "it")
    assert not (tmp_path / "it").exists()


def test_a_file_type_is_for_a_file(home: FittedHome, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="--gguf-type is for --as gguf"):
        command(home.settings, "language_finetuned", tmp_path / "it", "--gguf-type", "f32")
    ran = command(home.settings, "language_finetuned", tmp_path / "it", "--as", "pickle")
    assert ran.exit_code == 2
    assert not any(tmp_path.iterdir())
