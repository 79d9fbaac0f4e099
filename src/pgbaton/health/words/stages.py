"""Stages: whether they answer, how fast, and the jobs that wait for them."""

from __future__ import annotations

from pgbaton.health.words.form import Words

WORDS: dict[str, Words] = {
    "paused_pipeline": Words(
        (
            "파이프라인이 일시정지되어 있습니다.",
            "The pipeline is paused.",
        ),
        (
            "운영자가 일시정지했습니다. 감사 기록에 누가 언제 했는지 있습니다.",
            "An operator paused it; the audit says who and when.",
        ),
        (
            "pgbaton resume --pipeline {pipeline}",
            "pgbaton resume --pipeline {pipeline}",
        ),
    ),
    "paused_stage": Words(
        (
            "{stage} 단계가 일시정지되어 있습니다. 대기 {waiting}건.",
            "The stage {stage} is paused; {waiting} waiting.",
        ),
        (
            "운영자가 일시정지했습니다. 감사 기록에 누가 언제 했는지 있습니다.",
            "An operator paused it; the audit says who and when.",
        ),
        (
            "pgbaton resume --pipeline {pipeline} --stage {stage}",
            "pgbaton resume --pipeline {pipeline} --stage {stage}",
        ),
    ),
    "paused_tenant": Words(
        (
            "일시정지된 테넌트: {tenant}",
            "The tenant {tenant} is paused.",
        ),
        (
            "운영자가 일시정지했습니다. 감사 기록에 누가 언제 했는지 있습니다.",
            "An operator paused it; the audit says who and when.",
        ),
        (
            "pgbaton resume --pipeline {pipeline} --tenant {tenant}",
            "pgbaton resume --pipeline {pipeline} --tenant {tenant}",
        ),
    ),
    "circuit_open": Words(
        (
            "{stage} 단계가 응답하지 않습니다(연속 {strikes}회): {error}. 응답하면 자동으로 다시 호출합니다.",
            "{stage} does not answer ({strikes:# try|# tries in a row}): {error}. It is called again automatically "
            "once it answers.",
        ),
        (
            "연결이 거부되거나, 이름을 찾을 수 없거나, 인증서가 유효하지 않거나, 게이트웨이가 502·503으로 답하거나, "
            "로그인 페이지로 돌려보냅니다. 모든 작업이 시도를 소진하지 않도록 한 건씩만 확인합니다.",
            "The connection is refused, its name is not found, its certificate is not valid, a gateway answers 502 or "
            "503, or the address leads to a login. One call at a time probes it, so that no job uses up its attempts.",
        ),
        (
            "{stage} 서버를 확인하세요. 워커가 몇 초마다 자동으로 확인합니다",
            "see to the stage; workers probe it by themselves every few seconds",
        ),
    ),
    "stage_unrouted": Words(
        (
            "{stage} 단계는 파이프라인에 없는데 {count}건이 이 단계를 기다립니다.",
            "{count:# waits|# wait} for the stage {stage}, which is not in the pipeline any more.",
        ),
        (
            "단계의 이름을 바꾸거나 뺀 파이프라인을 attach했습니다.",
            "A pipeline was attached in which this stage was renamed or left out.",
        ),
        (
            "그 단계가 있는 파이프라인을 attach하거나, 작업을 재실행 또는 취소하세요 "
            "(pgbaton rerun --stage {stage} --from STEP, pgbaton cancel --stage {stage})",
            "attach a pipeline that has the stage, or run its jobs again from another, or cancel them "
            "(pgbaton rerun --stage {stage} --from STEP, pgbaton cancel --stage {stage})",
        ),
    ),
    "dead": Words(
        (
            "{stage} 단계에서 {count}건이 최종 실패했습니다: {error}",
            "{stage} gave up on {count}: {error}",
        ),
        (
            "시도를 모두 소진했거나, 단계가 다시 시도해도 소용없는 답을 했습니다.",
            "The attempts were used up, or the stage gave an answer that another attempt would not change.",
        ),
        (
            "원인을 해결한 뒤 재시도하세요: pgbaton retry --stage {stage}",
            "mend the cause, then: pgbaton retry --stage {stage}",
        ),
    ),
    "retrying": Words(
        (
            "{stage} 단계에서 {count}건이 재시도를 기다립니다. 최근 오류: {error}",
            "{count} at {stage} will be called again. Latest error: {error}",
        ),
        (
            "단계가 실패로 답했거나 응답하지 않았습니다. 시도할수록 간격이 길어집니다.",
            "The stage answered with a failure, or did not answer; the pauses grow with each attempt.",
        ),
        (
            "자동으로 다시 호출합니다. 지금 호출하려면: pgbaton retry --stage {stage}",
            "they are called again automatically; to call them now: pgbaton retry --stage {stage}",
        ),
    ),
    "full": Words(
        (
            "{stage} 단계가 동시 호출 한도({running}건)에 도달했습니다. {waiting}건이 최대 {oldest}째 기다립니다.",
            "{stage} is the bottleneck: {running:its one slot is|all # slots are} taken, {waiting:# waits|# wait}, "
            "the oldest for {oldest}.",
        ),
        (
            "들어오는 작업이 이 단계가 동시에 처리하는 것보다 많습니다.",
            "More jobs arrive than the stage works on at once.",
        ),
        (
            "서버가 더 감당할 수 있으면 {stage} 단계의 concurrency를 늘리세요",
            "raise the concurrency of {stage}, if its server can take more",
        ),
    ),
    "tenant_full": Words(
        (
            "테넌트 {tenant}이(가) {stage} 단계에서 쓸 수 있는 동시 호출 {running}건을 모두 쓰고 있어 "
            "{waiting}건이 최대 {oldest}째 기다립니다.",
            "The tenant {tenant} has {running:the one call|all # calls} at {stage} that one tenant may have; "
            "{waiting:# waits|# wait}, "
            "the oldest for {oldest}.",
        ),
        (
            "한 테넌트의 작업이 per_tenant 한도보다 많이 들어옵니다. 다른 테넌트의 작업은 그대로 호출됩니다.",
            "One tenant's jobs arrive faster than per_tenant lets them be called; those of others go on.",
        ),
        (
            "기다리거나 테넌트의 한도를 늘리세요: pgbaton limit",
            "wait, or let one tenant have more: pgbaton limit",
        ),
    ),
    "pool_full": Words(
        (
            "풀 {pool}의 자리 {running}개가 모두 차서 {stage} 단계에서 {waiting}건이 최대 {oldest}째 기다립니다.",
            "{running:The one place|All # places} of the pool {pool} {running:is|are} taken; {waiting:# waits|# wait} "
            "for {stage}, the oldest for {oldest}.",
        ),
        (
            "풀을 함께 쓰는 단계들의 작업이 풀이 받아들이는 것보다 많습니다.",
            "The stages that share the pool have more work than it has places.",
        ),
        (
            "풀이 나타내는 자원이 더 감당할 수 있으면 풀을 늘리세요(pgbaton limit)",
            "make the pool larger (pgbaton limit), if the servers that it stands for can take more",
        ),
    ),
    "workers_full": Words(
        (
            "워커의 자리 {running}개가 모두 찼습니다({busiest} 단계 {held}건). {stage} 단계에서 {waiting}건이 최대 "
            "{oldest}째 기다립니다.",
            "{running:The one place|All # places} of the workers {running:is|are} taken, {held} by {busiest}; "
            "{waiting:# waits|# wait} for {stage}, the oldest for {oldest}.",
        ),
        (
            "{busiest} 단계가 느리거나 작업이 많아 워커의 자리를 차지하고 있습니다.",
            "Calls of {busiest} take the places: it is slow, or has more work than the workers have places for.",
        ),
        (
            "워커를 더 시작하거나, {busiest} 단계의 동시 호출을 제한해 다른 단계에 자리를 남기세요: "
            "pgbaton limit {busiest} --concurrency N",
            "start another worker, or leave places to other stages: pgbaton limit {busiest} --concurrency N",
        ),
    ),
    "rate_full": Words(
        (
            "{stage} 단계의 속도 제한({rate}) 때문에 {waiting}건이 최대 {oldest}째 기다립니다.",
            "The rate of {stage}, {rate}, keeps {waiting:# job|# jobs} waiting, the oldest for {oldest}.",
        ),
        (
            "들어오는 작업이 속도 제한보다 많습니다. 운영자가 바꾼 값이면 감사 기록에 있습니다.",
            "More jobs arrive than the rate lets be called. If an operator has set it, the audit says who and when.",
        ),
        (
            "기다리거나 속도를 올리세요: pgbaton limit {stage} --rate 10/s (설정 파일 값으로: --reset)",
            "wait, or allow more: pgbaton limit {stage} --rate 10/s (as the file says: --reset)",
        ),
    ),
    "undecided": Words(
        (
            "{stage} 단계에서 {count}건이 사람의 결정을 기다립니다. 가장 오래된 작업은 {age}째입니다.",
            "{count:# job waits|# jobs wait} for a person's decision at {stage}, the oldest for {age}.",
        ),
        (
            "파이프라인이 그 단계에서 사람의 선택을 기다리게 되어 있습니다.",
            "The pipeline waits there until somebody chooses.",
        ),
        (
            "작업 화면에서 결정하거나: pgbaton decide JOB CHOICE",
            "decide on the job's page, or: pgbaton decide JOB CHOICE",
        ),
    ),
    "behind": Words(
        (
            "{stage} 단계에서 {waiting}건이 최대 {oldest}째 기다립니다.",
            "{waiting:# waits|# wait} for {stage}, the oldest for {oldest}.",
        ),
        (
            "워커의 용량이 모자라거나, 데이터베이스가 느리거나, 다른 세션이 행을 잠그고 있습니다.",
            "The workers have no room, the database is slow, or another session holds the rows.",
        ),
        (
            "워커의 용량과 데이터베이스를 확인하세요 (pgbaton status)",
            "look at the capacity of the workers, and at the database (pgbaton status)",
        ),
    ),
    "slow": Words(
        (
            "{stage} 단계가 느립니다. 처리 시간 p95가 {work}이고 제한 시간은 {timeout}입니다.",
            "{stage} is slow: its work takes {work} at p95, and {timeout} is the limit.",
        ),
        (
            "처리 시간이 제한 시간에 가까워졌습니다. 제한 시간을 넘긴 호출은 포기하고 다시 호출합니다.",
            "The work comes near the timeout; a call beyond it is given up and made again.",
        ),
        (
            "{stage} 단계를 확인하거나 timeout을 늘리세요",
            "see to the stage {stage}, or give it a longer timeout",
        ),
    ),
    "not_now": Words(
        (
            "{stage} 단계가 {count}건을 나중에 다시 호출해 달라고 응답했습니다({error}). {seconds} 뒤에 다시 "
            "호출합니다.",
            "{stage} asked to be called later for {count:# job|# jobs} ({error}); the next call is in {seconds}.",
        ),
        (
            "단계가 속도를 제한하고 있습니다. 실패가 아니므로 시도 횟수는 줄지 않습니다.",
            "The stage limits the rate. That is no failure, and uses up no attempt.",
        ),
        (
            "할 일이 없습니다. 오래 계속되면 그 테넌트를 일시정지하세요 (pgbaton pause --tenant T)",
            "nothing; if it lasts, pause the tenant that it concerns (pgbaton pause --tenant T)",
        ),
    ),
    "slower": Words(
        (
            "{stage} 단계가 평소보다 {times}배 느립니다. 최근 호출의 절반이 {work} 넘게 걸립니다(평소 {usual}).",
            "{stage} takes {times} × its usual: half of the latest calls took more than {work}, usually {usual}.",
        ),
        (
            "단계의 서버가 바쁘거나, 새 버전이 느리거나, 작업이 커졌습니다.",
            "Its server is busy, a new version is slower, or the jobs have grown.",
        ),
        (
            "{stage} 서버를 확인하세요. 잠시 멈추려면: pgbaton pause --stage {stage}",
            "see to the server of {stage}; to give it a rest: pgbaton pause --stage {stage}",
        ),
    ),
    "lost_answers": Words(
        (
            "{stage} 단계 호출 {count}건의 응답이 {age} 전에 끊겼습니다. 단계가 아직 처리 중일 수 있어 {seconds} "
            "뒤까지 기다립니다. 대기 {waiting}건.",
            "{count:# call|# calls} of {stage} lost {count:its|their} answer, {age} ago; the stage may work on, "
            "so {count:it is|they are} held for {seconds} more. {waiting:# waits|# wait}.",
        ),
        (
            "단계의 프로세스가 처리 중에 종료되었거나, 게이트웨이가 연결을 끊었습니다.",
            "The stage's process ended while it worked, or a gateway cut the connection.",
        ),
        (
            "단계가 더 이상 처리하고 있지 않다면 지금 다시 호출하세요: pgbaton recall --stage {stage}",
            "if the stage does not work on them any more, call them again now: pgbaton recall --stage {stage}",
        ),
    ),
    "silent": Words(
        (
            "{stage} 단계의 호출 {count}건이 평소({usual})의 {times}배가 되도록 끝나지 않았습니다(최대 "
            "{age}째). {seconds} 뒤까지 기다립니다.",
            "{count:# call|# calls} of {stage} {count:has|have} run for up to {age}, {times} × the usual {usual}; "
            "{count:it is|they are} held for "
            "{seconds} more.",
        ),
        (
            "단계가 running을 쓰고 done도 failed도 쓰지 않았습니다. 처리 중에 멈췄거나, 끝을 기록하지 않습니다.",
            "The stage wrote running and neither done nor failed: it hangs, or does not write its end.",
        ),
        (
            "{stage} 서버를 확인하세요. 처리하고 있지 않다면: pgbaton recall --stage {stage}",
            "see to the server of {stage}; if it does not work on them: pgbaton recall --stage {stage}",
        ),
    ),
    "suspect": Words(
        (
            "{stage} 단계와의 연결이 {count}번 끊길 때마다 작업 {job}을(를) 호출하고 있었습니다.",
            "The connection to {stage} broke {count:once|# times}, and the job {job} was being called each time.",
        ),
        (
            "이 작업이 단계의 프로세스를 중단시키는 것으로 보입니다(메모리 부족, 잘못된 입력).",
            "This job seems to end the stage's process (memory, an input that it cannot bear).",
        ),
        (
            "격리하세요: pgbaton quarantine {job}",
            "set it aside: pgbaton quarantine {job}",
        ),
    ),
    "circling": Words(
        (
            "작업 {count}건이 제자리를 돕니다(예: {job}). {age} 동안 {stage} 단계를 {times}번 이상 끝냈습니다.",
            "Jobs that go in a circle: {count} (for example {job}). "
            "Each was through {stage} {times} times or more in {age}.",
        ),
        (
            "단계, 트리거 또는 다른 프로그램이 행을 앞 단계의 상태로 되돌립니다.",
            "A stage, a trigger or another program puts the row back to the state of an earlier step.",
        ),
        (
            "행을 되돌리는 쪽을 고치세요. 그동안 격리하려면: pgbaton quarantine {job}",
            "mend the program that puts the row back; set the job aside until then: pgbaton quarantine {job}",
        ),
    ),
    "no_end": Words(
        (
            "{stage} 단계의 호출 {count}건이 최대 {age}째 끝나지 않았습니다. {seconds} 뒤까지 기다립니다.",
            "{count:# call|# calls} of {stage} {count:has|have} not ended for up to {age}; "
            "{count:it is|they are} held for {seconds} more.",
        ),
        (
            "아직 호출이 적어 평소에 얼마나 걸리는지 알 수 없습니다. 오래 걸리는 단계이거나, 멈춘 것입니다.",
            "Too few calls have ended to know what is usual: the stage takes long, or it hangs.",
        ),
        (
            "{stage} 서버를 확인하세요. 처리하고 있지 않다면: pgbaton recall --stage {stage}",
            "see to the server of {stage}; if it does not work on them: pgbaton recall --stage {stage}",
        ),
    ),
}
