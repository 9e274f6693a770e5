"""DuckDB and Postgres as resources."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pricing_platform.resources.configured import ConfiguredResource
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse


class WarehouseResource(ConfiguredResource):
    """The DuckDB warehouse of the home."""

    def open(self) -> Warehouse:
        """The warehouse, its schema up to date; no connection stays open."""
        warehouse = Warehouse.from_settings(self.settings())
        warehouse.create_schema()
        return warehouse


class PostgresResource(ConfiguredResource):
    """The Postgres named in the settings, or the embedded one."""

    @contextmanager
    def open(self) -> Iterator[Postgres]:
        """The migrated server; its pool is closed at the end."""
        postgres = Postgres.from_settings(self.settings())
        try:
            postgres.migrate()
            yield postgres
        finally:
            postgres.close()
