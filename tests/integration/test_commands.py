"""The operators' commands, as they are typed: what they say, what they do, and their exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest

import command
from line import Line, line
from stage_server import Call, Say, StageServer


async def pgbaton(dsn: str, *words: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    done = await command.pgbaton(*words, dsn=dsn, **environment)
    return done.code, done.out, done.err


async def ask(dsn: str, *words: str) -> Any:
    _, out, err = await pgbaton(dsn, *words, "--json")
    assert err == ""
    return json.loads(out)


async def _fail(server: StageServer, call: Call) -> Say:
    return Say(500)


async def _dead(craft: Line) -> str:
    async with craft.worker():
        job = await craft.add()
        await craft.until_state(job, "cut", "dead")
    return job


async def test_a_dead_job_is_found_explained_retried_and_audited(database: str) -> None:
    async with line(database, _fail, cut_attempts=1) as craft:
        job = await _dead(craft)
        code, out, _ = await pgbaton(database, "dead")
        assert (code, "HTTP 500" in out, job in out) == (1, True, True)
        code, out, _ = await pgbaton(database, "explain", job)
        assert (code, out) == (3, "dead at cut, attempts made: 1. HTTP 500\n")
        code, out, _ = await pgbaton(database, "explain", job, PGBATON_LOG_LANGUAGE="ko")
        assert (code, out) == (3, "cut 단계에서 1회 시도 후 최종 실패했습니다: HTTP 500\n")
        code, out, _ = await pgbaton(database, "show", job)
        assert code == 0
        assert f"{job}: (cut, failed) acme" in out
        assert (await ask(database, "show", job))["dispatches"][0]["timeline"][-1]["kind"] == "running"
        code, out, _ = await pgbaton(database, "retry", "--error", "http 500", "--dry-run")
        assert (code, out) == (0, "would retry 1\n")
        assert await ask(database, "retry", "--error", "http 500", "--as", "mina") == {"retried": [job]}
        (entry,) = await ask(database, "audit")
        assert (entry["who"], entry["action"], entry["detail"]["filter"]["error"]) == ("mina", "retry", "http 500")
        assert (await pgbaton(database, "dead"))[:2] == (0, "nothing is dead\n")


async def test_a_job_is_cancelled_and_rerun(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        assert (await pgbaton(database, "cancel", job))[:2] == (0, f"cancelled:\n{job}\n")
        assert (await pgbaton(database, "cancel", job))[:2] == (1, "nothing to cancel\n")
        assert (await pgbaton(database, "rerun", job, "--from", "glue"))[:2] == (0, f"{job} goes on from glue\n")
        assert (await pgbaton(database, "rerun", job, "--from", "glue"))[:2] == (1, f"{job} waits for glue already\n")
        code, _, err = await pgbaton(database, "rerun", job, "--from", "dry")
        assert (code, err) == (1, "pgbaton: no stage performs 'dry'; there are: cut, glue\n")
        assert (await pgbaton(database, "cancel", "--tenant", "nobody"))[0] == 1
        assert (await pgbaton(database, "cancel", "--tenant", "acme", "--dry-run"))[1] == "would cancel 1\n"
        assert (await pgbaton(database, "cancel", "--tenant", "acme"))[0] == 0
        assert [e["action"] for e in await ask(database, "audit")] == ["cancel", "rerun", "cancel"]


async def test_a_tenant_is_paused_and_resumed(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        assert (await pgbaton(database, "pause", "--tenant", "acme"))[1] == "paused the tenant acme\n"
        assert [f["remedy"] for f in await ask(database, "doctor") if f["code"] == "paused_tenant"] == [
            "pgbaton resume --pipeline craft --tenant acme"
        ]
        code, out, _ = await pgbaton(database, "explain", job)
        assert (code, out) == (3, "the tenant acme is paused\n")
        assert (await pgbaton(database, "resume", "--tenant", "acme"))[1] == "resumed the tenant acme\n"
        assert (await pgbaton(database, "pause", "--tenant", "acme", "--stage", "cut"))[0] == 2


@pytest.mark.parametrize("words", [["show"], ["explain"]])
async def test_a_job_that_is_not_there_is_said_to_be_so(database: str, words: list[str]) -> None:
    async with line(database):
        code, out, err = await pgbaton(database, *words, "\x1b[2Jnot-there")
        assert (code, out) == (1, "")
        assert "there is no job" in err
        assert "\x1b" not in err
