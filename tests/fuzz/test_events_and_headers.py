"""Contents of notifications and headers: any role or client can send them, so any text may be in them."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgbaton.backoff import retry_after_seconds
from pgbaton.events import Event, EventLog, describe, shown
from pgbaton.worker.listener import event_fields

KNOWN = {"job_id", "tenant_id", "current_step", "status"}
NOW = 1_700_000_000.0

any_text = st.text() | st.text(st.characters())  # with and without lone surrogates
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(KNOWN)) | st.text(), inner),
)
payloads = (
    any_text
    | json_values.map(json.dumps)
    | json_values.map(lambda value: json.dumps(value, ensure_ascii=False))
    | st.tuples(json_values.map(json.dumps), st.integers(0, 40)).map(lambda cut: cut[0][: -cut[1]])
)


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def logged(**fields: object) -> str:
    """The line as an operator's file would get it."""
    log, kept = logging.Logger("fuzz"), Kept()
    log.addHandler(kept)
    EventLog("ko", log).info(Event.JOB_CHANGED, **fields)
    (line,) = kept.lines
    return line


@settings(max_examples=300)
@given(payloads)
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("9" * 10_000)
@example('{"job_id": "\\ud800"}')
def test_of_a_notification_only_known_texts_are_taken_and_they_fill_one_line(payload: str) -> None:
    fields = event_fields(payload)
    assert fields == {"payload": "unreadable"} or (
        fields.keys() <= KNOWN and all(isinstance(value, str) for value in fields.values())
    )
    line = logged(**fields)
    assert len(line.splitlines()) == 1
    assert len(line) < 4 * 12 * 200 + 200
    assert all(character.isprintable() for character in line)
    line.encode()


@settings(max_examples=300)
@given(any_text | st.floats() | st.integers() | json_values)
def test_a_value_in_the_log_cannot_end_its_line_nor_pretend_to_be_another_field(value: Any) -> None:
    text = shown(value)
    assert text.isprintable()
    assert len(text) <= 12 * 200
    assert text[:1] in "'\"" or not any(mark in text for mark in " =\"'")
    text.encode()


@given(any_text)
def test_an_error_is_described_in_one_bounded_line(said: str) -> None:
    line = logged(error=describe(ValueError(said)))
    assert len(line.splitlines()) == 1
    assert len(describe(ValueError(said))) < 250


days = st.sampled_from(["Mon", "Tue", "mon", "Someday", ""])
months = st.sampled_from(["Jan", "feb", "Dec", "13", ""])
zones = st.sampled_from(["GMT", "UTC", "-0000", "+0900", "-9999", "+999999", "EST", "Z", ""])
numbers = st.integers(-1, 100) | st.integers(0, 10**12)
dates = st.builds(
    "{}, {:02d} {} {} {}:{}:{} {}".format, days, numbers, months, numbers, numbers, numbers, numbers, zones
)


@settings(max_examples=500)
@given(
    any_text
    | dates
    | st.integers().map(str)
    | st.floats().map(str)
    | st.text("0123456789 :,GMTadFebrJn+-", max_size=40)
)
@example("9" * 5000)
@example("Thu, 01 Jan 99999 00:00:00 GMT")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("٣")
def test_any_retry_after_is_a_delay_or_none(header: str) -> None:
    seconds = retry_after_seconds(header, NOW)
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
