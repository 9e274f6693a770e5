"""Passages in another language: lexemes made anew, and the words that carry a question."""

from __future__ import annotations

from typing import Any

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.retrieval.question_language import carried_words, use_language
from pricing_platform.retrieval.search import search
from pricing_platform.stores.postgres import Postgres
from pricing_platform_tests.unit.retrieval.test_search import ENCODER, ids, put, put_fact

HIRE = [
    ("Tool hire", "A late fee of 12 euros is charged for each day."),
    ("Rückgabe", "Ware kann innerhalb von 21 Tagen zurückgegeben werden."),
    ("Öffnung", "Die Läden sind an Feiertagen geschlossen."),
]


def state(postgres: Postgres) -> list[list[tuple[Any, ...]]]:
    """All that lexical search goes by."""
    return [
        postgres.frame(query).rows()
        for query in (
            "SELECT chunk_id, lexemes::text, length FROM knowledge.chunks ORDER BY 1",
            "SELECT fact_id, lexemes::text, length FROM knowledge.fact_sentences ORDER BY 1",
            'SELECT lexeme, chunks FROM knowledge.lexemes ORDER BY lexeme COLLATE "C"',
            "SELECT chunks, lexemes, language FROM knowledge.corpus",
        )
    ]


def test_lexemes_follow_the_language_whenever_it_is_set(postgres: Postgres) -> None:
    put(postgres, HIRE[:2])
    put_fact(postgres, "laden", "öffnungszeiten", "9 bis 18 Uhr")
    english = state(postgres)
    assert use_language(postgres, "german")
    assert not use_language(postgres, "pg_catalog.german")
    put(postgres, HIRE[2:], source="more")
    german = state(postgres)
    assert "'feiertag'" in str(german)
    assert use_language(postgres, "simple")
    assert "'feiertagen'" in str(state(postgres))
    assert use_language(postgres, "german")
    assert state(postgres) == german
    with postgres.connection() as connection:
        connection.execute("DELETE FROM knowledge.documents WHERE source = 'more'")
    assert use_language(postgres, "english")
    assert state(postgres) == english


def test_what_is_stemmed_is_found(postgres: Postgres) -> None:
    passages = put(postgres, HIRE)
    postgres_only = {"k": 1, "origins": ("chunk",)}
    assert ids(search(postgres, ENCODER, "fees", **postgres_only)) == passages[:1]  # type: ignore[arg-type]
    use_language(postgres, "german")
    assert ids(search(postgres, ENCODER, "Feiertag Laden", **postgres_only)) == passages[2:]  # type: ignore[arg-type]


@pytest.mark.parametrize("language", ["klingon", "de", "", "0", "a.b.c.d", '"', "pg_catalog."])
def test_a_language_that_postgres_does_not_know_is_refused(
    postgres: Postgres, language: str
) -> None:
    put(postgres, HIRE)
    before = state(postgres)
    with pytest.raises(PlatformError, match="no text-search configuration") as error:
        use_language(postgres, language)
    assert "german" in error.value.remedy
    assert state(postgres) == before


@pytest.mark.parametrize(
    ("language", "question", "carried"),
    [
        ("english", "What are the late fees?", {"late", "fee"}),
        ("english", "How many days, please?", {"day"}),
        ("english", "Who is the CEO of Hans?", {"ceo", "han"}),
        ("english", "CEO of Hans", {"ceo", "han"}),
        (
            "english",
            "Wer ist die Geschäftsführerin von Nordwind Möbel?",
            {"gesch", "nordw", "möbel"},
        ),
        (
            "german",
            "Wer ist die Geschäftsführerin von Nordwind Möbel?",
            {"geschaftsfuhr", "nordwind", "mobel"},
        ),
        ("german", "Wie viele Tage gibt es?", {"tag"}),
        ("german", "What are the late fees?", {"lat", "fees"}),
        ("french", "Quels sont les frais de retard ?", {"frais", "retard"}),
        ("spanish", "¿Cuál es el plazo de devolución?", {"plaz", "devolu"}),
        ("simple", "What are the late fees?", {"late", "fees"}),
        ("simple", "Wer ist die Chefin von Nordwind?", {"chefin", "nordwind"}),
        ("english", "", set()),
        ("english", "Who is it?", set()),
    ],
)
def test_the_words_that_carry_a_question(
    postgres: Postgres, language: str, question: str, carried: set[str]
) -> None:
    use_language(postgres, language)
    found = carried_words(postgres, question, ["Late fees and days", ""])
    assert found.question == carried
    assert len(found.texts) == 2
    assert found.texts[1] == frozenset()


def test_punctuation_is_no_part_of_a_word(postgres: Postgres) -> None:
    use_language(postgres, "french")
    text = "«\u00a0L’été\u00a0» : 30\u00a0jours\u202f; „Nordwind“ 14–21… ¿Cuándo?"
    ((lexemes,),) = postgres.frame(
        "SELECT tsvector_to_array(to_tsvector('simple', knowledge.parsed(%s)))", [text]
    ).rows()
    assert set(lexemes) == {"l", "été", "30", "jours", "nordwind", "14", "21", "cuándo"}
    put(postgres, [("Saison", "La remise d’«\u00a0Hiver\u00a0» est de 30\u00a0%.")])
    matches = "SELECT lexemes @@ to_tsquery('french', 'hiver') FROM knowledge.chunks"
    assert postgres.frame(matches).item()
