"""The command as a person meets it at a terminal, and as a script does in a pipe."""

from __future__ import annotations

import asyncio
import csv
import fcntl
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from command import PGBATON, Done, a_busy_day, pgbaton, start
from line import line
from pgbaton.cli import app

HEAVY = (
    "asyncpg",
    "fastapi",
    "starlette",
    "uvicorn",
    "jinja2",
    "opentelemetry",
    "prometheus_client",
    "rich",
)
COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]


async def at_terminal(*words: str, dsn: str, types: str = "", columns: int = 80, **environment: str) -> tuple[int, str]:
    """The command at a terminal of its own, where a person types; its exit code and what the screen got."""
    return await asyncio.to_thread(_at_terminal, words, dsn, types, columns, environment)


def _at_terminal(
    words: tuple[str, ...], dsn: str, types: str, columns: int, environment: dict[str, str]
) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    given = {"PATH": os.environ["PATH"], "PYTHONUTF8": "1", "TERM": "xterm", "DATABASE_URL": dsn} | environment
    process = subprocess.Popen([PGBATON, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=given)
    os.close(theirs)
    os.write(ours, types.encode())
    seen = b""
    try:
        while some := os.read(ours, 65536):
            seen += some
    except OSError:  # the command has ended, and its terminal with it
        pass
    os.close(ours)
    return process.wait(timeout=30), seen.decode().replace("\r\n", "\n")


# -- starting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("--help",), ("jobs", "-h"), ("--version",), ("completion", "bash")])
def test_help_waits_for_nothing_heavy(words: tuple[str, ...]) -> None:
    heavy = HEAVY if len(words) > 1 else (*HEAVY, "pydantic")  # a command's options are read by pydantic, says typer
    script = (
        "import sys; sys.argv = ['pgbaton', *sys.argv[1:]]\n"
        "from pgbaton.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end\n"
        f"print('loaded:', sorted(set({heavy!r}) & set(sys.modules)))"
    )
    python = PGBATON.with_name("python")
    ran = subprocess.run([python, "-c", script, *words], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "loaded: []"


def test_it_tells_its_version_also_as_a_module() -> None:
    python = PGBATON.with_name("python")
    as_module = subprocess.run([python, "-m", "pgbaton", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"pgbaton \d+\.\d+\.\d+\n", as_module.stdout)
    as_script = subprocess.run([PGBATON, "--version"], capture_output=True, text=True, check=True)
    assert as_script.stdout == as_module.stdout


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_has_its_help(command: str) -> None:
    short, long = await asyncio.gather(pgbaton(command, "-h"), pgbaton(command, "--help"))
    assert short == long
    assert short.out.startswith(f"Usage: pgbaton {command} [OPTIONS]")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_a_shell_completes_commands_and_states(shell: str, tmp_path: Path) -> None:
    script = await pgbaton("completion", shell)
    assert script.code == 0
    if shell == "bash":
        asked = "COMP_WORDS=(pgbaton {words}); COMP_CWORD={at}; _pgbaton pgbaton; echo ${{COMPREPLY[@]}}"
    elif shell == "fish":
        asked = "complete --do-complete 'pgbaton {words}'"
    else:
        asked = None
    path = shutil.which(shell)
    environment = {"PATH": f"{PGBATON.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    for words, found in (("rec", "reconcile"), ("jobs --state ret", "retryable"), ("status -o c", "csv")):
        if path and asked:
            told = asked.format(words=words, at=len(words.split()))
            ran = await asyncio.to_thread(
                subprocess.run, [path, "-c", f"{script.out}\n{told}"], env=environment, capture_output=True, text=True
            )
            assert ran.stdout.split()[:1] == [found], ran.stderr
        else:  # no such shell here: what its script asks the command
            given = {"_TYPER_COMPLETE_ARGS": f"pgbaton {words}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
            assert found in (await pgbaton(_PGBATON_COMPLETE=f"complete_{shell}", **given)).out


# -- what is shown --------------------------------------------------------------------------------


async def test_on_a_terminal_tables_fit_and_states_have_their_colour(database: str) -> None:
    async with line(database) as craft:
        key = await craft.add()
        long = "acme-" * 12
        await craft.db.execute("UPDATE pgbaton.due SET tenant = $1", long)
        code, screen = await at_terminal("jobs", dsn=database)
        plain_code, without = await at_terminal("jobs", dsn=database, NO_COLOR="1")
        _, wide = await at_terminal("jobs", "-o", "wide", dsn=database, NO_COLOR="1")
        piped = await pgbaton("jobs", dsn=database)
    assert (code, plain_code) == (0, 0)
    assert "\x1b[36mavailable" in screen
    assert "\x1b" not in without
    assert all(len(shown) <= 80 for shown in without.splitlines())
    assert "left out to fit" in without
    assert key in without.split()
    assert long in wide.split()
    assert long in piped.out.split()
    assert "\x1b" not in piped.out


async def test_lists_are_csv_and_json_for_programs(database: str) -> None:
    async with a_busy_day(database) as (_, jobs):
        as_csv, as_json, wide, both, stages = await asyncio.gather(
            pgbaton("jobs", "-o", "csv", dsn=database),
            pgbaton("jobs", "-o", "json", dsn=database),
            pgbaton("jobs", "-o", "wide", dsn=database),
            pgbaton("jobs", "-o", "csv", "--json", dsn=database),
            pgbaton("status", "-ocsv", dsn=database),
        )
    rows = list(csv.DictReader(io.StringIO(as_csv.out)))
    assert [row["job"] for row in rows] == [row["job_key"] for row in json.loads(as_json.out)]
    assert {row["job"]: row["error"] for row in rows}[jobs["dead"]] == "HTTP 500 dead"
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00$", rows[0]["created"])
    assert "created (UTC)" in wide.out
    assert (both.code, "contradict" in both.err) == (2, True)
    assert [row["stage"] for row in csv.DictReader(io.StringIO(stages.out))] == ["cut", "glue"]


async def test_times_are_those_of_the_operators_zone(database: str) -> None:
    async with line(database) as craft:
        await pgbaton("pause", "--stage", "glue", dsn=database)
        await craft.db.execute("UPDATE pgbaton.audit SET at = '2026-11-28 00:00+00'")
        here = await pgbaton("audit", dsn=database, TZ="Asia/Seoul")
    assert "at (KST)" in here.out
    assert "2026-11-28 09:00:00" in here.out


async def test_every_command_that_looks_or_steers_speaks_korean(database: str, tmp_path: Path) -> None:
    async with a_busy_day(database) as (_, jobs):
        said = {
            words: await pgbaton(*words, dsn=database, PGBATON_LOG_LANGUAGE="ko")
            for words in (
                ("migrate",),
                ("status",),
                ("jobs",),
                ("jobs", "--tenant", "nobody"),
                ("dead",),
                ("audit",),
                ("doctor",),
                ("show", jobs["dead"]),
                ("explain", jobs["dead"]),
                ("show", "nosuch"),
                ("retry", "nosuch"),
                ("retry", "--all"),
                ("retry", "--all", "--dry-run"),
                ("retry", "--all", "--yes"),
                ("cancel", jobs["available"]),
                ("rerun", jobs["completed"], "--from", "cut"),
                ("reconcile",),
                ("pause", "--stage", "cut"),
                ("pause", "--tenant", "nosuch"),
                ("resume", "--stage", "cut"),
            )
        }
    for words, done in said.items():
        assert re.search("[가-힣]", done.out + done.err), (words, done)
    wrong = await pgbaton("jobs", dsn=database, PGBATON_LOG_LANGUAGE="fr")
    assert (wrong.code, "PGBATON_LOG_LANGUAGE" in wrong.err) == (1, True)


async def test_a_job_is_followed_until_it_is_done(database: str) -> None:
    async with line(database) as craft:
        job = await craft.add()
        watching = await start("show", job, "--watch", dsn=database)
        assert watching.stdout
        first = (await watching.stdout.readline()).decode()
        async with craft.worker():
            async with asyncio.timeout(20):
                rest = (await watching.stdout.read()).decode()
                code = await watching.wait()
    assert re.match(r"\d\d:\d\d:\d\d  \(made, done\)  no worker is alive$", first.strip())
    assert rest.splitlines()[-1].split("  ", 1)[1] == "(glue, done)  done"
    assert code == 0


async def test_a_job_that_is_dead_ends_its_watch_with_a_code_of_its_own(database: str) -> None:
    async with a_busy_day(database) as (_, jobs):
        dead, nobody, program = await asyncio.gather(
            pgbaton("show", jobs["dead"], "-w", dsn=database),
            pgbaton("show", "nosuch", "-w", dsn=database),
            pgbaton("show", jobs["dead"], "-w", "--json", dsn=database),
        )
    assert (dead.code, "HTTP 500 dead" in dead.out) == (3, True)
    assert (nobody.code, nobody.err) == (1, "pgbaton: there is no job 'nosuch'\n")
    assert program.code == 2


# -- what is asked before ------------------------------------------------------------------------


async def test_every_job_wants_its_number_typed_or_yes(database: str) -> None:
    async with a_busy_day(database) as (craft, jobs):
        unasked = await pgbaton("cancel", "--all", dsn=database)
        assert (unasked.code, "--yes" in unasked.err) == (2, True)
        code, screen = await at_terminal("cancel", "--all", dsn=database, types="2\n")
        assert (code, "3 jobs. Type the number" in screen, "nothing was changed" in screen) == (1, True, True)
        assert await craft.row(jobs["available"]) == ("cut", "done")
        code, screen = await at_terminal("retry", "--all", dsn=database, types="2\n")
        assert code == 0
        assert jobs["dead"] in screen
        done = await pgbaton("cancel", "--all", "--yes", dsn=database)
        assert done.code == 0
        assert await craft.row(jobs["available"]) == ("glue", "cancelled")


async def test_a_tenant_that_no_job_has_is_not_paused_by_a_slip(database: str) -> None:
    async with line(database) as craft:
        await craft.add()
        slip, known, ahead, empty = [
            await pgbaton("pause", *words, dsn=database)
            for words in (
                ("--tenant", "nosuch"),
                ("--tenant", "acme"),
                ("--tenant", "next-month", "--force"),
                ("--tenant", ""),
            )
        ]
        assert slip.code == 1
        assert slip.err == (
            "pgbaton: no job of craft has the tenant 'nosuch'; to pause it before its first job: --force\n"
        )
        assert known == Done(0, "paused the tenant acme\n", "")
        assert ahead.code == 0
        assert empty == Done(1, "", "pgbaton: name a tenant\n")  # and not the whole pipeline
        paused = await craft.db.fetch("SELECT tenant FROM pgbaton.paused_tenants ORDER BY 1")
        assert [row["tenant"] for row in paused] == ["acme", "next-month"]


async def test_nothing_that_is_given_twice_is_dropped(database: str) -> None:
    for words in (("status", "-ocsv", "-ojson"), ("jobs", "--older-than", "5m", "--older-than=6m")):
        done = await pgbaton(*words, dsn=database)
        assert (done.code, "is given twice" in done.err) == (2, True)


async def test_lists_and_acts_go_by_time_and_by_several_at_once(database: str) -> None:
    async with line(database) as craft:
        jobs = {tenant: await craft.add() for tenant in ("acme", "hanbit", "moon")}
        for tenant, job in jobs.items():
            await craft.db.execute("UPDATE pgbaton.due SET tenant = $1 WHERE job_key = $2", tenant, job)
        await craft.db.execute("UPDATE pgbaton.due SET created_at = now() - interval '2 h' WHERE tenant = 'moon'")
        filters: dict[tuple[str, ...], set[str]] = {
            ("--tenant", "acme", "--tenant", "moon"): {"acme", "moon"},
            ("--since", "1h"): {"acme", "hanbit"},
            ("--until", "1h"): {"moon"},
            ("--since", "2020-01-01", "--until", "30분"): {"moon"},
            ("--job", jobs["acme"], "--job", jobs["moon"], "--older-than", "1h"): {"moon"},
            ("--stage", "cut", "--stage", "glue"): set(jobs),
        }
        for words, tenants in filters.items():
            found = await pgbaton("jobs", "--json", *words, dsn=database)
            assert {row["tenant"] for row in json.loads(found.out)} == tenants, words
        dry = await pgbaton("cancel", "--since", "1h", "--dry-run", "--json", dsn=database)
        assert json.loads(dry.out)["count"] == 2
        done = await pgbaton("cancel", "--since", "1h", "--as", "kim", "--reason", "doubled", dsn=database)
        assert done.code == 0
        assert await craft.row(jobs["moon"]) == ("made", "done")
        his, others = await asyncio.gather(
            pgbaton("audit", "--who", "kim", "--since", "5m", "--json", dsn=database),
            pgbaton("audit", "--who", "lee", "--json", dsn=database),
        )
        assert [entry["jobs"] for entry in json.loads(his.out)] == [2]
        assert "doubled" in his.out
        assert json.loads(others.out) == []
        for refused in (
            ("cancel", "--tenant", "", "--yes"),
            ("jobs", "--since", "soon"),
            ("jobs", "--until", "1h", "--older-than", "2h"),
            ("cancel", jobs["moon"], "--reason", "x"),
        ):
            assert (await pgbaton(*refused, dsn=database)).code == 2, refused


async def test_how_long_ago_is_told_as_people_say_it(database: str) -> None:
    async with line(database) as craft:
        await craft.add()
        await craft.db.execute("UPDATE pgbaton.due SET created_at = now() - interval '11 min'")
        old, older, wrong = await asyncio.gather(
            pgbaton("jobs", "--json", "--older-than", "10m", dsn=database),
            pgbaton("jobs", "--json", "--older-than", "12분", dsn=database),
            pgbaton("jobs", "--older-than", "soon", dsn=database),
        )
    assert (len(json.loads(old.out)), json.loads(older.out)) == (1, [])
    assert (wrong.code, "10m" in wrong.err) == (2, True)
