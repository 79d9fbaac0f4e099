"""Two groups of workers, as processes, started and stopped by the number that pgbaton gives, as KEDA does: from zero and back,
with nothing but that number to tell that jobs wait."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import Process
from contextlib import suppress
from pathlib import Path

from command import start
from line import Line, line, until

GROUPS = {"cut": 2, "glue": 3}
"""Stages of two groups, and how many workers each may have at most."""
CAPACITY = 4


class Scaler:
    """Asks like KEDA's scaler, with rights to read only; it hears of no job by itself."""

    def __init__(self, on: Line, folder: Path) -> None:
        self._on = on
        self._file = folder / "pgbaton.toml"
        self._file.write_text(
            '[pipeline]\nname = "craft"\ntable = "public.jobs"\nkey = "job_id"\ntenant = "tenant_id"\n'
            'step = "current_step"\nstatus = "status"\nchannel = "job_state_changed"\n'
            f'base_url = "{on.server.base_url}"\n[worker]\ncapacity = {CAPACITY}\nlease = 1\n'
            '[[pipeline.stage]]\nstep = "cut"\nafter = "made"\npath = "/cut"\n'
            '[[pipeline.stage]]\nstep = "glue"\nafter = "cut"\npath = "/glue"\n'
        )
        self.processes: dict[str, list[Process]] = {stage: [] for stage in GROUPS}
        self.most = dict.fromkeys(GROUPS, 0)
        self.codes: list[int | None] = []
        self.stopped = False

    async def run(self) -> None:
        while not self.stopped:
            for stage in GROUPS:
                await self._scale(stage)
            await asyncio.sleep(0.1)

    async def _scale(self, stage: str) -> None:
        async with self._on.db.acquire() as db, db.transaction(readonly=True):
            query = "SELECT pgbaton.workers_wanted('craft', ARRAY[$1], $2, 1)"
            wanted = min(await db.fetchval(query, stage, CAPACITY), GROUPS[stage])
        have = self.processes[stage]
        while len(have) < wanted:
            have.append(await start("run", "--config", str(self._file), "--stages", stage, dsn=self._on.dsn))
        self.most[stage] = max(self.most[stage], len(have))
        while len(have) > wanted:
            await self._drain(have.pop())

    async def _drain(self, process: Process) -> None:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            await process.communicate()
        self.codes.append(process.returncode)

    async def end(self) -> None:
        for process in [p for have in self.processes.values() for p in have]:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    async def at_zero(self) -> bool:
        return not any(self.processes.values())


async def test_groups_go_to_zero_and_come_back_and_no_job_is_lost_or_called_twice(
    database: str, tmp_path: Path
) -> None:
    async with line(database) as on:
        scaler = Scaler(on, tmp_path)
        scaling = asyncio.create_task(scaler.run())
        try:
            for done in (20, 40):
                assert await scaler.at_zero()
                await on.add_many(20)  # no worker listens
                await on.until_settled(30)
                await until(scaler.at_zero, "no worker is left", 20)
                assert len(on.server.calls) == 2 * done, "each job once at each stage"
            assert all(scaler.most.values()), "each group had workers of its own"
            assert set(scaler.codes) <= {0, -signal.SIGTERM}, "each drained, or was told to end before it had begun"
        finally:
            scaler.stopped = True  # not cancelled: it may be starting a process
            await asyncio.wait([scaling])
            await scaler.end()
