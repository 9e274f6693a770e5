"""A fine-tuned technique given away: from the settings and the stores to a folder with a card.

Here belongs which checkpoint is exported, and finding out what its card tells. What is written in
each form belongs to ``finetuning.export``.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import polars as pl

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.currencies import price_decimals, written_price
from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.checkpoints import (
    Checkpoint,
    checkpoint_label,
    list_checkpoints,
    open_checkpoint,
)
from pricing_platform.finetuning.export.forms import ExportForm, GgufType
from pricing_platform.finetuning.export.gguf_model import (
    GgufDescription,
    require_writable,
    write_gguf,
)
from pricing_platform.finetuning.export.model_card import (
    Example,
    Figure,
    Forgotten,
    ModelCard,
    Training,
)
from pricing_platform.finetuning.export.model_folders import (
    BaseReference,
    read_adapter,
    write_adapter,
    write_merged,
)
from pricing_platform.finetuning.export.new_folder import new_folder, require_new
from pricing_platform.language.local.local_model import LocalLanguageModel
from pricing_platform.language.model import CompletionRequest, Prompt
from pricing_platform.language.pretrained import source_gguf
from pricing_platform.language.pretrained.card import NOT_STATED, licence_of
from pricing_platform.language.pretrained.embedded import EMBEDDED_LANGUAGE_MODEL
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing.finetuned.context import (
    FineTuningContext,
    fine_tuning_context,
    fine_tuning_identity,
)
from pricing_platform.pricing.finetuned.fine_tuned_technique import FineTunedTechnique
from pricing_platform.pricing.finetuned.rag_finetuned import RagFinetuned
from pricing_platform.pricing.fitting import Fitting, load
from pricing_platform.pricing.prompting.asked_model import current_asked_model
from pricing_platform.pricing.registry import FINE_TUNED_LANGUAGE, LANGUAGE_TECHNIQUES
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import Warehouse

BASELINES = ("category_median", "tfidf_ridge", *LANGUAGE_TECHNIQUES, *FINE_TUNED_LANGUAGE)
"""Whose errors stand on a card beside the model's own."""

_WRITTEN = CompletionRequest(max_tokens=8, stop=("\n",))
_STEPS = 3
_LOST = ("accuracy_lost", "perplexity_gained")
_ITEMS = """
SELECT source, split, count(*) AS items, count(DISTINCT family_id) AS families
FROM curated.items
GROUP BY source, split
ORDER BY source, split
"""
_METRICS = """
SELECT *
FROM evaluation.leaderboard
WHERE list_contains(?, technique)
ORDER BY rank, technique
"""
_FORGOTTEN = """
SELECT *
FROM evaluation.forgetting
WHERE checkpoint = ? AND is_promoted AND adapter_scale = ?
"""


@dataclass(frozen=True)
class Exported:
    """What was written: all files, and how strongly the adapters act in it."""

    folder: Path
    files: list[Path]
    adapter_scale: float

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self.files)


def export_technique(
    settings: Settings,
    technique: str,
    folder: Path,
    *,
    form: ExportForm = "adapter",
    gguf_type: GgufType = "f16",
    progress: Progress = silent,
) -> Exported:
    """Writes a technique's checkpoint for the current items as a folder that is new.

    Args:
        settings: name the home and the base model.
        technique: one that fine-tunes a language model on this machine.
        folder: nothing, or an empty folder.
        form: what is written.
        gguf_type: how the matrices of a GGUF file are held.
        progress: is told how far it is.

    Raises:
        PlatformError: when there is no such technique or it was not fitted, the base model is
            another one or can't be written in this form, or the folder is there already.
    """
    if technique not in FINE_TUNED_LANGUAGE:
        raise PlatformError(
            f"{technique!r} is no technique that fine-tunes a language model on this machine.",
            f"Export one of: {', '.join(FINE_TUNED_LANGUAGE)}.",
        )
    require_new(folder.expanduser())
    source = _Source.current(settings, technique)
    if form == "gguf":
        require_writable(source.base_folder, source.base.gguf)
    progress("exporting", 1, _STEPS)
    with new_folder(folder) as partial:
        if form == "adapter":
            card = source.write_adapter(partial)
        elif form == "merged":
            card = source.write_merged(partial)
        else:
            card = source.write_gguf(partial, gguf_type)
        progress("exporting", _STEPS - 1, _STEPS)
        card.write(partial)
    progress("exporting", _STEPS, _STEPS)
    written = folder.expanduser().absolute()
    files = sorted(path for path in written.rglob("*") if path.is_file())
    return Exported(written, files, source.fitted.fitted.scale)


def exported_checkpoint(settings: Settings, technique: str) -> FineTunedTechnique:
    """What :func:`export_technique` would export.

    Raises:
        PlatformError: when it was not fitted, or the base model is another one.
    """
    return _Source.current(settings, technique).fitted


def first_test_items(warehouse: Warehouse, encoder: CachedEncoder, most: int) -> ItemSet:
    """The first items of the test split in the order of their ids."""
    frame = warehouse.frame(
        "SELECT * FROM curated.items WHERE split = 'test' ORDER BY item_id LIMIT ?", [most]
    )
    return ItemSet(frame, encoder.embed(frame["text"].fill_null("").to_list()).vectors)


@dataclass(frozen=True, eq=False)
class _Source:
    """A technique's checkpoint, bound to its base model, and what is known of it."""

    settings: Settings
    warehouse: Warehouse
    encoder: CachedEncoder
    checkpoint: Checkpoint
    fitted: FineTunedTechnique

    @classmethod
    def current(cls, settings: Settings, technique: str) -> Self:
        """That of the items that now stand in the warehouse.

        Raises:
            PlatformError: when there is none, or it was trained on another base model.
        """
        warehouse = Warehouse.from_settings(settings)
        encoder = CachedEncoder.from_settings(settings)
        asked = current_asked_model(warehouse, settings)
        fitting = Fitting.current(
            warehouse,
            encoder.identity,
            lambda: asked.identity,
            lambda: fine_tuning_identity(settings, asked.currency),
            settings,
        )
        context = fine_tuning_context(settings, asked.currency, warehouse)
        if fitting.find(technique) is None:
            for newest in list_checkpoints(fitting.checkpoints, technique)[:1]:
                _load(technique, open_checkpoint(newest.path), context)  # on another model?
        checkpoint = fitting.require(technique)
        return cls(settings, warehouse, encoder, checkpoint, _load(technique, checkpoint, context))

    @property
    def base_folder(self) -> Path:
        """The base model's, whose content is that which was trained on."""
        return self.fitted.known_context.base.folder

    @cached_property
    def base(self) -> BaseReference:
        """The base model as it is told of."""
        name = self.fitted.known_context.base.name
        path = Path(name).expanduser()
        if path.exists():
            return BaseReference(str(path.resolve()), gguf=source_gguf(self.settings))
        if name == EMBEDDED_LANGUAGE_MODEL:
            return BaseReference(name, gguf=source_gguf(self.settings))
        repository, _, revision = name.partition("@")
        return BaseReference(repository, revision or None)

    def write_adapter(self, folder: Path) -> ModelCard:
        """Writes it, asks it, and tells of it."""
        write_adapter(self.fitted.fitted, self.base, folder)
        held = self.fitted.fitted.quantization
        read = replace(read_adapter(folder, self.base_folder), quantization=held)
        (row,) = replace(self.fitted, fitted=read).price(self._item).iter_rows(named=True)
        return self._card("adapter", self._told_estimate(row))

    def _told_estimate(self, row: Mapping[str, Any]) -> str:
        code = self._currency.code
        if row["estimate"] is None:
            reason = row["failure"] or "no reason is known"
            return f"It gives no estimate of it: {reason.rstrip('.')}."
        decimals = price_decimals(code)
        whose = {
            "histogram": "The price head's estimate",
            "digits": "By the numbers that it might write, the estimate",
        }[self.fitted.read_out]
        return (
            f"{whose} is {written_price(row['estimate'], code)} (80 % between"
            f" {row['low']:,.{decimals}f} and {row['high']:,.{decimals}f})."
        )

    def write_merged(self, folder: Path) -> ModelCard:
        """Writes it, asks it, and tells of it."""
        write_merged(self.fitted.fitted, folder)
        return self._card("merged", self._written_answer(folder))

    def write_gguf(self, folder: Path, kind: GgufType) -> ModelCard:
        """Writes it, asks the weights that it was made from, and tells of it."""
        technique = self.fitted.name
        path = folder / f"{self.base.short_name}-{technique}-{kind.upper()}.gguf"
        described = GgufDescription(
            f"{self.base.short_name} {technique}",
            "Fine-tuned to price products",
            "" if self._licence == NOT_STATED else self._licence,
            ["price-estimation", technique],
        )
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            model = Path(temporary)
            write_merged(self.fitted.fitted, model)
            write_gguf(model, path, described=described, kind=kind, tokenizer_of=self.base.gguf)
            answer = self._written_answer(model)
        return self._card("gguf", f"In float32: {answer}", path.name)

    def _written_answer(self, model: Path) -> str:
        """What a merged model writes after the prompt, and the median of what it might."""
        asked = LocalLanguageModel.open(
            self.base.short_name,
            model,
            highest_price=math.ceil(self.settings.price_maximum),
            precision="float32",
        )
        ((_, completion),) = asked.complete([self._prompt], _WRITTEN)
        ((_, price),) = asked.read_prices([self._prompt])
        told = f"the model goes on with `{completion.text.strip() or ' '}`"
        if price.distribution is None:
            return f"{told}, and gives no price: {price.reason}"
        median = price.distribution.quantile(0.5)
        return (
            f"{told}; the median of its distribution over whole prices, which is the estimate that"
            f" the platform reads, is {written_price(median, self._currency.code)}."
        )

    def _card(self, form: ExportForm, answer: str, file: str | None = None) -> ModelCard:
        fitted = self.fitted
        manifest = self.checkpoint.manifest
        return ModelCard(
            form=form,
            file=file,
            base=self.base,
            base_sha256=fitted.known_context.base.content_sha256,
            licence=self._licence,
            currency=self._currency.code,
            training=Training(
                technique=fitted.name,
                checkpoint=self._checkpoint_name,
                created_at=manifest.created_at,
                items=fitted.plan.items,
                epochs=fitted.plan.epochs,
                rank=fitted.configuration_of_adapters.rank,
                adapted_share=fitted.configuration_of_adapters.adapted_share,
                scale=fitted.fitted.scale,
                read_out=fitted.read_out,
                quantization=fitted.fitted.quantization,
                seconds=manifest.metrics.get("training_seconds"),
            ),
            items=self.warehouse.frame(_ITEMS),
            metrics=self._metrics() if self._is_evaluated else None,
            forgotten=self._forgotten(),
            example=Example(
                str(self._item.frame["item_id"].item()),
                self._prompt.as_text(),
                f"{answer[0].upper()}{answer[1:]}",
            ),
            shows_comparables=isinstance(fitted, RagFinetuned),
        )

    @property
    def _currency(self) -> Currency:
        return self.fitted.known_context.currency

    @property
    def _licence(self) -> str:
        return licence_of(self.base_folder)

    @property
    def _checkpoint_name(self) -> str:
        """As predictions name it."""
        return checkpoint_label(self.fitted.name, self.checkpoint)

    @cached_property
    def _item(self) -> ItemSet:
        """An item that nobody has chosen."""
        return first_test_items(self.warehouse, self.encoder, 1)

    @cached_property
    def _prompt(self) -> Prompt:
        (prompt,) = self.fitted.prompts(self._item)
        return prompt

    @cached_property
    def _is_evaluated(self) -> bool:
        """Whether what stands in the warehouse is of this checkpoint."""
        found = self.warehouse.frame(
            "SELECT DISTINCT checkpoint FROM evaluation.predictions WHERE technique = ?",
            [self.fitted.name],
        )
        return found["checkpoint"].to_list() == [self._checkpoint_name]

    def _metrics(self) -> pl.DataFrame | None:
        shown = self.warehouse.frame(_METRICS, [list(BASELINES)])
        return shown if self.fitted.name in shown["technique"].to_list() else None

    def _forgotten(self) -> Forgotten | None:
        """With intervals where the curve of the same checkpoint was measured."""
        metrics, scale = self.checkpoint.manifest.metrics, self.fitted.fitted.scale
        rows = self.warehouse.frame(_FORGOTTEN, [self._checkpoint_name, scale])
        if rows.height == 1:
            return Forgotten(*(_figure(rows, name) for name in _LOST))
        if scale == 0:
            return Forgotten(Figure(0.0), Figure(0.0))
        if not all(name in metrics for name in _LOST):
            return None
        return Forgotten(*(Figure(metrics[name]) for name in _LOST))


def _figure(rows: pl.DataFrame, name: str) -> Figure:
    return Figure(*(rows[f"{name}{end}"].item() for end in ("", "_low", "_high")))


def _load(technique: str, checkpoint: Checkpoint, context: FineTuningContext) -> FineTunedTechnique:
    fitted = load(technique, checkpoint, fine_tuning=context)
    assert isinstance(fitted, FineTunedTechnique)  # noqa: S101
    return fitted
