"""The naive listener: on every notification a new task, a new connection to look the row up, a new HTTP client.

It sees nothing that was there before it listened, so its jobs come when it does.
"""

from __future__ import annotations

import asyncio
import json

import asyncpg
import httpx

from benchmarks.contestants.base import Contestant, session
from benchmarks.jobs import ENTRY, STEPS

TRIGGER = """
CREATE FUNCTION notify_job_state_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('job_state_changed', json_build_object(
        'job_id', NEW.job_id, 'current_step', NEW.current_step, 'status', NEW.status,
        'tenant_id', NEW.tenant_id, 'updated_at', NEW.updated_at)::text);
    RETURN NEW;
END
$$;
CREATE TRIGGER job_state_change_trigger AFTER INSERT OR UPDATE ON jobs
    FOR EACH ROW EXECUTE FUNCTION notify_job_state_change();
"""
NEXT = dict(zip((ENTRY, *STEPS), STEPS, strict=False))


class Naive(Contestant):
    name = "naive"
    label = "the naive listener"
    jobs = 40
    waiting = False
    gap = (0.3, 0.4)  # five of its hops take a tenth of a second

    async def install(self, dsn: str) -> None:
        async with session(dsn) as db:
            await db.execute(TRIGGER)

    async def work(self, dsn: str, url: str) -> None:
        tasks: set[asyncio.Task[None]] = set()

        def hear(_connection: object, _pid: int, _channel: str, payload: str) -> None:
            event = json.loads(payload)
            if event["status"] == "done" and event["current_step"] in NEXT:
                task = asyncio.create_task(react(dsn, url, event))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        async with session(dsn) as db:
            await db.add_listener("job_state_changed", hear)
            print("listening", flush=True)
            await asyncio.Event().wait()


async def react(dsn: str, url: str, event: dict[str, str]) -> None:
    db = await asyncpg.connect(dsn)
    try:
        row = await db.fetchrow("SELECT current_step, status FROM jobs WHERE job_id = $1", event["job_id"])
    finally:
        await db.close()
    if row and (row["current_step"], row["status"]) == (event["current_step"], "done"):
        body = {"job_id": event["job_id"], "tenant_id": event["tenant_id"]}
        async with httpx.AsyncClient(timeout=60) as client:
            (await client.post(f"{url}/{NEXT[event['current_step']]}", json=body)).raise_for_status()
