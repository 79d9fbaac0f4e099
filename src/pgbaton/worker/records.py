"""Records of the journal as the engine's own types, and answers and verdicts as the statements of
``sql/worker`` take them. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from pgbaton.decision.outcome import BEGUN_ELSEWHERE, Answer, Verb
from pgbaton.decision.verdict import Call, Duty, Job, Standing, Verdict
from pgbaton.model import Advance, Dispatch, Kind, Outcome, Passage, Row, Stage, State

Answered = tuple[Dispatch, Answer]
Late = Mapping[tuple[int, int], tuple[Outcome, State | None]]
"""How attempts ended, by dispatch id and attempt."""


def columns_of(answers: Sequence[Answered]) -> tuple[list[Any], ...]:
    """Ids, attempts, HTTP statuses, errors and bodies of answers, as parameters of a statement."""
    return (
        [d.id for d, _ in answers],
        [d.attempt for d, _ in answers],
        [a.status for _, a in answers],
        [a.error for _, a in answers],
        [a.body for _, a in answers],
    )


def endings(rows: Iterable[asyncpg.Record]) -> Late:
    """From the rows that say of an attempt how it had ended."""
    return {
        (row["id"], row["attempt"]): (Outcome(row["outcome"]), State(row["state"]) if row["state"] else None)
        for row in rows
    }


def dispatch_of(row: asyncpg.Record, attempt: int) -> Dispatch:
    """From a row of a claim."""
    return Dispatch(
        row["id"],
        row["job_key"],
        row["stage"],
        attempt,
        row["run"],
        Row(row["row_tenant"], row["step"], row["status"]),
        row["made"],
        row["probing"],
        max(0.0, row["waited"] or 0.0),
        row["account"],
    )


def stage_of(row: asyncpg.Record) -> Stage:
    """From a row of ``stages.sql``: a stage that is called, without its path, or a passage."""
    if row["kind"] != Kind.CALL:
        state = row["after"], row["status"]
        said: dict[str, Any] = json.loads(row["detail"])
        detail = {k: tuple(v) if isinstance(v, list) else v for k, v in said.items()}
        detail["choices"] = {name: tuple(to) for name, to in said["choices"]}
        return Passage.at(row["step"], state, Kind(row["kind"]), row["timeout"], when=row["condition"], **detail)
    return Stage.model_construct(
        step=row["step"],
        after=row["after"],
        status=row["status"],
        when=row["condition"],
        path="/",
        timeout=row["timeout"],
        attempts=row["attempts"],
        concurrency=row["concurrency"],
        advance=Advance(row["advance"]),
    )


def job_of(row: asyncpg.Record) -> Job:
    """From a row of ``look.sql``."""
    duties = tuple(
        Duty(i, s, step, status, datetime.fromisoformat(at))
        for i, s, step, status, at in json.loads(row["duties"] or "[]")
    )
    here = Row(row["tenant"], row["step"], row["status"], row["word"]) if row["present"] else None
    call = None if row["id"] is None else _call_of(row)
    return Job(row["job_key"], here, call, duties, row["paused"], refused=row["refused"])


def _call_of(row: asyncpg.Record) -> Call:
    standing = Standing.WAITING if row["waiting"] else Standing.LEFT if row["is_left"] else Standing.HELD
    kept = None
    if row["next_id"] is not None:
        kept = Duty(row["next_id"], row["stage"], row["entry"], "done", row["next_at"])
    return Call(
        row["id"],
        row["stage"],
        row["entry"],
        row["attempt"],
        row["failures"],
        standing,
        row["worker"],
        row["alive"],
        row["overdue"],
        bool(row["parked"]),
        row["age"],
        kept,
        row["seen"],
        row["rounds"],
        row["missing"],
    )


def as_written(v: Verdict, answer: Answer | None, stages: Mapping[str, Stage]) -> dict[str, Any]:
    """A verdict as ``settle.sql`` reads it. Seen: the job as it must still be. ``stays`` to ``voids``: its duties.
    ``ended`` to ``timeout``: its call. ``target``: its row. ``new``, ``next``: the duty that is its call, or waits in
    it, from now on. ``mark``: the newest duty that was taken."""
    call, row, new, kept = v.job.call, v.job.row, v.new, v.next
    taken = [d.id for d in v.job.duties if v.stays is None or d.id != v.stays.id]
    stage = new.stage if new else call.stage if call else None
    return {
        "key": v.job.key,
        "row_tenant": row.tenant if row else None,
        "step": row.step if row else None,
        "status": row.status if row else None,
        "call_id": call.id if call else None,
        "attempt": call.attempt if call else None,
        "worker": call.worker if call else None,
        "seen": call.seen if call else None,
        "standing": call.standing.value if call else None,
        "duties": [d.id for d in v.job.duties],
        "stays": v.stays.id if v.stays else None,
        "voids": [
            {"id": x.duty.id, "stage": x.duty.stage, "state": x.state.value, "at": x.duty.at.isoformat()}
            for x in v.voids
        ],
        "ended": v.ended.value if v.ended else None,
        "stands": v.stands.value if v.stands else None,
        "outcome": v.decision.outcome.value if v.decision and v.decision.verb is not Verb.KEEP else None,
        "error": (v.decision.error if v.decision else None) or (answer.error if answer else None),
        "http_status": answer.status if answer else None,
        "answer": answer.body if answer else None,
        "counts": v.counts,
        "delay": v.delay,
        "parked": v.parked,
        "timeout": stages[stage].timeout if stage and stage in stages else None,
        "target_step": v.target[0] if v.target else None,
        "target_status": v.target[1] if v.target else None,
        "round": v.round,
        "missing": v.missing,
        "tick": v.tick,
        "quiet": v.quiet and v.target is not None,
        "new_id": new.id if new else None,
        "new_outcome": BEGUN_ELSEWHERE.outcome.value if new and v.stands is Standing.LEFT else None,
        "new_error": BEGUN_ELSEWHERE.error if new and v.stands is Standing.LEFT else None,
        "new_stage": new.stage if new else None,
        "new_entry": new.step if new else None,
        "new_tenant": row.tenant if row and new else None,
        "new_at": new.at.isoformat() if new else None,
        "next_id": kept.id if kept else None,
        "next_at": kept.at.isoformat() if kept else None,
        "mark": max(taken, default=None),
    }
