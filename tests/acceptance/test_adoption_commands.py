"""The commands of adopting a table that another system works on, as they are typed."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from pathlib import Path

import asyncpg

from command import pgbaton, toml
from line import two_stages
from pgbaton.install.migrate import migrate


async def with_history(dsn: str, tmp_path: Path) -> str:
    """30 rows at (made, done), 4 running at cut since long ago, nothing attached; returns the pipeline's file."""
    db = await asyncpg.connect(dsn)
    await migrate(db)
    await db.execute("INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, 30)")
    await db.execute(
        "INSERT INTO jobs (current_step, status, updated_at) SELECT 'cut', 'running', now() - interval '2 h' FROM generate_series(1, 4)"
    )
    await db.close()
    return toml(tmp_path, two_stages())


async def fetch(dsn: str, query: str) -> list[tuple[object, ...]]:
    db = await asyncpg.connect(dsn)
    try:
        return [tuple(r) for r in await db.fetch(query)]
    finally:
        await db.close()


async def test_a_dry_run_says_what_would_be_and_changes_nothing(database: str, tmp_path: Path) -> None:
    config = await with_history(database, tmp_path)
    dry = await pgbaton("attach", "--config", config, "--dry-run", dsn=database)
    assert (dry.code, dry.err) == (0, "")
    for said in (
        "trigger job_state_change_trigger: would be installed",
        "lock on public.jobs: SHARE ROW EXCLUSIVE",
        "at most 30 ms",
        "to be decided: --from now or --backfill",
    ):
        assert said in dry.out
    as_json = json.loads((await pgbaton("attach", "--config", config, "--dry-run", "--json", dsn=database)).out)
    assert (as_json["question"], as_json["nothing_changes"], as_json["dry_run"]) == (True, False, True)
    assert as_json["states"][0] == {
        "step": "made", "status": "done", "rows": 30, "known": 0, "stage": "cut", "new": True, "fate": "asked",
        "instead": 0,
    }  # fmt: skip
    assert await fetch(database, "SELECT count(*) FROM pgbaton.pipelines") == [(0,)]


async def test_without_a_terminal_attach_refuses_and_says_both_ways(database: str, tmp_path: Path) -> None:
    config = await with_history(database, tmp_path)
    refused = await pgbaton("attach", "--config", config, dsn=database)
    assert refused.code == 1
    assert "would be installed" in refused.out
    assert not [line for line in refused.out.splitlines() if line.endswith(": installed")]
    assert "--from now" in refused.err
    assert "--backfill --rate 100/s" in refused.err
    done = await pgbaton("attach", "--config", config, "--from", "now", dsn=database)
    assert (done.code, "rows of the past left alone: cut 30" in done.out) == (0, True)
    back = await pgbaton("attach", "--config", config, "--backfill", "--rate", "6000/min", dsn=database)
    assert (back.code, "rows of the past to be called: cut 30" in back.out) == (0, True)
    assert await fetch(database, "SELECT count(*) FROM pgbaton.due") == [(30,)]


async def test_on_a_terminal_attach_asks(database: str, tmp_path: Path) -> None:
    config = await with_history(database, tmp_path)
    ours, theirs = pty.openpty()
    command = [Path(sys.executable).parent / "pgbaton", "attach", "--config", str(config)]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "DATABASE_URL": database},
    )
    os.close(theirs)
    os.write(ours, b"perhaps\nnow\n")
    said, _ = await process.communicate()
    os.close(ours)
    assert process.returncode == 0, said.decode()
    assert "30 rows stand in states that become routed" in said.decode()
    assert await fetch(database, "SELECT mode FROM pgbaton.adoptions WHERE ended_at IS NOT NULL") == [("now",)]


async def test_options_that_contradict_each_other_are_wrong_usage(database: str, tmp_path: Path) -> None:
    config = await with_history(database, tmp_path)
    for wrong in (
        ("--from", "yesterday"),
        ("--from", "now", "--backfill"),
        ("--shadow", "--backfill"),
        ("--rate", "5/s"),
    ):
        assert (await pgbaton("attach", "--config", config, *wrong, dsn=database)).code == 2
    for wrong in ((), ("--all", "--share", "10%")):
        assert (await pgbaton("live", "--config", config, *wrong, dsn=database)).code == 2
    assert (await pgbaton("takeover", dsn=database)).code == 2
    odd = await pgbaton("attach", "--config", config, "--backfill", "--rate", "fast", dsn=database)
    assert odd.err == "pgbaton: --rate: must be a rate such as 10/s, 600/min or 1000/h (it is 'fast')\n"


async def test_from_shadow_to_live(database: str, tmp_path: Path) -> None:
    config = await with_history(database, tmp_path)
    early = await pgbaton("live", "--config", config, "--share", "10%", dsn=database)
    assert (early.code, "not attached: run pgbaton attach --shadow" in early.err) == (1, True)
    done = await pgbaton("attach", "--config", config, "--shadow", dsn=database)
    assert (done.code, "shadow mode: 0 % of the jobs are called" in done.out) == (0, True)
    assert "left alone" not in done.out
    await fetch(database, "INSERT INTO jobs (current_step, status) VALUES ('made', 'done') RETURNING 1")
    assert "cut" in (await pgbaton("shadow", dsn=database)).out
    (record,) = json.loads((await pgbaton("shadow", "--json", dsn=database)).out)
    assert (record["url"], record["became"]) == ("http://127.0.0.1:9/cut", "waits")
    assert "shadow: Shadow mode" in (await pgbaton("doctor", dsn=database)).out
    assert "Shadow mode: 0 %" in (await pgbaton("status", dsn=database)).out
    tenth = await pgbaton("live", "--config", config, "--share", "10%", "--tenant", "acme", "--as", "kim", dsn=database)
    assert (tenth.code, "10 % of the jobs are called\nand all of acme\n" in tenth.out) == (0, True)
    everything = await pgbaton("live", "--config", config, "--all", dsn=database)
    assert (everything.code, "all jobs are called" in everything.out) == (0, True)
    assert await fetch(database, "SELECT who, action FROM pgbaton.audit ORDER BY id LIMIT 1") == [("kim", "live")]
    await fetch(database, "INSERT INTO jobs (current_step, status) VALUES ('made', 'done') RETURNING 1")
    assert await fetch(database, "SELECT count(*) FROM pgbaton.due") == [(1,)]


async def test_rows_that_the_old_system_never_ended_are_shown_and_taken_over(database: str, tmp_path: Path) -> None:
    config = await with_history(database, tmp_path)
    await pgbaton("attach", "--config", config, "--from", "now", dsn=database)
    shown = await pgbaton("takeover", "--older-than", "3600", "--dry-run", dsn=database)
    assert (shown.code, "cut" in shown.out) == (0, True)
    assert await fetch(database, "SELECT count(*) FROM jobs WHERE status = 'running'") == [(4,)]
    assert (await pgbaton("takeover", "--before", "1999-01-01T10:00", "--dry-run", dsn=database)).code == 1
    await fetch(database, "ALTER TABLE jobs ALTER updated_at DROP NOT NULL")
    await fetch(database, "UPDATE jobs SET updated_at = NULL WHERE status = 'running'")
    undated = (await pgbaton("takeover", "--before", "1999-01-01T10:00", "--dry-run", dsn=database)).out
    assert undated.startswith("nothing to take over\n4 rows have an empty updated_at")
    await fetch(database, "UPDATE jobs SET updated_at = '1999-05-05' WHERE status = 'running'")
    taken = await pgbaton("takeover", "--older-than", "3600", "--as", "kim", dsn=database)
    assert (taken.code, taken.out) == (0, "taken over: 4 of 4\n")
    assert await fetch(database, "SELECT who, action, jobs FROM pgbaton.audit") == [("kim", "takeover", 4)]
