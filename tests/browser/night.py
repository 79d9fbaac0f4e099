"""An operator at the page while something breaks, and an oracle that looks at the rows beside it.

The stages are a real HTTP server that can be told to misbehave, the workers are real (in this process, or a process of
their own), and the page is read in Chromium. The oracle holds the page to its one promise: it is never green while a job
stands still.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from house import OPERATOR, page_alone

from line import Line, line, until
from patience import Watch
from pgbaton.web.access import Role, Tokens
from stage_server import Behaviour, work

STILL = 9.0
"""Seconds that a row may stand in a state that is not its end while the page is green: a census, a look, a hold."""
GREEN = 20.0
"""Seconds until the page is green again: two turns of a lease of 2 s, an answer that is nearly stale (5 s), the hold of
a finding (5 s), the answer after that (5 s)."""
ENDS = "(current_step, status) = ('glue', 'done') OR status IN ('cancelled', 'failed')"


@dataclass
class Night:
    """The line, the page on it, and what the oracle saw."""

    craft: Line
    page: Any
    lies: list[str] = field(default_factory=list)
    oracle: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while the oracle looks."""

    async def prime(self, jobs: int = 45) -> None:
        """Let so many jobs pass, so that what is usual is known."""
        await self.craft.add_many(jobs)
        await self.craft.until_settled(30)

    async def says(self, text: str | re.Pattern[str], seconds: float) -> str:
        """The page's text in that line, which must appear within so many seconds, by itself. A sentence may begin with
        fewer jobs and without its shares: ``text`` is to have all that is asserted of it."""
        return await self._shows("#findings li", text, seconds)

    async def press(self, text: str | re.Pattern[str], button: str) -> None:
        """A button beside the line that says so; where it asks for a reason first, none is given."""
        item = self.page.locator("#findings li").filter(has_text=text)
        words = f":has-text('{button}')"
        await item.locator(f"button{words}, a{words}, summary{words}").first.click()
        if button.startswith("Pause"):
            await item.locator("details[open] button").click()

    async def well(self, seconds: float = GREEN) -> None:
        """The page is green again, by itself, and says what was checked."""
        said = await self._shows("p#findings", "All is well", seconds)
        assert "Checked: counts" in said, said

    async def _shows(self, element: str, text: str | re.Pattern[str], seconds: float) -> str:
        item, watch = self.page.locator(element).filter(has_text=text).first, Watch()
        while not await item.count():
            said = await self.page.inner_text("#findings")
            assert watch.seconds < seconds, f"no {text!r} within {seconds} s; the page said: {said}"
            await asyncio.sleep(0.05)
        return " ".join((await item.inner_text()).split())

    async def watch(self) -> None:
        """The oracle. What it reads of the rows is older than what it reads of the page: a lie is one for sure."""
        self.oracle.set()
        while True:
            await self.oracle.wait()
            still = await self.craft.db.fetchval(
                f"SELECT count(*) FROM jobs WHERE NOT coalesce({ENDS}, false) "
                "AND updated_at < clock_timestamp() - make_interval(secs => $1)",
                STILL,
            )
            with suppress(Exception):  # the page is between two of its states
                said = await self.page.inner_text("#findings", timeout=500)
                if still and "All is well" in said:
                    self.lies.append(f"{still} rows stand still, and the page says: {said}")
            await asyncio.sleep(0.2)

    @asynccontextmanager
    async def worker_process(self, folder: Path, **changes: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A worker in a process of its own. ``changes``: of the pipeline's file."""
        pipeline = self.craft.pipeline.model_dump(mode="json", exclude_defaults=True) | changes
        stages = pipeline.pop("stages")
        lines = ["[pipeline]", *(f'{k} = "{v}"' for k, v in pipeline.items() if isinstance(v, str))]
        for stage in stages:
            lines += ["[[pipeline.stage]]"]
            lines += [f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in stage.items()]
        lines += ["[worker]", "lease = 2", "poll = 0.5", "reconnect_delay = 0.2"]
        file = folder / f"worker-{time.monotonic_ns()}.toml"
        file.write_text("\n".join(lines), encoding="utf-8")
        command = Path(sys.executable).parent / "pgbaton"
        environment = os.environ | {"DATABASE_URL": self.craft.dsn}
        process = await asyncio.create_subprocess_exec(
            command, "run", "--config", file, env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await until(lambda: self.alive(process.pid), "the worker is alive")
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.terminate()
            await process.wait()

    async def alive(self, pid: int) -> bool:
        query = "SELECT EXISTS (SELECT FROM pgbaton.workers AS w WHERE w.name LIKE '%:' || $1 AND pgbaton.alive(w))"
        return bool(await self.craft.db.fetchval(query, str(pid)))


@asynccontextmanager
async def night(
    cluster: Any, template: str, browser: Any, behave: Behaviour = work, **changes: Any
) -> AsyncIterator[Night]:
    """A line on a database of its own, the page on it in a browser, and the oracle beside both."""
    async with (
        cluster.new_database(template) as dsn,
        line(dsn, behave, **changes) as craft,
        page_alone(dsn) as base,
    ):
        context = await browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
        session = Tokens(OPERATOR, "viewer-token-of-the-tests").begin(Role("operator"))
        await context.add_cookies([{"name": "pgbaton_session", "value": session, "url": f"{base}/"}])
        page = await context.new_page()
        page.set_default_timeout(15_000)
        await page.goto(f"{base}/")
        there = Night(craft, page)
        watching = asyncio.create_task(there.watch())
        try:
            yield there
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await context.close()
        assert there.lies == []
