"""The search in SQL, against BM25 and rank fusion in plain Python."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pgvector import HalfVector
from psycopg.rows import dict_row

from pricing_platform.retrieval import search as searching
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.encoder import Vectors
from pricing_platform.retrieval.reconciliation import short_identity
from pricing_platform.retrieval.search import Passage, search, search_many
from pricing_platform.stores.postgres import Postgres
from pricing_platform_tests.unit.retrieval.hashing_encoder import HashingEncoder

ENCODER = HashingEncoder()
NOW = datetime.now(UTC)
WORDS = "price salary contract premium engine oak lamp drill Berlin 2024 $5,000 running runs the of"


def put(
    postgres: Postgres,
    passages: Sequence[tuple[str, str]],
    *,
    source: str = "wiki",
    kind: str = "products",
    encoder: HashingEncoder = ENCODER,
    verified_at: datetime = NOW,
) -> list[str]:
    """Chunks as they are reconciled, one document for each (title, text)."""
    ids = [f"{source}:{number:03}.md" for number in range(len(passages))]
    with postgres.connection() as connection:
        for key, (title, text) in zip(ids, passages, strict=True):
            connection.execute(
                "INSERT INTO knowledge.documents VALUES (%s, %s, %s, %s, %s, %s, %s, '', %s, %s)",
                [key, source, key, kind, title, title.lower(), text, verified_at, verified_at],
            )
            connection.execute(
                "INSERT INTO knowledge.chunks (chunk_id, document_id, source, kind, subject,"
                " ordinal, heading_path, start_character, end_character, text, content_hash,"
                " fingerprint) VALUES (%s, %s, %s, %s, %s, 0, %s, 0, %s, %s, '', 'now')",
                [f"{key}#0", key, source, kind, title.lower(), title, len(text), text],
            )
            embed(connection, "chunk", f"{key}#0", f"{title}\n{text}", encoder)
    return [f"{key}#0" for key in ids]


def put_fact(postgres: Postgres, subject: str, attribute: str, value: str) -> int:
    """A fact that holds since a day ago, with its sentence."""
    with postgres.connection() as connection:
        row = connection.execute(
            "INSERT INTO knowledge.fact_series (subject, attribute, kind, cardinality, ttl,"
            " verified_at) VALUES (%s, %s, 'office_holder', 'single', '30 days', %s)"
            " RETURNING series_id",
            [subject, attribute, NOW],
        ).fetchone()
        assert row is not None
        hold(connection, row[0], value)
        text = f"The {attribute} of {subject} is {value}."
        connection.execute(
            "INSERT INTO knowledge.fact_sentences (fact_id, series_id, subject, attribute, kind,"
            " value, source, text, content_hash, fingerprint)"
            " VALUES (%s, %s, %s, %s, 'office_holder', %s, 'wiki:000.md', %s, '', 'now')",
            [f"{row[0]}/0", row[0], subject, attribute, value, text],
        )
        embed(connection, "fact", f"{row[0]}/0", text, ENCODER)
    return int(row[0])


def hold(connection: Any, series_id: int, value: str) -> None:
    connection.execute(
        "DELETE FROM knowledge.fact_versions WHERE series_id = %s AND upper_inf(recorded)",
        [series_id],
    )
    connection.execute(
        "INSERT INTO knowledge.fact_versions VALUES"
        " (%s, 0, %s, 'wiki:000.md', tstzrange(%s, NULL), tstzrange(%s, NULL))",
        [series_id, value, NOW - timedelta(days=1), NOW - timedelta(days=1)],
    )


def embed(connection: Any, origin: str, key: str, text: str, encoder: HashingEncoder) -> None:
    connection.execute(
        f"INSERT INTO knowledge.{origin}_embeddings VALUES (%s, 'now', %s, %s)",
        [key, short_identity(encoder.identity), HalfVector(encoder.encode([text])[0])],
    )


def ids(passages: Sequence[Passage]) -> list[str]:
    return [passage.passage_id for passage in passages]


def scores(postgres: Postgres, question: str) -> dict[str, dict[str, Any]]:
    """The rows of the statement, with what the score is made of."""
    filters = dict.fromkeys(("kinds", "sources", "subjects", "time_to_live"))
    more = {"model": short_identity(ENCODER.identity), "chunks": True, "facts": True}
    (asked,) = searching._asked([question], ENCODER.encode([question]), {**filters, **more}, 10)
    with postgres.connection(read_only=True) as connection:
        rows = connection.cursor(row_factory=dict_row).execute(searching._statement(), asked)
        return {row["passage_id"]: row for row in rows}


def counted(postgres: Postgres, text: str) -> Counter[str]:
    found = postgres.frame(
        "SELECT lexeme, cardinality(positions)::bigint AS times"
        " FROM unnest(to_tsvector('pg_catalog.english', %s))",
        [text],
    )
    return Counter(dict(found.iter_rows()))


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_a_reference(postgres: Postgres, seed: int) -> None:
    chance = random.Random(seed)
    texts = [" ".join(chance.choices(WORDS.split(), k=chance.randint(1, 30))) for _ in range(25)]
    titles = [" ".join(chance.sample(WORDS.split(), 2)) for _ in texts]
    keys = put(postgres, list(zip(titles, texts, strict=True)))
    question = " ".join(chance.sample(WORDS.split(), 5)) + " unheard"
    found = scores(postgres, question)

    bags = [counted(postgres, f"{t} {x}") for t, x in zip(titles, texts, strict=True)]
    asked = set(counted(postgres, question))
    mean = sum(bag.total() for bag in bags) / len(bags)
    held = Counter(lexeme for bag in bags for lexeme in bag)
    idf = Counter(
        {x: math.log(1 + (25 - held[x] + 0.5) / (held[x] + 0.5)) for x in {*held, *asked}}
    )
    bm25 = {
        key: sum(
            idf[x] * bag[x] * 1.9 / (bag[x] + 0.9 * (0.6 + 0.4 * bag.total() / mean))
            for x in asked & set(bag)
        )
        for key, bag in zip(keys, bags, strict=True)
    }
    vectors = ENCODER.encode([f"{t}\n{x}" for t, x in zip(titles, texts, strict=True)])
    halves = vectors.astype(np.float16).astype(np.float64)
    query = ENCODER.encode([question])[0].astype(np.float16).astype(np.float64)
    cosines = halves @ query / np.linalg.norm(halves, axis=1) / np.linalg.norm(query)
    dense = sorted(keys, key=lambda key: (-found[key]["cosine"], key))
    lexical = sorted((k for k in keys if bm25[k]), key=lambda key: (-found[key]["bm25"], key))

    assert set(found) == set(keys)
    for key, title, cosine in zip(keys, titles, cosines, strict=True):
        named = set(counted(postgres, title))
        share = sum(idf[x] for x in named & asked) / (sum(idf[x] for x in named) or 1)
        fusion = 1 / (60 + 1 + dense.index(key))
        if key in lexical:
            fusion += 2 / (60 + 1 + lexical.index(key))
        score = bm25[key] / (1.9 * sum(idf[x] for x in asked)) + 0.5 * cosine + 0.1 * share
        assert found[key]["bm25"] == pytest.approx(bm25[key], abs=1e-9)
        assert found[key]["cosine"] == pytest.approx(cosine, abs=1e-5)
        assert found[key]["fusion"] == pytest.approx(fusion, abs=1e-12)
        assert found[key]["score"] == pytest.approx(score, abs=1e-5)
    assert list(found) == sorted(keys, key=lambda key: (-found[key]["score"], key))


def test_a_passage_says_what_it_is_and_how_old(postgres: Postgres) -> None:
    long_ago = NOW - timedelta(days=15)
    put(postgres, [("Ada Byron", "Analyst in London.")], verified_at=long_ago)
    asked = "Who is Ada Byron?"
    (found,) = search(postgres, ENCODER, asked, time_to_live=timedelta(days=10))
    assert found.text == "Ada Byron\nAnalyst in London."
    assert (found.origin, found.document_id, found.source) == ("chunk", "wiki:000.md", "wiki")
    assert (found.kind, found.subject, found.heading_path) == ("products", "ada byron", "Ada Byron")
    assert (found.verified_at, found.freshness) == (long_ago, "stale")
    assert (found.series_id, found.value, found.valid_since) == (None, None, None)
    assert search(postgres, ENCODER, asked)[0].freshness == "fresh"


def test_filters(postgres: Postgres) -> None:
    drill = put(postgres, [("Drill", "oak lamp")], source="shop", kind="products")
    lamp = put(postgres, [("Lamp", "oak lamp")], source="wiki", kind="people")
    fact = f"{put_fact(postgres, 'Lamp', 'maker', 'Oak')}/0"
    put_fact(postgres, "lamp", "height", "oak")
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"kinds": ["products"]}, set(drill)),
        ({"kinds": ["office_holder"], "subjects": []}, {fact, "2/0"}),
        ({"sources": ["shop"]}, set(drill)),
        ({"sources": ["wiki"], "origins": ["chunk"]}, set(lamp)),
        ({"subjects": ["  LAMP "], "origins": ["chunk"]}, set(lamp)),
        ({"origins": ["fact"]}, {fact, "2/0"}),
        ({"sources": ["'; DROP TABLE knowledge.chunks; --"]}, set()),
    ]
    for filters, expected in cases:
        assert set(ids(search(postgres, ENCODER, "oak lamp", **filters))) == expected, filters
    assert len(search(postgres, ENCODER, "oak lamp")) == 4


def test_vectors_of_two_models_are_never_mixed(postgres: Postgres) -> None:
    other = HashingEncoder("other:fedcba9876543210")
    ours = put(postgres, [("Drill", "bright steel")], source="a")
    put(postgres, [("Kettle", "quiet steel")], source="b", encoder=other)
    # Nothing lexical: what is found is found by its vector.
    assert ids(search(postgres, ENCODER, "zebra")) == ours
    assert [found.source for found in search(postgres, other, "zebra")] == ["b"]
    # The words of a text may be looked for before it is embedded.
    assert {found.source for found in search(postgres, ENCODER, "steel")} == {"a", "b"}


def test_the_vector_of_an_earlier_text_is_not_looked_at(postgres: Postgres) -> None:
    put(postgres, [("Drill", "bright steel")])
    with postgres.connection() as connection:
        connection.execute("UPDATE knowledge.chunks SET fingerprint = 'later'")
    assert search(postgres, ENCODER, "zebra") == []
    assert len(search(postgres, ENCODER, "steel")) == 1


def test_a_value_that_no_longer_holds_is_never_shown(postgres: Postgres) -> None:
    series = put_fact(postgres, "insurellm", "ceo", "Ada Byron")
    asked = "Who is the CEO of Insurellm?"
    (found,) = search(postgres, ENCODER, asked)
    assert (found.origin, found.series_id, found.value) == ("fact", series, "Ada Byron")
    assert (found.attribute, found.freshness) == ("ceo", "fresh")
    assert found.valid_since == NOW - timedelta(days=1)
    with postgres.connection() as connection:  # folded, and the sentence not yet made again
        hold(connection, series, "Mary Shelley")
    assert search(postgres, ENCODER, asked) == []


def test_the_budget_is_kept_and_what_does_not_fit_is_passed_over(postgres: Postgres) -> None:
    texts = [("Oak", "lamp " * times) for times in (1, 40, 3, 2, 60)]
    put(postgres, texts)
    everything = search(postgres, ENCODER, "oak lamp", k=10)
    assert len(everything) == 5
    for budget in (0, 10, 25, 60, 230, 10_000):
        found = search(postgres, ENCODER, "oak lamp", max_characters=budget)
        left, expected = budget, []
        for passage in everything:
            if len(passage.text) <= left:
                expected.append(passage)
                left -= len(passage.text)
        assert ids(found) == ids(expected)
    assert len(search(postgres, ENCODER, "oak lamp", k=2)) == 2


def test_as_many_are_found_as_are_asked_for(postgres: Postgres) -> None:
    put(postgres, [("Oak", f"lamp {number}") for number in range(130)])
    assert len(search(postgres, ENCODER, "oak lamp", k=120)) == 120


@pytest.mark.parametrize(
    "question",
    [
        "",
        "   ",
        "the of and",
        "oak & ! lamp | (' <-> :*",
        "it's \\ 'quoted' \\' ''",
        'C:\\path "oak" -lamp OR 100%s %(k1)s',
        "日本語の質問",
        "naïve\x00oak\ud800",
        "oak " * 25_000,
    ],
)
def test_any_question_is_data(postgres: Postgres, question: str) -> None:
    put(postgres, [("Oak", "lamp"), ("Path", "C:\\path 'quoted' \\ it's")])
    found = search(postgres, ENCODER, question)
    assert len(found) == 2
    assert found == search(postgres, ENCODER, question)


def test_many_questions_are_encoded_together(postgres: Postgres) -> None:
    put(postgres, [("Oak", "lamp"), ("Steel", "drill")])
    encoder = HashingEncoder()
    questions = ["oak", "drill", "oak"]
    found = search_many(postgres, encoder, questions, k=1)
    assert encoder.encoded == questions
    assert [ids(part) for part in found] == [
        ids(search(postgres, encoder, question, k=1)) for question in questions
    ]
    assert search_many(postgres, encoder, []) == []


def test_questions_are_encoded_as_queries(postgres: Postgres) -> None:
    class Asymmetric(HashingEncoder):
        def encode_queries(self, texts: Sequence[str]) -> Vectors:
            return self.encode([f"asked {text}" for text in texts])

    put(postgres, [("Kettle", "quiet steel")])
    asymmetric = Asymmetric()
    search(postgres, asymmetric, "quiet kettle")
    search(postgres, CachedEncoder(asymmetric, Path("nowhere.sqlite")), "steel kettle")
    assert asymmetric.encoded == ["asked quiet kettle", "asked steel kettle"]


def test_nothing_is_found_in_an_empty_store(postgres: Postgres) -> None:
    assert search(postgres, ENCODER, "Who is the CEO?") == []
