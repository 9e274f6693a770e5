"""The Dagster instance of a home: its folder, its configuration, its port.

Here belongs what lies around a run. What a run materializes does not.
"""

from __future__ import annotations

import fcntl
import filecmp
import hashlib
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import dagster as dg
import yaml

from pricing_platform.errors import PlatformError
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import make_folder

BUILD_LOCK = "build.lock"
IN_PROCESS = {"pricing/executed": "in process"}
"""The tag of runs that live and die with the process that holds the home's lock."""

_WRITTEN_CONFIGURATION = ".dagster.yaml.sha256"
_IN_PROCESS_CONFIGURATION = "in_process.yaml"
# To capture what a step writes takes four processes a step, two of which tell of a Ctrl-C with a
# traceback; and what is written to a terminal is seen there.
_NO_CAPTURE = """
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


def prepare_instance(settings: Settings) -> Path:
    """Puts the instance's configuration into the home and returns DAGSTER_HOME.

    One that a user has changed stays as it is: beside it stands the hash of what was put there.
    """
    folder = settings.dagster_folder
    make_folder(folder)
    file, written = folder / "dagster.yaml", folder / _WRITTEN_CONFIGURATION
    shipped = _configuration().read_bytes()
    known = written.read_text(encoding="utf-8") if written.is_file() else _sha256(shipped)
    if not file.exists() or _sha256(file.read_bytes()) == known:
        file.write_bytes(shipped)
        written.write_text(_sha256(shipped), encoding="utf-8")
    return folder


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The home's instance, for a run in this process."""
    folder = prepare_instance(settings)
    configured = yaml.safe_load((folder / "dagster.yaml").read_text(encoding="utf-8")) or {}
    changed = configured | yaml.safe_load(_NO_CAPTURE)
    (folder / _IN_PROCESS_CONFIGURATION).write_text(yaml.safe_dump(changed), encoding="utf-8")
    with dg.DagsterInstance.from_config(str(folder), _IN_PROCESS_CONFIGURATION) as instance:
        yield instance


@contextmanager
def only_build(settings: Settings, instance: dg.DagsterInstance) -> Iterator[None]:
    """Holds the home for one build, after ending the runs that a killed one left as started.

    Such runs would count as going on for ever, and the UI would start no other beside them.

    Raises:
        PlatformError: when another build of this home goes on.
    """
    make_folder(settings.home_folder)
    with (settings.home_folder / BUILD_LOCK).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise PlatformError(
                f"Another build of {settings.home_folder} goes on, as process {lock.read()}.",
                "Wait until it has ended, or give this one a home of its own with PRICING_HOME.",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        _end_abandoned_runs(instance)
        yield


def _end_abandoned_runs(instance: dg.DagsterInstance) -> None:
    """Only the holder of the home's lock has runs in its own process that go on."""
    unfinished = [
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ]
    for run in instance.get_runs(dg.RunsFilter(statuses=unfinished, tags=IN_PROCESS)):
        instance.report_run_failed(run, "Its process was killed before the run had ended.")


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


def delete_home(settings: Settings) -> list[Path]:
    """Stops the embedded Postgres and deletes what the platform has made in the home.

    Whatever else stands there is left: a home may be a folder that holds other things too.

    Returns:
        What was left; the home itself is deleted when there is nothing.

    Raises:
        PlatformError: when the folder does not look like a home of the platform.
    """
    from pricing_platform.stores.embedded_postgres import EmbeddedPostgres

    home = settings.home_folder
    if not home.exists():
        return []
    if not _is_a_home(settings):
        raise PlatformError(
            f"{home} holds nothing that the platform made, so it is left alone.",
            "Set PRICING_HOME to the home that is to be deleted.",
        )
    if _postgres_lock(settings).is_file():
        EmbeddedPostgres(settings.postgres_folder).delete()
    for path in _made_in_the_home(settings):
        _delete(path)
    left = sorted(home.iterdir())
    if not left:
        home.rmdir()
    return left


def _is_a_home(settings: Settings) -> bool:
    """Whether a file stands there that only we make; folders of our names may be anybody's."""
    dagsters = settings.dagster_folder / "dagster.yaml"
    return (
        settings.warehouse_path.is_file()
        or _postgres_lock(settings).is_file()
        or (settings.dagster_folder / _WRITTEN_CONFIGURATION).is_file()
        or (dagsters.is_file() and filecmp.cmp(dagsters, _configuration(), shallow=False))
    )


def _postgres_lock(settings: Settings) -> Path:
    return settings.postgres_folder / "holders"


def _made_in_the_home(settings: Settings) -> list[Path]:
    """All but the data of Postgres, which its server deletes when it has stopped."""
    warehouse = settings.warehouse_path
    return [
        warehouse,
        warehouse.with_name(f"{warehouse.name}.wal"),
        settings.checkpoints_folder,
        settings.cache_folder,
        settings.reports_folder,
        settings.dagster_folder,
        settings.home_folder / BUILD_LOCK,
    ]


def _delete(path: Path) -> None:
    """Deletes a file, a folder, or a link and not what it points at."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _configuration() -> Path:
    return Path(str(files("pricing_platform"))) / "dagster.yaml"
