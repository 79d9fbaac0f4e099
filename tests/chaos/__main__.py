"""The command behind ``make chaos``. Exit code: 0 every fault held, 1 one did not, 2 wrong usage."""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from chaos import report
from chaos.faults import FAULTS
from chaos.oracle import Verdict
from chaos.runner import machine, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", help="the dice of an earlier run")
    parser.add_argument("--faults", help="names, separated by commas; default: all")
    parser.add_argument("--report", type=Path, help="write the table there, as Markdown")
    parser.add_argument("--lanes", type=int, default=2, help="how many at a time (default: 2)")
    parser.add_argument("--list", action="store_true", help="name the faults and what they do")
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{fault.name:<28} {fault.what}" for fault in FAULTS.values()))
        return 0
    names = list(dict.fromkeys(given.faults.split(","))) if given.faults else list(FAULTS)
    if unknown := [name for name in names if name not in FAULTS]:
        parser.error(f"unknown fault {', '.join(unknown)}; there are: {', '.join(FAULTS)}")
    seed = given.seed or secrets.token_hex(4)
    print(f"seed {seed}", flush=True)
    logging.basicConfig(level=logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="pgbaton-chaos-"))
    folder.chmod(0o711)  # as root, the server runs as another user
    began = time.monotonic()
    try:
        verdicts = asyncio.run(_run(names, seed, folder, given.lanes))
    except (KeyboardInterrupt, asyncio.CancelledError):
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    print()
    text = report.markdown(verdicts, seed, time.monotonic() - began, machine())
    print(text)
    if given.report:
        given.report.write_text(text)
    for cluster in folder.glob("cluster-*"):
        shutil.rmtree(cluster, ignore_errors=True)
    if all(verdict.held for verdict in verdicts):
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    return 1


async def _run(names: list[str], seed: str, folder: Path, lanes: int) -> list[Verdict]:
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # leave nothing running
    verdicts = {}
    async for verdict in run([FAULTS[name] for name in names], seed, folder, lanes):
        verdicts[verdict.fault] = verdict
        print(report.line(verdict), flush=True)
        if not verdict.held:
            print(report.accusation(verdict, seed, str(folder / verdict.fault)), flush=True)
    return [verdicts[name] for name in names]


if __name__ == "__main__":
    sys.exit(main())
