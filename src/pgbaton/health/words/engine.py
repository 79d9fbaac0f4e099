"""The engine: its schema, its triggers, its workers."""

from __future__ import annotations

from pgbaton.health.words.form import Words

WORDS: dict[str, Words] = {
    "not_migrated": Words(
        (
            "스키마 pgbaton이 준비되지 않았습니다: {error}",
            "the schema pgbaton is not ready: {error}",
        ),
        (
            "이 버전의 마이그레이션이 아직 실행되지 않았습니다.",
            "The migrations of this version have not run yet.",
        ),
        (
            "pgbaton migrate",
            "pgbaton migrate",
        ),
    ),
    "trigger_missing": Words(
        (
            "{table} 테이블에 트리거 {trigger}이(가) 없어 작업의 변화를 보지 못합니다.",
            "Changes of jobs are not seen: the trigger {trigger} on {table} is missing.",
        ),
        (
            "트리거가 삭제되었거나, 트리거 없이 테이블이 다시 만들어졌습니다(덤프 복원, 테이블 교체).",
            "The trigger was dropped, or the table was made anew without it (a restored dump, a table that was "
            "swapped).",
        ),
        (
            "pgbaton attach --config FILE",
            "pgbaton attach --config FILE",
        ),
    ),
    "trigger_disabled": Words(
        (
            "{table} 테이블의 트리거 {trigger}이(가) 꺼져 있어 작업의 변화를 보지 못합니다.",
            "Changes of jobs are not seen: the trigger {trigger} on {table} is disabled.",
        ),
        (
            "ALTER TABLE … DISABLE TRIGGER가 실행되었고 다시 켜지지 않았습니다.",
            "ALTER TABLE … DISABLE TRIGGER was run, and the trigger was not enabled again.",
        ),
        (
            "pgbaton attach --config FILE",
            "pgbaton attach --config FILE",
        ),
    ),
    "trigger_drifted": Words(
        (
            "{table} 테이블의 트리거 {trigger}의 함수가 이 버전의 것이 아닙니다.",
            "The function of the trigger {trigger} on {table} is not the one that this version attaches.",
        ),
        (
            "다른 버전의 pgbaton이 attach했거나, 함수를 직접 고쳤습니다.",
            "Another version of pgbaton attached it, or somebody edited the function.",
        ),
        (
            "pgbaton attach --config FILE",
            "pgbaton attach --config FILE",
        ),
    ),
    "trigger_doubled": Words(
        (
            "{table} 테이블의 트리거 {trigger}이(가) 같은 변화를 한 번 더 알립니다.",
            "The trigger {trigger} on {table} publishes or dispatches the same changes a second time.",
        ),
        (
            "예전 트리거가 남아 있어 같은 변화를 두 번 알립니다.",
            "An older trigger was left behind and tells the same change twice.",
        ),
        (
            'DROP TRIGGER "{trigger}" ON {table}',
            'DROP TRIGGER "{trigger}" ON {table}',
        ),
    ),
    "no_worker": Words(
        (
            "살아 있는 워커가 없어 아무 작업도 호출되지 않습니다.",
            "No worker is alive: nothing is being called.",
        ),
        (
            "워커 프로세스가 없거나, 워커가 데이터베이스에 연결하지 못합니다.",
            "No worker process runs, or the workers cannot reach the database.",
        ),
        (
            "pgbaton run --config FILE",
            "pgbaton run --config FILE",
        ),
    ),
    "lost_worker": Words(
        (
            "워커 {worker}의 하트비트가 {silent}째 없습니다. 맡고 있던 {count}건은 다른 워커가 회수합니다.",
            "Worker {worker} has not renewed its lease for {silent}; other workers take over its calls ({count}).",
        ),
        (
            "프로세스가 종료되었거나 멈췄거나, 데이터베이스와 연결이 끊겼습니다.",
            "Its process ended or stands still, or its connection to the database was cut.",
        ),
        (
            "할 일이 없습니다. 살아 있는 워커가 몇 초 안에 회수합니다",
            "nothing: living workers take over its calls within seconds",
        ),
    ),
    "worker_refused": Words(
        (
            "워커 {worker}이(가) 일하지 못합니다. Postgres가 거절합니다: {error}",
            "Worker {worker} cannot do its work, Postgres refuses it: {error}",
        ),
        (
            "권한을 회수했거나, 행 수준 보안(RLS)을 켰거나, 컬럼이나 함수가 바뀌었거나, 디스크가 가득 찼습니다.",
            "A right was taken away, row-level security was enabled, a column or function changed, or a disk is full.",
        ),
        (
            "메시지가 가리키는 원인을 고치세요. 필요한 권한은 docs/deployment.ko.md에 있습니다",
            "mend the cause that the message names; the rights that workers need are in docs/deployment.md",
        ),
    ),
    "late_worker": Words(
        (
            "워커 {worker}가 {silent}째 리스를 갱신하지 못했습니다. 갱신할 때까지 새 작업을 호출하지 않습니다.",
            "Worker {worker} has not renewed its lease for {silent}; until it does, it calls nothing new.",
        ),
        (
            "프로세스가 멈췄거나, 데이터베이스가 이 워커의 연결을 받지 않습니다(로그인 권한, pg_hba, 네트워크).",
            "Its process stands still, or the database takes no connection of it (its login, pg_hba, the network).",
        ),
        (
            "워커 로그의 event=database_away를 확인하세요. 리스가 끝나면 맡고 있던 작업은 다른 워커가 회수합니다",
            "look for event=database_away in its log; once the lease has ended, other workers take over its calls",
        ),
    ),
    "no_descriptors": Words(
        (
            "워커 {worker}에 파일 디스크립터가 남아 있지 않아 단계를 호출하지 못합니다. 작업은 다른 워커에 돌려줍니다.",
            "Worker {worker} has no file descriptor left, so it calls no stage; its jobs go back to the other workers.",
        ),
        (
            "프로세스의 한도(ulimit -n)가 동시 호출 수보다 작거나, 같은 머신의 다른 프로세스가 파일을 너무 많이 "
            "열었습니다.",
            "The limit of its process (ulimit -n) is too low for its calls, or others on its machine hold too many "
            "files.",
        ),
        (
            "한도를 동시 호출 수에 100을 더한 값 이상으로 올리거나 --concurrency를 줄이세요. 작업은 자동으로 다시 "
            "진행됩니다",
            "raise the limit to its calls at once and 100 more, or lower --concurrency; it goes on by itself",
        ),
    ),
    "lost_over": Words(
        (
            "워커 {worker}의 연결이 {silent} 전에 끊겼습니다. 지금 맡고 있는 작업은 없습니다.",
            "Worker {worker} was lost {silent} ago; it holds no calls.",
        ),
        (
            "프로세스가 종료되었거나 멈췄거나, 데이터베이스와 연결이 끊겼습니다.",
            "Its process ended or stood still, or its connection to the database was cut.",
        ),
        (
            "워커가 왜 중단되었는지 로그를 확인하세요",
            "look into its log for why it was lost",
        ),
    ),
    "looks_wait": Words(
        (
            "테이블의 변화 {count}건이 {age}째 확인을 기다립니다.",
            "{count:# change of the table waits|# changes of the table wait} to be looked at, the oldest for {age}.",
        ),
        (
            "실행 중인 워커가 없거나, 다른 세션이 그 작업들의 행을 잠그고 있습니다.",
            "No worker runs, or another session holds the rows of those jobs.",
        ),
        (
            "워커를 시작하세요. 이미 실행 중이면 행을 잠근 세션을 찾으세요 (pg_stat_activity, 가장 오래된 xact_start)",
            "start a worker; if one runs, another session locks the jobs' rows (pg_stat_activity, oldest xact_start)",
        ),
    ),
    "invariant_broken": Words(
        (
            "{count}건의 작업에서 지켜지지 않습니다: {invariant} ({examples})",
            "Not true for {count:# job|# jobs}: {invariant} ({examples})",
        ),
        (
            "저널이나 행이 엔진 밖에서 바뀌었습니다.",
            "The journal or the rows were changed from outside the engine.",
        ),
        (
            "누락된 호출은 pgbaton reconcile이 만들고, 나머지는 워커가 행을 보고 정리합니다",
            "pgbaton reconcile creates what is missing; workers settle the rest by the row",
        ),
    ),
    "workers_differ": Words(
        (
            "워커들의 설정이 서로 다릅니다: {what} ({worker}: {value}, 나머지: {others})",
            "Workers differ in {what}: {worker} has {value}, the others {others}.",
        ),
        (
            "배포가 끝나지 않았거나, 한 워커가 다른 설정 파일이나 환경 변수로 시작되었습니다.",
            "A deployment is half done, or one worker was started with another file or environment.",
        ),
        (
            "{worker} 워커를 같은 설정으로 다시 시작하세요",
            "start {worker} again with the configuration of the others",
        ),
    ),
    "stage_unknown": Words(
        (
            "{stage} 단계를 호출할 수 있는 워커가 없습니다. 대기 {waiting}건.",
            "No living worker knows the stage {stage}; {waiting:# waits|# wait} for it.",
        ),
        (
            "새 파이프라인을 attach했지만 워커는 이전 설정으로 실행 중이거나, 일부 단계만 맡고 있습니다.",
            "A new pipeline was attached while the workers run with the old one, or they serve other stages only.",
        ),
        (
            "새 설정으로 워커를 다시 시작하거나, 이 단계를 맡을 워커를 추가하세요 "
            "(pgbaton run --config FILE --stages {stage})",
            "start the workers again with the new file, or one that takes the stage "
            "(pgbaton run --config FILE --stages {stage})",
        ),
    ),
    "unchecked": Words(
        (
            "확인하지 못한 항목이 있어 정상이라고 할 수 없습니다: {check} ({reason})",
            "Not everything could be checked: {check} ({reason}).",
        ),
        (
            "워커가 방금 시작되었거나, 데이터베이스가 느리거나, 다른 세션이 잠그고 있습니다.",
            "A worker has just started, the database is slow, or another session holds a lock.",
        ),
        (
            "잠시 기다리세요. 계속되면 워커의 로그를 확인하세요",
            "wait a moment; if it stays, look into the workers' log",
        ),
    ),
}
