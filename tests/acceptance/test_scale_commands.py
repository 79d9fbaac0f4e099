"""``pgbaton wanted`` and ``pgbaton capacity``, as they are typed."""

from __future__ import annotations

import json

from command import a_busy_day, pgbaton


async def test_wanted_says_how_many_workers_and_why(database: str) -> None:
    async with a_busy_day(database):
        said = await pgbaton("wanted", "--capacity", "2", dsn=database)
        assert said.code == 0
        assert "workers wanted: " in said.out
        told = json.loads((await pgbaton("wanted", "--stages", "glue", "--capacity", "2", "--json", dsn=database)).out)
        (glue,) = (s for s in told["stages"] if s["stage"] == "glue")
        assert told["workers"] == -(-sum(s["calls"] for s in told["stages"]) // 2)
        assert glue["waiting"] == 1
        assert (await pgbaton("wanted", "--stages", ",", dsn=database)).code == 2
        wrong = await pgbaton("wanted", "--stages", "cutt", dsn=database)
        assert (wrong.code, "has no stage cutt; there are: cut, glue" in wrong.err) == (1, True)


async def test_capacity_asks_no_database_and_says_what_is_extrapolated() -> None:
    small = await pgbaton("capacity", "--hops-per-second", "50", "--retention", "7d")
    assert small.code == 0
    assert "within what was measured" in small.out
    large = await pgbaton("capacity", "--hops-per-second", "1000000")
    assert "extrapolated: measured on" in large.out
    assert "databases, each for a group of tenants" in large.out
    settings = await pgbaton("capacity", "--hops-per-second", "500", "--settings")
    assert {line.split(" = ")[0] for line in settings.out.splitlines()} >= {"shared_buffers", "max_wal_size"}
    korean = await pgbaton("capacity", "--hops-per-second", "500", PGBATON_LOG_LANGUAGE="ko")
    assert "디스크" in korean.out
    assert "한계는 초당 약" in korean.out
    for wrong in (
        ("--hops-per-second", "0"),
        ("--hops-per-second", "5", "--retention", "1s"),
        ("--hops-per-second", "nan"),
    ):
        assert (await pgbaton("capacity", *wrong)).code == 2, wrong
