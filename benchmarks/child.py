"""The processes around a contestant, each of them one of these:

    python -m benchmarks.child describe NAME           its label and so on, as JSON
    python -m benchmarks.child install NAME DSN        make its tables
    python -m benchmarks.child add NAME DSN COUNT      put jobs in, many at once
    python -m benchmarks.child work NAME DSN URL       be its engine

A process for each, so that nobody's memory, imports or loop are anybody else's.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys

from benchmarks.contestants import contestant
from benchmarks.contestants.base import Contestant
from benchmarks.jobs import chunks, new_keys


async def describe(who: Contestant) -> None:
    version = importlib.metadata.version(who.package) if who.package else None
    print(json.dumps({"label": who.label, "version": version, "jobs": who.jobs, "waiting": who.waiting}))


async def install(who: Contestant, dsn: str) -> None:
    await who.install(dsn)


async def add(who: Contestant, dsn: str, count: str) -> None:
    async with who.adding(dsn) as put:
        for keys in chunks(new_keys(int(count))):
            await put(keys)


async def work(who: Contestant, dsn: str, url: str) -> None:
    await who.work(dsn, url)


def main() -> None:
    import uvloop

    what, name, *rest = sys.argv[1:]
    doing = {"describe": describe, "install": install, "add": add, "work": work}[what]
    uvloop.run(doing(contestant(name), *rest))  # type: ignore[operator]


if __name__ == "__main__":
    main()
