"""The platform's tables a second time: every statement reaches them, and none the others."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pricing_platform.facts.configuration import Knowledge
from pricing_platform.facts.document_statements import observe_documents
from pricing_platform.facts.sentences import reconcile_fact_sentences
from pricing_platform.retrieval.chunk_embeddings import reconcile_chunk_embeddings
from pricing_platform.retrieval.documents import reconcile_documents
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.search import search
from pricing_platform.stores.postgres import Postgres, contents_version
from pricing_platform.stores.scratch_schemas import renamed
from pricing_platform_tests.unit.retrieval.document_files import folder_of, tokenizer, write
from pricing_platform_tests.unit.retrieval.hashing_encoder import HashingEncoder

_SCHEMAS = "SELECT nspname::text FROM pg_namespace WHERE nspname ~ 'scratch'"
_TABLES = """
SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name FROM pg_tables
WHERE schemaname IN ('catalog', 'knowledge') ORDER BY name
"""


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT * FROM knowledge.facts", "SELECT * FROM {}knowledge.facts"),
        ("TABLE catalog.items;COPY knowledge.a", "TABLE {}catalog.items;COPY {}knowledge.a"),
        ('LOCK "knowledge"."facts"', 'LOCK {}knowledge."facts"'),
        ("SELECT 'knowledge.checks'::regclass", "SELECT '{}knowledge.checks'::regclass"),
        ("SELECT (catalog.items).*", "SELECT ({}catalog.items).*"),
        ("CREATE SCHEMA catalog;", "CREATE SCHEMA {}catalog;"),
        ("COMMENT ON SCHEMA knowledge IS 'It.'", "COMMENT ON SCHEMA {}knowledge IS 'It.'"),
        ("SELECT pg_catalog.now()", "SELECT pg_catalog.now()"),
        ("SELECT my_catalog.a, x.catalog.b", "SELECT my_catalog.a, x.catalog.b"),
        ("SELECT catalog FROM t", "SELECT catalog FROM t"),
        ("SELECT 'pg_catalog.english'", "SELECT 'pg_catalog.english'"),
        ("COMMENT ON SCHEMA catalogue IS ''", "COMMENT ON SCHEMA catalogue IS ''"),
        ("-- what is knowledge. And\nSELECT 1", "-- what is knowledge. And\nSELECT 1"),
    ],
)
def test_only_the_names_of_the_schemas_are_replaced(statement: str, expected: str) -> None:
    assert renamed(statement.encode()).decode() == expected.replace(
        "{}", "pricing_platform_scratch_"
    )


def contents(postgres: Postgres) -> dict[str, str]:
    """A version of each of the platform's tables."""
    names = postgres.frame(_TABLES)["name"]
    return {name: contents_version(postgres, f"{name} AS t", "t.*") for name in names}


def test_all_that_is_done_in_them_leaves_the_others_as_they_are(
    postgres: Postgres, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "documents")
    said = "# Nordwind\n\n**Returns:** 14 days\n\n**Head:** Ada Lovelace\n"
    write(tmp_path / "documents", {"shop.md": said})
    encoder = CachedEncoder(HashingEncoder(), tmp_path / "cache.sqlite")
    before = contents(postgres)
    assert len(before) > 10
    with postgres.scratch() as scratch:
        reconcile_documents(scratch, [folder], deletion_share_limit=0.2)
        chunks = reconcile_chunk_embeddings(scratch, encoder, tokenizer=tokenizer())
        assert observe_documents(scratch, Knowledge().rules).versions > 0
        assert reconcile_fact_sentences(scratch, encoder).inserted > 0
        assert chunks.inserted > 0
        assert search(scratch, encoder, "returns of Nordwind")
        assert scratch.frame("SELECT count(*) FROM knowledge.documents").item() == 1
        assert postgres.frame(_SCHEMAS).height == 2
    assert contents(postgres) == before
    assert postgres.frame(_SCHEMAS).is_empty()


def test_every_kind_of_cursor_reaches_them(postgres: Postgres) -> None:
    one = "INSERT INTO knowledge.lexemes VALUES (%s, 1)"
    with postgres.scratch() as scratch, scratch.connection() as connection:
        connection.execute(one, ["a"])
        connection.execute(
            sql.SQL("INSERT INTO {} VALUES ('b', 1)").format(sql.Identifier("knowledge", "lexemes"))
        )
        cursor = connection.cursor()
        cursor.executemany(one, [["c"], ["d"]])
        with cursor.copy("COPY knowledge.lexemes FROM STDIN") as copy:
            copy.write_row(["e", 1])
        query = "SELECT lexeme FROM knowledge.lexemes ORDER BY lexeme"
        assert [row[0] for row in cursor.stream(query)] == list("abcde")
        with connection.cursor("named") as named:
            assert len(named.execute(query).fetchall()) == 5
    assert postgres.frame("SELECT * FROM knowledge.lexemes").is_empty()


def test_what_one_that_was_killed_has_left_is_replaced(postgres: Postgres) -> None:
    with postgres.connection() as connection:
        connection.execute("CREATE SCHEMA pricing_platform_scratch_knowledge")
        connection.execute("CREATE TABLE pricing_platform_scratch_knowledge.left (value int)")
    with postgres.scratch() as scratch:
        assert scratch.frame("SELECT to_regclass('knowledge.left')::text").item() is None
        assert scratch.frame("SELECT count(*) FROM knowledge.chunks").item() == 0
    assert postgres.frame(_SCHEMAS).is_empty()


def test_an_error_drops_them_and_is_raised(postgres: Postgres) -> None:
    with (
        pytest.raises(psycopg.errors.DivisionByZero),
        postgres.scratch() as scratch,
        scratch.connection() as connection,
    ):
        connection.execute("SELECT 1/0")
    assert postgres.frame(_SCHEMAS).is_empty()


def test_a_second_one_waits_for_the_first(postgres: Postgres) -> None:
    order: list[str] = []

    def second() -> None:
        with closing(Postgres(str(postgres._url))) as other, other.scratch():
            order.append("second")

    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with postgres.scratch():
        thread = threading.Thread(target=second)
        thread.start()
        while postgres.frame(waiting).item() == 0:
            assert thread.is_alive()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
