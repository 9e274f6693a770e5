"""The Dagster instance of a home: its folder, its configuration, its port.

Here belongs what lies around a run. What a run materializes does not.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import dagster as dg

from pricing_platform.errors import PlatformError
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import make_folder


def prepare_instance(settings: Settings) -> Path:
    """Puts the instance's configuration into the home and returns DAGSTER_HOME."""
    make_folder(settings.dagster_folder)
    shutil.copyfile(_configuration(), settings.dagster_folder / "dagster.yaml")
    return settings.dagster_folder


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The home's instance."""
    with dg.DagsterInstance.from_config(str(prepare_instance(settings))) as instance:
        yield instance


def require_free_port(port: int) -> None:
    """Refuses a port on which something else listens.

    Raises:
        PlatformError: naming the port and how to choose another.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise PlatformError(
                f"Port {port} on 127.0.0.1 cannot be used: {error}.",
                "Choose another: pricing-platform ui --port 3001.",
            ) from None


def delete_home(settings: Settings) -> None:
    """Stops the embedded Postgres and deletes the home.

    Raises:
        PlatformError: when the folder does not look like a home of the platform.
    """
    from pricing_platform.stores.embedded_postgres import EmbeddedPostgres

    home = settings.home_folder
    if not home.exists():
        return
    expected = {"warehouse.duckdb", "postgres", "checkpoints", "cache", "reports", "dagster"}
    if not expected & {path.name for path in home.iterdir()}:
        raise PlatformError(
            f"{home} holds nothing that the platform made, so it is left alone.",
            "Set PRICING_HOME to the home that is to be deleted.",
        )
    if settings.postgres_folder.exists():
        EmbeddedPostgres(settings.postgres_folder).delete()
    shutil.rmtree(home)


def _configuration() -> Path:
    """dagster.yaml: inside an installed wheel, or at the top of a checkout."""
    installed = Path(str(files("pricing_platform"))) / "dagster.yaml"
    return installed if installed.exists() else installed.parents[1] / "dagster.yaml"
