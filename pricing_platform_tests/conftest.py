"""What tests of several packages share: one embedded Postgres a session, one database a test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pricing_platform.stores.embedded_postgres import EmbeddedPostgres
from pricing_platform.stores.postgres import Postgres


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("home") / "postgres")
    yield server
    server.delete()


@pytest.fixture
def empty_database(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The connection string of a database with nothing in it."""
    name = f"test_{uuid.uuid4().hex}"
    administer(postgres_server, f"CREATE DATABASE {name}")
    yield make_conninfo(postgres_server.conninfo(), dbname=name)
    administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres(empty_database: str) -> Iterator[Postgres]:
    """A migrated Postgres with no rows in it."""
    found = Postgres(empty_database)
    found.migrate()
    yield found
    found.close()


def administer(server: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(statement)
