"""The command as a person or a script uses it: its exit code, what it says and what it hides."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from command import Done, a_busy_day, pgbaton, start, toml
from line import line, two_stages
from pgbaton.install.script import pipeline_sql

# -- status, jobs ---------------------------------------------------------------------------------


async def test_status_counts_by_stage_and_state_and_shows_the_workers(database: str) -> None:
    async with a_busy_day(database) as (craft, _):
        await craft.db.execute(
            "INSERT INTO pgbaton.workers (pipeline, name, capacity, expires_at, draining) VALUES "
            "('craft', 'one', 7, now() + interval '1 h', false), ('craft', 'two', 8, now() + interval '1 h', true), "
            "('craft', 'three', 9, now(), false)"
        )
        await craft.db.execute("UPDATE pgbaton.stages SET paused_at = now() WHERE step = 'cut'")
        table, as_json = await asyncio.gather(
            pgbaton("status", dsn=database), pgbaton("status", "--json", dsn=database)
        )
    assert (table.code, table.err) == (0, "")
    lines = [line.split() for line in table.out.splitlines()]
    states = ["available", "running", "retryable", "completed", "dead", "cancelled"]
    assert lines[0] == ["stage", *states, "oldest", "note"]
    assert lines[1] == ["cut", "0", "1", "1", "1", "1", "1", lines[1][7], "paused"]
    assert lines[2][:7] == ["glue", "1", "0", "0", "0", "0", "0"]
    assert lines[4] == ["worker", "pipeline", "id", "calls", "renewed", "state"]
    workers = [(line[0], line[1], line[3], line[-1]) for line in lines[5:]]
    assert workers == [
        ("one", "craft", "0/7", "alive"),
        ("two", "craft", "0/8", "draining"),
        ("three", "craft", "0/9", "lost"),
    ]
    seen = json.loads(as_json.out)
    cut, glue = seen["stages"]
    assert {k: cut[k] for k in ("stage", "paused", "dead")} == {"stage": "cut", "paused": True, "dead": 1}
    assert (glue["stage"], glue["available"], glue["routed"]) == ("glue", 1, True)
    assert [(w["name"], w["alive"], w["draining"]) for w in seen["workers"]] == [
        ("one", True, False),
        ("two", True, True),
        ("three", False, False),
    ]
    assert "oldest_wait" in seen


async def test_status_says_where_it_stopped_counting(database: str) -> None:
    async with line(database) as craft:
        await craft.db.execute(
            "INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, stage, run, outcome, state, "
            "created_at) "
            "SELECT n, 1, true, 'craft', n, 'cut', n, 'x', CASE WHEN n > 10500 THEN 'completed' ELSE 'dead' END, now() "
            "FROM generate_series(1, 31000) n"
        )
        table, as_json = await asyncio.gather(
            pgbaton("status", dsn=database), pgbaton("status", "--json", dsn=database)
        )
    assert table.out.splitlines()[1].split() == ["cut", "0", "0", "0", "20,000+", "10,000+", "0", "-", "-"]
    seen = json.loads(as_json.out)
    assert (seen["stages"][0]["dead"], seen["completed_capped"]) == (10_001, True)


async def test_the_oldest_wait_is_that_of_what_is_due(database: str) -> None:
    async with line(database) as craft:
        await craft.add()
        await craft.db.execute("UPDATE pgbaton.due SET created_at = now() - interval '90 s'")
        table, as_json = await asyncio.gather(
            pgbaton("status", dsn=database), pgbaton("status", "--json", dsn=database)
        )
    assert re.search(r" 9\ds  -$", table.out.splitlines()[1].rstrip())
    assert table.out.splitlines()[-1] == "no workers"
    assert 90 <= json.loads(as_json.out)["oldest_wait"] < 120


async def test_jobs_are_listed_newest_first_and_filtered(database: str) -> None:
    async with a_busy_day(database) as (_, jobs):
        table, as_json, dead_or_cancelled, of_glue, one, nobodys, two = await asyncio.gather(
            *(
                pgbaton("jobs", *words, dsn=database)
                for words in (
                    (),
                    ("--json",),
                    ("--json", "--state", "dead", "--state", "cancelled"),
                    ("--json", "--stage", "glue"),
                    ("--json", "--job", jobs["dead"]),
                    ("--json", "--tenant", "nobody"),
                    ("--json", "--limit", "2"),
                )
            )
        )
    listed = json.loads(as_json.out)
    assert [(row["job_key"], row["state"]) for row in listed] == [
        (jobs[state], state) for state in ("available", "running", "cancelled", "retryable", "dead", "completed")
    ]
    assert len(table.out.splitlines()) == 7
    assert re.search(rf"^{jobs['dead']} +acme +cut +dead +1 +failed +500 +HTTP 500 dead$", table.out, re.M)
    assert [row["state"] for row in json.loads(dead_or_cancelled.out)] == ["cancelled", "dead"]
    assert [row["state"] for row in json.loads(of_glue.out)] == ["available"]
    assert [row["error"] for row in json.loads(one.out)] == ["HTTP 500 dead"]
    assert json.loads(nobodys.out) == []
    assert json.loads(two.out) == listed[:2]


async def test_texts_of_stages_and_users_cannot_disturb_the_tables(database: str) -> None:
    hostile = "[red]x[/red] [/] [link=http://x]y[/link] \x1b[31m\n\ttwo \\[bold]"
    async with line(database) as craft:
        await craft.add()
        await craft.db.execute("UPDATE pgbaton.due SET tenant = $1", hostile)
        await craft.db.execute(
            "INSERT INTO pgbaton.workers (pipeline, name, capacity, expires_at) VALUES ('craft', $1, 1, now())", hostile
        )
        status, jobs, as_json = await asyncio.gather(
            pgbaton("status", dsn=database), pgbaton("jobs", dsn=database), pgbaton("jobs", "--json", dsn=database)
        )
    assert [status.code, jobs.code, as_json.code] == [0, 0, 0]
    assert "[red]x[/red] [/] [link=http://x]y[/link]" in jobs.out
    assert "[red]x[/red]" in status.out
    assert "\x1b" not in jobs.out + status.out + as_json.out
    assert json.loads(as_json.out)[0]["tenant"] == hostile


# -- retry, pause, resume, doctor -----------------------------------------------------------------


async def test_a_dead_job_gets_another_life_and_a_waiting_one_is_due_at_once(database: str) -> None:
    async with a_busy_day(database) as (craft, jobs):
        one = await pgbaton("retry", jobs["dead"], "--json", dsn=database)
        assert (one.code, json.loads(one.out)) == (0, {"retried": [jobs["dead"]]})
        assert await craft.states(jobs["dead"]) == [("cut", "dead"), ("cut", "available")]
        assert await craft.row(jobs["dead"]) == ("made", "done")
        rest = await pgbaton("retry", "--all", "--stage", "cut", dsn=database)
        assert rest == Done(0, f"retried:\n{jobs['retryable']}\n", "")
        async with craft.worker():
            for job in (jobs["dead"], jobs["retryable"]):
                await craft.until_row(job, "glue", "done")


async def test_where_there_is_nothing_to_retry_the_exit_code_says_so(database: str) -> None:
    async with a_busy_day(database) as (_, jobs):
        results = await asyncio.gather(
            pgbaton("retry", jobs["completed"], jobs["running"], dsn=database),
            pgbaton("retry", "no-such-job", dsn=database),
            pgbaton("retry", "--all", "--stage", "glue", dsn=database),
            pgbaton("retry", "--all", "--stage", "glue", "--yes", dsn=database),
        )
        assert [(r.code, r.out) for r in results] == [(1, "nothing to retry\n")] * 4
        refused = await asyncio.gather(pgbaton("retry", dsn=database), pgbaton("retry", "x", "--all", dsn=database))
        assert [r.code for r in refused] == [2, 2]
        assert all("name jobs, or say --all" in r.err for r in refused)


async def test_an_option_that_is_given_twice_is_refused_and_a_dry_run_can_be_json(database: str) -> None:
    async with a_busy_day(database) as (craft, jobs):
        twice, unknown, dry = await asyncio.gather(
            pgbaton("cancel", "--error", "acme", "--error=hanbit", dsn=database),
            pgbaton("jobs", "--state", "foo", dsn=database),
            pgbaton("retry", "--all", "--dry-run", "--json", dsn=database),
        )
        assert (twice.code, "--error is given twice" in twice.err) == (2, True)
        assert unknown.code == 2
        assert (dry.code, json.loads(dry.out)) == (0, {"would": "retry", "count": 2, "capped": False})
        assert await craft.row(jobs["available"]) == ("cut", "done")


async def test_jobs_of_a_paused_stage_wait_until_it_is_resumed(database: str) -> None:
    async with line(database) as craft, craft.worker(poll=60):
        assert await pgbaton("pause", "--stage", "glue", dsn=database) == Done(0, "paused glue\n", "")
        job = await craft.add()
        await craft.until_row(job, "cut", "done")
        again, other, found = await asyncio.gather(
            pgbaton("pause", "--stage", "glue", dsn=database),
            pgbaton("pause", "--stage", "dry", dsn=database),
            pgbaton("doctor", "--json", dsn=database),
        )
        assert again.code == 0
        assert other == Done(1, "", "pgbaton: the pipeline 'craft' has no stage 'dry'\n")
        assert [f["remedy"] for f in json.loads(found.out) if f["code"] == "paused_stage"] == [
            "pgbaton resume --pipeline craft --stage glue"
        ]
        assert await craft.states(job) == [("cut", "completed"), ("glue", "available")]
        assert await pgbaton("resume", "--stage", "glue", dsn=database) == Done(0, "resumed glue\n", "")
        await craft.until_row(job, "glue", "done", 5)
        assert await pgbaton("pause", dsn=database) == Done(0, "paused craft\n", "")
        again = await pgbaton("pause", "--json", dsn=database)
        said = {"paused": {"pipeline": "craft", "stage": None, "tenant": None}, "changed": False}
        assert (again.code, json.loads(again.out)) == (0, said)
        assert await pgbaton("resume", "--pipeline", "craft", dsn=database) == Done(0, "resumed craft\n", "")


async def test_doctor_finds_what_is_wrong_and_names_the_remedy(database: str, tmp_path: Path) -> None:
    async with line(database) as craft:
        async with craft.worker():
            well = await pgbaton("doctor", dsn=database)
            assert (well.code, well.out.startswith("nothing is wrong (checked: "), well.err) == (0, True, "")
        await craft.add()
        await craft.db.execute("ALTER TABLE jobs DISABLE TRIGGER job_state_change_trigger")
        sick, as_json = await asyncio.gather(pgbaton("doctor", dsn=database), pgbaton("doctor", "--json", dsn=database))
        assert (sick.code, as_json.code) == (1, 1)
        assert "remedy: pgbaton attach --config FILE" in sick.out
        found = {f["code"]: f["remedy"] for f in json.loads(as_json.out)}
        assert found["trigger_disabled"] == "pgbaton attach --config FILE"
        assert found["no_worker"] == "pgbaton run --config FILE"
        assert (await pgbaton("attach", "--config", toml(tmp_path, craft.pipeline), dsn=database)).code == 0
        async with craft.worker():
            await craft.until_settled()
            assert (await pgbaton("doctor", dsn=database)).out.startswith("nothing is wrong")


async def test_doctor_on_an_empty_database_says_what_to_do_first(empty_database: str) -> None:
    found = await pgbaton("doctor", "--json", dsn=empty_database)
    assert (found.code, [f["remedy"] for f in json.loads(found.out)]) == (1, ["pgbaton migrate"])


async def test_among_several_pipelines_one_must_be_named(database: str) -> None:
    conn = await asyncpg.connect(database)
    none = await pgbaton("pause", dsn=database)
    assert none == Done(1, "", "pgbaton: no pipeline is attached in this database: run pgbaton attach\n")
    await conn.execute("CREATE TABLE others (LIKE jobs INCLUDING ALL)")
    await conn.execute(pipeline_sql(two_stages()) + pipeline_sql(two_stages(name="other", table="others")))
    unnamed, named, unknown = await asyncio.gather(
        pgbaton("pause", dsn=database),
        pgbaton("pause", "--pipeline", "other", dsn=database),
        pgbaton("pause", "--pipeline", "third", dsn=database),
    )
    assert unnamed == Done(1, "", "pgbaton: there are several pipelines, name one with --pipeline: craft, other\n")
    assert named == Done(0, "paused other\n", "")
    assert unknown == Done(1, "", "pgbaton: there is no pipeline 'third'; there are: craft, other\n")
    await conn.close()


# -- what goes wrong ------------------------------------------------------------------------------


async def test_a_database_that_cannot_be_used_is_said_in_a_sentence_without_its_password(
    empty_database: str,
) -> None:
    url = urlsplit(empty_database)
    secret = url.password or "hunter2"
    at = f"{url.hostname}:{url.port}"
    wrong = {
        f"postgresql://{url.username}:{secret}x@{at}{url.path}": f"Postgres at {at}{url.path} refuses: password auth",
        f"postgresql://{url.username}:{secret}@{at}/nowhere": f"Postgres at {at}/nowhere refuses: database",
        f"postgresql://me:{secret}@127.0.0.1:9/x": "no Postgres answers at 127.0.0.1:9/x: ",
        f"postgresql://me:{secret}@no-such-host.invalid/x": "no Postgres answers at no-such-host.invalid:5432/x: ",
        f"mysql://me:{secret}@127.0.0.1/x": "DATABASE_URL: must start with postgresql://",
        f"me:{secret}@127.0.0.1/x": "DATABASE_URL: must start with postgresql://",
        f"postgresql://me:{secret}@127.0.0.1:port/x": "DATABASE_URL is not an address of a Postgres",
        f"postgresql://me:{secret}@[::1/x": "DATABASE_URL is not an address of a Postgres",
        f"postgresql://me:{secret}@127.0.0.1/x?sslmode=often": "DATABASE_URL is not an address of a Postgres",
        "": "DATABASE_URL: must start with postgresql://",
    }
    by_variable = await asyncio.gather(*(pgbaton("status", dsn="", DATABASE_URL=bad) for bad in wrong))
    for (bad, sentence), done in zip(wrong.items(), by_variable, strict=True):
        assert (done.code, done.out) == (1, ""), bad
        assert sentence in done.err, bad
        assert done.err.startswith("pgbaton: ")
        assert done.err.count("\n") == 1
        assert secret not in done.err
    option = await pgbaton("migrate", "--database-url", f"mysql://me:{secret}@127.0.0.1/x")
    assert option.code == 1
    assert secret not in option.err + option.out
    nothing = await pgbaton("status")
    assert nothing == Done(1, "", "pgbaton: no database: set DATABASE_URL or give --database-url\n")


async def test_a_file_that_cannot_be_used_is_said_in_a_sentence(tmp_path: Path) -> None:
    good = Path(toml(tmp_path, two_stages())).read_text()
    files = {
        "not toml": ("[pipeline", "not TOML"),
        "no pipeline": ("[worker]\nlease = 5", "the table [pipeline] is missing"),
        "unknown": (good.replace('name = "craft"', 'name = "craft"\ncolour = "red"'), "pipeline.colour: unknown key"),
        "latin-1": ("# caf\xe9", "not TOML"),
    }
    runs, wanted = [], []
    for name, (text, sentence) in files.items():
        path = tmp_path / f"{name}.toml"
        path.write_bytes(text.encode("latin-1" if name == "latin-1" else "utf-8"))
        runs.append(pgbaton("sql", "--config", str(path)))
        wanted.append((str(path), sentence))
    runs.append(pgbaton("sql", "--config", str(tmp_path)))
    wanted.append((str(tmp_path), "directory"))
    runs.append(pgbaton("sql", "--config", str(tmp_path / "none.toml")))
    wanted.append((str(tmp_path / "none.toml"), "No such file"))
    for (path, sentence), done in zip(wanted, await asyncio.gather(*runs), strict=True):
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"pgbaton: {path}: ")
        assert sentence in done.err


async def test_the_file_of_the_folder_is_the_pipelines_but_to_detach_wants_a_name(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nothing = await pgbaton("attach", dsn=database)
    assert (nothing.code, nothing.out) == (1, "")
    assert "pgbaton.toml" in nothing.err
    toml(tmp_path, two_stages())
    assert (await pgbaton("attach", dsn=database)).code == 0
    assert (await pgbaton("detach", dsn=database)).code == 2


async def test_wrong_usage_is_told_apart_by_its_exit_code(database: str) -> None:
    runs = [
        (),
        ("fly",),
        ("detach",),
        ("status", "--colour"),
        ("jobs", "--state", "happy"),
        ("jobs", "--limit", "0"),
        ("run", "--config", "x.toml", "--capacity", "many"),
    ]
    for done in await asyncio.gather(*(pgbaton(*words, dsn=database) for words in runs)):
        assert done.code == 2


async def test_a_setting_that_cannot_be_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    config = toml(tmp_path, two_stages())
    nowhere = "postgresql://me@127.0.0.1:9/x"
    option, variable, language = await asyncio.gather(
        pgbaton("run", "--config", config, "--capacity", "0", dsn=nowhere),
        pgbaton("run", "--config", config, dsn=nowhere, PGBATON_LEASE="soon"),
        pgbaton("run", "--config", config, "--log-language", "fr", dsn=nowhere),
    )
    assert (option.code, variable.code, language.code) == (1, 1, 1)
    assert re.fullmatch(r"pgbaton: command line\.capacity: .* \(it is 0\)\n", option.err)
    assert re.fullmatch(r"pgbaton: environment: PGBATON_LEASE: .* \(it is 'soon'\)\n", variable.err)
    assert re.fullmatch(r"pgbaton: command line\.log_language: .*'ko'.* \(it is 'fr'\)\n", language.err)


async def test_a_database_that_refuses_in_the_middle_is_a_sentence_too(database: str, tmp_path: Path) -> None:
    conn = await asyncpg.connect(database)
    await conn.execute(f"ALTER DATABASE {urlsplit(database).path[1:]} SET default_transaction_read_only = on")
    config = toml(tmp_path, two_stages())
    for done in await asyncio.gather(
        pgbaton("attach", "--config", config, dsn=database), pgbaton("retry", "--all", "--yes", dsn=database)
    ):
        assert done.code == 1
        assert re.fullmatch(r"pgbaton: .*\n", done.err)
    await conn.close()


async def test_a_reader_that_goes_away_is_no_reason_to_complain(tmp_path: Path) -> None:
    config = toml(tmp_path, two_stages())
    process = await start("sql", "--config", config)
    assert process.stdout
    assert process.stderr
    await process.stdout.readline()
    process.stdout._transport.close()  # type: ignore[attr-defined]
    err = await process.stderr.read()
    await process.wait()
    assert b"Traceback" not in err
    assert b"Exception" not in err
