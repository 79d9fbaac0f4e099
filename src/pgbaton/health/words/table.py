"""The user's table: its names changed after it was attached."""

from __future__ import annotations

from pgbaton.health.words.form import Words

WORDS: dict[str, Words] = {
    "column_renamed": Words(
        (
            "{table} 테이블의 컬럼 {column}의 이름이 {now}(으)로 바뀌어, 작업의 변화를 보지도 호출하지도 못합니다.",
            "The column {column} of {table} is called {now} now: changes of jobs are not seen, and nothing is called.",
        ),
        (
            "attach한 뒤에 ALTER TABLE … RENAME COLUMN이 실행되었습니다.",
            "ALTER TABLE … RENAME COLUMN was run after the pipeline was attached.",
        ),
        (
            "설정 파일의 컬럼 이름 {column}을(를) {now}(으)로 고치고 pgbaton attach한 뒤 워커를 다시 시작하세요",
            "write {now} for {column} in the pipeline's file, then pgbaton attach, and start the workers again",
        ),
    ),
    "column_dropped": Words(
        (
            "{table} 테이블에 컬럼 {column}이(가) 없어, 작업의 변화를 보지도 호출하지도 못합니다.",
            "The table {table} has no column {column} any more: changes of jobs are not seen, and nothing is called.",
        ),
        (
            "attach한 뒤에 컬럼이 삭제되었거나, 다른 컬럼으로 교체되었습니다.",
            "The column was dropped, or another one took its place, after the pipeline was attached.",
        ),
        (
            "컬럼을 되돌리거나 설정 파일에 다른 컬럼을 쓰고 pgbaton attach한 뒤 워커를 다시 시작하세요",
            "bring the column back, or name another one in the pipeline's file, then pgbaton attach, and start the "
            "workers again",
        ),
    ),
    "table_renamed": Words(
        (
            "{table} 테이블의 이름이 {now}(으)로 바뀌어 아무 작업도 호출되지 않습니다.",
            "The table {table} is called {now} now: nothing is called.",
        ),
        (
            "attach한 뒤에 테이블의 이름이나 스키마가 바뀌었습니다. 트리거는 그대로 동작합니다.",
            "The table was renamed, or moved to another schema, after it was attached; its triggers go on.",
        ),
        (
            "설정 파일의 table을 {now}(으)로 고치고 pgbaton attach한 뒤 워커를 다시 시작하세요",
            "write {now} as the table in the pipeline's file, then pgbaton attach, and start the workers again",
        ),
    ),
    "table_swapped": Words(
        (
            "{table}은(는) 이제 다른 테이블이고 attach한 테이블의 이름은 {now}입니다. 아무 작업도 호출되지 않습니다.",
            "Another table is called {table} now, and the one that was attached is called {now}: nothing is called.",
        ),
        (
            "새 테이블을 만들어 이름을 맞바꾸었습니다(마이그레이션, 복원). 트리거는 이전 테이블에 남아 있습니다.",
            "A new table took the place of the old one (a migration, a restore); the triggers stayed with the old one.",
        ),
        (
            "table에 {now}을(를) 쓴 설정 파일로 pgbaton detach하고, 원래 파일로 pgbaton attach --backfill한 뒤 "
            "워커를 다시 시작하세요. 또는 이름을 되돌리세요",
            "pgbaton detach with a copy of the file whose table is {now}, pgbaton attach --backfill with the file, and "
            "start the workers again; or swap the names back",
        ),
    ),
    "table_gone": Words(
        (
            "{table} 테이블이 삭제되었습니다.",
            "The table {table} was dropped.",
        ),
        (
            "테이블이 삭제되었거나, 다른 테이블로 교체되었습니다.",
            "The table was dropped, or swapped for another one.",
        ),
        (
            "다시 만든 테이블이 있으면 pgbaton attach, 없으면 pgbaton detach하세요",
            "pgbaton attach, where there is a new one in its place; otherwise pgbaton detach",
        ),
    ),
}
