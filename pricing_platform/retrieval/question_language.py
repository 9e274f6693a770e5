"""The language of documents and questions: how words are stemmed, and which carry a question.

A language is one of Postgres' text-search configurations, one for all documents. Here belongs which
of a question's words say what it is about. What is found for them belongs to ``search``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from pricing_platform.errors import PlatformError
from pricing_platform.retrieval.reconciliation import hold
from pricing_platform.stores.postgres import Postgres

DEFAULT_LANGUAGE = "english"

_WORD = re.compile(r"\w+")
_FEWEST_WORDS = 2  # of another language: one alone may be a name, as Hans is a word in Danish
_LETTERS = {"pg_catalog.english": 5}
"""Of a lexeme: a ``founder`` is found in ``founded``. Other languages have compounds."""

_UNKNOWN = (
    *(psycopg.errors.UndefinedObject, psycopg.errors.UndefinedTable, psycopg.errors.NoDataFound),
    *(psycopg.errors.InvalidName, psycopg.errors.InvalidSchemaName, psycopg.errors.SyntaxError),
    *(psycopg.errors.FeatureNotSupported, psycopg.DataError),
)
_LANGUAGES = """
SELECT string_agg(cfgname, ', ' ORDER BY cfgname) FROM pg_ts_config
WHERE pg_ts_config_is_visible(oid)
"""
_LANGUAGE = "SELECT language FROM knowledge.corpus"
# The dictionaries that stem a language know the words that are too frequent to say anything.
_FREQUENT = """
SELECT left(d.dictname, -5) AS language, array_agg(w.word) AS words
FROM unnest(%(words)s::text[]) AS w (word)
JOIN pg_ts_dict AS d ON d.dictname LIKE '%%\\_stem'
WHERE d.dictnamespace = 'pg_catalog'::regnamespace
    AND ts_lexize(d.oid::regdictionary, w.word) = '{}'
GROUP BY d.dictname
"""
_LEXEMES = """
SELECT tsvector_to_array(to_tsvector(%(language)s::regconfig, knowledge.parsed(t.text))) AS lexemes
FROM unnest(%(texts)s::text[]) WITH ORDINALITY AS t (text, place) ORDER BY place
"""
_ASKING: Mapping[str, str] = {
    "danish": "hvem hvilken hvilket hvilke hvornår hvorfor hvordan mange giv vis nævn",
    "dutch": "wie wat welke welk wanneer waar waarom hoe hoeveel geef toon noem",
    "english": "whose many much tell show list give please",
    "finnish": "milloin miten kuinka monta paljon kerro näytä",
    "french": "quoi quel quelle quels quelles quand où pourquoi comment combien donne montre les",
    "german": (
        "wer wen wem wessen wann wohin woher warum wieso weshalb viel viele wieviel gibt nenne"
        " zeige bitte sag beträgt lautet heißt"
    ),
    "italian": "cosa quale quali quando quanto quanti quanta quante dimmi mostra elenca",
    "norwegian": "hvem hva hvilken hvilket hvilke når hvor hvorfor hvordan mange mye vis nevn",
    "portuguese": "quem quais onde porque quanto quantos quanta quantas diga mostre",
    "russian": "какие почему сколько покажи назови",
    "spanish": "quién cuál cuáles cuándo dónde cómo cuánto cuántos cuánta cuántas dime muestra",
    "swedish": "vem vad vilken vilka när var varför hur många mycket visa nämn",
}
"""Words that questions are made of and that a language's dictionary keeps."""


@dataclass(frozen=True)
class Carried:
    """The stemmed words that carry a question, and those of each text."""

    question: frozenset[str]
    texts: tuple[frozenset[str], ...]


def use_language(postgres: Postgres, language: str) -> bool:
    """Has passages and facts searched in a language; returns whether it was another before.

    Args:
        postgres: where they are.
        language: a text-search configuration by its name, as ``german`` or ``simple``.

    Raises:
        PlatformError: when Postgres has no such configuration; nothing is changed then.
    """
    with postgres.connection() as connection:
        hold(connection, "knowledge.chunk_embeddings")
        hold(connection, "knowledge.fact_embeddings")
        try:
            row = connection.execute(
                "SELECT knowledge.use_language(%s::regconfig)", [language]
            ).fetchone()
        except _UNKNOWN:
            connection.rollback()
            known = connection.execute(_LANGUAGES).fetchone()
            raise PlatformError(
                f"Postgres has no text-search configuration {language!r}, which [retrieval]"
                " language names.",
                f"It has {known[0] if known else 'none'}.",
            ) from None
    return bool(row and row[0])


def carried_words(postgres: Postgres, question: str, texts: Sequence[str]) -> Carried:
    """What of a question says what it is about, and what of that stands in each text.

    Words that are too frequent to say anything are left out: those of the language that the
    documents are in, and those of the one that the question is in, if that is another.
    """
    language = str(postgres.frame(_LANGUAGE).item())
    words = list(dict.fromkeys(_WORD.findall(question.casefold())))
    ignored = _frequent(postgres, language, words)
    rows = postgres.frame(
        _LEXEMES, {"language": language, "texts": [question, " ".join(ignored), *texts]}
    )["lexemes"]
    letters = _LETTERS.get(language)
    asked, frequent, *found = (frozenset(word[:letters] for word in row) for row in rows)
    return Carried(asked - frequent, tuple(found))


def _frequent(postgres: Postgres, language: str, words: Sequence[str]) -> set[str]:
    """The words that a question is made of in the documents' language, or in its own."""
    rows = postgres.frame(_FREQUENT, {"words": list(words)}).iter_rows()
    by_language = {name: set(found) for name, found in rows}
    for name, asking in _ASKING.items():
        by_language[name] = by_language.get(name, set()) | ({*asking.split()} & {*words})
    own = by_language.pop(language.rpartition(".")[2], set())
    other = max(by_language.values(), key=len, default=set())
    return own | other if len(other) > max(len(own), _FEWEST_WORDS - 1) else own
