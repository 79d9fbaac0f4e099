"""The processes around a contestant, each of them one of these:

    python -m benchmarks.child describe NAME           its label and so on, as JSON
    python -m benchmarks.child install NAME DSN        make its tables
    python -m benchmarks.child add NAME DSN COUNT      put jobs in, many at once
    python -m benchmarks.child trickle NAME DSN URL COUNT   add jobs one by one, at a low rate; prints, as JSON, when
                                                       each was committed
    python -m benchmarks.child work NAME DSN URL       be its engine

A process for each, so that nobody's memory, imports or loop are anybody else's.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import random
import sys
from time import monotonic

from benchmarks.contestants import contestant
from benchmarks.contestants.base import Caller, Contestant
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


async def trickle(who: Contestant, dsn: str, url: str, count: str) -> None:
    added: dict[str, float] = {}
    caller = Caller(url)
    async with who.adding(dsn) as put:
        for key in new_keys(int(count)):
            await asyncio.sleep(random.uniform(*who.gap))
            await put([key])
            added[key] = monotonic()
            await who.follow(caller, key)
    print(json.dumps(added))


async def work(who: Contestant, dsn: str, url: str) -> None:
    await who.work(dsn, url)


def main() -> None:
    import uvloop

    what, name, *rest = sys.argv[1:]
    doing = {"describe": describe, "install": install, "add": add, "trickle": trickle, "work": work}[what]
    uvloop.run(doing(contestant(name), *rest))  # type: ignore[operator]


if __name__ == "__main__":
    main()
