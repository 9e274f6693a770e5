"""The bundled house style: enough pairs, none twice, nothing in them that costs."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pricing_platform.catalog.bundled.house_style import (
    PAIRS,
    house_style_pairs,
    write_house_style,
)
from pricing_platform.catalog.bundled.knowledge import write_bundled_knowledge
from pricing_platform.finetuning.style.configuration import StyleSource
from pricing_platform.finetuning.style.pairs import StylePairs

_AMOUNT = re.compile(r"[$€£¥]|\bUSD\b|\d+\.\d\d\b")
_CONTRACTION = re.compile(r"\w+(n't|'ll|'re|'ve|'m)\b")


@pytest.fixture(scope="module")
def pairs() -> list[dict[str, Any]]:
    return house_style_pairs()


def test_there_are_600_distinct_pairs_of_many_templates(pairs: list[dict[str, Any]]) -> None:
    assert len(pairs) == PAIRS == 600
    assert len({pair["message"] for pair in pairs}) == 600
    assert len({pair["reply"] for pair in pairs}) == 600
    # What is left when names, numbers and all that comes at the end is taken away.
    bodies = {re.sub(r"[A-Z]\w+|\d+", "", pair["reply"])[:80] for pair in pairs}
    assert len(bodies) > 400


def test_the_house_has_a_tone_of_its_own(pairs: list[dict[str, Any]]) -> None:
    replies = [pair["reply"] for pair in pairs]
    assert not any("!" in reply for reply in replies)
    assert not any(re.search(r"\bI\b", reply) for reply in replies)
    assert not any(_CONTRACTION.search(reply) for reply in replies)
    assert sum("counter" in reply for reply in replies) > 300
    assert any("!" in pair["message"] for pair in pairs)  # customers do not share it
    assert not any("{" in pair["message"] + pair["reply"] or "[" in pair["reply"] for pair in pairs)


def test_no_price_stands_in_them(pairs: list[dict[str, Any]]) -> None:
    for pair in pairs:
        for text in (pair["message"], pair["reply"], *pair["facts"]):
            assert not _AMOUNT.search(text), text


def test_a_reply_about_facts_says_what_the_documents_say(
    pairs: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = write_bundled_knowledge(tmp_path / "knowledge")
    documents = " ".join(
        path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.suffix == ".md"
    )
    told = [pair for pair in pairs if re.search(r"CEO of|is led by", pair["reply"])]
    assert len(told) > 5
    for pair in told:
        (chief,) = [fact.partition(" is ")[2] for fact in pair["facts"] if ": CEO is" in fact]
        assert chief in pair["reply"]
        assert chief in documents


def test_every_call_writes_the_same(tmp_path: Path) -> None:
    one, two = (write_house_style(tmp_path / name).read_bytes() for name in ("one", "two"))
    assert one == two
    assert len(one.splitlines()) == len(list(map(json.loads, one.splitlines()))) == 600


def test_they_are_held_out_by_conversation(tmp_path: Path) -> None:
    path = write_house_style(tmp_path)
    read = StylePairs.read(StyleSource(name="house", pairs=(str(path),)))
    sides = {
        split: read.split(split)  # type: ignore[arg-type]
        for split in ("train", "validation", "test")
    }
    assert sum(map(len, sides.values())) == len(read.pairs) == 600
    assert 430 < len(sides["train"]) < 530
    assert min(len(sides["validation"]), len(sides["test"])) > 35
    conversations = Counter(
        conversation
        for found in sides.values()
        for conversation in {pair.conversation for pair in found}
    )
    assert set(conversations.values()) == {1}
    assert len(conversations) < 600  # or no conversation has a second turn
