"""Commands over several databases: each answers for itself, and one that is away keeps no other from answering."""

from __future__ import annotations

import json
from pathlib import Path

from command import Done, pgbaton
from line import line
from postgres import Cluster

PIPELINE = """
[pipeline]
name = "craft"
table = "public.jobs"
key = "job_id"
step = "current_step"
status = "status"
base_url = "http://127.0.0.1:9"
[[pipeline.stage]]
step = "cut"
after = "made"
path = "/cut"
concurrency = 3
"""
NOBODY = "postgresql://nobody@127.0.0.1:9/nothing"


async def test_commands_go_through_all_databases_or_the_one_that_is_named(
    cluster: Cluster, template: str, tmp_path: Path
) -> None:
    async with (
        cluster.new_database(template) as one,
        cluster.new_database(template) as other,
        line(one, prepare=False) as north,
    ):
        two = {"PGBATON_DATABASES": "north,south", "DATABASE_URL_NORTH": one, "DATABASE_URL_SOUTH": other}
        config = tmp_path / "pgbaton.toml"
        config.write_text(PIPELINE)

        async def run(*words: str, **more: str) -> Done:
            return await pgbaton(*words, **(two | more))

        attached = await run("attach", "--config", str(config))
        assert attached.code == 0
        assert [line for line in attached.out.splitlines() if line.startswith("[")] == ["[north]", "[south]"]
        assert attached.out.count("attached craft to public.jobs") == 2
        await north.add()

        listed = await run("jobs", "-o", "csv")
        head, row = listed.out.splitlines()  # one heading, and nothing of the empty one
        assert head.startswith("database,job,")
        assert row.startswith("north,")
        documents = _documents((await run("status", "-o", "json")).out)
        waiting = {d["database"]: sum(s["available"] for s in d["answer"]["stages"]) for d in documents}
        assert waiting == {"north": 1, "south": 0}
        [alone] = _documents((await run("jobs", "--database", "north", "--json")).out)
        assert alone["stage"] == "cut"  # of one database it is as it ever was

        doctor = await run("doctor")
        assert doctor.out.count("these limits hold in this database by itself") == 2

        paused = ("pause", "--stage", "cut")
        refused = await run(*paused)
        assert (refused.code, refused.out) == (1, "")
        assert "several databases are named (north, south): give --database NAME, or --database all" in refused.err
        assert (await run(*paused, "--database", "south")).code == 0
        assert not await north.db.fetchval("SELECT bool_or(paused_at IS NOT NULL) FROM pgbaton.stages")
        assert (await run(*paused, "--database", "all")).code == 0
        assert await north.db.fetchval("SELECT bool_or(paused_at IS NOT NULL) FROM pgbaton.stages")

        away = await run("status", DATABASE_URL_NORTH=NOBODY)
        assert away.code == 1
        assert away.err.startswith("pgbaton: north: no Postgres answers at 127.0.0.1:9")
        assert "[south]" in away.out
        assert "cut" in away.out
        both = await run("status", "--database", "north", "--database-url", one)
        assert both.code == 2
        assert (await run("status", "--database-url", one, "--json")).code == 0


def _documents(text: str) -> list[dict[str, object]]:
    """The JSON documents of a text, one behind the other."""
    found, at = [], 0
    while text[at:].strip():
        one, at = json.JSONDecoder().raw_decode(text, at + len(text[at:]) - len(text[at:].lstrip()))
        found += one if isinstance(one, list) else [one]
    return found
