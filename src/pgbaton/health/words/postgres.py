"""Postgres, and the way there."""

from __future__ import annotations

from pgbaton.health.words.form import Words

WORDS: dict[str, Words] = {
    "read_only": Words(
        (
            "데이터베이스가 쓰기를 받지 않습니다 ({error}). 아무 작업도 호출되지 않습니다.",
            "The database accepts no writes ({error}): nothing is being called.",
        ),
        (
            "읽기 전용 설정이 켜졌거나, 스탠바이에 연결되었습니다.",
            "Somebody switched read-only on, or the address leads to a standby.",
        ),
        (
            "프라이머리에 연결하거나 default_transaction_read_only를 끄세요",
            "connect to the primary, or switch default_transaction_read_only off",
        ),
    ),
    "commits_wait": Words(
        (
            "커밋 {count}건이 응답하지 않는 스탠바이({standbys})를 {age}째 기다립니다. "
            "그동안 아무 작업도 움직이지 않습니다.",
            "{count:# commit has|# commits have} waited for a standby ({standbys}) for {age}: meanwhile no job moves.",
        ),
        (
            "synchronous_standby_names의 스탠바이가 중단되었거나 연결이 끊겼습니다. 응답할 때까지 어떤 트랜잭션도 "
            "끝나지 않습니다.",
            "The standby that synchronous_standby_names asks for is down, cut off or slow; until it answers, no "
            "transaction ends, neither a stage's nor a worker's.",
        ),
        (
            "스탠바이를 되살리거나, 기다리지 않게 하세요: ALTER SYSTEM SET synchronous_standby_names = ''; "
            "SELECT pg_reload_conf()",
            "bring the standby back, or wait for none: ALTER SYSTEM SET synchronous_standby_names = ''; "
            "SELECT pg_reload_conf()",
        ),
    ),
    "locked": Words(
        (
            "세션 {pid}({who})이(가) {table} 테이블을 {age}째 잠그고 있어 다른 세션이 기다립니다.",
            "Session {pid} ({who}) holds a lock on {table} that other sessions have waited for, for {age}.",
        ),
        (
            "긴 트랜잭션, 마이그레이션 또는 열어 둔 psql 세션이 잠금을 잡고 있습니다.",
            "A long transaction, a migration or a psql session that was left open holds the lock.",
        ),
        (
            "SELECT pg_terminate_backend({pid})",
            "SELECT pg_terminate_backend({pid})",
        ),
    ),
    "rows_held": Words(
        (
            "세션 {pid}({who})이(가) {table} 테이블의 행을 건드린 트랜잭션을 {age}째 끝내지 않았습니다. "
            "그 행의 작업은 움직이지 못합니다. 기다리는 세션: {waiting}개.",
            "Session {pid} ({who}) has left a transaction open for {age} that touched rows of {table}; "
            "a job whose row it holds does not move. Sessions that wait for it: {waiting}.",
        ),
        (
            "행을 바꾸거나 FOR UPDATE로 읽은 뒤 COMMIT하지 않은 psql 세션이나 프로그램입니다.",
            "A psql session or a program changed rows, or read them FOR UPDATE, and has not committed.",
        ),
        (
            "그 세션에서 COMMIT하거나, SELECT pg_terminate_backend({pid})",
            "commit there, or SELECT pg_terminate_backend({pid})",
        ),
    ),
    "connections_full": Words(
        (
            "Postgres 연결 {most}개 중 {count}개를 쓰고 있습니다(최다: {who} {theirs}개). 다 차면 거절됩니다.",
            "{count} of Postgres' {most} connections are taken (the most by {who}: {theirs}); then none is given.",
        ),
        (
            "한 프로그램의 풀이 너무 크거나, 연결을 닫지 않습니다. 다 차면 새로 시작하는 워커가 연결하지 못합니다.",
            "A program's pool is too large, or it leaves connections open. A worker that starts then cannot connect.",
        ),
        (
            "{who}의 연결을 줄이거나 max_connections를 늘리세요",
            "let {who} open fewer, or raise max_connections",
        ),
    ),
    "notification_queue": Words(
        (
            "알림 대기열이 {percent}% 찼습니다.",
            "The notification queue is {percent} % full.",
        ),
        (
            "LISTEN 중인 세션 하나가 오래된 트랜잭션 안에 있어 대기열을 비우지 못합니다.",
            "A session that LISTENs inside an old transaction keeps the queue from being emptied.",
        ),
        (
            "오래된 트랜잭션 안에서 LISTEN하는 세션을 종료하세요 (pg_stat_activity, 가장 오래된 xact_start)",
            "end the session that LISTENs inside an old transaction (pg_stat_activity, oldest xact_start)",
        ),
    ),
    "old_snapshot": Words(
        (
            "{who}이(가) {age}째 vacuum을 막고 있습니다 ({detail}).",
            "{who} holds back vacuum, for {age} now ({detail}).",
        ),
        (
            "오래된 트랜잭션이 열려 있어, 이미 처리한 행을 vacuum이 지우지 못합니다.",
            "A transaction that was left open keeps vacuum from removing rows that are done with.",
        ),
        (
            "종료하세요: {end}",
            "end it: {end}",
        ),
    ),
    "index_missing": Words(
        (
            "인덱스 pgbaton.{index}이(가) 없거나 유효하지 않습니다.",
            "The index pgbaton.{index} is missing or not valid.",
        ),
        (
            "인덱스가 삭제되었거나, CREATE INDEX CONCURRENTLY가 중간에 실패했습니다.",
            "The index was dropped, or a CREATE INDEX CONCURRENTLY failed half-way.",
        ),
        (
            "REINDEX하거나 마이그레이션에 있는 대로 다시 만드세요",
            "REINDEX it, or create it as the migration does",
        ),
    ),
    "clock_difference": Words(
        (
            "이 서버와 데이터베이스의 시계가 {apart} 차이 납니다(리스는 데이터베이스의 시계를 따릅니다).",
            "This machine's clock and the database's are {apart} apart (leases follow the database's).",
        ),
        (
            "둘 중 한 서버의 시계가 동기화되지 않았습니다.",
            "One of the two machines does not synchronise its clock.",
        ),
        (
            "시계를 동기화하세요(NTP). 그래야 로그를 나란히 읽을 수 있습니다",
            "synchronise the clocks (NTP), so that logs can be read side by side",
        ),
    ),
    "pooler_in_path": Words(
        (
            "트랜잭션 풀러를 거치고 있어 LISTEN이 아무것도 듣지 못합니다. 워커는 폴링만 합니다.",
            "A transaction pooler is in the path: LISTEN hears nothing through it, so workers only poll.",
        ),
        (
            "DATABASE_URL이 PgBouncer 같은 트랜잭션 풀러의 주소입니다.",
            "DATABASE_URL is the address of a transaction pooler such as PgBouncer.",
        ),
        (
            "PGBATON_LISTEN_URL에 같은 데이터베이스의 직접 주소를 설정하세요",
            "set PGBATON_LISTEN_URL to a direct address of the same database",
        ),
    ),
    "listen_round_trip": Words(
        (
            "알림이 {seconds} 안에 돌아오지 않았습니다.",
            "A notification did not come back within {seconds}.",
        ),
        (
            "중간의 풀러나 프록시가 알림을 전달하지 않거나, 알림 대기열이 가득 찼습니다.",
            "A pooler or proxy in the path does not pass notifications on, or the queue is full.",
        ),
        (
            "중간의 풀러나 프록시, 그리고 알림 대기열을 확인하세요",
            "look for a pooler or proxy in the path, and at the notification queue",
        ),
    ),
}
