"""A pipeline that changes with jobs inside, as an operator sees it: before, after, and on the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from command import Done, pgbaton
from journal_rows import kill
from line import Line, line

HEAD = """
[pipeline]
name = "craft"
table = "public.jobs"
key = "job_id"
tenant = "tenant_id"
step = "current_step"
status = "status"
channel = "job_state_changed"
base_url = "http://127.0.0.1:9"
"""


def written(folder: Path, *steps: tuple[str, str]) -> str:
    """A file with these stages, each as (step, after); returns its path."""
    stages = "".join(f'[[pipeline.stage]]\nstep = "{s}"\nafter = "{after}"\npath = "/{s}"\n' for s, after in steps)
    file = folder / "changed.toml"
    file.write_text(HEAD + stages)
    return str(file)


async def filled(craft: Line) -> None:
    """Two wait for cut, three for glue; one is at work there, one is dead there."""
    for step, count in (("made", 2), ("cut", 5)):
        for _ in range(count):
            await craft.add(step)
    working, dead = [
        r["job_id"] for r in await craft.db.fetch("SELECT job_id::text FROM jobs WHERE current_step = 'cut' LIMIT 2")
    ]
    await craft.db.execute(
        """
        WITH duty AS (DELETE FROM pgbaton.due WHERE job_key = $1 RETURNING *)
        INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, tenant, run, attempt, created_at, started_at, deadline)
        SELECT pipeline, job_key, id, stage, step, tenant, id, 1, created_at, now(), now() + interval '1 h' FROM duty
        """,
        working,
    )
    await craft.put(working, "glue", "running")
    await kill(craft.db, dead, "glue", error="HTTP 500", attempts=1)
    await craft.put(dead, "glue", "failed")


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        pytest.param(
            [("cut", "made"), ("fold", "cut"), ("glue", "fold")],
            ["stage fold: added", "stage glue: changed", "3 stand at (cut, done), where fold is called from now on",
             "1 is at work, (glue, running), and ends as before", "3 go on with fold instead"],
            id="added",
        ),
        pytest.param(
            [("cut", "made")],
            ["stage glue: removed", "4 open dispatches are inside", "1 is at work, (glue, running), and ends as before",
             "3 wait at (cut, done) until glue comes back: pgbaton rerun --stage glue --from STEP",
             "wait until their stage comes back"],
            id="removed",
        ),
        pytest.param(
            [("cut", "made"), ("weld", "cut")],
            ["stage weld: renamed, in place of glue", "3 stand at (cut, done), where weld is called from now on"],
            id="renamed",
        ),
        pytest.param(
            [("glue", "made"), ("cut", "glue")],
            ["2 stand at (made, done), where glue is called from now on",
             "3 stand at (cut, done), where nothing is called any more", "2 go on with glue instead"],
            id="reordered",
        ),
    ],
)  # fmt: skip
async def test_a_dry_run_says_what_becomes_of_each_job_inside(
    database: str, tmp_path: Path, steps: list[tuple[str, str]], said: list[str]
) -> None:
    async with line(database) as craft:
        await filled(craft)
        dry = await pgbaton("attach", "--config", written(tmp_path, *steps), "--dry-run", dsn=database)
        assert (dry.code, dry.err) == (0, "")
        for words in said:
            assert words in dry.out
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.stages") == 2


async def test_the_jobs_of_a_stage_that_left_are_seen_and_moved_in_bulk(database: str, tmp_path: Path) -> None:
    async with line(database) as craft:
        await filled(craft)
        await craft.add("glue", "done")  # it was through
        changed = written(tmp_path, ("weld", "welding"), ("cut", "weld"))
        assert (await pgbaton("attach", "--config", changed, "--from", "now", dsn=database)).code == 0
        doctor = await pgbaton("doctor", dsn=database)
        assert "4 wait for the stage glue, which is not in the pipeline any more" in doctor.out
        assert "pgbaton rerun --stage glue --from STEP" in doctor.out
        would = await pgbaton("rerun", "--stage", "glue", "--from", "weld", "--dry-run", dsn=database)
        assert would == Done(0, "would run 5 again\n", "")
        moved = await pgbaton("rerun", "--stage", "glue", "--from", "weld", "--json", dsn=database)
        assert (moved.code, moved.err) == (0, "")
        at = "SELECT current_step || ' ' || status, count(*) FROM jobs GROUP BY 1"
        rows = {"made done": 2, "glue running": 1, "glue done": 1, "welding done": 4}
        assert dict(await craft.db.fetch(at)) == rows, "the one at work was left alone"
        assert await craft.db.fetchval("SELECT count(*) FROM pgbaton.due WHERE stage = 'weld'") == 4
        for words in (("--dry-run",), ()):
            done = await pgbaton("move", "--from", "glue,done", "--to", "cut,done", *words, dsn=database)
            assert done == Done(0, f"{'would move 1' if words else '1 moved'}\n", "")
        assert (await pgbaton("move", "--from", "glue,done", "--to", "cut,done", dsn=database)).code == 1
        rows["cut done"] = rows.pop("glue done")
        assert dict(await craft.db.fetch(at)) == rows


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rerun", "--from", "cut"), "name one job, or say which by --stage"),
        (("rerun", "7", "--stage", "cut", "--from", "cut"), "name one job, or say which by --stage"),
        (("rerun", "--stage", "cut", "--from", "cut", "--force"), "--force goes with one named job"),
        (("move", "--from", "glue", "--to", "cut,done"), "is no state: write step,status"),
    ],
)
async def test_what_is_not_clear_is_wrong_usage(database: str, words: tuple[str, ...], said: str) -> None:
    refused = await pgbaton(*words, dsn=database)
    assert refused.code == 2
    assert said in " ".join(refused.err.replace("│", " ").split())


async def test_a_bulk_rerun_from_a_step_that_there_is_not_is_refused(database: str) -> None:
    async with line(database):
        refused = await pgbaton("rerun", "--stage", "cut", "--from", "polish", dsn=database)
        assert refused.code == 1
        assert "no stage performs 'polish'; there are: cut, glue" in refused.err
