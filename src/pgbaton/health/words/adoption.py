"""A table that another system worked on before, and a database that was copied."""

from __future__ import annotations

from pgbaton.health.words.form import Words

WORDS: dict[str, Words] = {
    "not_at_home": Words(
        (
            "파이프라인을 attach한 데이터베이스가 아닙니다. 아무 작업도 호출하지 않습니다.",
            "This database is not the one that the pipeline was attached in: nothing is called here.",
        ),
        (
            "백업을 다른 곳에 복원했거나, 데이터베이스를 복제했거나, 서버를 옮겼습니다.",
            "A backup was restored elsewhere, the database was copied, or it moved to another server.",
        ),
        (
            "이 데이터베이스에서 운영하려면 pgbaton attach --config FILE --here",
            "if it is the home now: pgbaton attach --config FILE --here",
        ),
    ),
    "past_undecided": Words(
        (
            "attach 전부터 호출 대상 상태에 있던 행을 어떻게 할지 정하지 않았습니다. "
            "정할 때까지 누락된 호출을 만들지 않습니다.",
            "The rows that stood in routed states before are still to be decided about; until then nothing is "
            "reconciled.",
        ),
        (
            "이미 행이 있는 테이블에 pgbaton sql의 스크립트로 attach했습니다.",
            "The pipeline was attached to a table with rows by the script of pgbaton sql.",
        ),
        (
            "pgbaton attach --config FILE에 --from now 또는 --backfill을 주세요",
            "pgbaton attach --config FILE, with --from now or --backfill",
        ),
    ),
    "past_unfinished": Words(
        (
            "attach 전부터 있던 행의 처리({mode})가 끝나지 않았습니다. 지금까지 {rows}건. "
            "끝날 때까지 누락된 호출을 만들지 않습니다.",
            "The walk over rows of the past ({mode}) has not ended, {rows} so far; until then nothing is reconciled.",
        ),
        (
            "attach가 아직 실행 중이거나 도중에 중단되었습니다.",
            "Attach is at it, or was broken off.",
        ),
        (
            "중단되었다면 이어서 실행하세요: pgbaton attach --config FILE",
            "if it was broken off, to go on with it: pgbaton attach --config FILE",
        ),
    ),
    "shadow": Words(
        (
            "섀도 모드입니다. 작업의 {share}%만 호출합니다(전부 호출하는 테넌트: {tenants}). "
            "나머지는 기록만 합니다. 기록 {count}건.",
            "Shadow mode: {share} % of the jobs are called (all of the tenants: {tenants}), of the rest it is "
            "recorded; {count:# record|# records}.",
        ),
        (
            "pgbaton attach --shadow 또는 pgbaton live로 그렇게 정했습니다.",
            "Somebody wanted it so: pgbaton attach --shadow, or pgbaton live.",
        ),
        (
            "pgbaton shadow로 비교하고 pgbaton live로 호출 범위를 늘리세요",
            "compare with pgbaton shadow, then widen it with pgbaton live",
        ),
    ),
}
