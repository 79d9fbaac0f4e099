"""Why a job is where it is: a code with values, and one sentence for it in Korean and English."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgbaton.counted import filled
from pgbaton.events import Language
from pgbaton.insights.words import Clock, Sentence, Timed, local_clock, worded, words_of
from pgbaton.model import QUARANTINED


@dataclass(frozen=True, slots=True)
class Explanation:
    """``code`` is for programs and never changes; ``values`` are those that the sentence names (seconds are
    floats), and ``round`` of ``rounds`` where the job has come by a bounded route.

    ``moves``: whether it goes on by itself. Otherwise a person has to act, or nothing is left to do.
    """

    code: str
    moves: bool
    values: Mapping[str, Timed] = field(default_factory=dict)

    def sentence(self, language: Language = "en") -> str:
        """One sentence. It holds text of others' making (errors, steps): escape it where that matters."""
        form, words = self.parts(language)
        return filled(form, words)

    def parts(self, language: Language, clock: Clock = local_clock) -> tuple[str, dict[str, str]]:
        """The sentence with ``{name}`` where a word goes, and the words. ``clock`` spells times."""
        nth = 0 if language == "ko" else 1
        form, values = SENTENCES[self.code][nth], dict(self.values)
        if "doing" in values:
            values["doing"] = worded(DOING[self.doing], values, language)
        if values.get("rounds") is not None:
            form += ROUND[nth]
        return form, words_of(values, language, clock)

    @property
    def doing(self) -> str | None:
        """The state of the child that a gathering job is explained by."""
        said = self.values.get("doing")
        return said if isinstance(said, str) and said in DOING else None


DOING: dict[str | None, Sentence] = {
    "available": ("{stage} 호출을 기다리는 중", "is waiting for {stage}"),
    "running": ("{stage} 진행 중", "is at {stage}"),
    "retryable": ("{stage} 재시도를 기다리는 중", "is retrying {stage}"),
    None: ("아직 끝나지 않음", "has not ended"),
}
"""What a child does, by the state of its open dispatch (None: none is open)."""
ROUND: Sentence = (" (되돌아가기 {rounds}회 중 {round}회째)", "; round {round} of {rounds}")
"""Behind the sentence about a job that has come by a bounded route."""
SENTENCES: dict[str, Sentence] = {
    "waits_until": (
        "{step} 단계에서 {begun}부터 사람의 결정을 기다립니다({choices}). "
        "{until}까지 결정이 없으면 ({then})(으)로 넘어갑니다",
        "waits for a person at {step} since {begun} ({choices}); until {until}, then ({then})",
    ),
    "waits": (
        "{step} 단계에서 {begun}부터 사람의 결정을 기다립니다({choices}). 기한은 없습니다",
        "waits for a person at {step} since {begun} ({choices}), for as long as it takes",
    ),
    "gathering": (
        "자식 작업 {total}건 중 {left}건이 끝나기를 기다립니다. 예: {child}({doing}). 완료 {done}건",
        "waits for {left} of {total:# child|# children}: {child} {doing}; {done} done",
    ),
    "counting": (
        "자식 작업 {total}건이 모두 끝났습니다. 워커가 세는 대로 넘어갑니다",
        "{total:its one child has|all of its # children have} ended: it goes on when a worker has counted them",
    ),
    "no_children": (
        "자식 파이프라인 {children}이(가) 이 파이프라인에 연결되어 있지 않습니다. 해당 파이프라인을 attach해야 합니다",
        "its children's pipeline {children} is not attached, or names another parent: attach it",
    ),
    "delayed": ("{seconds} 뒤에 다음 상태로 넘어갑니다", "goes on in {seconds}, as its route says"),
    "done": ("파이프라인이 완료되었습니다", "done"),
    "not_routed": (
        "({step}, {status}) 상태로는 어떤 단계도 호출되지 않습니다",
        "not in a routed state: nothing is called at ({step}, {status})",
    ),
    "cancelled": ("{stage} 단계에서 취소되었습니다", "cancelled at {stage}"),
    "quarantined": (
        "{stage} 단계에서 격리되었습니다. 재실행하면 해제됩니다",
        "in quarantine at {stage}: not called until it is run again",
    ),
    "gone": ("행이 삭제되었습니다", "its row is gone"),
    "dead": (
        "{stage} 단계에서 {attempts}회 시도 후 최종 실패했습니다: {error}",
        "dead at {stage}, attempts made: {attempts}. {error}",
    ),
    "moved_on": (
        "행이 ({step}, {status})(으)로 옮겨졌습니다. 다음에 워커가 확인할 때 {stage} 호출이 끝납니다",
        "its row was moved to ({step}, {status}): the call of {stage} ends when a worker next looks",
    ),
    "dispatch_missing": (
        "{stage} 단계를 호출할 상태이지만 트리거가 변경을 보지 못했습니다. pgbaton reconcile로 복구됩니다",
        "{stage} should be called, but no trigger saw the change: pgbaton reconcile creates what is missing",
    ),
    "left_alone": (
        "({step}, {status})에 attach 전부터 있던 행이라 움직일 때까지 호출하지 않습니다. "
        "호출하려면 pgbaton attach --backfill 또는 pgbaton rerun을 쓰세요",
        "it has stood at ({step}, {status}) since before that was attached, and is left alone until it moves: "
        "pgbaton rerun calls it, pgbaton attach --backfill all such",
    ),
    "shadow": (
        "섀도 모드라 {stage} 호출을 기록만 하고 호출하지 않습니다",
        "in shadow mode: that {stage} would be called is recorded, and it is not called",
    ),
    "not_at_home": (
        "attach한 데이터베이스가 아니라서(복원된 사본일 수 있음) 아무것도 호출하지 않습니다",
        "this database is not the one that was attached, perhaps a copy of it: nothing is called",
    ),
    "stage_unrouted": (
        "{stage} 단계가 더 이상 파이프라인에 없습니다",
        "the stage {stage} is not in the pipeline any more",
    ),
    "paused_pipeline": ("파이프라인이 일시정지되었습니다", "the pipeline is paused"),
    "paused_stage": ("{stage} 단계가 일시정지되었습니다", "the stage {stage} is paused"),
    "paused_tenant": ("일시정지된 테넌트: {tenant}", "the tenant {tenant} is paused"),
    "no_worker": ("살아 있는 워커가 없습니다", "no worker is alive"),
    "retry_in": (
        "{stage} 단계의 {attempt}번째 시도(최대 {attempts}회)를 {seconds} 뒤에 시작합니다. 최근 오류: {error}",
        "{stage}: attempt {attempt} of {attempts} in {seconds} after {error}",
    ),
    "deferred": (
        "{stage} 단계가 지금은 받을 수 없다고 응답했습니다({error}). {seconds} 뒤에 다시 호출합니다",
        "{stage} asked to be called later ({error}): called again in {seconds}",
    ),
    "circuit_open": (
        "{stage} 단계가 연속 {strikes}회 응답하지 않아 호출을 차단했습니다(서킷 열림). {seconds} 뒤에 다시 확인합니다",
        "{stage} does not answer ({strikes:# try|# tries in a row}), so its circuit is open; probed again in {seconds}",
    ),
    "circuit_probing": (
        "{stage} 단계가 응답하지 않아 한 번에 한 건씩만 확인합니다. 앞에 {before}건 있습니다",
        "its circuit is half open: {stage} is tried with one call at a time, {before} before it",
    ),
    "waiting_slot": (
        "{stage} 단계의 빈자리를 기다립니다(동시 {limit}건까지). 앞에 {before}건 있습니다",
        "waiting for a slot of {stage} (at most {limit} at once), {before} before it",
    ),
    "held_back": (
        "{stage} 단계가 429로 응답해 호출을 멈췄습니다. {seconds} 뒤에 다시 호출합니다. 앞에 {before}건 있습니다",
        "{stage} answered 429: held back for {seconds}, {before} before it",
    ),
    "waiting_tenant": (
        "{stage} 단계에서 {tenant} 테넌트의 동시 호출 한도({limit}건)가 찼습니다. "
        "같은 테넌트의 작업이 앞에 {before}건 있습니다{about}",
        "behind {before} of {tenant}'s own at {stage}: its limit is {limit}{about}",
    ),
    "waiting_pool": (
        "풀 {pool}의 빈자리가 모자랍니다: {size}자리 중 {used}자리 사용 중({users}). 앞에 {before}건 있습니다",
        "the pool {pool} is full: {used} of {size} taken, by {users}; {before} before it",
    ),
    "waiting_rate": (
        "{stage} 단계의 호출 속도 한도 때문에 다음 호출은 {seconds} 뒤입니다. 앞에 {before}건 있습니다",
        "the rate of {stage} lets the next call begin in {seconds}, {before} before it",
    ),
    "waiting_tenant_rate": (
        "{stage} 단계에서 {tenant} 테넌트의 호출 속도 한도 때문에 다음 호출은 {seconds} 뒤입니다. "
        "같은 테넌트의 작업이 앞에 {before}건 있습니다",
        "the rate of {tenant} at {stage} lets its next call begin in {seconds}, {before} of its own before it",
    ),
    "learned_limit": (
        "{stage} 단계가 429로 응답해 지금은 동시 {limit}건까지만 호출합니다{configured}. 앞에 {before}건 있습니다",
        "{stage} answers 429: {limit} at once now{configured}, {before} before it",
    ),
    "waiting_turn": (
        "{stage} 호출 차례를 기다립니다. 앞에 {before}건 있습니다",
        "waiting for a worker to call {stage}, {before} before it",
    ),
    "calling": (
        "워커 {worker}이(가) {stage} 단계를 {since}째 호출 중입니다. {seconds} 뒤 제한 시간을 넘깁니다",
        "{worker} has been calling {stage} for {since}; gives up in {seconds}",
    ),
    "working": (
        "{stage} 단계가 {since}째 처리 중입니다. {seconds} 뒤 제한 시간을 넘깁니다",
        "the stage {stage} has been working on it for {since}; given up in {seconds}",
    ),
    "overdue": (
        "{stage} 단계의 제한 시간이 지났습니다. 곧 다시 처리됩니다",
        "{stage} is past its time and about to be given up",
    ),
    "lost_worker": (
        "중단된 워커 {worker}이(가) 맡고 있습니다. 몇 초 안에 다른 워커가 회수합니다",
        "a worker that is lost ({worker}) holds it: rescued within seconds, by any worker",
    ),
    "lost_no_worker": (
        "중단된 워커 {worker}이(가) 맡고 있고, 회수할 워커가 없습니다",
        "a worker that is lost ({worker}) holds it, and no worker is alive to rescue it",
    ),
}


def reason(f: Mapping[str, Any]) -> Explanation:
    """Why, from a record of ``read/standing.sql``."""
    if not f["present"]:
        return Explanation("gone", False)
    if f["in_place"] and f["kind"] not in (None, "call") and (passing := _passing(f)) is not None:
        return passing
    if f["state"] in ("running", "available", "retryable") and not f["in_place"]:
        return Explanation("moved_on", f["any_worker"], {"stage": f["stage"], "step": f["step"], "status": f["word"]})
    if f["state"] == "running":
        return _running(f)
    if f["state"] in ("available", "retryable"):
        return _waiting(f)
    return _settled(f)


def choices_of(f: Mapping[str, Any]) -> tuple[str, ...]:
    """The names by which a person can decide about the job, where it waits for that."""
    waits = f["in_place"] and f["kind"] == "wait" and f["state"] in ("available", "running")
    return tuple(name for name, _ in json.loads(f["detail"])["choices"]) if waits else ()


def _passing(f: Mapping[str, Any]) -> Explanation | None:
    """The row is at a state at which nothing is called; None: a worker has to come to it first."""
    if f["kind"] == "wait" and f["state"] == "running":
        detail = json.loads(f["detail"])
        values = {"step": f["stage"], "since": f["since"] or 0.0, "begun": f["started_at"] or f["at"]}
        values |= {"choices": ", ".join(choices_of(f)) or "–"}
        if "then" not in detail:
            return Explanation("waits", False, values)
        ends = {"seconds": f["given_up_in"] or 0.0, "until": f["deadline"], "then": ", ".join(detail["then"])}
        return Explanation("waits_until", False, values | ends)
    if f["kind"] == "gather" and f["state"] == "running":
        return Explanation("gathering", True, {"left": 0, "total": 0, "done": 0})
    if f["kind"] == "move" and f["state"] in ("retryable", "available") and f["due_in"] > 0 and not f["parked"]:
        return Explanation("delayed", True, {"seconds": f["due_in"]})
    return None


def _settled(f: Mapping[str, Any]) -> Explanation:
    """No dispatch is open."""
    if f["routed_to"] is not None:
        if not f["live"]:
            return Explanation("shadow", False, {"stage": f["routed_to"]})
        if f["left_alone"]:
            return Explanation("left_alone", False, {"step": f["step"], "status": f["status"]})
        if f["state"] == "dead" and f["stage"] == f["routed_to"] and f["outcome"] == "refused":
            return Explanation("dead", False, {"stage": f["stage"], "attempts": f["attempt"], "error": f["error"]})
        return Explanation("dispatch_missing", False, {"stage": f["routed_to"]})
    at_stage = f["step"] == f["stage"]
    refused = f["outcome"] == "refused" and f["status"] == "running"
    if f["state"] == "dead" and at_stage and (f["status"] == "failed" or refused):
        return Explanation(
            "dead", False, {"stage": f["stage"], "attempts": f["attempt"], "error": f["error"] or f["outcome"]}
        )
    if f["state"] == "cancelled" and at_stage and f["status"] == "cancelled":
        return Explanation("cancelled", False, {"stage": f["stage"]})
    if at_stage and f["status"] == QUARANTINED:
        return Explanation("quarantined", False, {"stage": f["stage"]})
    if f["of_a_stage"] and f["status"] == "done":
        return Explanation("done", False)
    return Explanation("not_routed", False, {"step": f["step"], "status": f["word"]})


def _running(f: Mapping[str, Any]) -> Explanation:
    stage, since = f["stage"], f["since"] or 0.0
    if not f["held"]:
        if (f["given_up_in"] or 0.0) <= 0:
            return Explanation("overdue", True, {"stage": stage})
        return Explanation("working", True, {"stage": stage, "since": since, "seconds": f["given_up_in"]})
    if not f["worker_alive"]:
        return Explanation(
            "lost_worker" if f["any_worker"] else "lost_no_worker", f["any_worker"], {"worker": f["worker"] or "?"}
        )
    left = max(0.0, f["timeout"] - since)
    return Explanation("calling", True, {"stage": stage, "worker": f["worker"], "since": since, "seconds": left})


def _waiting(f: Mapping[str, Any]) -> Explanation:
    """The strongest reason comes first: a pause outlasts a backoff."""
    stage = f["stage"]
    for code, keeps in (
        ("stage_unrouted", not f["routed"]),
        ("paused_pipeline", f["pipeline_paused"]),
        ("paused_stage", f["stage_paused"]),
        ("paused_tenant", f["tenant_paused"]),
        ("not_at_home", not f["at_home"]),
        ("no_worker", not f["any_worker"]),
    ):
        if keeps:
            return Explanation(code, False, {"stage": stage, "tenant": f["tenant"]})
    if (f["open_for"] or 0.0) > 0 and f["strikes"] > 0:
        return Explanation(
            "circuit_open", True, {"stage": stage, "strikes": f["strikes"], "seconds": max(f["open_for"], f["due_in"])}
        )
    if f["due_in"] > 0 and not f["parked"]:
        return _backing_off(f)
    if f["strikes"] > 0:
        return Explanation("circuit_probing", True, {"stage": stage, "before": f["before"]})
    if (kept := _kept_by_a_limit(f)) is not None:
        return kept
    if f["concurrency"] is not None and f["running"] >= f["concurrency"]:
        return Explanation("waiting_slot", True, {"stage": stage, "before": f["before"], "limit": f["concurrency"]})
    return Explanation("waiting_turn", True, {"stage": stage, "before": f["before"]})


def _kept_by_a_limit(f: Mapping[str, Any]) -> Explanation | None:
    """The limit that keeps it longest comes first; None: no limit does, but perhaps the stage's own."""
    stage, tenant = f["stage"], f["tenant"] or "-"
    before = f["before"] if f["before_of_tenant"] is None else f["before_of_tenant"]
    all_before = {"stage": stage, "before": f["before"]}
    own_before = {"stage": stage, "tenant": tenant, "before": before}
    refusing = {"stage": stage if f["account"] is None else f"{stage} ({f['account']})", "before": f["before"]}
    if (f["held_for"] or 0.0) > 0:
        return Explanation("held_back", True, refusing | {"seconds": f["held_for"]})
    if f["per_tenant"] is not None and f["running_of_tenant"] >= f["per_tenant"]:
        takes = None if f["takes"] is None else f["takes"] * (before // f["per_tenant"] + 1)
        return Explanation("waiting_tenant", True, own_before | {"limit": f["per_tenant"], "about": takes})
    if f["pool"] is not None and f["pool_size"] is not None and f["pool_used"] + f["cost"] > f["pool_size"]:
        pool = {"pool": f["pool"], "size": f["pool_size"], "used": f["pool_used"], "users": f["pool_users"]}
        return Explanation("waiting_pool", True, all_before | pool)
    if (f["tenant_rate_in"] or 0.0) > 0:
        return Explanation("waiting_tenant_rate", True, own_before | {"seconds": f["tenant_rate_in"]})
    if (f["rate_in"] or 0.0) > 0:
        return Explanation("waiting_rate", True, all_before | {"seconds": f["rate_in"]})
    running = f["running"] if f["running_of_account"] is None else f["running_of_account"]
    if f["ceiling"] is not None and running >= f["ceiling"]:
        limits = {"limit": f["ceiling"], "configured": f["concurrency"]}
        return Explanation("learned_limit", True, refusing | limits)
    return None


def _backing_off(f: Mapping[str, Any]) -> Explanation:
    said = f["error"] or f["outcome"]
    if f["outcome"] == "deferred":
        return Explanation("deferred", True, {"stage": f["stage"], "error": said, "seconds": f["due_in"]})
    return Explanation(
        "retry_in",
        True,
        {
            "stage": f["stage"],
            "attempt": f["failures"] + 1,
            "attempts": f["attempts"],
            "error": said,
            "seconds": f["due_in"],
        },
    )
