"""A tiny base model with a chat template, and the style fitted on it, shared by all tests here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pricing_platform.finetuning.checkpoints import Checkpoint
from pricing_platform.finetuning.style.fitting import StyleFitting, fit_style
from pricing_platform_tests.unit.finetuning.language.tiny_base import write_tiny_base
from pricing_platform_tests.unit.finetuning.style.made_style import style_fitting


@pytest.fixture(scope="session")
def chat_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("chat_base"), family="three_digits")


@dataclass(frozen=True)
class FittedStyle:
    fitting: StyleFitting
    checkpoint: Checkpoint


@pytest.fixture(scope="session")
def fitted_style(chat_base: Path, tmp_path_factory: pytest.TempPathFactory) -> FittedStyle:
    fitting = style_fitting(chat_base, tmp_path_factory.mktemp("fitted_style"))
    checkpoint, reused = fit_style(fitting)
    assert not reused
    return FittedStyle(fitting, checkpoint)
