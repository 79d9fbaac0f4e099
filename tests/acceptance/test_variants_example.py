"""examples/variants as it is written: variants of an ad, a bounded loop, an approval that a row may do without."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import asyncpg

from command import pgbaton, start
from line import until
from stage_server import Call, Say, StageServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "variants"


async def stages(server: StageServer, call: Call) -> Say:
    """Begins and ends by compare-and-set; rejects each round of a photo that is named so, and the first of another."""
    step, key = call.path.removeprefix("/"), int(call.job_id)
    table = "variants" if step == "draw" else "ads"
    async with server.pool.acquire() as conn, conn.transaction():
        photo = "good" if table == "variants" else await conn.fetchval("SELECT photo FROM ads WHERE id = $1", key)
        said = "done"
        if step == "plan":
            await conn.execute("DELETE FROM variants WHERE ad = $1", key)
            await conn.execute("INSERT INTO variants (ad) SELECT $1 FROM generate_series(1, 3)", key)
        if step == "choose":
            assert await conn.fetchval("SELECT count(*) FROM variants WHERE ad = $1 AND step = 'draw'", key) == 3
            rounds = sum(c.job_id == call.job_id for c in server.calls_to("/choose"))
            said = "rejected" if photo == "bad" or (photo == "second" and rounds < 2) else "done"
        await conn.execute(f"UPDATE {table} SET step = $2, status = 'running' WHERE id = $1", key, step)
        await conn.execute(f"UPDATE {table} SET status = $2 WHERE id = $1", key, said)
    return Say()


async def test_the_example_runs_as_it_is_written(database: str, tmp_path: Path) -> None:
    async with StageServer(database, {}, stages) as server, asyncpg.create_pool(database, min_size=1) as db:
        await db.execute((EXAMPLE / "tables.sql").read_text())
        workers = []
        for name in ("variants.toml", "ads.toml"):
            file = Path(shutil.copy(EXAMPLE / name, tmp_path))
            file.write_text(file.read_text().replace("http://127.0.0.1:8011", server.base_url))
            attached = await pgbaton("attach", "--config", str(file), dsn=database)
            assert (attached.code, attached.err) == (0, "")
            workers.append(await start("run", "--config", str(file), dsn=database))
        try:
            await db.execute(
                "INSERT INTO ads (photo, reviewed) VALUES ('good', true), ('bad', true), ('second', false)"
            )

            async def at(ad: int, *state: str) -> bool:
                return tuple(await db.fetchrow("SELECT step, status FROM ads WHERE id = $1", ad)) == state

            await until(lambda: at(1, "review", "waiting"), "the first waits for a person", 30)
            decided = await pgbaton("decide", "1", "approve", "--pipeline", "ads", dsn=database)
            assert (decided.code, decided.err) == (0, "")
            await until(lambda: at(1, "publish", "done"), "it is published", 30)
            await until(lambda: at(2, "choose", "given_up"), "the bad one is given up after two more rounds", 30)
            await until(lambda: at(3, "publish", "done"), "the second round's needs no person", 30)
        finally:
            for worker in workers:
                worker.kill()
            await asyncio.gather(*(worker.communicate() for worker in workers))
        calls = Counter((c.job_id, c.path) for c in server.calls if c.path != "/draw")
        assert [calls[ad, "/plan"] for ad in ("1", "2", "3")] == [1, 3, 2]
        assert [calls[ad, "/publish"] for ad in ("1", "2", "3")] == [1, 0, 1]
