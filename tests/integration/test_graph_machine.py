"""Made-up graphs: each is refused with a sentence, or a real worker brings every row where a plain interpreter does."""

from __future__ import annotations

from typing import Any

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from graph_line import graph, told
from line import Line
from pgbaton import Engine, Pipeline
from pgbaton.install.attach import attach, detach
from stage_server import Call, StageServer
from support.graph_rules import Interpreter

STEPS = ("a", "b", "c", "d")
STATUSES = ("done", "rejected")
CONDITIONS = (None, None, "note = 'x'", "note is null", "note in ('x', 'y')", "note >= 'y'")
ENDS = [[step, "over"] for step in STEPS]

states = st.tuples(st.sampled_from(("made", *STEPS)), st.sampled_from(STATUSES))
bound = st.one_of(
    st.just({}), st.builds(lambda n, end: {"rounds": n, "then": end}, st.integers(1, 2), st.sampled_from(ENDS))
)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    """Stages and routes that may or may not make sense; most rows find a way."""
    steps = STEPS[: draw(st.integers(1, 4))]
    stages = []
    for number, step in enumerate(steps):
        after, status = (
            ("made", "done")
            if number == 0
            else draw(st.tuples(st.sampled_from(steps[:number]), st.sampled_from(STATUSES)))
        )
        stages.append(
            {"step": step, "path": f"/{step}", "after": after, "status": status, **draw(bound)}
            | draw(st.sampled_from(({}, {}, {"only": "note = 'x'"}, {"when": "note is not null"})))
        )
    routes = []
    for _ in range(draw(st.integers(0, 5))):
        after, status = draw(states)
        to = draw(st.one_of(st.sampled_from(steps), st.sampled_from(ENDS)))
        routes.append(
            {"after": after, "status": status, "to": to, **draw(bound)}
            | ({"when": when} if (when := draw(st.sampled_from(CONDITIONS))) else {})
        )
    return {"stages": stages, "route": routes}


def made(given_graph: dict[str, Any], base_url: str = "http://127.0.0.1:9") -> Pipeline | None:
    try:
        return graph(base_url=base_url, **given_graph)
    except ValidationError as error:
        (fault,) = error.errors()
        assert len(fault["msg"]) > 20
        return None


def says(step: str, nth: int) -> str:
    """Every stage rejects now and then, in a way that repeats."""
    return "rejected" if (nth + len(step) + ord(step)) % 3 == 0 else "done"


NOTES = ("x", "y", None)


@given(graphs())
@settings(max_examples=1500, deadline=None)
def test_a_graph_is_refused_or_every_row_comes_to_an_end(given_graph: dict[str, Any]) -> None:
    if pipeline := made(given_graph):
        for note in NOTES:
            for always in ("done", "rejected", None):
                says_so = says if always is None else lambda _step, _nth, word=always: word
                Interpreter(pipeline, {"note": note}, says_so, ("made", "done")).run()


async def test_a_worker_brings_every_row_where_the_interpreter_does(database: str) -> None:
    found: list[dict[str, Any]] = []

    @given(graphs().filter(lambda g: made(g) is not None and len(g["route"]) > 0))
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def gather(given_graph: dict[str, Any]) -> None:
        found.append(given_graph)

    gather()
    seen: dict[tuple[str, str], int] = {}

    def status_of(call: Call) -> str:
        key = (call.job_id, call.path)
        seen[key] = seen.get(key, 0) + 1
        return says(call.path.removeprefix("/"), seen[key])

    async with (
        StageServer(database, {f"/{s}": s for s in STEPS}, told(status_of)) as server,
        asyncpg.create_pool(database, min_size=1, max_size=4) as db,
    ):
        for given_graph in found:
            pipeline = made(given_graph, server.base_url)
            assert pipeline
            await _compare(database, db, server, pipeline)


async def _compare(dsn: str, db: asyncpg.Pool, server: StageServer, pipeline: Pipeline) -> None:
    async with db.acquire() as conn:
        await attach(conn, pipeline)
    craft = Line(dsn, server, pipeline, db)
    server.calls.clear()
    jobs = {}
    for note in NOTES:
        jobs[note] = str(
            await db.fetchval(
                "INSERT INTO jobs (current_step, status, note) VALUES ('made', 'done', $1) RETURNING job_id", note
            )
        )
    async with Engine(pipeline, craft.settings(poll=0.2)):
        for note, job in jobs.items():
            expected = Interpreter(pipeline, {"note": note}, says, ("made", "done"))
            end = expected.run()
            try:
                await craft.until_row(job, *end)
            except AssertionError:
                raise AssertionError(f"{pipeline.nodes} {note}: {await craft.row(job)}, not {end}") from None
            mine = [c.path.removeprefix("/") for c in server.calls if c.job_id == job]
            assert mine == expected.called
        await craft.until_settled()
    async with db.acquire() as conn:
        await detach(conn, pipeline)
        await conn.execute("DELETE FROM jobs; DELETE FROM pgbaton.rounds")
