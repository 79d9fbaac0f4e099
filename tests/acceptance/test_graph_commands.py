"""The commands of graphs: draw one, decide about a job that waits, send a link; what they refuse, and how."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from command import Done, pgbaton
from graph_line import graph_line, stage
from line import Line, until

SECRET = "s" * 32
GRAPH = """
[pipeline]
name = "craft"
table = "public.jobs"
key = "job_id"
step = "current_step"
status = "status"
base_url = "http://127.0.0.1:9"
[[pipeline.stage]]
step = "draw"
after = "made"
path = "/draw"
[[pipeline.route]]
after = "draw"
status = "rejected"
to = "draw"
rounds = 2
then = ["draw", "given_up"]
[[pipeline.route]]
after = "draw"
to = ["review", "waiting"]
[[pipeline.wait]]
at = ["review", "waiting"]
choices = { approve = ["review", "approved"], reject = ["review", "rejected"] }
deadline = "8h"
then = ["review", "rejected"]
"""
WAIT = {
    "at": ["review", "waiting"],
    "choices": {"approve": ["review", "approved"], "reject": ["review", "rejected"]},
}


@asynccontextmanager
async def waiting(dsn: str) -> AsyncIterator[tuple[Line, str]]:
    """A line with a job that waits for a person, and its key."""
    route = {"after": "draw", "to": ["review", "waiting"]}
    async with graph_line(dsn, [stage("draw", "made")], route=[route], wait=[WAIT]) as craft, craft.worker():
        job = await craft.add("review", "waiting")
        held = "SELECT count(*) = 1 FROM pgbaton.calls WHERE job_key = $1 AND deadline IS NOT NULL"
        await until(lambda: craft.db.fetchval(held, job), "it waits")
        yield craft, job


@pytest.mark.parametrize(
    ("form", "parts"),
    [
        ("mermaid", ("flowchart", "draw", "given_up", "approve")),
        ("dot", ("digraph", "draw", "given_up", "approve")),
        ("svg", ("<svg", "draw", "given_up", "</svg>")),
    ],
)
async def test_a_graph_is_drawn_without_a_database(tmp_path: Path, form: str, parts: tuple[str, ...]) -> None:
    (tmp_path / "pgbaton.toml").write_text(GRAPH)
    drawn = await pgbaton("graph", "--config", str(tmp_path / "pgbaton.toml"), "--as", form)
    assert (drawn.code, drawn.err) == (0, "")
    for part in parts:
        assert part in drawn.out


async def test_a_graph_that_cannot_be_is_refused_with_file_and_way(tmp_path: Path) -> None:
    file = tmp_path / "pgbaton.toml"
    file.write_text(GRAPH.replace('rounds = 2\nthen = ["draw", "given_up"]\n', ""))
    refused = await pgbaton("graph", "--config", str(file))
    assert (refused.code, refused.out) == (1, "")
    assert str(file) in refused.err
    assert "(made, done) → (draw, rejected) → (made, done)" in refused.err
    assert "rounds (how often)" in refused.err


async def test_a_job_is_decided_once_with_a_name_and_a_reason(database: str) -> None:
    async with waiting(database) as (craft, job):
        maybe = await pgbaton("decide", job, "maybe", dsn=database)
        assert maybe == Done(1, "", "pgbaton: 'maybe' is no choice at 'review'; there are: approve, reject\n")
        words = ("decide", job, "approve", "--reason", "fits the brand", "--as", "kim")
        assert await pgbaton(*words, dsn=database) == Done(0, f"{job}: approve\n", "")
        assert await craft.row(job) == ("review", "approved")
        again = await pgbaton("decide", job, "reject", dsn=database)
        assert again.code == 1
        assert "does not wait for a decision" in again.err
        audited = await craft.db.fetch("SELECT who, action, reason FROM pgbaton.audit")
        assert [tuple(entry) for entry in audited] == [("kim", "approve", "fits the brand")]


async def test_a_link_is_printed_for_a_job_that_waits_and_needs_a_secret(database: str) -> None:
    async with waiting(database) as (craft, job):
        words = ("link", job, "--to", "lee", "--hours", "1")
        for secret in ("", "short"):
            refused = await pgbaton(*words, dsn=database, PGBATON_LINK_SECRET=secret)
            assert (refused.code, refused.out) == (1, "")
            assert "PGBATON_LINK_SECRET: at least 32 bytes" in refused.err
        printed = await pgbaton(*words, dsn=database, PGBATON_LINK_SECRET=SECRET)
        assert (printed.code, printed.err) == (0, "")
        assert printed.out.startswith("decide?link=")
        assert SECRET not in printed.out
        await craft.put(job, "made", "withdrawn")
        late = await pgbaton(*words, dsn=database, PGBATON_LINK_SECRET=SECRET)
        assert (late.code, late.out) == (1, "")
        assert "does not wait for a decision" in late.err
