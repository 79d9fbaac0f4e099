"""The log: fixed event names, a text in Korean or English, and fields that hold no payload.

Operators grep the texts and programs the names, so neither may change.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from enum import Enum
from typing import Literal

from pgbaton.shard import DATABASE

Language = Literal["ko", "en"]
LogFormat = Literal["text", "json"]


class Event(Enum):
    """An event's machine-readable name, and its text in Korean and in English."""

    JOB_CHANGED = ("job_state_changed", "Job 상태 변화 감지", "job state change received")
    STAGE_TRIGGERED = ("stage_triggered", "파이프라인 단계 트리거", "pipeline stage triggered")
    STAGE_SUCCEEDED = ("stage_succeeded", "파이프라인 단계 실행 성공", "pipeline stage succeeded")
    STAGE_ACCEPTED = ("stage_accepted", "파이프라인 단계 접수", "pipeline stage accepted, working on")
    STAGE_FAILED = ("stage_failed", "파이프라인 단계 실행 실패", "pipeline stage failed")
    STAGE_SKIPPED = (
        "stage_skipped",
        "파이프라인 단계 호출 생략",
        "pipeline stage not called, the row moved on",
    )
    JOB_PASSED = ("job_passed", "호출 없이 상태 진행", "job went on without a call")
    DISPATCH_RESCUED = ("dispatch_rescued", "중단된 호출 회수", "dispatch rescued")
    WEBHOOK_FAILED = ("webhook_failed", "웹훅 전송 포기", "webhook given up")
    DISPATCH_MISSING = ("dispatch_missing", "누락된 호출 생성", "missing dispatch created")
    ROW_REFUSED = (
        "row_refused",
        "테이블이 상태 변경을 거부함, 작업을 최종 실패로 처리",
        "the table refuses the row's new state, the dispatch is dead",
    )
    LISTENER_CONNECTED = ("listener_connected", "리스너 연결", "listener connected")
    LISTENER_FAILED = ("listener_failed", "리스너 오류 발생", "listener error")
    LISTENER_RECONNECTING = ("listener_reconnecting", "재연결 시도", "listener reconnecting")
    POOLER_IN_PATH = (
        "pooler_in_path",
        "트랜잭션 풀러 경유, LISTEN 불가로 폴링만 사용 (PGBATON_LISTEN_URL에 직접 주소 지정 필요)",
        "a transaction pooler is in the path, LISTEN hears nothing: polling (PGBATON_LISTEN_URL: a direct address)",
    )
    TRIGGER_MISSING = (
        "trigger_missing",
        "트리거가 없거나 꺼져 있음, 작업의 변화를 보지 못함 (pgbaton attach로 복구)",
        "a trigger is missing or disabled, changes of jobs are not seen (pgbaton attach mends it)",
    )
    WORKER_STARTED = ("worker_started", "워커 시작", "worker started")
    WORKER_DRAINING = ("worker_draining", "워커 종료 중, 남은 호출 대기", "worker draining")
    WORKER_STOPPED = ("worker_stopped", "워커 종료", "worker stopped")
    DATABASE_AWAY = (
        "database_away",
        "데이터베이스 접근 실패, 재시도",
        "database not reachable, trying again",
    )

    STAGE_HELD_BACK = (
        "stage_held_back",
        "단계가 429로 응답, 동시 호출을 줄임",
        "a stage answers 429, fewer calls at once",
    )
    NOT_AT_HOME = (
        "not_at_home",
        "attach한 데이터베이스가 아님(복원된 사본일 수 있음), 호출하지 않음 (맞다면 pgbaton attach --here)",
        "not the database that the pipeline was attached in, perhaps a copy: nothing is called (pgbaton attach --here)",
    )
    LEASE_LOST = ("lease_lost", "워커 리스 만료, 새 리스 획득", "the worker's lease lapsed, taking another")
    STATEMENT_REFUSED = (
        "statement_refused",
        "데이터베이스가 문장을 거부함",
        "the database refuses a statement",
    )
    TABLE_CHANGED = (
        "table_changed",
        "테이블이 attach할 때와 다름, 아무 작업도 호출하지 않음",
        "the table is not as it was attached, nothing is called",
    )
    NO_DESCRIPTORS = (
        "no_descriptors",
        "파일 디스크립터가 부족해 단계를 호출하지 못함",
        "no file descriptor is left, stages are not called",
    )
    WORKER_FAULT = ("worker_fault", "워커 내부 오류", "a fault in the worker")

    def __init__(self, event: str, korean: str, english: str) -> None:
        self.event = event
        self.text: dict[str, str] = {"ko": korean, "en": english}


class EventLog:
    """Writes events to a stdlib logger, one line each: text, ``event=name``, then the fields."""

    def __init__(self, language: Language = "en", logger: logging.Logger | None = None) -> None:
        self._language = language
        self._logger = logger or logging.getLogger("pgbaton")

    @property
    def says_info(self) -> bool:
        """Whether :meth:`info` writes anything."""
        return self._logger.isEnabledFor(logging.INFO)

    def info(self, event: Event, **fields: object) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: Event, **fields: object) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: Event, **fields: object) -> None:
        self._write(logging.ERROR, event, fields)

    def fault(self, event: Event, error: BaseException, **fields: object) -> None:
        """An error that the code did not foresee, with its traceback."""
        self._write(logging.ERROR, event, {**fields, "error": describe(error)}, error)

    def _write(self, level: int, event: Event, fields: dict[str, object], error: BaseException | None = None) -> None:
        if not self._logger.isEnabledFor(level):
            return
        known = {name: value for name, value in fields.items() if value is not None}
        if database := DATABASE.get():
            known["database"] = database
        line = " ".join(f"{name}={shown(value)}" for name, value in known.items())
        self._logger.log(
            level,
            "%s event=%s %s",
            event.text[self._language],
            event.event,
            line,
            extra={"event": event.event, "fields": known},
            exc_info=error,
        )


_PLAIN = re.compile(r"[^\s\"'=\\\x00-\x1f\x7f-\x9f\u2028\u2029]{1,200}")


def shown(value: object) -> str:
    """A field's value on one line and of bounded length, also where it holds text of others' making."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    if _PLAIN.fullmatch(text) and text.isprintable():
        return text
    return repr(text[:200]) if text.isprintable() else ascii(text[:200])


def describe(error: BaseException) -> str:
    """An exception for the log and the attempts table: its kind, and one bounded line of its message."""
    said = words_of(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


_VALUE = re.compile(r'(?<=: )".*')
_OWN_WORDS = re.compile(r'"(?:running|done|failed|cancelled)"')


def words_of(error: BaseException) -> str:
    """An error's message on one line of at most 200 characters, without the contents of rows.

    Of a database's error the message alone: its detail tells the row. A message about a value that a type cannot hold
    ends with that value (``invalid input syntax for type integer: "…"``), which is left out unless it is a word of the
    engine's own."""
    sqlstate = getattr(error, "sqlstate", None)
    said = " ".join(str((sqlstate and getattr(error, "message", None)) or error).split())
    if str(sqlstate).startswith("22"):  # data exceptions
        said = _VALUE.sub(lambda found: found[0] if _OWN_WORDS.fullmatch(found[0]) else '"…"', said)
    return said[:200]


_LINE_ENDS = re.compile("[\\x7f-\\x9f\\u2028\\u2029]")  # JSON leaves them as they are; some readers end a line there


class JsonLines(logging.Formatter):
    """One JSON object a line: ``at`` (UTC), ``level``, ``logger``, ``message``; an event's name and fields beside them,
    its job as ``job``, its tenant as ``tenant``."""

    _names = {"job_id": "job", "tenant_id": "tenant"}  # noqa: RUF012

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "at": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        event = getattr(record, "event", None)
        if event is None:
            line["message"] = record.getMessage()
        else:
            line |= {"event": event, "message": str(record.getMessage()).split(f" event={event}", 1)[0]}
            fields: dict[str, object] = getattr(record, "fields", {})
            line |= {self._names.get(name, name): value for name, value in fields.items() if name not in line}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        whole = json.dumps(line, ensure_ascii=False, default=str).encode("utf-8", "replace").decode()
        return _LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", whole)


def _formatter(form: LogFormat) -> logging.Formatter:
    return JsonLines() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")


def log_to(handler: logging.Handler, form: LogFormat) -> None:
    """Write the log of this process to ``handler``, as lines for people or as JSON for programs."""
    handler.setFormatter(_formatter(form))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def log_if_unheard(form: LogFormat) -> None:
    """Write the engine's log to standard error where the application has set up none, as under plain uvicorn. An
    application that sets one up later has it to itself."""
    logger = logging.getLogger("pgbaton")
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(form))
    handler.addFilter(lambda _: not logging.root.handlers)
    logger.addHandler(handler)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


def log_to_stderr(form: LogFormat) -> None:
    """As :func:`log_to`, to standard error."""
    log_to(logging.StreamHandler(sys.stderr), form)
