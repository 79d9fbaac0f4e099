"""The log: what operators grep and programs read, and that no value can break a line of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgbaton.events import Event, EventLog, describe, shown
from pgbaton.worker.listener import event_fields


class Kept(logging.Handler):
    """Keeps the lines as an operator's file would get them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@contextmanager
def logger(level: int = logging.INFO) -> Iterator[tuple[logging.Logger, Kept]]:
    log, kept = logging.Logger("test", level), Kept()
    log.addHandler(kept)
    yield log, kept


KEYWORDS = [
    (Event.JOB_CHANGED, "Job 상태 변화 감지"),
    (Event.STAGE_TRIGGERED, "파이프라인 단계 트리거"),
    (Event.STAGE_SUCCEEDED, "파이프라인 단계 실행 성공"),
    (Event.STAGE_FAILED, "파이프라인 단계 실행 실패"),
    (Event.LISTENER_FAILED, "리스너 오류 발생"),
    (Event.LISTENER_RECONNECTING, "재연결 시도"),
]


@pytest.mark.parametrize(("event", "korean"), KEYWORDS)
def test_the_texts_that_operators_grep_are_those_of_the_contract(event: Event, korean: str) -> None:
    with logger() as (log, kept):
        EventLog("ko", log).info(event, job_id="j-1")
        EventLog("en", log).info(event, job_id="j-1")
    in_korean, in_english = kept.lines
    assert in_korean == f"{korean} event={event.event} job_id=j-1"
    assert re.fullmatch(rf"[ -~]+ event={event.event} job_id=j-1", in_english)


def test_the_names_that_programs_read_stay_as_they_are() -> None:
    names = [event.event for event, _ in KEYWORDS]
    assert names == [
        "job_state_changed",
        "stage_triggered",
        "stage_succeeded",
        "stage_failed",
        "listener_failed",
        "listener_reconnecting",
    ]


def test_every_event_has_a_name_and_two_texts_of_its_own() -> None:
    for said in (
        [e.event for e in Event],
        [e.text["ko"] for e in Event],
        [e.text["en"] for e in Event],
    ):
        assert len(set(said)) == len(list(Event))
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", e.event) for e in Event)


@pytest.mark.parametrize(("event", "korean"), KEYWORDS)
def test_a_grep_for_a_keyword_finds_no_other_event(event: Event, korean: str) -> None:
    assert [e for e in Event if korean in e.text["ko"]] == [event]


def test_the_machine_readable_name_and_fields_travel_beside_the_text() -> None:
    with logger() as (log, kept):
        EventLog("ko", log).error(Event.STAGE_FAILED, job_id="j 1", http_status=None, delay=1.23456)
    (record,) = kept.records
    assert record.levelno == logging.ERROR
    assert (record.event, record.fields) == ("stage_failed", {"job_id": "j 1", "delay": 1.23456})  # type: ignore[attr-defined]
    assert record.getMessage().endswith(" event=stage_failed job_id='j 1' delay=1.235")


def test_below_the_logs_level_nothing_is_formatted() -> None:
    class Bomb:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    with logger(logging.WARNING) as (log, kept):
        EventLog("en", log).info(Event.JOB_CHANGED, job_id=Bomb())
    assert kept.lines == []


HOSTILE = [
    "two\nlines",
    "return\rcarriage",
    "\x1b[31mred\x1b[0m",
    "nul\x00",
    "next\x85line",
    "line\u2028separator",
    "right\u202eto left",
    "zero\u200bwidth",
    "lone\ud800surrogate",
    "x" * 100_000,
    "한" * 100_000,
    "\n" * 100_000,
    'a" event=stage_succeeded job_id="b',
    "a event=stage_succeeded",
    "a=b",
    "%s %d %(name)s",
    "{field}",
    "",
    " ",
    "\\n",
]


def one_field(line: str) -> bool:
    """Whether the line holds nothing but the one field ``x`` behind the event's name."""
    head = "job state change received event=job_state_changed x="
    value = line.removeprefix(head)
    plain = r"[^\s\"'=\\]+"
    quoted = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
    return line.startswith(head) and re.fullmatch(rf"{plain}|{quoted}", value) is not None and value.isprintable()


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:20]))
def test_a_hostile_value_stays_one_field_on_one_bounded_line(value: str) -> None:
    with logger() as (log, kept):
        EventLog("en", log).info(Event.JOB_CHANGED, x=value)
    (line,) = kept.lines
    assert one_field(line)
    assert len(line) < 2500
    line.encode()


@given(st.text(st.characters(exclude_categories=())) | st.integers() | st.booleans() | st.floats())
def test_no_value_breaks_the_line(value: object) -> None:
    assert one_field(f"job state change received event=job_state_changed x={shown(value)}")


@given(st.text(st.characters(exclude_categories=())))
def test_an_error_is_described_in_one_bounded_line(text: str) -> None:
    said = describe(ValueError(text))
    assert said.startswith("ValueError")
    assert len(said) <= 220
    assert not set(said) & set("\n\r\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e")


def test_an_error_without_a_word_is_named() -> None:
    assert describe(TimeoutError()) == "TimeoutError"


# -- the fields of an event that came as a notification -------------------------------------------


def test_the_known_fields_of_an_event_are_logged_and_nothing_else() -> None:
    payload = (
        '{"job_id": "j", "tenant_id": "t", "current_step": "s", "status": "done", "updated_at": "x", "password": 1}'
    )
    assert event_fields(payload) == {"job_id": "j", "tenant_id": "t", "current_step": "s", "status": "done"}


@pytest.mark.parametrize(
    "payload", ["", "j-1", "null", "[]", "7", '"x"', "{", "[" * 7000, '{"job_id": }', "NaN", "\ufeff{}", "1" * 7000]
)
def test_a_payload_that_is_no_event_is_only_called_unreadable(payload: str) -> None:
    assert event_fields(payload) == {"payload": "unreadable"}


@pytest.mark.parametrize("payload", ["{}", '{"job_id": 7, "status": null, "current_step": ["a"], "tenant_id": {}}'])
def test_fields_of_the_wrong_type_are_left_out(payload: str) -> None:
    assert event_fields(payload) == {}


@given(st.text())
def test_anybody_may_notify_anything(payload: str) -> None:
    assert all(isinstance(value, str) for value in event_fields(payload).values())
