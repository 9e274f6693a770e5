"""What ``[forgetting]`` says, and what is told when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.forgetting.configuration import (
    ForgettingFiles,
    bundled_forgetting,
    configured_forgetting,
    load_forgetting,
)
from pricing_platform.settings import Settings


def declared(folder: Path, text: str, data: Path | None = None) -> ForgettingFiles:
    path = folder / "sources.toml"
    path.write_text(text, encoding="utf-8")
    return load_forgetting(path, data=data)


def test_files_and_globs_start_from_the_folder_or_from_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("b.txt", "a.txt", "data/probes.jsonl"):
        (tmp_path / name).write_text("x")

    found = declared(
        tmp_path,
        '[forgetting]\nprobes = "${PRICING_DATA}/probes.jsonl"\ntext = ["*.txt", "a.txt"]\n'
        "probes_limit = 50\ntext_tokens = 1000\n",
        data,
    )

    assert found == ForgettingFiles(
        probes=(data / "probes.jsonl",),
        text=(tmp_path / "a.txt", tmp_path / "b.txt"),
        probes_limit=50,
        text_tokens=1000,
    )


def test_what_is_not_named_is_bundled(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")

    assert declared(tmp_path, "") == bundled_forgetting()
    only_text = declared(tmp_path, '[forgetting]\ntext = "mine.txt"')
    assert only_text.probes == bundled_forgetting().probes
    assert only_text.text == (tmp_path / "mine.txt",)


def test_the_settings_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    (tmp_path / "sources.toml").write_text('[forgetting]\ntext = "mine.txt"')

    found = configured_forgetting(Settings(home=tmp_path, sources=tmp_path / "sources.toml"))

    assert found.text == (tmp_path / "mine.txt",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[forgetting]\nprobe = "a"', "probe: unknown key; the keys are probes, text"),
        ("[forgetting]\ntext = []", "text"),
        ("[forgetting]\nprobes_limit = 0", "probes_limit"),
        ('[forgetting]\ntext = "gone.txt"', "there is no file gone.txt"),
        ('[forgetting]\nprobes = "https://example.com/p.jsonl"', "is an address"),
        ('[forgetting]\nprobes = "${PRICING_DATA}/p.jsonl"', "is not set"),
        ('[[forgetting]]\ntext = "a"', "not a table"),
    ],
)
def test_a_wrong_table_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(PlatformError) as caught:
        declared(tmp_path, text)
    assert told in str(caught.value)
    assert "sources.toml" in str(caught.value)
