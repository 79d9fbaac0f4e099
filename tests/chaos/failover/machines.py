"""Three machines on a bridge: network namespaces, each with etcd, Patroni and Postgres."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

SERVER_USER = "postgres"
NEEDED = ("patroni", "patronictl", "etcd", "ip", "setpriv")
PORT = 5432
TTL, LOOP_WAIT, RETRY = 20, 1, 5
"""Seconds: how long a leader's key lives (as short as Patroni takes it), between Patroni's rounds, and how long etcd may
not answer; the defaults are 30, 10 and 10."""
OLDEST_PATRONI = 4
"""With 3.0.2, Debian 12's, a leader that came back after a partition took the key from its successor: in synchronous
mode, too, 298 acknowledged rows were gone."""


def cannot() -> str:
    """Why there can be no such cluster here; empty where there can."""
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing or binaries() is None:
        words = ", ".join(missing) or "a PostgreSQL server"
        return f"missing: {words}; apt install patroni etcd-server postgresql iproute2 util-linux"
    have = subprocess.run(["patroni", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    if int(have.split(".")[0]) < OLDEST_PATRONI:
        return f"Patroni {have} is too old; pip install 'patroni[etcd3]' 'psycopg[binary]', first in PATH"
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces are made by root on Linux only"
    return ""


def binaries() -> Path | None:
    """The newest server's programs from Debian's packages."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Machine:
    """One of the three. Its processes are those of its namespace."""

    def __init__(self, network: Network, number: int, folder: Path) -> None:
        self.name, self.namespace = f"n{number}", f"{network.name}-{number}"
        self.address = network.address(number)
        self._network, self._link = network, f"{network.name}.{number}"
        self.folder = folder / self.name
        self.log = self.folder / "patroni.log"
        self._read_to = 0
        self._started: list[subprocess.Popen[bytes]] = []

    def __repr__(self) -> str:
        return f"<Machine {self.name} {self.address}>"

    def prepare(self, config: dict[str, Any]) -> None:
        """Its folder, its configuration (JSON is YAML) and its place in the network."""
        self.folder.mkdir()
        (self.folder / "patroni.yml").write_text(json.dumps(config))
        user = pwd.getpwnam(SERVER_USER)
        for path in (self.folder, self.folder / "patroni.yml"):
            os.chown(path, user.pw_uid, user.pw_gid)
        (self.folder / "patroni.yml").chmod(0o600)
        run("ip", "netns", "add", self.namespace)
        run("ip", "link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        run("ip", "link", "set", self._link, "master", self._network.name, "up")
        for command in ("addr add {}/24 dev eth0", "link set eth0 up", "link set lo up"):
            run("ip", "-n", self.namespace, *command.format(self.address).split())

    def start(self, cluster: str) -> None:
        """Switch it on. ``cluster``: etcd's members."""
        peer, client = f"http://{self.address}:2380", f"http://{self.address}:2379"
        etcd = ["etcd", "--name", self.name, "--data-dir", str(self.folder / "etcd"), "--log-level", "error"]
        etcd += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster]
        etcd += ["--listen-client-urls", client, "--advertise-client-urls", client]
        self._spawn(etcd, self.folder / "etcd.log")
        self.start_agent()

    def start_agent(self) -> None:
        self._spawn(["patroni", str(self.folder / "patroni.yml")], self.log)

    def _spawn(self, command: list[str], log: Path) -> None:
        inside = ["ip", "netns", "exec", self.namespace, "setpriv", f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}"]
        inside += ["--init-groups", "--pdeathsig", "TERM", *command]
        with log.open("ab") as file:
            child = subprocess.Popen(inside, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=self.folder)
        self._started.append(child)

    @property
    def pids(self) -> list[int]:
        said = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False)
        return [int(pid) for pid in said.stdout.split()]

    @property
    def runs(self) -> bool:
        return bool(self.pids)

    def signal(self, number: signal.Signals, only: str = "") -> None:
        """Every process of the machine at once, or those whose command has ``only`` in it."""
        for pid in self.pids:
            with contextlib.suppress(OSError):
                if only in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "):
                    os.kill(pid, number)

    def kill(self) -> None:
        """The power goes off. A process that was forked meanwhile goes, too."""
        while self.runs:
            self.signal(signal.SIGKILL)
            self._started = [child for child in self._started if child.poll() is None]

    def cut_off(self, others: list[Machine]) -> None:
        """From other machines, while clients reach it."""
        for other in others:
            run("ip", "-n", self.namespace, "route", "add", "blackhole", f"{other.address}/32")

    def unplug(self) -> None:
        """From everybody."""
        run("ip", "link", "set", self._link, "down")

    def heal(self) -> None:
        run("ip", "link", "set", self._link, "up")
        run("ip", "-n", self.namespace, "route", "flush", "type", "blackhole")

    def remove(self) -> None:
        if Path("/run/netns", self.namespace).exists():
            self.heal()
            self.signal(signal.SIGCONT)
            self.kill()
            run("ip", "netns", "del", self.namespace)

    def complaints(self) -> list[str]:
        """Messages that a server must never write, since this was last asked."""
        with self.log.open("rb") as file:
            file.seek(self._read_to)
            lines = file.read().decode(errors="replace").splitlines()
            self._read_to = file.tell()
        return [f"{self.name}: {line}" for line in lines if "deadlock detected" in line or "PANIC" in line]


class Network:
    """The bridge that the machines hang on; an end of it is this machine's. A context manager."""

    def __init__(self, folder: Path) -> None:
        number = secrets.randbelow(250) + 1
        self.name = f"pgb{number}"
        self._prefix = f"10.203.{number}"
        self.machines = [Machine(self, n, folder) for n in (1, 2, 3)]

    def address(self, number: int) -> str:
        return f"{self._prefix}.{10 + number}"

    def __enter__(self) -> Network:
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "addr", "add", f"{self._prefix}.1/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for machine in self.machines:
            machine.remove()
        run("ip", "link", "del", self.name)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
