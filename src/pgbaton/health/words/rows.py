"""The rows of the user's table, beside the journal."""

from __future__ import annotations

from pgbaton.health.words.form import Words

WORDS: dict[str, Words] = {
    "rows_missing": Words(
        (
            "{stage} 단계를 호출해야 할 행 {count}건에 호출 기록(dispatch)이 없습니다 (예: {examples})",
            "{count:# row is|# rows are} due at {stage}, and no dispatch was made for {count:it|them} "
            "(for example {examples})",
        ),
        (
            "트리거가 없거나 꺼져 있는 동안, 또는 복원 중에 행이 바뀌었습니다.",
            "The rows changed while the trigger was missing or disabled, or during a restore.",
        ),
        (
            "pgbaton reconcile로 만드세요. 워커도 테이블을 차례로 훑으며 만듭니다",
            "pgbaton reconcile creates them; workers do so as well, page by page",
        ),
    ),
    "rows_unheld": Words(
        (
            "({stage}, running) 상태의 행 {count}건을 처리하는 호출이 없습니다 (예: {examples})",
            "{count:# row stands|# rows stand} at ({stage}, running), and no call holds {count:it|them} "
            "(for example {examples})",
        ),
        (
            "누군가 행을 직접 고쳤거나, 워커를 거치지 않고 단계를 직접 호출했습니다.",
            "The rows were edited by hand, or somebody called the stage without a worker.",
        ),
        (
            "직접 호출한 것이 아니면 한꺼번에 넘겨받으세요: pgbaton takeover --stage {stage} {which} --dry-run",
            "unless somebody called the stage by hand, take them over: "
            "pgbaton takeover --stage {stage} {which} --dry-run",
        ),
    ),
    "rows_nowhere": Words(
        (
            "({step}, {status}) 상태의 행 {count}건은 어떤 단계로도 이어지지 않습니다 (예: {examples})",
            "{count:# row stands|# rows stand} at ({step}, {status}), where no route begins (for example {examples})",
        ),
        (
            "행을 직접 고쳤거나, 그 뒤의 단계가 파이프라인에서 빠졌거나 이름이 바뀌었습니다.",
            "The rows were edited by hand, or the stage behind that state was renamed or left the pipeline.",
        ),
        (
            "이어지는 상태로 한꺼번에 옮기거나(pgbaton move --from {step},{status} --to STEP,STATUS) "
            "하나씩 재실행하세요(pgbaton rerun JOB --from STEP)",
            "put them where a route begins (pgbaton move --from {step},{status} --to STEP,STATUS), "
            "or run one again from a step (pgbaton rerun JOB --from STEP)",
        ),
    ),
    "rows_misspelt": Words(
        (
            "({step}, {status}) 상태의 행 {count}건: {near} 상태를 뜻한 것 같습니다 (예: {examples})",
            "{count:# row stands|# rows stand} at ({step}, {status}), which is nearly {near} (for example {examples})",
        ),
        (
            "직접 고친 행의 오타이거나, 대소문자를 다르게 쓰는 프로그램이 있습니다. 이름은 글자 그대로 비교합니다.",
            "A typing error in a row that was edited by hand, or a program that spells the word otherwise; "
            "names are compared letter by letter.",
        ),
        (
            "행을 {near}(으)로 고치거나 단계부터 재실행하세요 (pgbaton rerun JOB --from STEP)",
            "put the rows to {near}, or run them again from a step (pgbaton rerun JOB --from STEP)",
        ),
    ),
    "quarantined": Words(
        (
            "{stage} 단계에서 작업 {count}건이 격리되어 있습니다 (예: {examples})",
            "{count:# job is|# jobs are} in quarantine at {stage} (for example {examples})",
        ),
        (
            "운영자가 격리했습니다. 해제할 때까지 호출하지 않습니다.",
            "An operator set them aside; they are not called until somebody frees them.",
        ),
        (
            "원인을 해결한 뒤 해제하세요: pgbaton rerun JOB --from {stage}",
            "mend the cause, then free them: pgbaton rerun JOB --from {stage}",
        ),
    ),
}
