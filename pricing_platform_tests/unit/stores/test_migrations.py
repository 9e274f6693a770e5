"""The schema's migrations: each applied once, all or none."""

from __future__ import annotations

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.stores.migrations import is_current, migrate, migration_files
from pricing_platform.stores.postgres import Postgres


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations that need no extension."""
    (tmp_path / "0001_first.sql").write_text("-- One.\nCREATE TABLE first (value int);\n")
    (tmp_path / "0002_second.sql").write_text(
        "-- Two.\nCREATE TABLE second (value int); INSERT INTO second VALUES (1), (2);\n"
        "COMMENT ON TABLE second IS 'Has : and % in it';\n"
    )
    return tmp_path


def count(database: str, table: str) -> int:
    with psycopg.connect(database) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def test_files_are_applied_in_order_and_once(empty_database: str, folder: Path) -> None:
    def connect() -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(empty_database)

    assert migrate(connect, folder) == ["0001_first", "0002_second"]
    assert count(empty_database, "second") == 2
    assert migrate(connect, folder) == []
    (folder / "0003_third.sql").write_text("-- Three.\nINSERT INTO first VALUES (1);\n")
    with connect() as connection:
        assert not is_current(connection, folder)
    assert migrate(connect, folder) == ["0003_third"]
    assert count(empty_database, "first") == 1
    with connect() as connection:
        assert is_current(connection, folder)


def test_one_that_fails_leaves_nothing(empty_database: str, folder: Path) -> None:
    (folder / "0003_third.sql").write_text("-- Three.\nINSERT INTO nowhere VALUES (1);\n")
    with pytest.raises(psycopg.errors.UndefinedTable, match="nowhere"):
        migrate(lambda: psycopg.connect(empty_database), folder)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT to_regclass('first')").fetchone() == (None,)
        assert not is_current(connection, folder)


def test_processes_that_come_together_apply_each_once(empty_database: str, folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        applied = list(
            pool.map(lambda _: migrate(lambda: psycopg.connect(empty_database), folder), range(4))
        )
    assert sorted(map(len, applied)) == [0, 0, 0, 2]
    assert count(empty_database, "second") == 2


def test_a_schema_from_the_future_is_refused(empty_database: str, folder: Path) -> None:
    migrate(lambda: psycopg.connect(empty_database), folder)
    (folder / "0002_second.sql").unlink()
    with pytest.raises(PlatformError, match=r"newer version of the platform \(0002_second\)"):
        migrate(lambda: psycopg.connect(empty_database), folder)


def test_the_users_own_alembic_is_left_alone(empty_database: str, folder: Path) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('1975ea83b712')")
    assert migrate(lambda: psycopg.connect(empty_database), folder) == ["0001_first", "0002_second"]
    with psycopg.connect(empty_database) as connection:
        assert is_current(connection, folder)
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [("1975ea83b712",)]


def test_a_record_of_these_files_in_the_default_table_counts(
    empty_database: str, folder: Path
) -> None:
    migrate(lambda: psycopg.connect(empty_database), folder)
    with psycopg.connect(empty_database) as connection:
        connection.execute("ALTER TABLE pricing_platform_version RENAME TO alembic_version")
        assert not is_current(connection, folder)
    assert migrate(lambda: psycopg.connect(empty_database), folder) == []
    with psycopg.connect(empty_database) as connection:
        assert is_current(connection, folder)


def test_nothing_is_logged_where_nothing_is_applied(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert postgres.migrate() == []
    assert not [record for record in caplog.records if "psycopg.pool" not in record.name]


def test_the_shipped_migrations_describe_every_table_and_column(postgres: Postgres) -> None:
    silent = postgres.frame(
        "SELECT c.relname, a.attname FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'catalog'"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relkind = 'r' AND (col_description(c.oid, a.attnum) IS NULL"
        " OR obj_description(c.oid) IS NULL)"
    )
    assert silent.is_empty()


def test_migrations_are_numbered_without_a_gap(tmp_path: Path) -> None:
    numbers = [int(path.stem.split("_")[0]) for path in migration_files()]
    assert numbers == list(range(1, len(numbers) + 1))
    shutil.copy(migration_files()[0], tmp_path / "notes.sql")
    assert migration_files(tmp_path) == []
