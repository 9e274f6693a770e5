"""A Postgres of the user's own: pgvector where its administrator put it, and roles with few rights.

The roles here may do no more than what each test grants them, as on a server that others run.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import polars as pl
import psycopg
import pytest
from pgvector import HalfVector
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pricing_platform import diagnosis
from pricing_platform.errors import PlatformError
from pricing_platform.retrieval.reconciliation import copy_rows
from pricing_platform.settings import Settings
from pricing_platform.stores.embedded_postgres import EmbeddedPostgres
from pricing_platform.stores.postgres import Postgres
from pricing_platform_tests.conftest import administer

ROLE = "shop app"
QUOTED = f'"{ROLE}"'


class Shop(NamedTuple):
    """A database, and how its administrator and the role of the platform connect to it."""

    name: str
    administrator: str
    role: str

    def run(self, *statements: str) -> None:
        """As its administrator."""
        with psycopg.connect(self.administrator) as connection:
            for statement in statements:
                connection.execute(statement)

    def told(self) -> PlatformError:
        """What the platform tells when it is to use the database for the first time."""
        with closing(Postgres(self.role)) as postgres, pytest.raises(PlatformError) as raised:
            postgres.migrate()
        return raised.value


@pytest.fixture
def shop(postgres_server: EmbeddedPostgres, empty_database: str) -> Iterator[Shop]:
    """An empty database; its role is no superuser, may create no database, and owns nothing."""
    ident = (postgres_server.folder / "data" / "pg_ident.conf").resolve()
    before = ident.read_text()
    system_users = {line.split()[1] for line in before.splitlines()}
    ident.write_text(before + "".join(f"platform {u} {QUOTED}\n" for u in system_users))
    administer(postgres_server, f"CREATE ROLE {QUOTED} LOGIN")
    administer(postgres_server, "SELECT pg_reload_conf()")
    name = str(conninfo_to_dict(empty_database)["dbname"])
    found = Shop(name, empty_database, make_conninfo(empty_database, user=ROLE))
    yield found
    found.run(f"DROP OWNED BY {QUOTED} CASCADE")
    administer(postgres_server, f"DROP ROLE {QUOTED}")
    ident.write_text(before)
    administer(postgres_server, "SELECT pg_reload_conf()")


def grants(shop: Shop) -> list[str]:
    return [
        f"GRANT CREATE ON DATABASE {shop.name} TO {QUOTED}",
        f"GRANT USAGE, CREATE ON SCHEMA public TO {QUOTED}",
    ]


def use_vectors(postgres: Postgres) -> None:
    """Casts, operators, an index and the binary protocol, by writers and readers alike."""
    vector = HalfVector([0.5] * 384)
    with postgres.connection() as connection:
        connection.execute("CREATE TEMP TABLE vectors (key text, embedding halfvec(384))")
        rows = [("a", vector), ("b", HalfVector([0.0] * 384))]
        copy = psycopg.sql.SQL("COPY vectors FROM STDIN (FORMAT BINARY)").format()
        copy_rows(connection, copy, ["text", "halfvec"], rows)
        connection.execute("CREATE INDEX ON vectors USING hnsw (embedding halfvec_cosine_ops)")
        found = connection.execute(
            "SELECT embedding <=> %s, '[1,2]'::halfvec FROM vectors WHERE key = 'a'", [vector]
        ).fetchone()
        assert found == (0.0, HalfVector([1, 2]))
        connection.rollback()
    assert postgres.frame("SELECT '[1,2]'::halfvec AS v").row(0) == ([1.0, 2.0],)


@pytest.mark.parametrize("search_path", ["DEFAULT", "''", '"$user", "Shop data", public'])
@pytest.mark.parametrize("schema", ["extensions", "Extension schema"])
def test_pgvector_is_found_in_a_schema_that_is_not_on_the_search_path(
    shop: Shop, schema: str, search_path: str
) -> None:
    shop.run(
        f'CREATE SCHEMA "{schema}"',
        f'CREATE EXTENSION vector SCHEMA "{schema}"',
        f'GRANT USAGE ON SCHEMA "{schema}" TO {QUOTED}',
        f"ALTER ROLE {QUOTED} IN DATABASE {shop.name} SET search_path = {search_path}",
        *grants(shop),
    )
    with closing(Postgres(shop.role)) as postgres:
        use_vectors(postgres)
        assert postgres.migrate() == []
        # A user's query finds what it would find in psql, and before pgvector.
        told = postgres.frame("SHOW search_path").item()
    assert told.startswith("" if search_path == "''" else search_path.removeprefix("DEFAULT"))
    assert told.endswith(f'"{schema}"' if " " in schema else schema)


def test_a_search_path_that_has_pgvector_is_left_as_it_is(shop: Shop) -> None:
    shop.run(
        "CREATE SCHEMA extensions",
        "CREATE EXTENSION vector SCHEMA extensions",
        f"GRANT USAGE ON SCHEMA extensions TO {QUOTED}",
        f"ALTER ROLE {QUOTED} IN DATABASE {shop.name} SET search_path = extensions, public",
        *grants(shop),
    )
    with closing(Postgres(shop.role)) as postgres:
        use_vectors(postgres)
        assert postgres.frame("SHOW search_path").item() == "extensions, public"


def test_a_schema_of_pgvector_that_may_not_be_used_is_named(shop: Shop) -> None:
    shop.run("CREATE SCHEMA extensions", "CREATE EXTENSION vector SCHEMA extensions", *grants(shop))
    error = shop.told()
    assert "pgvector in the schema extensions" in error.problem
    assert f"GRANT USAGE ON SCHEMA extensions TO {QUOTED}" in error.remedy
    shop.run(f"GRANT USAGE ON SCHEMA extensions TO {QUOTED}")
    with closing(Postgres(shop.role)) as postgres:
        use_vectors(postgres)


def test_what_an_administrator_has_to_run_is_told_at_once_and_suffices(shop: Shop) -> None:
    error = shop.told()
    assert f"its role {QUOTED}" in error.problem
    statements = error.remedy.removeprefix("Ask the server's administrator to run there: ")
    assert "CREATE EXTENSION vector;" in statements
    assert f"GRANT CREATE ON DATABASE {shop.name} TO {QUOTED};" in statements
    assert "SCHEMA public" in statements
    shop.run(*statements.rstrip(";").split("; "))
    with closing(Postgres(shop.role)) as postgres:
        use_vectors(postgres)


@pytest.mark.parametrize(
    ("taken", "advice"),
    [
        ("REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC", "GRANT TEMPORARY ON DATABASE"),
        ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public; GRANT USAGE, CREATE"),
        ("REVOKE ALL ON SCHEMA public FROM PUBLIC, {role}", "GRANT USAGE, CREATE ON SCHEMA public"),
    ],
)
def test_a_right_that_is_missing_is_told_before_anything_is_made(
    shop: Shop, taken: str, advice: str
) -> None:
    shop.run(
        "CREATE SCHEMA extensions",
        "CREATE EXTENSION vector SCHEMA extensions",
        f"GRANT USAGE ON SCHEMA extensions TO {QUOTED}",
        *grants(shop),
        taken.format(name=shop.name, role=QUOTED),
    )
    error = shop.told()
    assert advice in error.remedy
    assert "CREATE EXTENSION" not in error.remedy
    with psycopg.connect(shop.administrator) as connection:
        assert connection.execute("SELECT to_regnamespace('catalog')").fetchone() == (None,)


def test_a_schema_that_is_somebody_elses_is_told(shop: Shop) -> None:
    shop.run("CREATE EXTENSION vector", "CREATE SCHEMA catalog", *grants(shop))
    error = shop.told()
    assert 'schema "catalog" already exists' in error.problem
    assert "database of the platform's own" in error.remedy


def test_tables_of_another_role_are_told(shop: Shop) -> None:
    with closing(Postgres(shop.administrator)) as postgres:
        postgres.migrate()
    error = shop.told()
    assert "permission denied" in error.problem
    assert "role that made them" in error.remedy


def test_processes_that_come_together_create_the_extension_once(empty_database: str) -> None:
    def migrated(_: int) -> list[str]:
        with closing(Postgres(empty_database)) as postgres:
            return postgres.migrate()

    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(migrated, range(4)))
    assert sum(map(bool, applied)) == 1


def test_a_server_that_has_no_connection_left_is_told(shop: Shop) -> None:
    shop.run(f"ALTER ROLE {QUOTED} CONNECTION LIMIT 0")
    assert "has no connection left for us" in shop.told().problem


def test_the_doctor_tells_the_reason_once(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in ("_sources", "_encoder", "_language_model"):
        monkeypatch.setattr(diagnosis, part, lambda _settings: iter(()))
    shop.run("CREATE SCHEMA extensions", "CREATE EXTENSION vector SCHEMA extensions", *grants(shop))
    settings = Settings(home=tmp_path, postgres_url=shop.role)
    failed = diagnosis.diagnose(settings).filter(pl.col("status") == "failed")
    assert failed["subject"].to_list() == ["postgres"]
    assert "in the schema extensions" in failed["found"].item()
    assert "GRANT USAGE ON SCHEMA extensions" in failed["remedy"].item()
    shop.run(f"GRANT USAGE ON SCHEMA extensions TO {QUOTED}")
    found = diagnosis.diagnose(settings)
    assert found.filter(pl.col("status") == "failed").is_empty()
    assert {"postgres", "documents"} <= set(found["subject"])


def test_what_fails_when_a_connection_is_made_is_told_and_not_that_all_are_in_use(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run(
        "CREATE SCHEMA extensions",
        "CREATE EXTENSION vector SCHEMA extensions",
        f"GRANT USAGE ON SCHEMA extensions TO {QUOTED}",
        *grants(shop),
    )
    with closing(Postgres(shop.role)) as postgres:
        with postgres.connection():
            pass
        shop.run(
            f"REVOKE USAGE ON SCHEMA extensions FROM {QUOTED}",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'",
        )
        monkeypatch.setattr("pricing_platform.stores.postgres._CONNECT_SECONDS", 1)
        with (
            pytest.raises(PlatformError, match="in the schema extensions"),
            postgres.connection(),
        ):
            pass


def test_a_role_without_createdb_can_try_things_in_scratch_schemas(shop: Shop) -> None:
    shop.run("CREATE EXTENSION vector", *grants(shop))
    with closing(Postgres(shop.role)) as postgres:
        assert not postgres.frame("SELECT rolcreatedb FROM pg_roles WHERE rolname = user").item()
        with postgres.scratch() as scratch:
            use_vectors(scratch)
            assert scratch.frame("SELECT count(*) FROM knowledge.documents").item() == 0
