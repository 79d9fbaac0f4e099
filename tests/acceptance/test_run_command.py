"""A worker as a process of its own: from an empty database to a finished job, and its end by signal, crash and refusal."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from command import Done, pgbaton, start, toml
from line import JOBS, line, two_stages, until
from pgbaton.install.script import pipeline_sql
from stage_server import Call, Say, StageServer, work


@asynccontextmanager
async def running(config: str, dsn: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker in a process of its own; killed at the end if it is still there."""
    worker = await start("run", "--config", config, *words, dsn=dsn)
    try:
        yield worker
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.communicate()


async def ended(worker: asyncio.subprocess.Process) -> tuple[int, str]:
    """The worker's exit code, and its log."""
    async with asyncio.timeout(15):
        _, err = await worker.communicate()
    assert worker.returncode is not None
    return worker.returncode, err.decode()


# -- from an empty database to a finished job -----------------------------------------------------


async def test_migrate_attach_run_is_all_that_it_takes(empty_database: str, tmp_path: Path) -> None:
    conn = await asyncpg.connect(empty_database)
    await conn.execute(JOBS)
    async with StageServer(empty_database, {"/cut": "cut", "/glue": "glue"}) as server:
        config = toml(tmp_path, two_stages(server.base_url))
        too_early = await pgbaton("attach", "--config", config, dsn=empty_database)
        assert (too_early.code, too_early.out) == (1, "")
        assert re.fullmatch(r"pgbaton: the schema pgbaton is at version 0, .*: run pgbaton migrate\n", too_early.err)
        for said in ("created the schema pgbaton, version 1", "the schema pgbaton is up to date, version 1"):
            assert await pgbaton("migrate", dsn=empty_database) == Done(0, f"{said}\n", "")
        await conn.execute("COMMENT ON SCHEMA pgbaton IS 'pgbaton protocol of another release'")
        replaced = await pgbaton("migrate", dsn=empty_database)
        assert replaced.out == "replaced the functions of the schema pgbaton, version 1, by those of this release\n"
        for done in ("attached craft to", "nothing changed: craft is attached to"):
            attached = await pgbaton("attach", "--config", config, "--database-url", empty_database)
            assert (attached.code, attached.err) == (0, "")
            assert f"\n{done} public.jobs: made → cut → glue\n" in attached.out
        await conn.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
        async with running(config, empty_database):
            at = "SELECT current_step || ' ' || status = 'glue done' FROM jobs"
            await until(lambda: conn.fetchval(at), "the job done")
        detached = await pgbaton("detach", "--config", config, dsn=empty_database)
        assert detached == Done(0, "detached craft from public.jobs\n", "")
        assert await conn.fetchval("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'job_state%'") == 0
    await conn.close()


async def test_the_printed_sql_is_what_migrate_and_attach_do(empty_database: str, tmp_path: Path) -> None:
    config = toml(tmp_path, two_stages())
    printed = await pgbaton("sql", "--config", config)
    assert printed == Done(0, pipeline_sql(two_stages()), "")
    conn = await asyncpg.connect(empty_database)
    await conn.execute(JOBS)
    await conn.execute(printed.out)
    await conn.execute("INSERT INTO jobs (current_step, status) VALUES ('made', 'done')")
    assert await conn.fetchval("SELECT stage || ' ' || state FROM pgbaton.dispatches") == "cut available"
    await conn.close()


# -- run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_worker_and_it_ends_well(
    database: str, tmp_path: Path, number: signal.Signals
) -> None:
    gate = asyncio.Event()

    async def wait_for_the_gate(server: StageServer, call: Call) -> Say:
        await gate.wait()
        return await work(server, call)

    async with line(database, wait_for_the_gate) as craft:
        job = await craft.add()
        async with running(toml(tmp_path, craft.pipeline), database, "--log-language", "ko") as worker:
            await craft.server.called.wait()
            worker.send_signal(number)
            draining = "SELECT bool_and(draining) FROM pgbaton.workers"
            await until(lambda: craft.db.fetchval(draining), "the worker draining")
            gate.set()
            code, log = await ended(worker)
        assert code == 0
        assert await craft.states(job) == [("cut", "completed"), ("glue", "available")]
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.workers WHERE ended_at IS NULL") == 0
        for said in ("리스너 연결", "파이프라인 단계 트리거", "파이프라인 단계 실행 성공", f"job_id={job}"):
            assert said in log
        assert "Traceback" not in log


async def test_a_worker_that_is_told_to_end_the_moment_it_has_a_lease_gives_it_back(
    database: str, tmp_path: Path
) -> None:
    async with line(database) as craft, craft.db.acquire() as conn:
        async with running(toml(tmp_path, craft.pipeline), database) as worker:
            while not await conn.fetchval("SELECT count(*) > 0 FROM pgbaton.workers"):
                await asyncio.sleep(0)
            worker.send_signal(signal.SIGTERM)
            code, log = await ended(worker)
        assert code == 0, log
        assert await conn.fetchval("SELECT count(*) FROM pgbaton.workers WHERE ended_at IS NULL") == 0


async def test_a_drain_that_runs_out_of_time_ends_well_too(database: str, tmp_path: Path) -> None:
    async def hang(server: StageServer, call: Call) -> Say:
        await asyncio.sleep(60)
        return Say()

    async with line(database, hang) as craft:
        await craft.add()
        async with running(toml(tmp_path, craft.pipeline), database, "--drain-timeout", "0.1") as worker:
            await craft.server.called.wait()
            worker.terminate()
            code, log = await ended(worker)
        assert (code, "Traceback" in log) == (0, False)
        assert await craft.states() == [("cut", "available")]


async def test_when_a_worker_is_killed_another_takes_over(database: str, tmp_path: Path) -> None:
    async def hang_once(server: StageServer, call: Call) -> Say:
        if call.attempt == 1 and call.path == "/cut":
            await asyncio.sleep(60)
        return await work(server, call)

    async with line(database, hang_once) as craft:
        config = toml(tmp_path, craft.pipeline, "[worker]\nlease = 1")
        job = await craft.add()
        async with running(config, database) as first:
            await craft.server.called.wait()
            first.kill()
            await first.wait()
            async with running(config, database):
                await craft.until_row(job, "glue", "done")
        assert [(a["attempt"], a["outcome"]) for a in await craft.attempts()][:2] == [(1, "lost"), (2, "completed")]
        first_call, second_call = craft.server.calls_to("/cut")
        assert first_call.idempotency_key == second_call.idempotency_key


async def test_a_worker_that_cannot_begin_says_why_and_ends(database: str, tmp_path: Path) -> None:
    config = toml(tmp_path, two_stages())
    refused = await pgbaton("run", "--config", config, dsn=database)
    assert refused.code == 1
    assert refused.err.endswith("pgbaton: the pipeline 'craft' is not attached to 'public.jobs': run pgbaton attach\n")


async def test_a_worker_of_its_own_is_watched_where_it_is_told_to(database: str, tmp_path: Path) -> None:
    async with line(database) as craft:
        config = toml(tmp_path, craft.pipeline)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = "{}:{}".format(*probe.getsockname())
        async with running(config, database, "--metrics", address), httpx.AsyncClient() as http:
            await until(lambda: _answers(http, f"http://{address}/readyz"), "the worker ready")
            await craft.until_row(await craft.add(), "glue", "done")
            answers = {path: await http.get(f"http://{address}{path}") for path in ("/healthz", "/metrics", "/else")}
            assert [a.status_code for a in answers.values()] == [200, 200, 404]
            assert (
                'pgbaton_stage_calls_started_total{database="",pipeline="craft",stage="glue"} 1.0'
                in answers["/metrics"].text
            )
            taken = await pgbaton("run", "--config", config, "--metrics", address, dsn=database)
            assert (taken.code, taken.out) == (1, "")
            assert taken.err == f"pgbaton: --metrics: cannot listen at {address}: Address already in use\n"
        wrong = await pgbaton("run", "--config", config, dsn=database, PGBATON_METRICS="9108")
        assert wrong == Done(1, "", "pgbaton: --metrics: must be host:port (it is '9108')\n")


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        return False
