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
    "dead": ("최종 실패", "Dead"),
    "stages": ("단계", "Stages"),
    "workers": ("워커", "Workers"),
    "audit": ("감사 기록", "Audit"),
    "live.on": ("실시간", "Live"),
    "live.off": ("연결 끊김, 재연결 중", "Not connected, trying again"),
    "live.wait": ("연결 중", "Connecting"),
    "language": ("언어", "Language"),
    "sign_out": ("로그아웃", "Sign out"),
    "role.viewer": ("조회 전용", "viewer"),
    "role.operator": ("운영자", "operator"),
    # login
    "login": ("로그인", "Sign in"),
    "login.token": ("토큰", "Token"),
    "login.why": (
        "PGBATON_WEB_TOKEN에 설정된 토큰을 입력하세요.",
        "Enter the token that PGBATON_WEB_TOKEN was set to.",
    ),
    "login.wrong": ("토큰이 맞지 않습니다.", "That is not the token."),
    "login.slow": (
        "로그인에 너무 많이 실패했습니다. {wait} 뒤에 다시 시도하세요.",
        "Too many failures. Try again in {wait}.",
    ),
    # counts and figures
    "waiting": ("대기", "waiting"),
    "running": ("실행 중", "running"),
    "retrying": ("재시도 대기", "retrying"),
    "parked": ("테넌트 일시정지", "parked"),
    "per_minute": ("분당 완료", "Done per minute"),
    "wait": ("대기 시간", "Wait"),
    "work": ("처리 시간", "Work"),
    "times": ("시간", "Times"),
    "slots": ("{running} / {limit}", "{running} of {limit}"),
    "calls": ("호출 중", "In flight"),
    "no_limit": ("제한 없음", "no limit"),
    "attempts": ("시도", "Attempts"),
    "timeout": ("제한 시간", "Timeout"),
    "after": ("앞 단계", "After"),
    "circuit": ("서킷", "Circuit"),
    "oldest_wait": ("가장 오래 기다린 작업", "Oldest wait"),
    "nothing_waits": ("없음", "none"),
    "open_jobs": ("진행 중인 작업", "Jobs under way"),
    "last_hour": ("지난 1시간", "The last hour"),
    "last_hour.done": ("완료된 호출", "Calls done"),
    "last_hour.dead": ("최종 실패", "Died"),
    "last_hour.chart": (
        "지난 1시간의 분당 완료와 최종 실패: 완료 {done}, 최종 실패 {dead}",
        "Completed and dead dispatches by minute in the last hour: {done} done, {dead} dead",
    ),
    "last_hour.capped": (
        "매우 많아 최근 20,000건만 집계했습니다.",
        "So many that only the newest 20,000 were counted.",
    ),
    "minutes_ago": ("60분 전", "60 min ago"),
    "now": ("지금", "now"),
    "pipeline": ("파이프라인", "Pipeline"),
    "pipeline.line": ("파이프라인의 단계", "The stages of the pipeline"),
    # states
    "state.available": ("대기", "waiting"),
    "state.running": ("실행 중", "running"),
    "state.retryable": ("재시도 대기", "retrying"),
    "state.completed": ("완료", "completed"),
    "state.dead": ("최종 실패", "dead"),
    "state.cancelled": ("취소됨", "cancelled"),
    "state.parked": ("테넌트 일시정지", "parked"),
    "state.ok": ("정상", "ok"),
    "state.paused": ("일시정지", "paused"),
    "state.unrouted": ("경로 없음", "no route"),
    "circuit.closed": ("닫힘(정상)", "closed"),
    "circuit.open": ("열림(호출 차단)", "open"),
    "circuit.half-open": ("반열림(확인 중)", "probing"),
    "worker.alive": ("정상", "alive"),
    "worker.lost": ("끊김", "lost"),
    "worker.draining": ("종료 중", "draining"),
    # outcomes
    "outcome.completed": ("완료", "completed"),
    "outcome.failed": ("시도 실패", "failed"),
    "outcome.accepted": ("접수됨", "accepted"),
    "outcome.unknown": ("알 수 없음", "unknown"),
    "outcome.deferred": ("연기됨", "deferred"),
    "outcome.rejected": ("거절됨", "rejected"),
    "outcome.breach": ("규약 위반", "broke the contract"),
    "outcome.timeout": ("시간 초과", "timed out"),
    "outcome.lost": ("유실", "lost"),
    "outcome.released": ("반환됨", "released"),
    "outcome.refused": ("테이블이 거부함", "refused by the table"),
    "outcome.superseded": ("대체됨", "superseded"),
    # findings
    "find.none": ("모두 정상입니다. 진행 중 {open}건.", "All is well. {open} under way."),
    "see_page": ("보기", "Show"),
    "see": ("보기", "Show jobs"),
    # jobs
    "filter": ("필터", "Filter"),
    "filter.clear": ("초기화", "Clear"),
    "filter.stage": ("단계", "Stage"),
    "filter.state": ("상태", "State"),
    "filter.tenant": ("테넌트", "Tenant"),
    "filter.age": ("경과 시간", "Older than"),
    "filter.error": ("오류 메시지 포함", "Error contains"),
    "filter.id": ("작업 ID 앞부분", "Job id begins with"),
    "filter.history": ("이전 단계도 포함", "Include earlier stages"),
    "filter.group": ("오류 그룹", "Error group"),
    "any": ("전체", "any"),
    "id": ("작업 ID", "Job id"),
    "stage": ("단계", "Stage"),
    "state": ("상태", "State"),
    "tenant": ("테넌트", "Tenant"),
    "age": ("경과", "Age"),
    "error": ("오류", "Error"),
    "call.answer": ("응답 본문", "answer"),
    "ago": ("{time} 전", "{time} ago"),
    "jobs.none": ("조건에 맞는 작업이 없습니다.", "No job matches."),
    "jobs.too_wide": (
        "검색 범위가 너무 넓어 중단했습니다. 상태, 단계, 테넌트, ID로 범위를 좁혀 주세요.",
        "Search stopped: too few matches among too many jobs. Narrow it by state, stage, tenant or id.",
    ),
    "jobs.searched": (
        "실패한 호출 {count}건을 {time} 전까지 검색했습니다.",
        "Searched here: {count} failed calls, back to {time} ago.",
    ),
    "jobs.search_on": ("더 이전 기록 검색", "Search further back"),
    "jobs.newest": ("최신순 처음으로", "Newest"),
    "jobs.older": ("더 오래된 작업", "Older"),
    "jobs.pages": ("페이지 이동", "Pages"),
    "jobs.bulk": ("조건에 맞는 모든 작업:", "Everything that matches:"),
    # a job
    "job.none": ("해당 작업이 없습니다.", "There is no such job."),
    "job.gone": ("행이 삭제되었습니다.", "The row is gone."),
    "job.row": ("현재 행", "The row as it is"),
    "job.step": ("단계", "Step"),
    "job.status": ("상태", "Status"),
    "job.updated": ("변경 시각", "Updated"),
    "job.timeline": ("진행 과정", "Timeline"),
    "job.timeline.alt": (
        "호출 대상 {count}건과 각 시도. 아래 표에 같은 내용이 있습니다.",
        "{count} dispatches and their attempts; the table below says the same.",
    ),
    "job.calls": ("호출", "Calls"),
    "job.truncated": ("최근 200건만 표시합니다.", "Only the newest 200 are shown."),
    "job.no_calls": ("아직 호출되지 않았습니다.", "Not called yet."),
    "job.history": ("이 작업의 모든 기록", "All its dispatches"),
    "call.attempt": ("시도", "Attempt"),
    "call.began": ("시작", "Began"),
    "call.took": ("소요 시간", "Took"),
    "call.outcome": ("결과", "Outcome"),
    "call.http": ("HTTP", "HTTP"),
    "call.worker": ("워커", "Worker"),
    "call.running": ("호출 중", "under way"),
    "seg.waiting": ("대기", "waiting"),
    "seg.running": ("호출 중", "running"),
    "seg.backoff": ("재시도 대기", "backoff"),
    "seg.parked": ("테넌트 일시정지", "tenant paused"),
    "seg.completed": ("완료", "completed"),
    "seg.failed": ("시도 실패", "failed"),
    "seg.other": ("기타", "other"),
    # dead
    "dead.none": ("최종 실패한 작업이 없습니다.", "Nothing is dead."),
    "dead.capped": (
        "건수가 많아 단계마다 최근 10,000건만 확인했습니다.",
        "There are so many that only the newest 10,000 of a stage were looked at.",
    ),
    "dead.too_wide": (
        "시간 안에 집계하지 못했습니다. 작업 목록에서 단계별로 확인하세요.",
        "They could not be counted in time. Look at them by stage under Jobs.",
    ),
    "dead.count": ("건수", "Jobs"),
    "dead.newest": ("최근 발생", "Newest"),
    "dead.example": ("예", "For example"),
    "dead.no_error": ("(오류 메시지 없음)", "(no error message)"),
    "dead.show": ("작업 보기", "Show jobs"),
    # workers
    "workers.none": (
        "워커가 없습니다. pgbaton run으로 시작하세요.",
        "There are no workers. Start one with pgbaton run.",
    ),
    "worker.name": ("이름", "Name"),
    "worker.calls": ("호출", "Calls"),
    "worker.renewed": ("마지막 하트비트", "Lease renewed"),
    "worker.age": ("가동 시간", "Up for"),
    # stages
    "stages.paused": ("파이프라인이 일시정지되어 있습니다.", "The pipeline is paused."),
    "stages.tenants": ("일시정지된 테넌트", "Paused tenants"),
    "stages.no_tenants": ("일시정지된 테넌트가 없습니다.", "No tenant is paused."),
    "stages.pause_tenant": ("테넌트 일시정지", "Pause a tenant"),
    "stages.since": ("{time}째", "for {time}"),
    # audit
    "audit.none": ("아직 기록이 없습니다.", "No actions yet."),
    "audit.at": ("시각", "When"),
    "audit.who": ("누가", "Who"),
    "audit.did": ("작업 내용", "Action"),
    "audit.to": ("대상", "To"),
    "audit.jobs": ("작업 수", "Jobs"),
    "audit.detail": ("상세", "Detail"),
    # actions
    "do.retry": ("재시도", "Retry"),
    "do.retry_group": ("그룹 재시도", "Retry the group"),
    "do.retry_stage": ("단계 재시도", "Retry the stage"),
    "do.retry_all": ("모두 재시도…", "Retry all…"),
    "do.cancel_all": ("모두 취소…", "Cancel all…"),
    "do.rerun": ("재실행", "Re-run"),
    "do.rerun_from": ("재실행할 단계", "Re-run from"),
    "do.force": ("처리 중이어도 강제 재실행", "even if a stage is at work"),
    "do.cancel": ("취소…", "Cancel…"),
    "do.pause": ("일시정지", "Pause"),
    "do.resume": ("재개", "Resume"),
    "do.pause_pipeline": ("파이프라인 일시정지", "Pause the pipeline"),
    "do.resume_pipeline": ("파이프라인 재개", "Resume the pipeline"),
    "act.retry": ("재시도", "retry"),
    "act.rerun": ("재실행", "re-run"),
    "act.cancel": ("취소", "cancel"),
    "act.pause": ("일시정지", "pause"),
    "act.resume": ("재개", "resume"),
    "act.pause_tenant": ("테넌트 일시정지", "pause tenant"),
    "act.resume_tenant": ("테넌트 재개", "resume tenant"),
    "actions": ("조치", "Actions"),
    # confirmation
    "confirm.title": ("확인", "Are you sure?"),
    "confirm.retry": ("{count}건을 재시도합니다.", "Jobs to retry: {count}."),
    "confirm.cancel": (
        "{count}건을 취소합니다. 취소한 작업은 자동으로 진행되지 않습니다.",
        "Jobs to cancel: {count}. A cancelled job does not go on by itself.",
    ),
    "confirm.cancel_one": (
        "이 작업을 취소합니다. 진행 중인 호출의 결과는 버려집니다.",
        "Cancel this job. The end of a call that is under way will change nothing.",
    ),
    "confirm.none": ("조건에 맞는 작업이 없습니다.", "No job matches."),
    "confirm.too_wide": (
        "시간 안에 집계하지 못했습니다. 조건을 좁혀 주세요.",
        "It could not be counted in time. Narrow the filter.",
    ),
    "confirm.filter": ("조건", "Everything that matches"),
    "confirm.yes_retry": ("{count}건 재시도", "Retry {count}"),
    "confirm.yes_cancel": ("{count}건 취소", "Cancel {count}"),
    "confirm.no": ("돌아가기", "Back"),
    "confirm.everything": ("모든 작업", "every job"),
    # what was done
    "said.retry": ("{n}건을 재시도합니다.", "{n} will be tried again."),
    "said.cancel": ("{n}건을 취소했습니다.", "{n} cancelled."),
    "said.rerun": ("재실행합니다.", "It runs again."),
    "said.pause": ("일시정지했습니다.", "Paused."),
    "said.resume": ("재개했습니다.", "Resumed."),
    "graph": ("흐름도", "Graph"),
    "decide.title": ("결정이 필요한 작업", "A decision is needed"),
    "decide.reason": ("사유", "Reason"),
    "decide.done": ("결정했습니다: {choice}", "Decided: {choice}"),
    "choice.approve": ("승인", "Approve"),
    "choice.reject": ("반려", "Reject"),
    "said.decide": ("결정했습니다.", "Decided."),
    "refused.not_waiting": (
        "이미 결정되었거나 작업이 다음 단계로 넘어갔습니다.",
        "It was decided already, or the job has gone on.",
    ),
    "refused.unknown_choice": ("선택할 수 없는 값입니다.", "That is no choice here."),
    "refused.forged": (
        "링크가 올바르지 않습니다. 전체 주소를 그대로 열었는지 확인해 주세요.",
        "This link was not signed here, or not all of it has come.",
    ),
    "refused.late": (
        "링크의 유효 기간이 지났습니다. 새 링크를 요청해 주세요.",
        "This link is past its time: ask for another.",
    ),
    "said.going": (
        "처리 중입니다. 진행 상황은 감사 기록에 나옵니다.",
        "It is under way; the audit shows how far it has come.",
    ),
    "said.nothing": (
        "변경된 작업이 없습니다. 이미 진행되었거나 다른 트랜잭션이 행을 잠그고 있습니다.",
        "Nothing was changed: it was there already, moved on meanwhile, or another transaction holds its row.",
    ),
    # faults
    "fault.title": ("변경된 것이 없습니다", "Nothing was changed"),
    "fault.database": ("데이터베이스에 연결할 수 없습니다.", "The database cannot be reached."),
    "fault.refuses": ("데이터베이스가 요청을 거부했습니다.", "Postgres rejected this."),
    "fault.refused": ("허용되지 않은 요청입니다.", "That request is refused."),
    "fault.viewer": ("조회 전용 사용자는 조치할 수 없습니다.", "A viewer cannot act."),
    "fault.form": (
        "이 양식은 현재 세션의 것이 아닙니다. 페이지를 새로 열고 다시 시도하세요.",
        "This form does not belong to this session. Open the page again and repeat.",
    ),
    "fault.unfit": (
        "요청에 알 수 없는 값이 있어 아무것도 하지 않았습니다.",
        "A value of the request is not understood, so nothing was done.",
    ),
    "fault.again": ("다시 시도", "Try again"),
    "refused.unknown_stage": ("해당 단계가 없습니다.", "No stage performs that step."),
    "refused.unknown_job": ("해당 작업이 없습니다.", "There is no such job."),
    "refused.busy": (
        "다른 트랜잭션이 이 행을 잠그고 있습니다. 다시 시도하세요.",
        "Another transaction holds this row. Try again.",
    ),
    "refused.running": (
        "단계가 이 작업을 처리 중입니다. 기다리거나, 취소하거나, ‘처리 중이어도 강제 재실행’을 선택하세요.",
        "A stage is at work on it. Wait, cancel it, or tick “even if a stage is at work”.",
    ),
    "refused.too_wide": (
        "검색 범위가 너무 넓어 중단했습니다. 그때까지의 작업은 처리되었습니다. 조건을 좁혀 주세요.",
        "Search stopped: too few matches among too many jobs; what came before is done. Narrow the filter.",
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
