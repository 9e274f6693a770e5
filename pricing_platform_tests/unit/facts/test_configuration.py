"""What sources.toml says of documents and facts, and what is told when it is wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.facts.configuration import Knowledge, load_knowledge

WHOLE = """
[[documents]]
name = "handbook"
path = "handbook"

[[documents]]
name = "notes"
path = ["notes/a/*.md", "notes/b/*.txt"]

[[http]]
name = "people"
subjects = ["Northwind"]
attribute = "CEO"
url = "https://example.com/{subject}.json"
json_path = "$.ceo"

[facts]
time_to_live = { price = "PT2H", founding_date = "never", colour = 3600 }
kinds = { "shade" = "colour" }

[retrieval]
questions = "questions.jsonl"
"""


def declared(folder: Path, text: str) -> Knowledge:
    path = folder / "sources.toml"
    path.write_text(text, encoding="utf-8")
    return load_knowledge(path, data=None)


def test_every_section_is_read(tmp_path: Path) -> None:
    (tmp_path / "handbook").mkdir()
    knowledge = declared(tmp_path, WHOLE)
    handbook, notes = knowledge.documents
    assert handbook.root == tmp_path / "handbook"
    assert handbook.path == (str(tmp_path / "handbook"),)
    assert notes.root == tmp_path / "notes"
    assert knowledge.http[0].connector == "http:people"
    assert knowledge.rules.time_to_live_of("price") == timedelta(hours=2)
    assert knowledge.rules.time_to_live_of("founding_date") is None
    assert knowledge.rules.kind_of("shade") == "colour"
    assert knowledge.rules.time_to_live_of("colour") == timedelta(hours=1)
    assert knowledge.questions == tmp_path / "questions.jsonl"


def test_nothing_is_declared_where_nothing_stands(tmp_path: Path) -> None:
    assert declared(tmp_path, "") == Knowledge()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[documents]\nname = "a"', r"has \[documents\] where \[\[documents\]\] is meant"),
        ('[[documents]]\nname = "a"', "documents 'a', path: this key is missing"),
        ('[[documents]]\nname = "A b"\npath = "x"', "documents 'A b', name"),
        (
            '[[documents]]\nname = "a"\npath = "x"\nurl = "y"',
            "unknown key; the keys are name, path",
        ),
        ('[[documents]]\nname = "a"\npath = "x"\n' * 2, "two .*documents.* named 'a'"),
        ('[[documents]]\nname = "a"\npath = "https://x/y"', "is an address"),
        ("facts = 3", "facts is not a table"),
        ('[facts]\ntime_to_live = { price = "soon" }', r"\[facts\], time_to_live.price"),
        ('[facts]\nkinds = { "(" = "price" }', "no.* regular expression"),
        ('[facts]\nkinds = { "a" = "mood" }', "'mood', which has no time to live"),
        (
            '[retrieval]\nquestion = "q"',
            "unknown key; the keys are (questions, language|language, questions)",
        ),
        (
            '[[http]]\nname = "a"\nsubjects = ["x"]\nattribute = "y"\nurl = "ftp://x/{subject}"',
            "http 'a'",
        ),
        ('[[knowledge]]\nname = "a"', "unknown key 'knowledge'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(PlatformError, match=told):
        declared(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "lives"),
    [
        ('name = "shop"\nttl_days = 7', {"shop": timedelta(days=7)}),
        ('name = "shop"', {"shop": timedelta(days=30)}),
        ('name = "shop"\n[facts]\ntime_to_live = { price = "PT2H" }', {}),
        (
            'name = "shop"\nttl_days = 0.5\n[facts]\ntime_to_live = { price = "PT2H" }',
            {"shop": timedelta(hours=12)},
        ),
    ],
)
def test_a_source_says_for_how_long_its_prices_are_fresh(
    tmp_path: Path, text: str, lives: dict[str, timedelta]
) -> None:
    assert declared(tmp_path, f"[[source]]\n{text}").price_lives == lives
