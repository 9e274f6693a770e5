"""What all tests share: no configuration, one embedded Postgres, and one database a test.

Where tests run side by side, all that compute with models stay in one process, on one thread: two
such processes, or two threads beside a busy neighbour, wait for each other most of the time.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from xdist.scheduler import LoadScopeScheduling

from pricing_platform.settings import Settings
from pricing_platform.stores.embedded_postgres import EmbeddedPostgres
from pricing_platform.stores.postgres import Postgres

WITH_MODELS = (
    "unit/finetuning/",
    "unit/language/endpoint/",
    "unit/language/local/",
    "unit/language/pretrained/",
    "unit/facts/test_answers.py",
    "unit/pricing/",
    "unit/retrieval/test_encoder.py",
    "unit/retrieval/test_encoder_modules.py",
    "unit/retrieval/test_search_real_data.py",
    "unit/evaluation/test_freshness_impact.py",
    "unit/catalog/test_families_real_data.py",
)

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


class _SharedTogether(LoadScopeScheduling):
    """Gives every test to whichever process is free, but those that share what is dear to one."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0].removeprefix("pricing_platform_tests/")
        if path.startswith("integration/"):
            return "integration"
        return "models" if path.startswith(WITH_MODELS) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _SharedTogether(config, log)


@pytest.fixture(scope="session", autouse=True)
def unconfigured() -> Iterator[None]:
    """Nothing that whoever runs the tests has configured is used, their own Postgres least of all.

    What is configured for the tests themselves, as in PRICING_TEST_PICTURES, stays.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith("PRICING_") and not name.startswith("PRICING_TEST_"):
                patch.delenv(name)
        patch.setitem(Settings.model_config, "env_file", None)
        yield


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("home") / "postgres")
    yield server
    server.delete()


@pytest.fixture
def empty_database(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The connection string of a database with nothing in it."""
    with new_database(postgres_server) as database:
        yield database


@pytest.fixture(scope="session")
def migrated_database(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The name of a database that new ones are copied from, with all migrations applied."""
    with new_database(postgres_server) as database:
        with closing(Postgres(database)) as found:
            found.migrate()
        yield str(conninfo_to_dict(database)["dbname"])


@pytest.fixture
def postgres(postgres_server: EmbeddedPostgres, migrated_database: str) -> Iterator[Postgres]:
    """A migrated Postgres with no rows in it."""
    with (
        new_database(postgres_server, migrated_database) as database,
        closing(Postgres(database)) as found,
    ):
        yield found


@contextmanager
def new_database(server: EmbeddedPostgres, template: str = "template1") -> Iterator[str]:
    """The connection string of a copy of another database, dropped at the end."""
    name = f"test_{uuid.uuid4().hex}"
    administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield make_conninfo(server.conninfo(), dbname=name)
    finally:
        administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def administer(server: EmbeddedPostgres, statement: str) -> None:
    """Runs a statement that can't stand in a transaction."""
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(statement)
