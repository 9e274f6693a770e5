"""From pairs to a style's checkpoint: adapters in peft's layout, and what they are of.

Here belong when a style is trained again, what its checkpoint holds, and opening it. How adapters
learn belongs to ``finetuning.language``.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.checkpoints import (
    Checkpoint,
    Manifest,
    find_checkpoint,
    list_checkpoints,
    open_checkpoint,
    prune_checkpoints,
    unfinished_folder,
    write_checkpoint,
)
from pricing_platform.finetuning.language.adapters import (
    ADAPTER_FOLDER,
    load_base,
    merged,
    with_adapters_of,
)
from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.finetuning.language.plan import TrainingPlan, kept_plan, plan_training
from pricing_platform.finetuning.language.speed import tokens_per_second
from pricing_platform.finetuning.language.text_adapter import train_language_adapter
from pricing_platform.finetuning.language.token_examples import TokenExample, lengths_of
from pricing_platform.finetuning.style.description import describe_style
from pricing_platform.finetuning.style.dialogue import DIALOGUE_VERSION, training_examples
from pricing_platform.finetuning.style.pairs import StylePairs
from pricing_platform.language.local.folder import content_sha256, copy_files
from pricing_platform.language.local.local_model import LocalLanguageModel
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform.language.local.weights import weight_sizes
from pricing_platform.language.pretrained import language_model_folder, language_model_name
from pricing_platform.language.pretrained.made_folder import MadeFolder
from pricing_platform.model_files import quiet_transformers
from pricing_platform.progress import Progress, silent
from pricing_platform.resource_use import KeptMeter
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import fingerprint, make_folder

STYLE_VERSION = f"1.{DIALOGUE_VERSION}"
"""To be raised with any change of what a training makes of the same pairs."""

_DESCRIPTION = "style.json"
_PLAN = "plan.json"
_KEPT = 2


@dataclass(frozen=True)
class StyleBase:
    """The language model that learns: its name, its folder, and the sha256 over its content.

    ``cache_folder`` holds what may be deleted at any time: measurements, merged models.
    ``known_speed`` is in tokens a second; None where it is to be measured.
    """

    name: str
    folder: Path
    content_sha256: str
    cache_folder: Path
    known_speed: float | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The model on this machine that the settings name.

        Raises:
            PlatformError: when it is not there.
        """
        folder = language_model_folder(settings)
        name, sha256 = language_model_name(settings), content_sha256(folder)
        speed = settings.language_tokens_per_second
        return cls(name, folder, sha256, settings.cache_folder, speed)

    def opened(self) -> LocalLanguageModel:
        """The model as it is, without a style."""
        return LocalLanguageModel.open(self.name, self.folder, cache_folder=self.cache_folder)


class StyleDescription(BaseModel):
    """What a checkpoint says of its style, in ``style.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    base: str
    base_sha256: str
    pairs: int
    conversations: int
    described: str
    examples: int
    epochs: float


@dataclass(frozen=True)
class StyleFitting:
    """What decides a style's checkpoint, apart from its own code."""

    pairs: StylePairs
    base: StyleBase
    seconds: float
    seed: int
    checkpoints: Path
    adapters: AdapterConfiguration = field(default_factory=AdapterConfiguration)
    training: AdapterTraining = field(default_factory=lambda: AdapterTraining(batch_items=8))

    @classmethod
    def current(cls, pairs: StylePairs, base: StyleBase, settings: Settings) -> Self:
        """That of the settings."""
        seconds, seed = settings.style_seconds, settings.seed
        return cls(pairs, base, seconds, seed, settings.checkpoints_folder)

    @property
    def checkpoint_name(self) -> str:
        """What the style's checkpoints are filed under."""
        return checkpoint_name(self.pairs.name)

    @property
    def fingerprint(self) -> str:
        """Equal for two fittings that give the same checkpoint on the same machine."""
        return fingerprint(
            STYLE_VERSION,
            self.pairs.name,
            self.pairs.version,
            self.base.content_sha256,
            self.seconds,
            self.seed,
            self.adapters.model_dump_json(),
            self.training.model_dump_json(),
        )


def checkpoint_name(style: str) -> str:
    """What the checkpoints of a style are filed under."""
    return f"style_{style}"


def fit_style(
    fitting: StyleFitting, *, force: bool = False, progress: Progress = silent
) -> tuple[Checkpoint, bool]:
    """The style's checkpoint, trained now unless it is there; and whether it was there.

    Raises:
        PlatformError: when the base model can't be loaded, or not be adapted.
    """
    name = fitting.checkpoint_name
    existing = find_checkpoint(fitting.checkpoints, name, fitting.fingerprint)
    if existing is not None and not force:
        return open_checkpoint(existing), True
    train = fitting.pairs.split("train")
    examples = training_examples(PromptTokenizer(fitting.base.folder), train)
    if not examples:
        raise PlatformError(
            f"All pairs of the style {fitting.pairs.name} are too long to be learnt from.",
            "Give it shorter messages and replies.",
        )
    work_folder = unfinished_folder(fitting.checkpoints, name, fitting.fingerprint)
    make_folder(work_folder)
    meter = KeptMeter.start(work_folder)
    plan = kept_plan(work_folder / _PLAN, lambda: _planned(fitting, examples))
    made = work_folder / "made"
    metrics = train_language_adapter(
        fitting.base.folder,
        fitting.base.content_sha256,
        examples[: plan.items],
        plan.epochs,
        fitting.adapters,
        fitting.training,
        folder=made,
        work_folder=work_folder,
        seed=fitting.seed,
        progress=meter.noting(progress),
    )
    description = StyleDescription(
        name=fitting.pairs.name,
        base=fitting.base.name,
        base_sha256=fitting.base.content_sha256,
        pairs=len(train),
        conversations=len({pair.conversation for pair in train}),
        described=describe_style([pair.reply for pair in train]),
        examples=plan.items,
        epochs=plan.epochs,
    )

    def write(folder: Path) -> None:
        shutil.copytree(made / ADAPTER_FOLDER, folder / ADAPTER_FOLDER)
        (folder / _DESCRIPTION).write_text(description.model_dump_json(indent=1), encoding="utf-8")

    manifest = Manifest(
        fingerprint=fitting.fingerprint,
        data_hash=fitting.pairs.version,
        configuration={
            "adapters": fitting.adapters.model_dump(mode="json"),
            "training": fitting.training.model_dump(mode="json"),
            "base": fitting.base.name,
            "base_sha256": fitting.base.content_sha256,
        },
        metrics={**metrics, "training_seconds": meter.used().seconds},
        seed=fitting.seed,
    )
    path = write_checkpoint(fitting.checkpoints, name, write, manifest)
    prune_checkpoints(fitting.checkpoints, name, keep=_KEPT)
    return open_checkpoint(path), False


def open_style(checkpoint: Checkpoint, base: StyleBase) -> LocalLanguageModel:
    """The base model with the style's adapters added to its weights; it computes as the base does.

    Args:
        checkpoint: of the style, verified.
        base: the model that it was trained on.

    Raises:
        PlatformError: when it was trained on another model.
    """
    told = read_description(checkpoint)
    if told.base_sha256 != base.content_sha256:
        raise PlatformError(
            f"The style {told.name} was trained on {told.base}; the base model is now {base.name},"
            " whose content is another.",
            "Run `pricing-platform run` to train it again, or name the model of before.",
        )
    name = f"{base.name} + style {told.name}"
    folder = _merged_folder(checkpoint, base)
    return LocalLanguageModel.open(name, folder, precision=base.opened().precision)


def latest_style(settings: Settings, name: str, base: StyleBase) -> LocalLanguageModel:
    """The model of the style's newest checkpoint.

    Raises:
        PlatformError: when none was trained, or on another base model.
    """
    found = list_checkpoints(settings.checkpoints_folder, checkpoint_name(name))
    if not found:
        raise PlatformError(
            f"The style {name} has not been trained yet.",
            "Materialize style_adapter: `pricing-platform run` does.",
        )
    return open_style(open_checkpoint(found[0].path), base)


def read_description(checkpoint: Checkpoint) -> StyleDescription:
    """What the checkpoint says of its style."""
    return StyleDescription.model_validate_json((checkpoint.path / _DESCRIPTION).read_bytes())


def _planned(fitting: StyleFitting, examples: list[TokenExample]) -> TrainingPlan:
    base = fitting.base
    return plan_training(
        len(examples),
        float(lengths_of(examples).mean()),
        seconds=fitting.seconds,
        tokens_per_second=base.known_speed
        or tokens_per_second(base.folder, base.content_sha256, base.cache_folder),
        adapted_share=fitting.adapters.adapted_share,
    )


def _merged_folder(checkpoint: Checkpoint, base: StyleBase) -> Path:
    """A folder that ``transformers`` loads, made once."""

    def write(folder: Path) -> None:
        adapted = with_adapters_of(load_base(base.folder), checkpoint.path / ADAPTER_FOLDER)
        merged(adapted).save_pretrained(folder, safe_serialization=True)
        copy_files(base.folder, folder)

    made_of = fingerprint(base.content_sha256, sorted(checkpoint.manifest.files.items()))
    place = base.cache_folder / "models" / made_of[:16]
    making = MadeFolder(place, made_of, lambda: weight_sizes(base.folder).float32_bytes, write)
    with quiet_transformers():
        making.made()
    return place
