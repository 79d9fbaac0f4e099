"""A finding, and its words in Korean and English."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pgbaton.events import Language
from pgbaton.insights.words import Sentence, Value, worded

Level = Literal["bad", "warn", "note"]
"""``bad``: jobs stand still. ``warn``: they are slow, or soon will stand still. ``note``: so it was wanted, or it is
over."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``code`` is for programs and never changes; ``values`` are what its sentence names (durations in seconds).
    ``pipeline``: none where it concerns the whole database."""

    code: str
    level: Level
    values: dict[str, Value] = field(default_factory=dict)
    pipeline: str | None = None

    def sentence(self, language: Language = "en") -> str:
        """What is wrong. It holds text of others' making: escape it where that matters."""
        return worded(SENTENCES[self.code], self.values, language)

    def remedy(self, language: Language = "en") -> str:
        """What mends it."""
        return worded(REMEDIES[self.code], self.values | {"pipeline": self.pipeline}, language)

    def as_json(self, language: Language = "en") -> dict[str, Any]:
        """Plain data, with the words beside it."""
        return {
            "code": self.code,
            "level": self.level,
            "pipeline": self.pipeline,
            "values": self.values,
            "sentence": self.sentence(language),
            "remedy": self.remedy(language),
        }


_HIDES = {
    "not_at_home": {"no_worker", "behind", "full", "looks_wait"},
    "read_only": {"no_worker", "lost_worker", "lost_over", "behind", "full", "looks_wait"},
    "locked": {"behind", "full", "looks_wait"},
}
"""What is only a consequence of a cause that is known."""


def worst_first(found: Iterable[Finding]) -> list[Finding]:
    """Sorted by level, and within one as they came; without mere consequences of another."""
    found = list(found)
    hidden = {code for f in found for code in _HIDES.get(f.code, ())}
    return sorted((f for f in found if f.code not in hidden), key=lambda f: ("bad", "warn", "note").index(f.level))


SENTENCES: dict[str, Sentence] = {
    "not_migrated": ("스키마 pgbaton이 준비되지 않았습니다: {error}", "the schema pgbaton is not ready: {error}"),
    "read_only": (
        "데이터베이스가 쓰기를 받지 않습니다 ({error}). 아무 작업도 호출되지 않습니다.",
        "The database accepts no writes ({error}): nothing is being called.",
    ),
    "trigger_missing": (
        "{table} 테이블에 트리거 {trigger}이(가) 없어 작업의 변화를 보지 못합니다.",
        "Changes of jobs are not seen: the trigger {trigger} on {table} is missing.",
    ),
    "trigger_disabled": (
        "{table} 테이블의 트리거 {trigger}이(가) 꺼져 있어 작업의 변화를 보지 못합니다.",
        "Changes of jobs are not seen: the trigger {trigger} on {table} is disabled.",
    ),
    "trigger_drifted": (
        "{table} 테이블의 트리거 {trigger}의 함수가 이 버전의 것이 아닙니다.",
        "The function of the trigger {trigger} on {table} is not the one that this version attaches.",
    ),
    "trigger_doubled": (
        "{table} 테이블의 트리거 {trigger}이(가) 같은 변화를 한 번 더 알립니다.",
        "The trigger {trigger} on {table} publishes or dispatches the same changes a second time.",
    ),
    "not_at_home": (
        "파이프라인을 attach한 데이터베이스가 아닙니다(복원된 사본일 수 있습니다). 아무 작업도 호출하지 않습니다.",
        "This database is not the one that the pipeline was attached in, perhaps a copy of it: nothing is called here.",
    ),
    "past_undecided": (
        "attach 전부터 호출 대상 상태에 있던 행을 어떻게 할지 정하지 않았습니다. "
        "정할 때까지 누락된 호출을 만들지 않습니다.",
        "Nobody has said what becomes of the rows that were in routed states before; until then nothing is reconciled.",
    ),
    "past_unfinished": (
        "attach 전부터 있던 행의 처리({mode})가 끝나지 않았습니다. 지금까지 {rows}건. "
        "끝날 때까지 누락된 호출을 만들지 않습니다.",
        "The walk over rows of the past ({mode}) has not ended, {rows} so far; until then nothing is reconciled.",
    ),
    "shadow": (
        "섀도 모드입니다. 작업의 {share}%만 호출합니다(전부 호출하는 테넌트: {tenants}). "
        "나머지는 기록만 합니다. 기록 {count}건.",
        "Shadow mode: {share} % of the jobs are called (all of the tenants: {tenants}), of the rest it is recorded; "
        "{count} records.",
    ),
    "unowned_running": (
        "{stage} 단계에서 {count}건이 {from} 이후로 계속 처리 중인데, 이 엔진이 호출한 작업이 아닙니다.",
        "{count} rows are running at {stage}, the oldest since {from}, and the engine has no dispatch for them.",
    ),
    "no_worker": (
        "살아 있는 워커가 없어 아무 작업도 호출되지 않습니다.",
        "No worker is alive: nothing is being called.",
    ),
    "lost_worker": (
        "워커 {worker}의 하트비트가 {silent}째 없습니다. 맡고 있던 {count}건은 다른 워커가 회수합니다.",
        "Worker {worker} has not renewed its lease for {silent}; other workers take over its calls ({count}).",
    ),
    "lost_over": (
        "워커 {worker}의 연결이 {silent} 전에 끊겼습니다. 지금 맡고 있는 작업은 없습니다.",
        "Worker {worker} was lost {silent} ago; it holds no calls.",
    ),
    "paused_pipeline": ("파이프라인이 일시정지되어 있습니다.", "The pipeline is paused."),
    "paused_stage": (
        "{stage} 단계가 일시정지되어 있습니다. 대기 {waiting}건.",
        "The stage {stage} is paused; {waiting} waiting.",
    ),
    "paused_tenant": ("일시정지된 테넌트: {tenant}", "The tenant {tenant} is paused."),
    "circuit_open": (
        "{stage} 단계가 응답하지 않습니다(연속 {strikes}회). 응답하면 자동으로 다시 호출합니다.",
        "{stage} does not answer ({strikes} tries in a row). It is called again automatically once it answers.",
    ),
    "stage_unrouted": (
        "{stage} 단계는 파이프라인에 없는데 {count}건이 이 단계를 기다립니다.",
        "{count} wait for the stage {stage}, which is not in the pipeline any more.",
    ),
    "dead": (
        "{stage} 단계에서 {count}건이 최종 실패했습니다: {error}",
        "{stage} gave up on {count}: {error}",
    ),
    "retrying": (
        "{stage} 단계에서 {count}건이 재시도를 기다립니다. 최근 오류: {error}",
        "{count} at {stage} will be called again. Latest error: {error}",
    ),
    "full": (
        "{stage} 단계가 동시 호출 한도({running}건)에 도달했습니다. {waiting}건이 최대 {oldest}째 기다립니다.",
        "{stage} is the bottleneck: all {running} slots are taken, {waiting} wait, the oldest for {oldest}.",
    ),
    "behind": (
        "{stage} 단계에서 {waiting}건이 최대 {oldest}째 기다립니다.",
        "{waiting} wait for {stage}, the oldest for {oldest}.",
    ),
    "slow": (
        "{stage} 단계가 느립니다. 처리 시간 p95가 {work}이고 제한 시간은 {timeout}입니다.",
        "{stage} is slow: its work takes {work} at p95, and {timeout} is the limit.",
    ),
    "looks_wait": (
        "테이블의 변화 {count}건이 {age}째 확인을 기다립니다.",
        "{count} changes of the table wait to be looked at, the oldest for {age}.",
    ),
    "locked": (
        "세션 {pid}({who})이(가) {table} 테이블을 {age}째 잠그고 있어 다른 세션이 기다립니다.",
        "Session {pid} ({who}) holds a lock on {table} that other sessions have waited for, for {age}.",
    ),
    "notification_queue": (
        "알림 대기열이 {percent}% 찼습니다.",
        "The notification queue is {percent} % full.",
    ),
    "old_snapshot": (
        "{who}이(가) {age}째 vacuum을 막고 있습니다 ({detail}).",
        "{who} holds back vacuum, for {age} now ({detail}).",
    ),
    "index_missing": (
        "인덱스 pgbaton.{index}이(가) 없거나 유효하지 않습니다.",
        "The index pgbaton.{index} is missing or not valid.",
    ),
    "clock_difference": (
        "이 서버와 데이터베이스의 시계가 {apart} 차이 납니다(리스는 데이터베이스의 시계를 따릅니다).",
        "This machine's clock and the database's are {apart} apart (leases follow the database's).",
    ),
    "pooler_in_path": (
        "트랜잭션 풀러를 거치고 있어 LISTEN이 아무것도 듣지 못합니다. 워커는 폴링만 합니다.",
        "A transaction pooler is in the path: LISTEN hears nothing through it, so workers only poll.",
    ),
    "listen_round_trip": (
        "알림이 {seconds} 안에 돌아오지 않았습니다.",
        "A notification did not come back within {seconds}.",
    ),
    "invariant_broken": (
        "{count}건의 작업에서 지켜지지 않습니다: {invariant} ({examples})",
        "Not true for {count} jobs: {invariant} ({examples})",
    ),
}

_ATTACH = ("pgbaton attach --config FILE", "pgbaton attach --config FILE")
_RESUME = "pgbaton resume --pipeline {pipeline}"
REMEDIES: dict[str, Sentence] = {
    "not_migrated": ("pgbaton migrate", "pgbaton migrate"),
    "read_only": (
        "기본 서버에 연결하거나 default_transaction_read_only를 끄세요",
        "connect to the primary, or switch default_transaction_read_only off",
    ),
    "trigger_missing": _ATTACH,
    "trigger_disabled": _ATTACH,
    "trigger_drifted": _ATTACH,
    "trigger_doubled": ('DROP TRIGGER "{trigger}" ON {table}', 'DROP TRIGGER "{trigger}" ON {table}'),
    "not_at_home": (
        "이 데이터베이스가 맞다면 pgbaton attach --config FILE --here",
        "if it is the home now: pgbaton attach --config FILE --here",
    ),
    "past_undecided": (
        "pgbaton attach --config FILE에 --from now 또는 --backfill을 주세요",
        "pgbaton attach --config FILE, with --from now or --backfill",
    ),
    "past_unfinished": ("이어서 하려면 pgbaton attach --config FILE", "to go on with it: pgbaton attach --config FILE"),
    "shadow": (
        "pgbaton shadow로 비교하고 pgbaton live로 호출 범위를 늘리세요",
        "compare with pgbaton shadow, then widen it with pgbaton live",
    ),
    "unowned_running": (
        "pgbaton takeover --stage {stage} --older-than {older} --dry-run으로 확인한 뒤 넘겨받으세요",
        "look with pgbaton takeover --stage {stage} --older-than {older} --dry-run, then take them over",
    ),
    "no_worker": ("pgbaton run --config FILE", "pgbaton run --config FILE"),
    "lost_worker": (
        "할 일이 없습니다. 살아 있는 워커가 몇 초 안에 회수합니다",
        "nothing: living workers take over its calls within seconds",
    ),
    "lost_over": ("워커가 왜 중단되었는지 로그를 확인하세요", "look into its log for why it was lost"),
    "paused_pipeline": (_RESUME, _RESUME),
    "paused_stage": (_RESUME + " --stage {stage}", _RESUME + " --stage {stage}"),
    "paused_tenant": (_RESUME + " --tenant {tenant}", _RESUME + " --tenant {tenant}"),
    "circuit_open": (
        "{stage} 서버를 확인하세요. 워커가 몇 초마다 자동으로 확인합니다",
        "see to the stage; workers probe it by themselves every few seconds",
    ),
    "stage_unrouted": (
        "그 단계가 있는 파이프라인을 attach하거나, 작업을 재실행 또는 취소하세요 (pgbaton cancel --stage {stage})",
        "attach a pipeline that has the stage, or rerun or cancel its jobs (pgbaton cancel --stage {stage})",
    ),
    "dead": (
        "원인을 해결한 뒤 재시도하세요: pgbaton retry --stage {stage}",
        "mend the cause, then: pgbaton retry --stage {stage}",
    ),
    "retrying": (
        "자동으로 다시 호출합니다. 지금 호출하려면: pgbaton retry --stage {stage}",
        "they are called again automatically; to call them now: pgbaton retry --stage {stage}",
    ),
    "full": (
        "{stage} 단계의 concurrency를 늘리거나 서버를 늘리세요",
        "raise the concurrency of {stage}, if its server can take more",
    ),
    "behind": (
        "워커의 용량과 데이터베이스를 확인하세요 (pgbaton status)",
        "look at the capacity of the workers, and at the database (pgbaton status)",
    ),
    "slow": (
        "{stage} 단계를 확인하거나 timeout을 늘리세요",
        "see to the stage {stage}, or give it a longer timeout",
    ),
    "looks_wait": (
        "워커를 시작하세요. 이미 실행 중이면 행을 잠근 세션을 찾으세요 (pg_stat_activity, 가장 오래된 xact_start)",
        "start a worker; if one runs, another session locks the jobs' rows (pg_stat_activity, oldest xact_start)",
    ),
    "locked": ("SELECT pg_terminate_backend({pid})", "SELECT pg_terminate_backend({pid})"),
    "notification_queue": (
        "오래된 트랜잭션 안에서 LISTEN하는 세션을 종료하세요 (pg_stat_activity, 가장 오래된 xact_start)",
        "end the session that LISTENs inside an old transaction (pg_stat_activity, oldest xact_start)",
    ),
    "old_snapshot": ("종료하세요: {end}", "end it: {end}"),
    "index_missing": (
        "REINDEX하거나 마이그레이션에 있는 대로 다시 만드세요",
        "REINDEX it, or create it as the migration does",
    ),
    "clock_difference": (
        "시계를 동기화하세요(NTP). 그래야 로그를 나란히 읽을 수 있습니다",
        "synchronise the clocks (NTP), so that logs can be read side by side",
    ),
    "pooler_in_path": (
        "PGBATON_LISTEN_URL에 같은 데이터베이스의 직접 주소를 설정하세요",
        "set PGBATON_LISTEN_URL to a direct address of the same database",
    ),
    "listen_round_trip": (
        "중간의 풀러나 프록시, 그리고 알림 대기열을 확인하세요",
        "look for a pooler or proxy in the path, and at the notification queue",
    ),
    "invariant_broken": (
        "빠진 호출은 pgbaton reconcile이 만들고, 나머지는 워커가 행을 보고 정리합니다",
        "pgbaton reconcile creates what is missing; workers settle the rest by the row",
    ),
}
