"""Connections, read-only access, and what is told when a server can't be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import psycopg
import pytest
from pgvector import HalfVector
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pricing_platform.errors import PlatformError
from pricing_platform.settings import Settings
from pricing_platform.stores.embedded_postgres import EmbeddedPostgres
from pricing_platform.stores.postgres import Postgres, contents_version
from pricing_platform.stores.queries import query_postgres
from pricing_platform_tests.conftest import administer

SECRET = "hunter2"


@pytest.fixture
def guarded(postgres_server: EmbeddedPostgres, empty_database: str) -> Iterator[dict[str, str]]:
    """How to connect as a role that has to give a password, on a server that asks for it."""
    hba = (postgres_server.folder / "data" / "pg_hba.conf").resolve()
    before = hba.read_text()
    administer(postgres_server, f"CREATE ROLE guarded LOGIN PASSWORD '{SECRET}'")
    hba.write_text("local all guarded scram-sha-256\n" + before)
    administer(postgres_server, "SELECT pg_reload_conf()")
    parts = {k: str(v) for k, v in conninfo_to_dict(empty_database).items()}
    yield parts | {"user": "guarded", "password": SECRET}
    hba.write_text(before)
    administer(postgres_server, "SELECT pg_reload_conf()")
    administer(postgres_server, "DROP ROLE guarded")


def told(server: str) -> str:
    with pytest.raises(PlatformError) as raised:
        Postgres(server).migrate()
    assert SECRET not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    return str(raised.value)


def test_a_transaction_is_committed_or_rolled_back(postgres: Postgres) -> None:
    with postgres.connection() as connection:
        connection.execute("CREATE TABLE kept (value int)")
    with pytest.raises(psycopg.errors.DivisionByZero), postgres.connection() as connection:
        connection.execute("INSERT INTO kept SELECT 1/(2 - i) FROM generate_series(1, 2) AS i")
    assert postgres.frame("SELECT count(*) FROM kept").item() == 0


def test_half_vectors_go_there_and_back(postgres: Postgres) -> None:
    vector = HalfVector([0.5, -2.0, 0.25])
    with postgres.connection() as connection:
        row = connection.execute("SELECT %s::halfvec, %s <=> %s", [vector] * 3).fetchone()
    assert row == (vector, 0.0)


def test_a_frame_has_the_types_of_its_columns_also_when_it_is_empty(postgres: Postgres) -> None:
    query = """
        SELECT 1 AS whole, 0.5::float8 AS real, 2.25 AS exact, 'a' AS words, true AS truth,
            '2026-01-02 03:04:05+00'::timestamptz AS instant, '[1,2]'::halfvec AS vector, 2 AS whole
        WHERE %s
    """
    full = postgres.frame(query, [True])
    empty = postgres.frame(query, [False])
    assert full.columns == empty.columns
    assert full.columns[-1] == "whole_2"
    known = [name for name in full.columns if name != "vector"]
    assert empty.select(known).schema == full.select(known).schema
    assert full.row(0) == (
        *(1, 0.5, float(Decimal("2.25")), "a", True),
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        [1.0, 2.0],
        2,
    )
    assert full.schema["instant"] == pl.Datetime("us", "UTC")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("DELETE FROM catalog.items", "read-only transaction"),
        ("DROP SCHEMA catalog CASCADE", "read-only transaction"),
        ("ROLLBACK; DROP SCHEMA catalog CASCADE", "multiple commands"),
        ("SELECT set_config('transaction_read_only', 'off', true)", "before any query"),
        ("SELECT nothing FROM nowhere", "does not exist"),
        ("SELECT 1/0", "division by zero"),
        ("not SQL", "syntax error"),
    ],
)
def test_a_frame_only_reads_and_tells_what_is_wrong(
    postgres: Postgres, query: str, reason: str
) -> None:
    with pytest.raises(PlatformError, match=reason):
        postgres.frame(query)
    assert postgres.frame("SELECT count(*) FROM catalog.items").item() == 0


def test_what_a_query_sets_ends_with_it(postgres: Postgres) -> None:
    for setting in ("statement_timeout", "default_transaction_read_only"):
        before = postgres.frame(f"SHOW {setting}").item()
        postgres.frame(f"SET {setting} = 0")
        assert postgres.frame(f"SHOW {setting}").item() == before


def test_a_query_that_takes_too_long_is_ended(postgres: Postgres) -> None:
    with pytest.raises(PlatformError, match=r"took longer than 0\.05 seconds"):
        postgres.frame("SELECT pg_sleep(5)", seconds=0.05)
    assert postgres.frame("SHOW statement_timeout").item() == "0"


def test_a_query_of_a_user_may_take_a_minute(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(postgres_url=postgres._url)
    asked = "SELECT current_setting('statement_timeout')"
    assert query_postgres(settings, asked, {}).item() == "1min"
    monkeypatch.setattr("pricing_platform.stores.queries._LONGEST_SECONDS", 0.05)
    with pytest.raises(PlatformError, match="took longer than"):
        query_postgres(settings, "SELECT pg_sleep(5)", {})


def test_the_platforms_own_scans_take_as_long_as_the_server_lets_them(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pricing_platform.stores.queries._LONGEST_SECONDS", 0.05)
    with postgres.connection(read_only=True) as connection:
        connection.execute("SELECT pg_sleep(0.1)")
    assert contents_version(postgres, "(SELECT pg_sleep(0.1) AS slept) AS scan", "slept")


def test_a_limit_of_the_servers_own_is_told(empty_database: str) -> None:
    with closing(Postgres(empty_database)) as postgres:
        postgres.migrate()
    name = conninfo_to_dict(empty_database)["dbname"]
    with psycopg.connect(empty_database) as connection:
        connection.execute(f"ALTER DATABASE {name} SET statement_timeout = '50ms'")
    with closing(Postgres(empty_database)) as postgres:
        with pytest.raises(PlatformError, match=r"due to statement timeout[^$]+ALTER ROLE"):
            postgres.frame("SELECT pg_sleep(5)")
        with (
            pytest.raises(PlatformError, match="due to statement timeout"),
            postgres.connection() as connection,
        ):
            connection.execute("SELECT pg_sleep(5)")


def test_tables_are_made_before_the_first_writing_also_after_a_reading(
    empty_database: str,
) -> None:
    with closing(Postgres(empty_database)) as postgres:
        assert postgres.frame("SELECT 1").item() == 1
        with pytest.raises(PlatformError, match="does not exist"):  # a reader makes nothing
            postgres.frame("SELECT count(*) FROM knowledge.documents")
        with postgres.connection() as connection:
            connection.execute("DELETE FROM knowledge.documents")
        assert postgres.frame("SELECT '[1]'::halfvec AS v").row(0) == ([1.0],)


def test_a_server_that_is_down_is_told() -> None:
    message = told(f"postgresql://someone:{SECRET}@127.0.0.1:9/catalogue")
    assert "127.0.0.1:9/catalogue cannot be reached" in message
    assert "refused" in message
    assert "PRICING_POSTGRES_URL" in message


def test_a_host_that_is_not_there_is_told() -> None:
    assert "cannot be reached" in told(f"postgresql://someone:{SECRET}@nowhere.invalid/catalogue")


def test_a_url_that_is_none_is_told_without_it() -> None:
    assert "is not the URL" in told(f"postgresql://someone:{SECRET}@[broken/catalogue")


def test_a_wrong_password_is_told(guarded: dict[str, str]) -> None:
    message = told(make_conninfo(**guarded | {"password": f"{SECRET}-wrong"}))
    assert "refuses the user or the password" in message


def test_a_missing_password_is_told(guarded: dict[str, str]) -> None:
    assert "password" in told(make_conninfo(**guarded | {"password": ""}))


def test_an_unknown_database_is_told(guarded: dict[str, str]) -> None:
    assert "no such database" in told(make_conninfo(**guarded | {"dbname": "nowhere"}))


def test_a_role_that_may_not_create_the_extension_is_told(guarded: dict[str, str]) -> None:
    assert "CREATE EXTENSION vector" in told(make_conninfo(**guarded))


def test_a_server_without_pgvector_is_told(
    postgres_server: EmbeddedPostgres, empty_database: str
) -> None:
    name = conninfo_to_dict(empty_database)["dbname"]
    administer(postgres_server, f"ALTER DATABASE {name} SET extension_control_path = '/nowhere'")
    assert "has no pgvector" in told(empty_database)


def test_an_old_pgvector_is_refused(postgres: Postgres) -> None:
    with postgres.connection() as connection:
        connection.execute("UPDATE pg_extension SET extversion = '0.8.3' WHERE extname = 'vector'")
    message = told(str(postgres._url))
    assert "pgvector 0.8.3, and 0.8.4 or newer is needed" in message


def test_all_connections_in_use_are_told(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pricing_platform.stores.postgres._POOL_SIZE", 1)
    with postgres.connection():
        monkeypatch.setattr("pricing_platform.stores.postgres._CONNECT_SECONDS", 0.1)
        with pytest.raises(PlatformError, match="are in use"), postgres.connection():
            pass


def test_the_settings_choose_the_server(tmp_path: pytest.TempPathFactory) -> None:
    named = Settings(home=tmp_path, postgres_url=f"postgresql://me:{SECRET}@db.example/prices")
    assert str(Postgres.from_settings(named)) == "the Postgres at db.example:5432/prices"
    embedded = Postgres.from_settings(Settings(home=tmp_path))
    assert str(embedded).startswith("the embedded Postgres in ")
