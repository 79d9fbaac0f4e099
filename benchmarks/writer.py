"""The trigger's cost to a writer: transactions a second of single-row UPDATEs against a table without it.

The writer is pgbench, prepared statements, one UPDATE a transaction; each client has rows of its own. A worker runs
beside it and calls a stage that never answers: after 64 calls its hands are full, so it listens and is awake, and
does not take the cores that the writer is measured on.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.contestants import NAMES
from benchmarks.contestants.base import session
from benchmarks.ground import Ground
from benchmarks.processes import Child, ChildFailed, die_with_parent
from benchmarks.stage_server import StageServer

CLIENTS = (1, 8, 32)
ROWS = 1000
"""Rows of each client."""
SECONDS = 2
SETTLE = 5.0
"""Seconds that a new worker has to come to rest: it looks at everything at once when it begins."""
NO_TRIGGER = "limit"
"""The contestant that puts nothing on the table."""
ONE_INSERT = "one insert"
"""A yardstick: the least that a trigger can do which writes anything down. No program reads it."""
VARIANTS = (NO_TRIGGER, ONE_INSERT, "pgbaton", "pgbaton-channel")

NOTES = """
CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job_id uuid, step text, status text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO notes (job_id, step, status) VALUES (NEW.job_id, NEW.current_step, NEW.status);
    RETURN NULL;
END
$$;
CREATE TRIGGER note AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION note();
"""

KEY = "lpad(to_hex({}::int), 32, '0')::uuid"
FILL = (
    f"INSERT INTO jobs SELECT {KEY.format('n')}, 'acme', 's0', 'kept' FROM generate_series(1, {ROWS * max(CLIENTS)}) n"
)
MIXES: Mapping[str, tuple[str, str]] = {
    # nothing is due before or after: only the trigger's own cost
    "nothing due": ("", "status = CASE status WHEN 'kept' THEN 'held' ELSE 'kept' END"),
    # every update comes to a routed state, or leaves one
    "each one matters": (
        "UPDATE jobs SET current_step = 's4', status = 'done'",
        "current_step = CASE current_step WHEN 's4' THEN 's5' ELSE 's4' END",
    ),
    # running, done, running, done, from step to step, as stages write
    "running, done": (
        "",
        """current_step = CASE status WHEN 'running' THEN current_step
                       ELSE 's' || (right(current_step, 1)::int + 1) % 6 END,
        status = CASE status WHEN 'running' THEN 'done' ELSE 'running' END""",
    ),
}
"""The SQL that brings the table into the mix's first state, and the columns that an UPDATE sets; in this order, on one
table."""
NOTHING = "nothing due"
MATTERS = "each one matters"


@dataclass
class Writing:
    """Transactions a second, one figure a round, by variant, mix and number of clients."""

    tps: dict[tuple[str, str, int], list[float]] = field(default_factory=dict)


async def write(ground: Ground, dsn: str, sets: str, clients: int, seconds: float = SECONDS) -> float:
    """pgbench's transactions a second."""
    script = ground.folder / "update.sql"
    script.write_text(
        f"\\set n :client_id * {ROWS} + random(1, {ROWS})\n"
        f"UPDATE jobs SET {' '.join(sets.split())}, updated_at = now() WHERE job_id = {KEY.format(':n')};\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(ground.programs / "pgbench", "--no-vacuum", "--protocol=prepared", f"--file={script}"),
        *(f"--client={clients}", f"--time={seconds:g}", dsn),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=die_with_parent,
    )
    said = (await process.communicate())[0].decode()
    found = re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)
    if found is None:
        raise ChildFailed(f"pgbench: {' '.join(said.split())[-300:]} (exit code {process.returncode})")
    return float(found[1])


@asynccontextmanager
async def database(ground: Ground, variant: str) -> AsyncIterator[str]:
    """An empty jobs table with that variant's trigger; gives the DSN."""
    async with ground.database(NO_TRIGGER if variant == ONE_INSERT else variant) as dsn:
        if variant == ONE_INSERT:
            async with session(dsn) as db:
                await db.execute(NOTES)
        yield dsn


@asynccontextmanager
async def written(ground: Ground, variant: str) -> AsyncIterator[str]:
    """A database with the rows, and that variant's trigger and a worker, if it has them; gives the DSN."""
    async with database(ground, variant) as dsn, StageServer.on(ground, dsn) as stage, AsyncExitStack() as stack:
        async with session(dsn) as db:
            await db.execute(FILL)
        if variant in NAMES and variant != NO_TRIGGER:
            await idle_worker(ground, stack, variant, dsn, stage)
            await asyncio.sleep(SETTLE)
        yield dsn


async def idle_worker(ground: Ground, stack: AsyncExitStack, variant: str, dsn: str, stage: StageServer) -> Child:
    """A worker whose stage never answers, at work until ``stack`` is left."""
    worker = await stack.enter_async_context(
        Child.of(ground.log(), "child", "work", variant, dsn, f"{stage.url}/never")
    )
    await worker.line()
    return worker


async def measure(ground: Ground, rounds: int, say: Callable[[str], None]) -> Writing:
    found = Writing()
    for number in range(1, rounds + 1):
        for variant in VARIANTS:
            async with written(ground, variant) as dsn:
                for mix, (first, sets) in MIXES.items():
                    if first:
                        async with session(dsn) as db:
                            await db.execute(first)
                    tps = [await write(ground, dsn, sets, clients) for clients in CLIENTS]
                    for clients, figure in zip(CLIENTS, tps, strict=True):
                        found.tps.setdefault((variant, mix, clients), []).append(figure)
                    say(f"round {number}  writer, {mix:<16} {variant:<16} {shown(tps)}")
    return found


def shown(tps: Sequence[float]) -> str:
    return " / ".join(f"{figure:.0f}" for figure in tps) + " tps"
