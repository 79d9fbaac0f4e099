"""A short slice of the fault suite (``make chaos`` plays all of it), and what its judge is worth."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chaos import report
from chaos.cluster import Cluster
from chaos.expectations import Expectations, slowness
from chaos.faults import FAULTS
from chaos.faulty_worker import _jobs, _points
from chaos.journal import Entry
from chaos.limits import Work, exceeded
from chaos.oracle import Evidence, Verdict, _judge_overlaps, _needless, _not_ours
from chaos.plan import Plan
from chaos.runner import play
from pgbaton.decision.outcome import Answer, Reply
from pgbaton.model import Dispatch, Row
from pgbaton.worker.store import Turn

SHORT = ("worker_killed", "postgres_killed", "connections_of_workers_terminated", "stage_fails", "rows_moved")


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A durable server of this slice's own, as it is about to be killed."""
    with tempfile.TemporaryDirectory(prefix="pgbaton-chaos-") as folder, asyncio.Runner() as runner:
        Path(folder).chmod(0o711)  # as root, the server runs as another user
        cluster = Cluster(Path(folder, "cluster"))
        runner.run(cluster.__aenter__())
        yield cluster
        runner.run(cluster.__aexit__())


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", SHORT)
async def test_every_job_survives_a_short_attack(name: str, server: Cluster, tmp_path: Path) -> None:
    fault = FAULTS[name]
    short = replace(fault, plan=replace(fault.plan, seconds=2.5, rate=15, recovery=20))
    verdict = await play(short, "slice", server, tmp_path)
    assert verdict.held, report.accusation(verdict, "slice", str(tmp_path))


def test_every_fault_says_what_it_does() -> None:
    assert len(FAULTS) > 70
    assert all(fault.what.endswith(".") for fault in FAULTS.values())


def call(at: float, attempt: int, worker: int = 1, stage: str = "stage-1.1") -> Entry:
    fields = {"job": "j", "step": "cut", "attempt": attempt, "key": "k", "worker": worker}
    return Entry(at, stage, "received", fields)


def after(at: float, event: str, attempt: int = 1, **fields: object) -> Entry:
    return Entry(at, "stage-1.1", event, {"job": "j", "step": "cut", "attempt": attempt, **fields})


def done_to(at: float, process: str, signal: str) -> Entry:
    return Entry(at, "scene", "signalled", {"process": process, "life": 1, "signal": signal})


PLAN = Plan(timeout=4, lease=3)


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([], None),
        ([after(1.1, "begun"), after(1.2, "committed"), after(1.3, "answered", status=200)], None),
        ([after(1.3, "answered", status=503)], "answered 503"),
        ([after(2.3, "answered", status=503)], None),
        ([after(1.3, "failing")], "failed in the row"),
        ([after(1.3, "failing"), after(1.4, "answered", status=500)], "answered 500"),
        ([after(1.3, "broken", how="reset")], "lost connection"),
        ([done_to(1.5, "stage-1", "SIGKILL")], "stage killed"),
        ([after(1.3, "answered", status=200), done_to(1.5, "stage-1", "SIGKILL")], None),
        ([done_to(1.5, "stage-2", "SIGKILL")], None),
        ([done_to(1.5, "worker-1", "SIGKILL")], "lost lease"),
        ([done_to(1.5, "worker-2", "SIGKILL")], None),
        ([done_to(1.5, "worker-1", "SIGSTOP")], "lost lease"),
        ([done_to(1.5, "worker-1", "SIGTERM")], "shutdown"),
        ([Entry(1.5, "scene", "cut_off", {}), Entry(1.6, "scene", "restored", {})], "lost lease"),
    ],
)
def test_a_repeated_call_needs_a_reason(entries: list[Entry], reason: str | None) -> None:
    assert Evidence(entries, PLAN).reason(call(1, 1), call(2, 2)) == reason


def test_a_call_whose_commit_no_standby_had_is_explained_where_replication_is_asynchronous() -> None:
    away = [Entry(0.5, "scene", "cut_off", {}), Entry(1.6, "scene", "restored", {})]
    lossy = [*away, Entry(9, "scene", "commits_may_be_lost", {})]
    ended = [after(1.2, "committed"), after(1.3, "answered", status=200)]
    assert Evidence([*lossy, *ended], PLAN).reason(call(1, 1), call(2, 2)) == "commit lost"
    assert Evidence(lossy, PLAN).reason(call(1, 1), call(2, 1)) == "commit lost"
    assert Evidence(away, PLAN).reason(call(1, 1), call(2, 1)) is None
    assert Evidence(lossy, PLAN).reason(call(30, 1), call(31, 1)) is None


def test_a_call_that_is_repeated_after_its_timeout_is_explained() -> None:
    assert Evidence([], PLAN).reason(call(1, 1), call(5.1, 2)) == "timeout"


def test_the_timeout_of_a_call_runs_while_its_stage_does_not_read() -> None:
    read_late = replace(call(2, 1), fields=call(2, 1).fields | {"late": 1.0})
    assert Evidence([], PLAN).reason(read_late, call(5.1, 2)) == "timeout"
    assert Evidence([], PLAN).reason(call(2, 1), call(5.1, 2)) is None


def test_one_attempt_that_arrives_twice_is_never_explained() -> None:
    assert Evidence([after(1.3, "answered", status=503)], PLAN).reason(call(1, 1), call(9, 1)) is None


def dispatch(number: int) -> Dispatch:
    return Dispatch(number, f"job-{number}", "cut", 1, number, Row("acme", "made", "done"))


def test_a_turn_speaks_as_a_claim_of_what_it_claimed_alone() -> None:
    answered, claimed = dispatch(1), dispatch(2)
    turn = 1, 8, [(answered, Answer(Reply.ANSWERED, 200))], None
    before, _ = _points("turn", turn, None)
    _, after_it = _points("turn", turn, Turn((claimed,), frozenset({1}), frozenset(), {}, 2))
    assert {point: _jobs(of) for point, of in before.items()} == {"note": ["job-1"], "claim": []}
    assert {point: _jobs(of) for point, of in after_it.items()} == {"note": ["job-1"], "claim": ["job-2"]}
    assert _points("turn", (1, 8), Turn((), frozenset(), frozenset(), {}, 0)) == ({"claim": ()}, {})


def test_a_worker_is_only_struck_at_a_lease_that_takes_the_place_of_another() -> None:
    assert _points("take_lease", (None, "name", 8, 60, ()), None) == ({}, {})
    assert _points("take_lease", (1, "name", 8, 60, ()), None) == ({"lease": ()}, {"lease": ()})


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ({"concurrency": 2, "per_tenant": 2, "pool": 3}, 0),
        ({"concurrency": 1}, 1),
        ({"per_tenant": 1}, 1),
        ({"pool": 2}, 1),
    ],
)
def test_limits_are_judged_by_what_the_stages_themselves_were_at_work_on(limits: dict[str, int], found: int) -> None:
    works = [Work("cut", "a", 1, 4), Work("cut", "a", 2, 3), Work("cut", "b", 3, 3.5), Work("glue", "b", 2.5, 5)]
    assert len(exceeded(works, replace(PLAN, **limits))) == found


@pytest.mark.parametrize(
    ("entries", "moved_aside", "ended", "found"),
    [
        ([], [], [], "unexplained"),
        ([after(1.5, "answered", status=200)], [], [], None),
        ([after(2.1, "answered", status=200)], [], [], "unexplained"),
        ([], [], [1.5], None),
        ([], [0.8], [], "moved by hand"),
        ([], [-0.5], [], "unexplained"),
        ([done_to(1.5, "worker-1", "SIGKILL")], [], [], "lost lease"),
    ],
)
def test_two_calls_that_stages_serve_at_once_need_a_reason(
    entries: list[Entry], moved_aside: list[float], ended: list[float], found: str | None
) -> None:
    calls = [call(1, 1), replace(call(2, 1), fields=call(2, 1).fields | {"key": "k2", "step": "fold"})]
    verdict = Verdict("f")
    aside, ends = {("j",): moved_aside}, {("j", "cut"): ended}
    _judge_overlaps(verdict, calls, Evidence(entries, PLAN), aside, ends)
    assert [*verdict.overlapping, *(["unexplained"] * len(verdict.unexplained))] == ([found] if found else [])


CONFLICT = "could not serialize access due to read/write dependencies among transactions"
OVERTAKEN = "could not serialize access due to concurrent update"
OURS = 'SQL statement "INSERT INTO pgbaton.due"'


def move(at: float, source: str) -> dict[str, object]:
    return {"job": "j", "source": source, "at": at + time.time() - time.monotonic()}


@pytest.mark.parametrize(
    ("error", "context", "moves", "theirs"),
    [
        (CONFLICT, None, [], True),
        (OVERTAKEN, None, [move(2, "cut running")], True),
        (OVERTAKEN, OURS, [move(2, "cut running")], False),
        (OVERTAKEN, None, [], False),
        (OVERTAKEN, None, [move(2, "made done")], False),
        (OVERTAKEN, None, [move(3.5, "cut running")], False),
        ("deadlock detected", None, [move(2, "cut running")], False),
    ],
)
def test_an_aborted_transaction_is_ours_unless_it_is_shown_not_to_be(
    error: str, context: str | None, moves: list[dict[str, object]], theirs: bool
) -> None:
    aborted = after(3, "aborted", doing="done", sqlstate="40001", error=error, context=context)
    assert _not_ours(aborted, [after(1, "begun"), aborted], moves) is theirs


def test_a_machine_that_is_busy_with_other_things_is_measured_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"/proc/1/schedstat": "1000 500 9", "/proc/2/schedstat": "1000 5500 9", "/proc/3/schedstat": "1 999 9"}
    monkeypatch.setattr(Path, "read_text", lambda path: said[str(path)])
    assert slowness([1]) == 1  # they wait for each other, too
    assert slowness([1, 2]) == (1 + 6000 / 2000) / 1.5
    assert slowness([3]) == 6
    assert slowness([]) == 1


def test_a_fault_that_gives_no_reason_excuses_a_timeout_on_a_slow_machine_alone() -> None:
    repeated = Counter({"timeout": 2, "answered 409": 1})
    assert _needless(Verdict("f", explained=repeated)) == repeated
    assert _needless(Verdict("f", explained=repeated, slowness=2.1)) == {}
    assert _needless(Verdict("f", explained=Counter({"lost lease": 1}), slowness=6)) == {"lost lease": 1}
    assert _needless(Verdict("f", explained=Counter({"answered 409": 1}), slowness=6)) == {"answered 409": 1}


def test_a_limit_allows_for_the_machine_and_says_so() -> None:
    expect = Expectations(PLAN)
    expect.slowness = 2.0
    expect.target("it comes back", 5.9, 3)
    assert expect.violations == []
    expect.target("it comes back", 6.1, 3)
    assert expect.violations == ["it comes back: 6.1 s, at most 3 s are allowed, on a machine 2.0 times slower"]


def test_a_verdict_with_anything_against_it_does_not_hold() -> None:
    assert Verdict("f").held
    for against in ("unexplained", "twice", "lost"):
        assert not replace(Verdict("f"), **{against: [("job", "what")]}).held
    assert not Verdict("f", violations=["something"]).held
