"""Every text of the page, in Korean and in English."""

from __future__ import annotations

from pgbaton.events import Language

LANGUAGES: dict[Language, str] = {"ko": "한국어", "en": "English"}

# Each in Korean and in English.
MESSAGES: dict[str, tuple[str, str]] = {
    # frame
    "skip": ("본문으로 건너뛰기", "Skip to the content"),
    "nav": ("메뉴", "Menu"),
    "overview": ("개요", "Overview"),
    "jobs": ("작업", "Jobs"),
    "job": ("작업", "Job"),
    "dead": ("실패", "Dead"),
    "stages": ("단계", "Stages"),
    "workers": ("워커", "Workers"),
    "audit": ("감사 기록", "Audit"),
    "live.on": ("실시간", "Live"),
    "live.off": ("연결 끊김, 다시 시도 중", "Not connected, trying again"),
    "live.wait": ("연결 중", "Connecting"),
    "language": ("언어", "Language"),
    "sign_out": ("로그아웃", "Sign out"),
    "role.viewer": ("열람자", "viewer"),
    "role.operator": ("운영자", "operator"),
    # login
    "login": ("로그인", "Sign in"),
    "login.token": ("토큰", "Token"),
    "login.why": (
        "PGBATON_WEB_TOKEN에 설정된 토큰을 입력하세요.",
        "Enter the token that PGBATON_WEB_TOKEN was set to.",
    ),
    "login.wrong": ("토큰이 맞지 않습니다.", "That is not the token."),
    "login.slow": ("실패가 너무 많습니다. {wait} 후에 다시 시도하세요.", "Too many failures. Try again in {wait}."),
    # counts and figures
    "waiting": ("대기", "waiting"),
    "running": ("실행 중", "running"),
    "retrying": ("재시도 대기", "retrying"),
    "parked": ("테넌트 정지", "parked"),
    "per_minute": ("분당 완료", "Done a minute"),
    "wait": ("대기 시간", "Wait"),
    "work": ("처리 시간", "Work"),
    "times": ("시간", "Times"),
    "slots": ("{running} / {limit}", "{running} of {limit}"),
    "calls": ("동시 호출", "Calls at once"),
    "no_limit": ("제한 없음", "no limit"),
    "attempts": ("시도", "Attempts"),
    "timeout": ("제한 시간", "Timeout"),
    "after": ("앞 단계", "After"),
    "circuit": ("회로", "Circuit"),
    "oldest_wait": ("가장 오래 기다린 작업", "Oldest wait"),
    "nothing_waits": ("없음", "none"),
    "open_jobs": ("진행 중인 작업", "Jobs under way"),
    "last_hour": ("지난 1시간", "The last hour"),
    "last_hour.done": ("완료", "Done"),
    "last_hour.dead": ("실패", "Died"),
    "last_hour.chart": (
        "지난 1시간의 분당 완료와 실패: 완료 {done}, 실패 {dead}",
        "Completed and dead dispatches by minute in the last hour: {done} done, {dead} dead",
    ),
    "last_hour.capped": ("매우 많아 최근 20,000건만 셌습니다.", "So many that only the newest 20,000 were counted."),
    "minutes_ago": ("60분 전", "60 min ago"),
    "now": ("지금", "now"),
    "pipeline": ("파이프라인", "Pipeline"),
    "pipeline.line": ("파이프라인의 단계", "The stages of the pipeline"),
    # states
    "state.available": ("대기", "waiting"),
    "state.running": ("실행 중", "running"),
    "state.retryable": ("재시도 대기", "retrying"),
    "state.completed": ("완료", "completed"),
    "state.dead": ("실패", "dead"),
    "state.cancelled": ("취소됨", "cancelled"),
    "state.parked": ("테넌트 정지", "parked"),
    "state.ok": ("정상", "ok"),
    "state.paused": ("일시정지", "paused"),
    "state.unrouted": ("경로 없음", "no route"),
    "circuit.closed": ("닫힘", "closed"),
    "circuit.open": ("열림", "open"),
    "circuit.half-open": ("시험 중", "probing"),
    "worker.alive": ("정상", "alive"),
    "worker.lost": ("끊김", "lost"),
    "worker.draining": ("종료 중", "draining"),
    # outcomes
    "outcome.completed": ("완료", "completed"),
    "outcome.failed": ("실패", "failed"),
    "outcome.accepted": ("접수됨", "accepted"),
    "outcome.unknown": ("알 수 없음", "unknown"),
    "outcome.deferred": ("미뤄짐", "deferred"),
    "outcome.rejected": ("거절됨", "rejected"),
    "outcome.breach": ("규약 위반", "broke the contract"),
    "outcome.timeout": ("시간 초과", "timed out"),
    "outcome.lost": ("유실", "lost"),
    "outcome.released": ("반납됨", "released"),
    "outcome.superseded": ("무효가 됨", "superseded"),
    # findings
    "find.none": ("모두 정상입니다. 진행 중 {open}건.", "All is well. {open} under way."),
    "find.unseeing": (
        "작업 테이블의 트리거({triggers})가 없거나 꺼져 있어 작업의 변화를 보지 못합니다. pgbaton attach로 복구됩니다.",
        "Changes of jobs are not seen: {triggers} is missing or disabled. pgbaton attach mends it.",
    ),
    "find.no_worker": (
        "살아 있는 워커가 없습니다. 아무 작업도 호출되지 않습니다.",
        "No worker is alive: nothing is being called.",
    ),
    "find.lost_worker": (
        "워커 {worker}의 임대가 {silent} 동안 갱신되지 않았습니다. 맡고 있던 {count}건은 다른 워커가 회수합니다.",
        "Worker {worker} has not renewed its lease for {silent}; what it holds ({count}) goes to others.",
    ),
    "find.lost_over": (
        "워커 {worker}의 연결이 {silent} 전에 끊겼습니다. 지금 맡고 있는 작업은 없습니다.",
        "Worker {worker} was lost {silent} ago; it holds nothing any more.",
    ),
    "find.circuit": (
        "{stage} 단계가 응답하지 않습니다 (연속 {strikes}회). 살아나면 자동으로 다시 호출합니다.",
        "{stage} does not answer (tries in a row: {strikes}). It is called again by itself once it is back.",
    ),
    "find.paused": ("파이프라인이 일시정지되어 있습니다.", "The pipeline is paused."),
    "find.stage_paused": (
        "{stage} 단계가 일시정지되어 있습니다. 대기 {waiting}건.",
        "{stage} is paused; {waiting} waiting.",
    ),
    "find.tenant_paused": ("테넌트 {tenant}이(가) 일시정지되어 있습니다.", "Tenant {tenant} is paused."),
    "find.dead": ("{stage} 단계에서 {count}건이 실패해 멈췄습니다.", "{count} died at {stage} and wait for you."),
    "find.retrying": (
        "{stage} 단계에서 {count}건이 실패 후 재시도를 기다립니다.",
        "{count} failed at {stage} and wait to be tried again.",
    ),
    "find.full": (
        "{stage} 단계가 꽉 찼습니다 ({running}건 호출 중). {waiting}건이 최대 {oldest}째 기다립니다.",
        "{stage} is the bottleneck: all {running} slots are taken, {waiting} wait, the oldest for {oldest}.",
    ),
    "find.behind": (
        "{stage} 단계에서 {waiting}건이 최대 {oldest}째 기다립니다.",
        "{waiting} wait for {stage}, the oldest for {oldest}.",
    ),
    "find.slow": (
        "{stage} 단계가 느립니다. 처리 시간 p95가 {work}이고 제한은 {timeout}입니다.",
        "{stage} is slow: its work takes {work} at p95, and {timeout} is the limit.",
    ),
    "find.inbox": ("적용을 기다리는 변경이 {count}건 있습니다.", "{count} changes of the table wait to be applied."),
    "see": ("보기", "See them"),
    # jobs
    "filter": ("거르기", "Filter"),
    "filter.clear": ("조건 지우기", "Clear"),
    "filter.stage": ("단계", "Stage"),
    "filter.state": ("상태", "State"),
    "filter.tenant": ("테넌트", "Tenant"),
    "filter.age": ("시작된 지", "Older than"),
    "filter.error": ("오류에 포함된 글", "Error contains"),
    "filter.id": ("작업 ID (앞부분)", "Job id begins with"),
    "filter.history": ("지난 단계도 보기", "Earlier stages too"),
    "filter.group": ("오류 묶음", "Error group"),
    "any": ("전체", "any"),
    "id": ("작업 ID", "Job id"),
    "stage": ("단계", "Stage"),
    "state": ("상태", "State"),
    "tenant": ("테넌트", "Tenant"),
    "age": ("시작", "Age"),
    "error": ("오류", "Error"),
    "call.answer": ("응답 본문", "answer"),
    "ago": ("{time} 전", "{time} ago"),
    "jobs.none": ("조건에 맞는 작업이 없습니다.", "No job matches."),
    "jobs.too_wide": (
        "너무 많은 가운데 드물어서 찾기를 멈췄습니다. 상태, 단계, 테넌트, ID로 좁혀 주세요.",
        "Too little among too much: looking was given up. Narrow it by state, stage, tenant or id.",
    ),
    "jobs.searched": (
        "여기서는 실패한 호출 {count}건을 {time} 전까지만 찾아보았습니다.",
        "Searched here: {count} failed calls, back to {time} ago.",
    ),
    "jobs.search_on": ("더 이전에서 찾기", "Search further back"),
    "jobs.newest": ("처음으로", "Newest"),
    "jobs.older": ("더 오래된 작업", "Older"),
    "jobs.pages": ("쪽 이동", "Pages"),
    "jobs.bulk": ("조건에 맞는 모든 작업을", "Everything that matches:"),
    # a job
    "job.none": ("그런 작업이 없습니다.", "There is no such job."),
    "job.gone": ("행이 삭제되었습니다.", "The row is gone."),
    "job.row": ("지금의 행", "The row as it is"),
    "job.step": ("단계", "Step"),
    "job.status": ("상태", "Status"),
    "job.updated": ("변경 시각", "Updated"),
    "job.timeline": ("진행 과정", "Timeline"),
    "job.timeline.alt": (
        "{count}번의 단계와 그 시도. 아래 표에 같은 내용이 있습니다.",
        "{count} dispatches and their attempts; the table below says the same.",
    ),
    "job.calls": ("호출", "Calls"),
    "job.truncated": ("최근 200건만 보입니다.", "Only the newest 200 are shown."),
    "job.no_calls": ("아직 호출되지 않았습니다.", "Not called yet."),
    "job.moves": ("저절로 진행됩니다.", "It goes on by itself."),
    "job.stuck": ("조치가 필요합니다.", "Somebody has to act."),
    "job.history": ("이 작업의 모든 기록", "All its dispatches"),
    "call.attempt": ("시도", "Attempt"),
    "call.began": ("시작", "Began"),
    "call.took": ("걸린 시간", "Took"),
    "call.outcome": ("결과", "Outcome"),
    "call.http": ("HTTP", "HTTP"),
    "call.worker": ("워커", "Worker"),
    "call.running": ("진행 중", "under way"),
    "seg.waiting": ("대기", "waiting"),
    "seg.running": ("호출 중", "running"),
    "seg.backoff": ("재시도 대기", "backoff"),
    "seg.parked": ("테넌트 정지", "tenant paused"),
    "seg.completed": ("완료", "completed"),
    "seg.failed": ("실패", "failed"),
    "seg.other": ("그 밖", "other"),
    # dead
    "dead.none": ("실패해 멈춘 작업이 없습니다.", "Nothing is dead."),
    "dead.capped": (
        "많아서 단계마다 최근 10,000건만 살폈습니다.",
        "There are so many that only the newest 10,000 of a stage were looked at.",
    ),
    "dead.too_wide": (
        "제때 세지 못했습니다. 작업 목록에서 단계별로 보세요.",
        "They could not be counted in time. Look at them by stage under Jobs.",
    ),
    "dead.count": ("건수", "Jobs"),
    "dead.newest": ("최근", "Newest"),
    "dead.example": ("예", "For example"),
    "dead.no_error": ("(오류 내용 없음)", "(no error was said)"),
    "dead.show": ("작업 보기", "Show jobs"),
    # workers
    "workers.none": (
        "워커가 없습니다. pgbaton run으로 시작하세요.",
        "There are no workers. Start one with pgbaton run.",
    ),
    "worker.name": ("이름", "Name"),
    "worker.calls": ("호출", "Calls"),
    "worker.renewed": ("임대 갱신", "Lease renewed"),
    "worker.age": ("가동 시간", "Up for"),
    # stages
    "stages.tenants": ("일시정지된 테넌트", "Paused tenants"),
    "stages.no_tenants": ("일시정지된 테넌트가 없습니다.", "No tenant is paused."),
    "stages.pause_tenant": ("테넌트 일시정지", "Pause a tenant"),
    "stages.since": ("{time} 전부터", "for {time}"),
    # audit
    "audit.none": ("아직 기록이 없습니다.", "Nothing was done yet."),
    "audit.at": ("시각", "When"),
    "audit.who": ("누가", "Who"),
    "audit.did": ("무엇을", "Did"),
    "audit.to": ("대상", "To"),
    "audit.jobs": ("작업 수", "Jobs"),
    "audit.detail": ("자세히", "Detail"),
    # actions
    "do.retry": ("다시 시도", "Retry"),
    "do.retry_group": ("묶음 다시 시도", "Retry the group"),
    "do.retry_stage": ("단계 다시 시도", "Retry the stage"),
    "do.retry_all": ("모두 다시 시도…", "Retry all…"),
    "do.cancel_all": ("모두 취소…", "Cancel all…"),
    "do.rerun": ("다시 실행", "Re-run"),
    "do.rerun_from": ("다시 실행할 단계", "Re-run from"),
    "do.force": ("진행 중이어도", "even if a stage is at work"),
    "do.cancel": ("취소…", "Cancel…"),
    "do.pause": ("일시정지", "Pause"),
    "do.resume": ("재개", "Resume"),
    "do.pause_pipeline": ("파이프라인 일시정지", "Pause the pipeline"),
    "do.resume_pipeline": ("파이프라인 재개", "Resume the pipeline"),
    "act.retry": ("다시 시도", "retry"),
    "act.rerun": ("다시 실행", "re-run"),
    "act.cancel": ("취소", "cancel"),
    "act.pause": ("일시정지", "pause"),
    "act.resume": ("재개", "resume"),
    "act.pause_tenant": ("테넌트 일시정지", "pause tenant"),
    "act.resume_tenant": ("테넌트 재개", "resume tenant"),
    "actions": ("조치", "Actions"),
    # confirmation
    "confirm.title": ("확인", "Are you sure?"),
    "confirm.retry": ("{count}건을 다시 시도합니다.", "Jobs to retry: {count}."),
    "confirm.cancel": (
        "{count}건을 취소합니다. 취소한 작업은 저절로 진행되지 않습니다.",
        "Jobs to cancel: {count}. A cancelled job does not go on by itself.",
    ),
    "confirm.cancel_one": (
        "이 작업을 취소합니다. 진행 중인 호출의 결과는 버려집니다.",
        "Cancel this job. The end of a call that is under way will change nothing.",
    ),
    "confirm.none": ("해당하는 작업이 없습니다.", "There is nothing to do it to."),
    "confirm.too_wide": (
        "제때 셀 수 없습니다. 조건을 좁혀 주세요.",
        "It could not be counted in time. Narrow the filter.",
    ),
    "confirm.filter": ("조건", "Everything that matches"),
    "confirm.yes_retry": ("{count}건 다시 시도", "Retry {count}"),
    "confirm.yes_cancel": ("{count}건 취소", "Cancel {count}"),
    "confirm.no": ("돌아가기", "Back"),
    "confirm.everything": ("모든 작업", "every job"),
    # what was done
    "said.retry": ("{n}건을 다시 시도합니다.", "{n} will be tried again."),
    "said.cancel": ("{n}건을 취소했습니다.", "{n} cancelled."),
    "said.rerun": ("다시 실행합니다.", "It runs again."),
    "said.pause": ("일시정지했습니다.", "Paused."),
    "said.resume": ("재개했습니다.", "Resumed."),
    "said.going": (
        "진행 중입니다. 어디까지 되었는지는 감사 기록에 나옵니다.",
        "It is under way; the audit shows how far it has come.",
    ),
    "said.nothing": (
        "바뀐 것이 없습니다. 그사이 이미 진행되었거나 다른 곳에서 사용 중입니다.",
        "Nothing was changed: it was there already, moved on meanwhile, or somebody holds its row this moment.",
    ),
    # faults
    "fault.title": ("문제가 있습니다", "That did not work"),
    "fault.database": ("데이터베이스에 연결할 수 없습니다.", "The database cannot be reached."),
    "fault.refuses": ("데이터베이스가 거부했습니다.", "The database refuses."),
    "fault.refused": ("허용되지 않은 요청입니다.", "That request is refused."),
    "fault.viewer": ("열람자는 조치할 수 없습니다.", "A viewer cannot act."),
    "fault.form": (
        "이 양식은 이 세션의 것이 아닙니다. 페이지를 새로 열고 다시 시도하세요.",
        "This form does not belong to this session. Open the page again and repeat.",
    ),
    "fault.unfit": ("요청의 값이 맞지 않습니다.", "A value of the request does not fit."),
    "fault.again": ("다시 시도", "Try again"),
    "refused.unknown_stage": ("그런 단계가 없습니다.", "No stage performs that step."),
    "refused.unknown_job": ("그런 작업이 없습니다.", "There is no such job."),
    "refused.busy": (
        "누군가 이 행을 지금 사용 중입니다. 다시 시도하세요.",
        "Somebody holds its row this moment. Try again.",
    ),
    "refused.running": (
        "단계가 이 작업을 처리 중입니다. 기다리거나 취소하거나 ‘진행 중이어도’를 선택하세요.",
        "A stage is at work on it. Wait, cancel it, or tick “even if a stage is at work”.",
    ),
    "refused.too_wide": (
        "너무 많은 가운데 드물어서 멈췄습니다. 조건을 좁혀 주세요. 그때까지의 작업은 처리되었습니다.",
        "Too little among too much: it was given up, what came before is done. Narrow the filter.",
    ),
    # units
    "unit.ms": ("{n} ms", "{n} ms"),
    "unit.s": ("{n}초", "{n} s"),
    "unit.min": ("{n}분", "{n} min"),
    "unit.h": ("{n}시간", "{n} h"),
    "unit.d": ("{n}일", "{n} d"),
    "none": ("–", "–"),
}


def text(language: Language, key: str, **values: object) -> str:
    """The message, with its values put in. Raises ``KeyError`` for an unknown key."""
    korean, english = MESSAGES[key]
    message = korean if language == "ko" else english
    return message.format(**values) if values else message


def preferred(accepted: str, default: Language = "en") -> Language:
    """The language of an ``Accept-Language`` header that comes first among ours."""
    best: tuple[float, Language] | None = None
    for part in accepted[:500].split(","):
        name, _, rest = part.strip().partition(";")
        try:
            weight = float(rest.strip().removeprefix("q=")) if rest else 1.0
        except ValueError:
            continue
        for language in LANGUAGES:
            if name.lower().split("-")[0] == language and weight > 0 and (best is None or weight > best[0]):
                best = (weight, language)
    return best[1] if best else default


def duration(language: Language, seconds: float | None) -> str:
    """``320 ms``, ``4.2 s``, ``12 min``: two figures at a glance."""
    if seconds is None:
        return MESSAGES["none"][0]
    for unit, length, until, digits in (
        ("ms", 0.001, 0.9995, 0),
        ("s", 1, 9.95, 1),
        ("s", 1, 119.5, 0),
        ("min", 60, 7170, 0),
        ("h", 3600, 172800, 0),
        ("d", 86400, float("inf"), 0),
    ):
        if seconds < until:
            return text(language, f"unit.{unit}", n=f"{max(seconds, 0) / length:.{digits}f}")
    raise AssertionError(seconds)
