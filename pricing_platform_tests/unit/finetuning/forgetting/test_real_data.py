"""Public probes and text through the same configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.finetuning.forgetting.configuration import load_forgetting
from pricing_platform.finetuning.forgetting.measuring import GeneralTests
from pricing_platform.finetuning.forgetting.probes import read_probes, read_texts
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform_tests.unit.finetuning.forgetting import trained_models

DATA = Path(__file__).parents[4] / "../shared/data"
DECLARED = """
[forgetting]
probes = "${PRICING_DATA}/general_probes/*.jsonl"
text = "${PRICING_DATA}/general_text/wikitext2_valid.txt.gz"
"""

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there"),
]


def test_public_probes_and_text_are_read_and_asked(tmp_path: Path, base_folder: Path) -> None:
    (tmp_path / "sources.toml").write_text(DECLARED)
    files = load_forgetting(tmp_path / "sources.toml", data=DATA)

    probes = read_probes(files.probes)
    (text,) = read_texts(files.text)
    tests = GeneralTests.read(files, PromptTokenizer(base_folder))
    measure = tests.measure_base(trained_models.load(base_folder)).measure

    assert len(probes) == 200
    assert {len(probe.choices) for probe in probes} == {5}
    assert len(text.encode()) > 1_000_000
    assert "Homarus gammarus" in text
    assert len(measure.is_correct) == 200
    assert 0.1 < measure.probe_accuracy < 0.35  # a model that never saw English guesses
    assert len(tests.chunks) == 32
    assert measure.perplexity > 100
