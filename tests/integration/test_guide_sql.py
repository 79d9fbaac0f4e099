"""The SQL of docs/graphs.md that an operator runs by hand, as it is written there, on the pipelines of that page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from graph_line import stage
from pgbaton import Pipeline
from pgbaton.install.attach import attach

DOCS = Path(__file__).parents[2] / "docs"
TABLES = """
CREATE TABLE ads (id int PRIMARY KEY, width int, step text NOT NULL, status text NOT NULL);
ALTER TABLE jobs RENAME TO other;
ALTER TABLE ads RENAME TO jobs;
CREATE TABLE variants (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, job_id int, step text NOT NULL, status text NOT NULL);
CREATE INDEX ON variants (job_id);
CREATE TABLE shipments (id int PRIMARY KEY, step text NOT NULL, status text NOT NULL);
"""
COLUMNS = {"key": "id", "step": "step", "status": "status", "base_url": "http://127.0.0.1:9"}
ADS: dict[str, Any] = {
    "stage": [
        stage("plan", "upload"),
        stage("judge", "plan"),
        stage("repair", "judge", status="damaged"),
        stage("large", "judge", when="width >= 2000"),
        stage("publish", "judge"),
        stage("remind", "publish", delay="10m"),
        stage("send", "review", status="approved"),
        stage("show", "variants"),
        stage("archive", "repair"),
    ],
    "route": [
        {"after": "judge", "status": "rejected", "to": "plan", "rounds": 2, "then": ["judge", "given_up"]},
        {"after": "archive", "to": ["review", "waiting"]},
        {"after": "send", "to": ["variants", "waiting"]},
    ],
    "wait": [
        {"at": ["review", "waiting"], "choices": {"approve": ["review", "approved"], "reject": ["review", "rejected"]}}
    ],
    "gather": [
        {
            "at": ["variants", "waiting"],
            "children": "variants",
            "done": ["judge", "done"],
            "to": ["variants", "done"],
            "then": ["variants", "failed"],
        }
    ],
}
FROM = {
    "UPDATE jobs SET step = 'upload', status = 'done' WHERE id = 7": ("judge running", "plan"),
    "UPDATE jobs SET step = 'judge', status = 'damaged' WHERE id = 7": ("judge running", "repair"),
    "UPDATE jobs SET step = 'publish', status = 'done' WHERE id = 7": ("judge done", "publish.done"),
    "UPDATE jobs SET step = 'remind', status = 'due' WHERE id = 7": ("publish done", "remind"),
    "UPDATE jobs SET step = 'publish', status = 'settled' WHERE id = 7": ("publish done", ""),
    "UPDATE jobs SET status = 'approved' WHERE id = 7 AND (step, status) = ('review', 'waiting')": (
        "review waiting",
        "send",
    ),
    "UPDATE jobs SET step = 'variants', status = 'waiting' WHERE id = 7": ("variants done", "variants"),
    "UPDATE jobs SET step = 'variants', status = 'done' WHERE id = 7": ("variants waiting", "show"),
    "UPDATE jobs SET step = 'cut', status = 'done' WHERE id = 7": ("weld done", "glue"),
    "UPDATE jobs SET step = 'cut', status = 'done' WHERE (step, status) = ('glue', 'done')": ("glue done", "glue"),
    "UPDATE variants SET step = 'judge', status = 'done' WHERE id = 3": ("variants waiting", "variants "),
    "INSERT INTO variants (job_id, step, status) VALUES (7, 'planned', 'done')": ("variants waiting", "draw"),
    "BEGIN; UPDATE jobs SET step = 'publish', status = 'done' WHERE id = 7; INSERT INTO shipments (id, step, status) "
    "VALUES (7, 'made', 'done'); COMMIT": ("publish running", "pack"),
    "SELECT * FROM pgbaton.rounds WHERE job_key = '7'": ("judge done", None),
    "DELETE FROM pgbaton.rounds WHERE job_key = '7'": ("judge done", None),
    "SELECT step, status, count(*) FROM variants WHERE job_id = 7 GROUP BY 1, 2": ("variants waiting", None),
}
"""Each statement with the state of job 7 before it, and the stage of the duty that it leaves last ("": a look; with a space
behind: the parent's look; None: no duty)."""


def written(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return [" ".join(said.split()) for said in re.findall(r"`((?:UPDATE|SELECT|DELETE|INSERT|BEGIN)\b[^`]+)`", text)]


@pytest.mark.parametrize("page", ["graphs.md", "graphs.ko.md"])
async def test_each_statement_of_the_guides_does_what_they_say(database: str, page: str) -> None:
    said = written(page)
    assert set(said) == set(FROM)
    conn = await asyncpg.connect(database)
    try:
        await conn.execute(TABLES)
        for name, table, rest in (
            ("ads", "jobs", ADS),
            ("line", "jobs", {"stage": [stage("cut", "made"), stage("glue", "cut")]}),
            ("variants", "variants", {"stage": [stage("draw", "planned"), stage("judge", "draw")]}),
            ("shipments", "shipments", {"stage": [stage("pack", "made")]}),
        ):
            parent = {"parent": {"pipeline": "ads", "key": "job_id"}} if name == "variants" else {}
            named = {"name": name, "table": f"public.{table}"}
            await attach(conn, Pipeline.model_validate(named | COLUMNS | rest | parent))
        for statement in said:
            before, leaves = FROM[statement]
            await conn.execute("TRUNCATE jobs, variants, shipments, pgbaton.due RESTART IDENTITY")
            await conn.execute(
                "INSERT INTO jobs VALUES (7, 100, split_part($1, ' ', 1), split_part($1, ' ', 2))", before
            )
            await conn.execute(
                "INSERT INTO variants (job_id, step, status) SELECT 7, 'judge', 'running' FROM generate_series(1, 3)"
            )
            await conn.execute("DELETE FROM pgbaton.due")
            await conn.execute(statement)
            left = await conn.fetchrow("SELECT pipeline, stage FROM pgbaton.due ORDER BY id DESC LIMIT 1")
            if leaves == "variants ":
                assert tuple(left) == ("ads", ""), statement
            else:
                assert (left and left["stage"]) == leaves, statement
    finally:
        await conn.close()
