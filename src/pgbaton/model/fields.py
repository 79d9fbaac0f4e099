"""The types of a pipeline's fields: names, steps, paths, lengths of time, conditions; refused in a sentence. No I/O."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from pgbaton.model import condition
from pgbaton.model.states import RUNNING, WAKE_CHANNEL
from pgbaton.times import duration

NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_identifier(value: str) -> str:
    if not value or len(value.encode()) > 63 or _CONTROL.search(value) or '"' in value:
        raise ValueError("must be a column or channel name of 1 to 63 bytes without quotes or control characters")
    return value


def check_key(value: Any) -> str | tuple[str, ...]:
    columns = value if isinstance(value, list | tuple) else [value]
    if not 1 <= len(columns) <= 8 or not all(isinstance(column, str) for column in columns):
        raise ValueError("must be a column name, or a list of at most 8 of them")
    names = tuple(check_identifier(column) for column in columns)
    return names if len(names) > 1 else names[0]


def check_table(value: str) -> str:
    parts = value.split(".")
    if len(parts) > 2:
        raise ValueError("must be a table name, or schema.table")
    for part in parts:
        check_identifier(part)
    return value


def check_channel(value: str) -> str:
    check_identifier(value)
    if value == WAKE_CHANNEL:
        raise ValueError(f"{WAKE_CHANNEL} is the engine's own channel")
    return value


def check_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError("must be 1 to 48 lower-case letters, digits and underscores, a letter first")
    return value


def check_step(value: str) -> str:
    if not value or value != value.strip() or len(value.encode()) > 200 or _CONTROL.search(value):
        raise ValueError("must be 1 to 200 bytes, with no space around it and no control characters")
    return value


def check_path(value: str) -> str:
    if not value.startswith("/") or value.startswith("//") or re.search(r"[\s#\\\x00-\x1f\x7f]", value):
        raise ValueError("must be a path such as /api/detect")
    return value


def check_base_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname or re.search(r"[\s\\\x00-\x1f\x7f]", value):
        raise ValueError("must be an http:// or https:// address")
    if url.username is not None or "?" in value or "#" in value:
        raise ValueError("must hold no user, password, query or fragment")
    _ = url.port  # raises ValueError on a port that is none
    return value.rstrip("/")


def in_seconds(value: object) -> object:
    """``"10m"`` as seconds; numbers are seconds."""
    if isinstance(value, str):
        try:
            return duration(value)
        except ValueError:
            raise ValueError('must be seconds, or a length such as "200ms", "90s", "10m", "8h" or "3d"') from None
    return value


def check_condition(value: str) -> str:
    return condition.shown(condition.read(value))


def check_entry_status(value: str) -> str:
    if value == RUNNING:
        raise ValueError("a stage is at work on a row that is running: no route leads from there")
    return check_step(value)


Identifier = Annotated[str, AfterValidator(check_identifier)]
Step = Annotated[str, AfterValidator(check_step)]
At = tuple[Step, Step]
"""A state of a row: (step, status)."""
EntryStatus = Annotated[str, AfterValidator(check_entry_status)]
When = Annotated[str, AfterValidator(check_condition)]
Delay = Annotated[float, BeforeValidator(in_seconds), Field(ge=0, le=366 * 86400, allow_inf_nan=False)]
Deadline = Annotated[float, BeforeValidator(in_seconds), Field(gt=0, le=3660 * 86400, allow_inf_nan=False)]
Rounds = Annotated[int, Field(ge=1, le=1000)]
FOR_EVER = 36600 * 86400.0
"""Seconds that a wait without a deadline lasts: a hundred years, so that it is a time like any other."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)
