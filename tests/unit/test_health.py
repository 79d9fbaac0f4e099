"""Findings by the rows, the failures and the time: pure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pgbaton.health import Check, Finding, Health, Steady
from pgbaton.health.census import findings, merged
from pgbaton.health.finding import Share
from pgbaton.health.rules import by_limit
from pgbaton.health.shares import Failure, suspects, with_shares
from pgbaton.insights.limit_use import LimitSeen, LimitUse

ROUTES = [
    ("cut", "made", "done", True),
    ("glue", "cut", "done", True),
    ("old", "glue", "done", False),
    ("mend", "cut", "rejected", True),
]


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (("made", "done"), None),
        (("made", "draft"), None),
        (("upload", "done"), None),
        (("glue", "done"), None),
        (("glue", "failed"), None),
        (("cut", "rejected"), None),
        (("glue", "rejected"), "rows_nowhere"),
        (("mend", "done"), None),
        (("glue", "cancelled"), None),
        (("glue", "quarantined"), "quarantined"),
        (("glue", "by hand"), "rows_nowhere"),
        (("old", "done"), "rows_nowhere"),
        (("glu", "done"), None),  # three letters say too little
        (("gluee", "done"), "rows_misspelt"),
        (("cut", "DONE"), "rows_misspelt"),
        (("Cut", "done"), "rows_misspelt"),
        (("cut", "runing"), "rows_misspelt"),
        ((None, "done"), None),
    ],
)
def test_a_state_of_the_table_is_judged_by_the_routes(state: tuple[str | None, str], code: str | None) -> None:
    found = list(findings("craft", [(*state, None, None, 2, ["a", "b"])], ROUTES))
    assert [f.code for f in found] == ([code] if code else [])


def test_two_pages_of_a_census_are_one() -> None:
    one = [("cut", "done", None, None, 3, ["a", "b", "c"])]
    other = [("cut", "done", None, None, 4, ["d", "e", "f"]), ("cut", "done", "glue", "missing", 1, ["g"])]
    assert merged(one, other) == [
        ("cut", "done", None, None, 7, ["a", "b", "c", "d", "e"]),
        ("cut", "done", "glue", "missing", 1, ["g"]),
    ]


def failure(job: str, at: float, *, worker: str = "w1", tenant: str = "acme", error: str = "HTTP 500") -> Failure:
    return Failure("cut", job, tenant, error, error, "failed", worker, "1", f"http://{worker}", at)


def test_the_common_part_of_failures_is_named_with_its_share() -> None:
    found = [Finding("retrying", "warn", {"stage": "cut", "count": 5, "error": "HTTP 500"}, "craft")]
    failures = [failure(f"j{n}", n, worker="w2", tenant="hanbit" if n else "acme") for n in range(10)]
    [said] = with_shares(found, failures, living=2)
    assert said.made_of() == (
        "100 % come from the worker w2, 100 % were calls to http://w2, 100 % come from version 1, "
        "90 % are of the tenant hanbit"
    )
    mixed = [failure(f"j{n}", n, worker="w2") for n in range(9)] + [failure("j9", 9)]
    assert (
        with_shares(found, mixed, living=2)[0].made_of().startswith("90 % come from the worker w2, 100 % were calls")
    ), "its address is its own; its version is the other's too"
    assert "version" not in with_shares(found, mixed, living=2)[0].made_of()
    [alone] = with_shares(found, failures, living=1)
    assert alone.made_of() == "90 % are of the tenant hanbit"


def test_only_the_job_that_was_in_every_crash_is_suspect() -> None:
    broke = "the connection broke before the answer was complete"
    crashes = [failure(job, at, error=broke) for at in (0.0, 10.0, 20.0) for job in ("bad", f"other {at}")]
    assert [f.values["job"] for f in suspects("craft", crashes)] == ["bad"]
    assert list(suspects("craft", crashes[:4])) == [], "two crashes may be chance"
    assert list(suspects("craft", [*crashes, failure("another", 30.0, error=broke)])) == []


def test_a_sentence_is_held_until_it_has_been_untrue_for_a_while_unless_a_person_acted() -> None:
    now = datetime.now(UTC)
    down = Health("craft", now, (Finding("circuit_open", "bad", {"stage": "cut"}, "craft"),), (Check("counts", now),))
    well = Health("craft", now, (), (Check("counts", now),))
    steady = Steady(hold=5)
    assert [steady.told(h, at).well for h, at in ((down, 0), (well, 4), (well, 6))] == [False, False, True]
    assert [steady.told(h, at, acted=at == 8).well for h, at in ((down, 7), (well, 8))] == [False, True]


def test_all_is_well_needs_every_check() -> None:
    now = datetime.now(UTC)
    assert Health("craft", now, (), (Check("counts", now), Check("rows", now))).well
    assert not Health("craft", now, (), (Check("counts", now), Check("rows", None, "too slow"))).well


def limit(
    name: str, *, used: int = 2, size: int = 8, per_tenant: int | None = None, pool: str | None = None
) -> LimitUse:
    own = name.removeprefix("pool ") if name.startswith("pool ") else None
    seen = LimitSeen(
        name,
        None if own else name,
        own,
        None,
        size,
        per_tenant,
        None,
        None,
        None,
        pool,
        None,
        size,
        used,
        None,
        None,
        False,
    )
    return LimitUse(seen, (("acme", used),), ())


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ([limit("cut")], "behind"),
        ([limit("cut", per_tenant=4)], "behind"),
        ([limit("cut", per_tenant=2)], "tenant_full"),
        ([limit("cut", pool="gpu"), limit("pool gpu", used=7)], "behind"),
        ([limit("cut", pool="gpu"), limit("pool gpu", used=8)], "pool_full"),
        ([], "behind"),
    ],
)
def test_jobs_that_wait_though_their_stage_has_room_are_told_with_the_limit_that_is_full(
    limits: list[LimitUse], code: str
) -> None:
    behind = Finding(
        "behind", "warn", {"stage": "cut", "waiting": 9, "oldest": 40.0}, "craft", (Share("tenant", "acme", 90),)
    )
    found = by_limit(behind, {one.seen.limit: one for one in limits})
    assert found.code == code
    assert "9 wait" in found.sentence()
    assert "…" not in found.remedy()
