"""A small style and a tiny random model that it is taught to."""

from __future__ import annotations

from pathlib import Path

from pricing_platform.finetuning.language.configuration import (
    AdapterConfiguration,
    AdapterTraining,
)
from pricing_platform.finetuning.style.fitting import StyleBase, StyleFitting
from pricing_platform.finetuning.style.pairs import StylePair, StylePairs
from pricing_platform.language.local.folder import content_sha256
from pricing_platform_tests.unit.language.local.model_folders import WORDS

ADAPTERS = AdapterConfiguration(rank=8, alpha=16, adapted_share=0.5)
TRAINING = AdapterTraining(learning_rate=1e-2, batch_items=8, saved_steps=5)


def made_style(count: int = 120) -> StylePairs:
    """Replies in a tone of a few words, about whatever is asked for."""
    pairs = [
        StylePair(
            f"c{n // 2}",
            f"the {WORDS[n % 10]} {WORDS[n % 7]} {n}",
            f"silver kitchen. {WORDS[n % 10]} {n} cordless.",
            (f"{WORDS[n % 10]} {n}",) if n % 3 == 0 else (),
        )
        for n in range(count)
    ]
    return StylePairs("made", tuple(pairs))


def style_base(folder: Path, cache_folder: Path) -> StyleBase:
    return StyleBase("tiny", folder, content_sha256(folder), cache_folder)


def style_fitting(base: Path, folder: Path, *, pairs: StylePairs | None = None) -> StyleFitting:
    return StyleFitting(
        pairs or made_style(),
        style_base(base, folder / "cache"),
        seconds=4.0,
        seed=3,
        checkpoints=folder / "checkpoints",
        adapters=ADAPTERS,
        training=TRAINING,
    )
