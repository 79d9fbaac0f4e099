"""The judge. It knows the stages' journals, the rows, and how they were moved; not what pgbaton says of itself.

Lost: a job that nobody deleted or moved away, and that is not at the end of the line in time. Twice: more effects of
a step than times the job entered the state in which that step is due, not counting what pgbaton put there. A call is
repeated when a call for the same entry (the same Idempotency-Key) came before it; that must have a reason. Two calls of
a job are made at once when the second arrives while a stage still serves the first; that must have one, too.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from chaos.journal import Entry, read
from chaos.limits import AT_WORK, Work, exceeded
from chaos.plan import LINE

if TYPE_CHECKING:
    from chaos.plan import Plan
    from chaos.scene import Scene

STEPS = f"(VALUES {', '.join(str((after, step)) for step, after in LINE.items())}) AS route (after, step)"

LOST = """
SELECT job_id::text AS job, format('%s %s', current_step, status) AS what FROM jobs
 WHERE (current_step, status) <> ('glue', 'done')
   AND NOT EXISTS (SELECT FROM unnest($1::text[]::uuid[]) excluded WHERE excluded = job_id)
UNION ALL
SELECT id, 'no row' FROM unnest($2::text[]) AS id
 WHERE id <> ALL ($1) AND NOT EXISTS (SELECT FROM jobs WHERE job_id = id::uuid)
"""

TWICE = f"""
WITH entered AS (
    SELECT h.job_id, route.step, count(*) AS times
      FROM moves h JOIN {STEPS} ON h.target = route.after || ' done'
     WHERE h.who <> 'pgbaton' AND h.source IS DISTINCT FROM h.target
     GROUP BY h.job_id, route.step
)
SELECT e.job_id::text AS job,
       format('%s: %s effects, entered %s times', e.step, count(*), coalesce(max(entered.times), 0)) AS what
  FROM effects e LEFT JOIN entered ON entered.job_id = e.job_id AND entered.step = e.step
 GROUP BY e.job_id, e.step
HAVING count(*) > coalesce(max(entered.times), 0)
"""

OPEN = "('available', 'running', 'retryable')"
# Each query is one snapshot. A trigger inserts a duty or a look, and that a dispatch is no longer due shows when a
# worker has come to it: until then something must tell of it.
BROKEN_AT_ANY_TIME = {
    "a routed job without its open dispatch": f"""
        SELECT j.job_id::text FROM jobs j JOIN {STEPS} ON route.after = j.current_step AND j.status = 'done'
         WHERE NOT EXISTS (SELECT FROM pgbaton.dispatches d WHERE d.job_key = j.job_id::text AND d.stage = route.step
                              AND d.state IN {OPEN})""",
    "a call that its row does not ask for, and no duty or look to tell": f"""
        SELECT c.job_key FROM pgbaton.calls c JOIN {STEPS} ON route.step = c.stage
          JOIN jobs j ON j.job_id::text = c.job_key
         WHERE ((j.current_step, j.status) IN ((route.after, 'done'), (route.step, 'running'), (route.step, 'failed')))
               IS NOT TRUE
           AND NOT EXISTS (SELECT FROM pgbaton.due d WHERE d.job_key = c.job_key AND d.id > c.id)""",
    "two dispatches of a job that is called for both": """
        SELECT job_key FROM pgbaton.dispatches WHERE state IN ('running', 'retryable')
         GROUP BY pipeline, job_key HAVING count(*) > 1""",
    "a dispatch that is shown twice": """
        SELECT job_key FROM pgbaton.dispatches GROUP BY id, job_key HAVING count(*) > 1""",
    "an attempt that is shown twice": """
        SELECT dispatch_id FROM pgbaton.attempts GROUP BY dispatch_id, attempt HAVING count(*) > 1""",
    # Two SERIALIZABLE transactions can only conflict on what one reads and the other writes. Where none reads what the
    # trigger writes, they conflict on the user's own tables, if at all, as they would without pgbaton.
    "a table of pgbaton that users' SERIALIZABLE transactions read": """
        SELECT DISTINCT c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
         WHERE l.mode = 'SIReadLock' AND c.relnamespace = 'pgbaton'::regnamespace
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())""",
    "more dispatches under way than the stage's limit": """
        SELECT d.stage FROM pgbaton.dispatches d JOIN pgbaton.stages s ON s.step = d.stage
         WHERE d.state = 'running' GROUP BY d.stage HAVING count(*) > max(s.concurrency)""",
    "more dispatches of one tenant under way than its limit at the stage": """
        SELECT d.stage || ' ' || d.tenant FROM pgbaton.dispatches d JOIN pgbaton.stages s ON s.step = d.stage
         WHERE d.state = 'running' GROUP BY d.stage, d.tenant HAVING count(*) > max(s.per_tenant)""",
    "more places of a pool taken than it has": """
        SELECT p.name FROM pgbaton.pools p JOIN pgbaton.stages s ON s.pool = p.name
          JOIN pgbaton.dispatches d ON d.stage = s.step AND d.state = 'running'
         GROUP BY p.name HAVING sum(s.cost) > max(p.size)""",
}
BROKEN_AT_THE_END = BROKEN_AT_ANY_TIME | {
    "an open dispatch where nothing is left to do": f"""
        SELECT job_key FROM pgbaton.dispatches WHERE state IN {OPEN}""",
    "an attempt without an end": """
        SELECT d.job_key FROM pgbaton.attempts t JOIN pgbaton.dispatches d ON d.id = t.dispatch_id
         WHERE t.finished_at IS NULL""",
    "a step of an untouched row that was completed more or less often than it went from running to done": f"""
        SELECT coalesce(m.job_key, d.job_key)
          FROM (SELECT job_id::text AS job_key, route.step, count(*) AS times FROM moves
                  JOIN {STEPS} ON source = route.step || ' running' AND target = route.step || ' done'
                 GROUP BY job_id, route.step) AS m
          FULL JOIN (SELECT job_key, stage AS step, count(*) AS times FROM pgbaton.dispatches
                      WHERE state = 'completed' AND pipeline LIKE 'chaos%' GROUP BY job_key, stage) AS d USING (job_key, step)
         WHERE m.times IS DISTINCT FROM d.times
           AND NOT EXISTS (SELECT FROM moves WHERE job_id = job_key::uuid AND who = 'hand' AND source IS NOT NULL)""",
}
GHOSTS = """
SELECT name FROM pgbaton.workers
 WHERE ended_at IS NULL AND split_part(name, ':', 2) = ANY ($1::text[])
   AND ($2 OR expires_at > now())  -- where commits may be lost, so may be that the lease was replaced by another: it lapses
"""


async def broken(scene: Scene, queries: dict[str, str]) -> list[str]:
    """Which of pgbaton's own promises do not hold just now."""
    found = []
    async with scene.session("oracle") as db:
        for name, query in queries.items():
            rows = await db.fetch(query)
            if rows:
                found.append(f"{name}: {', '.join(str(r[0]) for r in rows[:3])} ({len(rows)} in all)")
    return found


@dataclass
class Verdict:
    """The result of a scene."""

    fault: str
    jobs: int = 0
    calls: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    overlapping: Counter[str] = field(default_factory=Counter)
    unexplained: list[tuple[str, str]] = field(default_factory=list)
    twice: list[tuple[str, str]] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    targets: list[tuple[str, float, float]] = field(default_factory=list)
    recovered_in: float | None = None
    seconds: float = 0
    slowness: float = 1.0
    skipped: str = ""
    evidence: list[str] = field(default_factory=list)

    @property
    def held(self) -> bool:
        return not (self.unexplained or self.twice or self.lost or self.violations)

    @property
    def suspects(self) -> list[str]:
        """Jobs to look at."""
        return list(dict.fromkeys(job for job, _ in (*self.twice, *self.lost, *self.unexplained)))


async def judge(scene: Scene) -> Verdict:
    """Ask the rows, the journals and the server's log."""
    entries = read(scene.folder)
    verdict = Verdict(scene.name, targets=scene.expect.targets, recovered_in=scene.recovered_in)
    verdict.slowness = scene.expect.slowness
    evidence = Evidence(entries, scene.plan, verdict.slowness)
    async with scene.session("oracle") as db:
        verdict.jobs = await db.fetchval("SELECT count(DISTINCT job_id) FROM moves")
        excluded, acknowledged = list(scene.excluded), list(scene.acknowledged)
        verdict.lost = [(r["job"], r["what"]) for r in await db.fetch(LOST, excluded, acknowledged)]
        verdict.twice = [(r["job"], r["what"]) for r in await db.fetch(TWICE)]
        drained = [str(worker.pid) for worker in scene.workers if worker.at_work]
        verdict.violations += [
            f"a lease of {r[0]} is left after it has ended well"
            for r in await db.fetch(GHOSTS, drained, not evidence.commits_lost)
        ]
        entered_again = {(r["job_id"], r["target"]) for r in await db.fetch(_ENTERED_TWICE)}
        rewinds = await db.fetch(_REWOUND)
        aside, ended = await db.fetch(_MOVED_ASIDE), await db.fetch(_ENDED)
        at_work = Work.of(await db.fetch(AT_WORK))
        moves = await db.fetch(_MOVED, [e["job"] for e in entries if e.event == "aborted" and e["job"]])
    calls = [entry for entry in entries if entry.event == "received"]
    verdict.calls = len(calls)
    _judge_repeats(verdict, calls, evidence)
    _judge_overlaps(verdict, calls, evidence, _times(aside, "job"), _times(ended, "job", "step"))
    scene.expect.judge(entries)
    verdict.violations += list(dict.fromkeys(scene.expect.violations)) + await broken(scene, BROKEN_AT_THE_END)
    verdict.violations += [line for child in scene.children for line in child.by_itself]
    verdict.violations += [f"a traceback in {child.log.name}" for child in scene.workers if child.stumbled]
    verdict.violations += exceeded(at_work, scene.plan)
    verdict.violations += _aborts(entries, moves, scene)
    if evidence.commits_lost:  # what is done again leaves its duty again
        ends = Counter((e["job"], f"{e['step']} done") for e in entries if e.event == "committed")
        entered_again |= {entry for entry, times in ends.items() if times > 1}
    verdict.violations += _second_duties(calls, entered_again)
    verdict.violations += _early_rewinds(entries, rewinds, evidence)
    verdict.violations += [f"the server says: {line}" for line in scene.cluster.take_complaints()]
    if scene.inner_calls:
        verdict.violations.append(f"the inner address was called {scene.inner_calls} times")
    if not scene.expect.repeats_allowed and (why := _needless(verdict)):
        verdict.violations.append(f"this fault gives no reason to repeat a call: {why}")
    if verdict.calls == 0:
        verdict.violations.append("no stage was called at all")
    return verdict


# By users, or after a failure that an operator has had retried.
_ENTERED_TWICE = """
SELECT job_id::text, target FROM moves
 WHERE target LIKE '% done' AND (who <> 'pgbaton' OR source LIKE '% failed')
 GROUP BY job_id, target HAVING count(*) > 1
"""


UNDER_WAY = 0.15
"""Seconds by which a call comes later to its stage on a machine twice as slow."""


class Evidence:
    """The reasons why a call may have been repeated, as far as they are known without pgbaton.

    The time of a call runs from its claim; it reaches its stage the later, the slower the machine is.
    """

    def __init__(self, entries: Sequence[Entry], plan: Plan, slowness: float = 1.0) -> None:
        self._timeout = plan.timeout
        self._timed_out = 0.95 * plan.timeout - UNDER_WAY * (slowness - 1)
        self._lease = plan.lease
        self._frozen = 2 * plan.lease + 5
        self._ends: dict[tuple[str, str, int], list[Entry]] = defaultdict(list)
        self._troubles: dict[str, list[Entry]] = defaultdict(list)
        self._cut_off: list[tuple[float, float]] = []
        self.commits_lost = any(entry.event == "commits_may_be_lost" for entry in entries)
        for entry in entries:
            if entry.event in ("answered", "broken", "died", "committed", "failing"):
                self._ends[entry["job"], entry["step"], entry["attempt"]].append(entry)
            elif entry.event in ("signalled", "frozen", "ended"):
                self._troubles[entry["process"]].append(entry)
            elif entry.event == "injected":
                self._troubles[entry.who.split(".")[0]].append(entry)
            elif entry.event == "cut_off":
                self._cut_off.append((entry.at, float("inf")))
            elif entry.event == "restored":
                self._cut_off[-1] = (self._cut_off[-1][0], entry.at)

    def reason(self, before: Entry, again: Entry) -> str | None:
        """Why the attempt ``again`` came after the attempt ``before``; None where nothing explains it."""
        ends = self._ends_of(before, again.at)
        # Written on a primary that was replaced, and not on its successor: the claim, or what the stage committed.
        again_unknown = before["attempt"] == again["attempt"] or any(end.event == "committed" for end in ends)
        if self.commits_lost and again_unknown and self._while_cut_off(before.at, again.at):
            return "commit lost"
        if (again["key"], again["attempt"]) == (before["key"], before["attempt"]):
            return None  # no explanation: a worker that repeats a call gives it another attempt
        waited = again.at - _arrived(before)
        for end in ends:
            if end.event == "answered" and not 200 <= end["status"] < 300:
                return f"answered {end['status']}"
            if end.event == "answered" and end["status"] == 202 and waited > self._timed_out:
                return "accepted, timed out"
            if end.event in ("broken", "died"):
                return "lost connection"
        if any(end.event == "failing" for end in ends):
            return "failed in the row"
        answered = any(end.event == "answered" for end in ends)
        if not answered and self._between(_process(before), before.at, again.at, ("SIGKILL",)):
            return "stage killed"
        if waited > self._timed_out or again.at - _arrived(again) > self._timed_out:
            return "timeout"  # also of a call that a frozen stage reads when its worker has given it up
        if self._between(_process(before), again.at - self._timeout - self._frozen, before.at, ("SIGSTOP",)):
            return "timeout"  # the frozen stage read it late
        for caller in {f"worker-{before['worker']}", f"worker-{again['worker']}"}:
            if self._between(caller, before.at, again.at, ("SIGTERM",)):
                return "shutdown"
            if self._between(caller, before.at - 0.5, again.at, ("SIGKILL",)):
                return "lost lease"
            if self._between(caller, min(before.at, again.at) - self._frozen, again.at, ("SIGSTOP", "frozen")):
                return "lost lease"
        # A lease that lapsed while the worker was cut off is found a little later.
        return "lost lease" if self._while_cut_off(before.at, again.at) else None

    def _while_cut_off(self, begun: float, ended: float) -> bool:
        return any(start < ended and begun < end + self._lease + 2 for start, end in self._cut_off)

    def _ends_of(self, call: Entry, until: float) -> list[Entry]:
        ends = self._ends[call["job"], call["step"], call["attempt"]]
        return [e for e in ends if e.who == call.who and call.at <= e.at <= until]

    def serves(self, call: Entry, at: float, ended: Sequence[float]) -> bool:
        """Whether its stage was busy with that call for anything: it had not answered, and no end of the step was
        committed (``ended``), by it or by an attempt that had been given up before it and worked on."""
        return not self._ends_of(call, at) and not any(call.at <= end <= at for end in ended)

    def may_rewind(self, entries: Sequence[Entry], at: float) -> bool:
        """Whether the row may be taken from its stage at that time, given what happened to its job and step."""
        begun = [e for e in entries if e.event == "begun" and e.at < at]
        if not begun:
            return True  # somebody else has begun
        attempt = begun[-1]["attempt"]
        # The current attempt may be a later one, whose call found the stage at work.
        since = [e for e in entries if e.event == "received" and e["attempt"] >= attempt]
        if any(e.event == "answered" and e["attempt"] == attempt and e["status"] >= 400 for e in entries if e.at <= at):
            return True
        if at - min(_arrived(e) for e in since) >= self._timed_out:
            return True
        # A worker that was frozen calls late, for an attempt that is not its own any more.
        late = next(e for e in since if e["attempt"] == attempt)
        return self._between(f"worker-{late['worker']}", late.at - self._frozen, late.at, ("SIGSTOP", "frozen"))

    def _between(self, process: str, start: float, end: float, what: tuple[str, ...]) -> bool:
        for trouble in self._troubles[process]:
            kind = trouble.fields.get("signal") or trouble.event
            if trouble.event == "injected":
                kind = {"die": "SIGKILL", "freeze": "frozen"}.get(trouble["action"], "injected")
            if trouble.event == "ended" and trouble["code"] == -9:
                kind = "SIGKILL"
            if kind in what and start <= trouble.at <= end:
                return True
        return False


def _arrived(call: Entry) -> float:
    """When it came, which on a busy machine is long before the stage comes to read it: its caller's time runs."""
    return call.at - float(call.fields.get("late", 0))


def _process(call: Entry) -> str:
    """The stage process that a call came to."""
    return call.who.split(".")[0]


def _judge_repeats(verdict: Verdict, calls: Sequence[Entry], evidence: Evidence) -> None:
    by_key: dict[str, list[Entry]] = defaultdict(list)
    for call in calls:
        by_key[call["key"]].append(call)
    for same in by_key.values():
        for before, again in pairwise(sorted(same, key=lambda call: (call["attempt"], call.at))):
            if reason := evidence.reason(before, again):
                verdict.explained[reason] += 1
            else:
                what = f"{again['step']} attempt {again['attempt']} came {again.at - before.at:+.3f} s after "
                verdict.unexplained.append((again["job"], f"{what}attempt {before['attempt']}"))


Times = Mapping[tuple[str, ...], list[float]]
"""When moves of rows were committed, by the machine's monotonic clock."""


def _times(moves: Sequence[Any], *names: str) -> Times:
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    clock = time.time() - time.monotonic()
    for move in moves:
        found[tuple(move[name] for name in names)].append(move["at"] - clock)
    return found


def _judge_overlaps(
    verdict: Verdict, calls: Sequence[Entry], evidence: Evidence, moved_aside: Times, ended: Times
) -> None:
    """Calls of one job that stages served at the same time, as they saw it themselves."""
    by_job: dict[str, list[Entry]] = defaultdict(list)
    for call in calls:
        by_job[call["job"]].append(call)
    for job, same in by_job.items():
        for place, again in enumerate(same):
            for before in same[:place]:
                if not evidence.serves(before, again.at, ended.get((job, before["step"]), [])):
                    continue
                if any(before.at - CLAIMED_BEFORE < at < again.at for at in moved_aside.get((job,), [])):
                    verdict.overlapping["moved by hand"] += 1
                elif reason := evidence.reason(before, again):
                    verdict.overlapping[reason] += 1
                else:
                    since = f"{before['step']} was served since {again.at - before.at:.3f} s"
                    verdict.unexplained.append((job, f"{again['step']} was called while {since}"))


def _needless(verdict: Verdict) -> dict[str, int]:
    """Repeated calls that had a reason, but not one that the fault gives. On a machine more than twice as slow a
    stage may need its timeout for nothing, and refuse the call that comes after it because it is still at work."""
    needless = dict(verdict.explained)
    if verdict.slowness > 2 and needless.pop("timeout", 0):
        needless.pop("answered 409", 0)
    return needless


def _second_duties(calls: Sequence[Entry], entered_again: set[tuple[str, str]]) -> list[str]:
    """Two Idempotency-Keys for one entry into the routed state."""
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    for call in calls:
        keys[call["job"], call["step"]].add(call["key"])
    found = [
        f"{step} of {job}"
        for (job, step), used in keys.items()
        if len(used) > 1 and (job, f"{LINE[step]} done") not in entered_again
    ]
    return [f"two Idempotency-Keys for one entry: {found[0]} ({len(found)} in all)"] if found else []


_REWOUND = """
SELECT job_id::text AS job, split_part(source, ' ', 1) AS step, extract(epoch FROM at)::float8 AS at FROM moves
 WHERE who = 'pgbaton' AND source LIKE '% running' AND target LIKE '% done'
   AND split_part(source, ' ', 1) <> split_part(target, ' ', 1)
"""

CLAIMED_BEFORE = 1.0
"""Seconds between a claim, by the row as it was then, and the call's arrival at its stage at most."""

# When moves were committed that neither a stage makes as it works nor pgbaton: by a hand, an operator, or a trick.
_MOVED_ASIDE = f"""
SELECT job_id::text AS job, extract(epoch FROM pg_xact_commit_timestamp(xid))::float8 AS at
  FROM (SELECT *, xmin AS xid, row_number() OVER (PARTITION BY job_id ORDER BY id) AS nth FROM moves) AS m
 WHERE nth > 1 AND who <> 'pgbaton' AND source IS DISTINCT FROM target
   AND (who NOT LIKE 'stage-%' OR NOT EXISTS (
        SELECT FROM {STEPS} WHERE (source, target) IN ((route.after || ' done', route.step || ' running'),
                                                       (route.step || ' running', route.step || ' done'),
                                                       (route.step || ' running', route.step || ' failed'))))
"""

# When stages committed an end of their step.
_ENDED = """
SELECT job_id::text AS job, step, extract(epoch FROM pg_xact_commit_timestamp(xid))::float8 AS at
  FROM (SELECT *, xmin AS xid, split_part(source, ' ', 1) AS step FROM moves WHERE source LIKE '% running') AS m
 WHERE target IN (step || ' done', step || ' failed')
"""

_MOVED = """
SELECT job_id::text AS job, source, extract(epoch FROM at)::float8 AS at FROM moves
 WHERE job_id = ANY ($1::text[]::uuid[])
"""


def _early_rewinds(entries: Sequence[Entry], rewinds: Sequence[Any], evidence: Evidence) -> list[str]:
    """Rows taken from a stage that had begun, before that attempt failed and before its time was over."""
    of_job: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.event in ("received", "begun", "answered"):
            of_job[entry["job"], entry["step"]].append(entry)
    clock = time.time() - time.monotonic()
    found = [
        f"{r['step']} of {r['job']}"
        for r in rewinds
        if not evidence.may_rewind(of_job[r["job"], r["step"]], r["at"] - clock)
    ]
    return [f"rewound while the stage worked: {found[0]} ({len(found)} in all)"] if found else []


def _aborts(entries: Sequence[Entry], moves: Sequence[Any], scene: Scene) -> list[str]:
    """The user's transactions are sacred: none may be aborted because pgbaton is there."""
    codes = {"40001": "a serialization failure", "40P01": "a deadlock", "55P03": "a lock not had"}
    found = [e for e in entries if e.event == "aborted" and e["sqlstate"] in codes and not _not_ours(e, entries, moves)]
    kinds = Counter((codes[e["sqlstate"]], e["doing"], e["error"], (e["context"] or "").split("\n")[0]) for e in found)
    return [
        f"{times} user transactions were aborted by {kind} while they wrote {doing}: {error} {context}"
        for (kind, doing, error, context), times in kinds.items()
        if not scene.plan.may_abort
    ]


def _not_ours(aborted: Entry, entries: Sequence[Entry], moves: Sequence[Any]) -> bool:
    """Whether it would have been aborted without pgbaton as well: by a conflict of SERIALIZABLE transactions (whether
    that can be on a table of ours is asked while they run), or because the row, which in READ COMMITTED it would not
    have found any more, was moved under it (whether pgbaton may move a row is asked of all its moves)."""
    if "read/write dependencies" in aborted["error"]:
        return True
    if "concurrent update" not in aborted["error"] or "pgbaton." in (aborted["context"] or ""):
        return False
    job, step = aborted["job"], aborted["step"]
    begins = aborted["doing"] in ("running", "begin")
    found_at, since = (f"{LINE[step]} done", "received") if begins else (f"{step} running", "begun")
    call = (job, step, aborted["attempt"])
    before = [e for e in entries if e.event == since and e.at <= aborted.at]
    start = max((e.at for e in before if (e["job"], e["step"], e["attempt"]) == call), default=aborted.at)
    clock = time.time() - time.monotonic()
    # A move is dated before its commit.
    return any(m["job"] == job and m["source"] == found_at and start - 1 < m["at"] - clock < aborted.at for m in moves)
