"""Pairs of messages and replies: what is read, what is refused, and what is held out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.style.configuration import StyleColumns, StyleSource, load_styles
from pricing_platform.finetuning.style.pairs import StylePair, StylePairs

REAL = Path(__file__).parents[4] / "../shared/data/customer_service/replies.jsonl.gz"


def rows(count: int = 60) -> list[dict[str, Any]]:
    return [
        {"conversation": f"c{n // 2}", "message": f"Where is parcel {n}?", "reply": f"On road {n}."}
        for n in range(count)
    ]


def written(path: Path, found: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return path


def read(path: Path, **columns: str) -> StylePairs:
    return StylePairs.read(
        StyleSource(name="mine", pairs=(str(path),), columns=StyleColumns(**columns))
    )


def test_columns_are_mapped_and_gzip_is_read(tmp_path: Path) -> None:
    told = [
        {"c": n, "asked": f" Where  is {n}? ", "said": f"There: {n}.", "known": [f"{n} is there"]}
        for n in range(200)
    ]
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, told)).encode()))
    found = read(path, message="asked", reply="said", conversation="c", facts="known")
    assert found.pairs[3] == StylePair("3", "Where is 3?", "There: 3.", ("3 is there",))


def test_without_conversations_every_pair_is_one(tmp_path: Path) -> None:
    told = [{"message": f"Hello {n}", "reply": f"Good day {n}"} for n in range(200)]
    found = read(written(tmp_path / "a.jsonl", told))
    assert len({pair.conversation for pair in found.pairs}) == 200


def test_a_pair_that_is_there_twice_is_read_once(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", rows(200) + rows(100))
    assert len(read(path).pairs) == 200


def test_a_conversation_stays_on_its_side_whatever_is_added(tmp_path: Path) -> None:
    few = read(written(tmp_path / "few.jsonl", rows(150)))
    more = read(written(tmp_path / "more.jsonl", rows(400)))
    for pair in few.pairs:
        assert few.split_of(pair) == more.split_of(pair)
    assert {few.split_of(pair) for pair in few.pairs} == {"train", "validation", "test"}
    assert few.version != more.version


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", r"a\.jsonl, line 1: not JSON"),
        (b"[1]", "line 1: not a JSON object"),
        (b'{"message": "a"}', "line 1: no 'reply'; there is message"),
        (b'\n{"message": "a", "reply": " "}', "line 2: 'reply' is not a text, or is empty"),
        (b'{"message": 3, "reply": "b"}', "'message' is not a text"),
        (b'{"message": "a", "reply": "\\ud800"}', "half a character"),
        (b'{"message": "a", "reply": "b", "conversation": [1]}', "'conversation' is no text"),
        (b'{"message": "a", "reply": "b", "facts": {"c": 1}}', "'facts' is neither"),
        (b'{"message": "a", "reply": "b", "facts": [1]}', "'facts' is neither"),
        (b"\xff", "is not UTF-8"),
        (b'{"message": "a", "reply": "b"}', "has 1 conversations|has 0 conversations"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(PlatformError, match=told):
        read(path)


def test_a_file_that_is_cut_off_or_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"x" * 1000)[:-9])
    with pytest.raises(PlatformError, match="is cut off"):
        read(path)
    with pytest.raises(PlatformError, match="has no file"):
        read(tmp_path / "*.json")


WHOLE = """
[[style]]
name = "counter"
pairs = "pairs/*.jsonl"

[[style]]
name = "agents"
pairs = ["a.jsonl.gz", "${PRICING_DATA}/b.jsonl"]
columns = { message = "customer", conversation = "id" }
"""


def declared(folder: Path, text: str, data: Path | None = None) -> tuple[StyleSource, ...]:
    path = folder / "sources.toml"
    path.write_text(text, encoding="utf-8")
    return load_styles(path, data=data)


def test_styles_are_declared_with_paths_from_the_file_and_from_the_data(tmp_path: Path) -> None:
    counter, agents = declared(tmp_path, WHOLE, data=tmp_path / "data")
    assert counter.pairs == (str(tmp_path / "pairs/*.jsonl"),)
    assert agents.pairs == (str(tmp_path / "a.jsonl.gz"), str(tmp_path / "data/b.jsonl"))
    assert agents.columns == StyleColumns(message="customer", conversation="id")
    assert declared(tmp_path, "") == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[style]\nname = "a"', r"has \[style\] where \[\[style\]\] is meant"),
        ('[[style]]\nname = "a"', "style 'a', pairs: this key is missing"),
        ('[[style]]\npairs = "x"', "style number 1, name: this key is missing"),
        ('[[style]]\nname = "A b"\npairs = "x"', "style 'A b', name"),
        ('[[style]]\nname = "a"\npairs = []', "style 'a', pairs"),
        ('[[style]]\nname = "a"\npairs = "x"\ntone = "y"', "unknown key; the keys are name, pairs"),
        (
            '[[style]]\nname = "a"\npairs = "x"\ncolumns = { text = "y" }',
            "columns.text: unknown key",
        ),
        ('[[style]]\nname = "a"\npairs = "x"\n' * 2, "two .*style.* named 'a'"),
        ('[[style]]\nname = "a"\npairs = "https://x/y"', "is an address"),
        ('[[style]]\nname = "a"\npairs = "${PRICING_DATA}/y"', "PRICING_DATA"),
    ],
)
def test_a_wrong_declaration_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(PlatformError, match=told):
        declared(tmp_path, text)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_file(), reason="../shared/data is not there")
def test_the_replies_of_real_agents_are_read() -> None:
    found = read(REAL, message="customer")
    assert len(found.pairs) == 8_214
    assert len({pair.conversation for pair in found.pairs}) == 1_385
    shares = [len(found.split(at)) / 8_214 for at in ("train", "validation", "test")]  # type: ignore[arg-type]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.03)
