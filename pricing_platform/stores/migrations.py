"""The Postgres schema: Alembic runs the files of ``sql/migrations``, each once, in their order.

A file's name begins with its revision, as in ``0002_knowledge.sql``; what it follows is the file
before it. Here belongs how the files become revisions; what they create stands in them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import psycopg

from pricing_platform.errors import PlatformError
from pricing_platform.settings import sql_folder

if TYPE_CHECKING:
    import sqlalchemy
    from alembic.script import Script
    from alembic.script.revision import RevisionMap

_VERSION_TABLE = "pricing_platform_version"  # alembic_version may be that of the user's own Alembic
_LOCK = 7_260_417_511  # any number, the same in every process
_log = logging.getLogger(__name__)


def migration_files(folder: Path | None = None) -> list[Path]:
    """The migrations, first to last."""
    return sorted((folder or sql_folder() / "migrations").glob("[0-9]*.sql"))


def is_current(connection: psycopg.Connection[Any], folder: Path | None = None) -> bool:
    """Whether the newest migration has been applied; costs one query and no import of Alembic."""
    # Not to_regclass, which fails where the role may not use the schema.
    found = connection.execute(
        "SELECT 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relname = %s",
        [_VERSION_TABLE],
    ).fetchone()
    if found is None:
        return False
    applied = connection.execute(f"SELECT version_num FROM public.{_VERSION_TABLE}").fetchone()
    return applied is not None and applied[0] == _revision(migration_files(folder)[-1])


def hold_migrations(connection: psycopg.Connection[Any]) -> None:
    """Lets nobody else change the schema until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def migrate(
    connect: Callable[[], psycopg.Connection[Any]], folder: Path | None = None
) -> list[str]:
    """Applies what has not been applied, all in one transaction, and returns the revisions.

    Processes that come at the same time wait for the first and find nothing left to do.

    Raises:
        PlatformError: when the database has a migration that is not among the files.
        psycopg.Error: when the database refuses a statement; nothing has been applied then.
    """
    import sqlalchemy
    from alembic.migration import MigrationContext
    from alembic.runtime.migration import RevisionStep
    from alembic.script.revision import RevisionError

    def pending(current: tuple[str, ...], _context: MigrationContext) -> list[RevisionStep]:
        revisions = _revision_map(connection, migration_files(folder))
        newest_first = revisions.iterate_revisions("heads", current or "base")
        steps = [RevisionStep(revisions, cast("Script", found), True) for found in newest_first]
        return steps[::-1]

    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=connect, poolclass=sqlalchemy.NullPool
    )
    applied: list[str] = []
    with _driver_errors(), engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        _take_over_default_table(connection, migration_files(folder))
        context = MigrationContext.configure(
            connection,
            opts={
                "fn": pending,
                "version_table": _VERSION_TABLE,
                "version_table_schema": "public",
                "on_version_apply": (lambda step, **_: applied.append(step.up_revision_id),),
            },
        )
        try:
            context.run_migrations()
        except RevisionError:
            raise PlatformError(
                "The Postgres schema was made by a newer version of the platform"
                f" ({', '.join(context.get_current_heads())}).",
                "Install that version, or name another database in PRICING_POSTGRES_URL.",
            ) from None
    if applied:
        _log.info("Applied the Postgres migrations %s.", ", ".join(applied))
    return applied


@contextmanager
def _driver_errors() -> Iterator[None]:
    """Raises psycopg's errors, as everything else does that asks Postgres."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise error.orig from None
        raise


def _take_over_default_table(connection: sqlalchemy.Connection, files: list[Path]) -> None:
    """Renames Alembic's default table where it is ours: one that names a revision of these files.

    Anybody else's is left as it is.
    """

    def can_be_read(table: str) -> bool:
        query = f"SELECT has_table_privilege(to_regclass('public.{table}'), 'SELECT')"
        return bool(connection.exec_driver_sql(query).scalar())

    if can_be_read(_VERSION_TABLE) or not can_be_read("alembic_version"):
        return
    applied = connection.exec_driver_sql("SELECT version_num FROM public.alembic_version").scalar()
    if applied in [_revision(path) for path in files]:
        connection.exec_driver_sql(f"ALTER TABLE public.alembic_version RENAME TO {_VERSION_TABLE}")


def _revision_map(connection: sqlalchemy.Connection, files: list[Path]) -> RevisionMap:
    """Alembic's revisions, each a module that runs its file, made here and not found on disk."""
    from alembic.script import Script
    from alembic.script.revision import RevisionMap

    def scripts() -> Iterator[Script]:
        for path, previous in zip(files, [None, *files], strict=False):
            text = path.read_text(encoding="utf-8")
            module = ModuleType(_revision(path), text.splitlines()[0])
            module.__dict__["down_revision"] = _revision(previous) if previous else None

            def upgrade(text: str = text) -> None:
                # A % in a file is a %, not the place of a parameter.
                connection.exec_driver_sql(text, execution_options={"no_parameters": True})

            module.__dict__["upgrade"] = upgrade
            yield Script(module, _revision(path), path)

    return RevisionMap(scripts)


def _revision(path: Path) -> str:
    return path.stem
