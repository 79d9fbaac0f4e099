"""What there is: pipelines and their stages, dispatches and their attempts. Frozen; no I/O."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    model_validator,
)

from pgbaton.limits import Limited, Pool

DONE, RUNNING, FAILED, CANCELLED, QUARANTINED = "done", "running", "failed", "cancelled", "quarantined"
"""What a row's status means to the engine, whatever the word is that the table has for it."""
WAKE_CHANNEL = "pgbaton_wake"


class State(StrEnum):
    """States of a dispatch; those in :data:`OPEN` are not settled yet."""

    AVAILABLE = "available"
    RUNNING = "running"
    RETRYABLE = "retryable"
    COMPLETED = "completed"
    DEAD = "dead"
    CANCELLED = "cancelled"


OPEN = (State.AVAILABLE, State.RUNNING, State.RETRYABLE)


class Outcome(StrEnum):
    """How an attempt ended. ``accepted`` and ``unknown`` are not the end of it: the stage may work on."""

    COMPLETED = "completed"
    FAILED = "failed"
    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    BREACH = "breach"
    TIMEOUT = "timeout"
    LOST = "lost"
    RELEASED = "released"
    SUPERSEDED = "superseded"
    REFUSED = "refused"


class Advance(StrEnum):
    """The writer of ``running`` and ``done``: the stage itself, or the engine on its behalf."""

    STAGE = "stage"
    ENGINE = "engine"


_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _check_identifier(value: str) -> str:
    if not value or len(value.encode()) > 63 or _CONTROL.search(value) or '"' in value:
        raise ValueError("must be a column or channel name of 1 to 63 bytes without quotes or control characters")
    return value


def _check_key(value: Any) -> str | tuple[str, ...]:
    columns = value if isinstance(value, list | tuple) else [value]
    if not 1 <= len(columns) <= 8 or not all(isinstance(column, str) for column in columns):
        raise ValueError("must be a column name, or a list of at most 8 of them")
    names = tuple(_check_identifier(column) for column in columns)
    return names if len(names) > 1 else names[0]


def _check_table(value: str) -> str:
    parts = value.split(".")
    if len(parts) > 2:
        raise ValueError("must be a table name, or schema.table")
    for part in parts:
        _check_identifier(part)
    return value


def _check_channel(value: str) -> str:
    _check_identifier(value)
    if value == WAKE_CHANNEL:
        raise ValueError(f"{WAKE_CHANNEL} is the engine's own channel")
    return value


def _check_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("must be 1 to 48 lower-case letters, digits and underscores, a letter first")
    return value


def _check_step(value: str) -> str:
    if not value or value != value.strip() or len(value.encode()) > 200 or _CONTROL.search(value):
        raise ValueError("must be 1 to 200 bytes, with no space around it and no control characters")
    return value


def _check_path(value: str) -> str:
    if not value.startswith("/") or value.startswith("//") or re.search(r"[\s#\\\x00-\x1f\x7f]", value):
        raise ValueError("must be a path such as /api/detect")
    return value


def _check_base_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname or re.search(r"[\s\\\x00-\x1f\x7f]", value):
        raise ValueError("must be an http:// or https:// address")
    if url.username is not None or "?" in value or "#" in value:
        raise ValueError("must hold no user, password, query or fragment")
    _ = url.port  # raises ValueError on a port that is none
    return value.rstrip("/")


Identifier = Annotated[str, AfterValidator(_check_identifier)]
Step = Annotated[str, AfterValidator(_check_step)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)


def _as_words(value: Any) -> Any:
    """One word or several; a number or a boolean is the word that Postgres shows for it."""
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, int | str):
        return (str(value),)
    return tuple(_as_words(each)[0] if isinstance(each, int) else each for each in value)


Words = Annotated[tuple[Step, ...], BeforeValidator(_as_words)]


class Statuses(_Frozen):
    """The table's own words for what a status means: one, or several of which the engine writes the first.

    Whole numbers and booleans are taken as Postgres shows them. A word that is not named here means nothing, also where
    it reads like one of the engine's. ``waiting`` only gives such words one name.
    """

    running: Words = Field(default=(RUNNING,), min_length=1)
    done: Words = Field(default=(DONE,), min_length=1)
    failed: Words = Field(default=(FAILED,), min_length=1)
    cancelled: Words = Field(default=(CANCELLED,), min_length=1)
    quarantined: Words = Field(default=(QUARANTINED,), min_length=1)
    waiting: Words = ()

    @model_validator(mode="after")
    def _one_meaning_each(self) -> Self:
        seen: dict[str, str] = {}
        for meaning, words in self.by_meaning.items():
            for word in words:
                if word in seen:
                    what = f"twice {meaning!r}" if seen[word] == meaning else f"both {seen[word]!r} and {meaning!r}"
                    raise ValueError(f"the word {word!r} is said to mean {what}")
                seen[word] = meaning
        return self

    @property
    def by_meaning(self) -> dict[str, tuple[str, ...]]:
        """The words of each meaning that has any."""
        return {name: words for name in type(self).model_fields if (words := getattr(self, name))}

    @property
    def plain(self) -> bool:
        """Whether the table's words are the engine's own."""
        return all(words == (meaning,) for meaning, words in self.by_meaning.items())

    def word(self, meaning: str | None) -> str | None:
        """What the engine writes for ``meaning``; what is none of its meanings stands for itself."""
        return self.by_meaning.get(meaning, (meaning,))[0] if meaning is not None else None


class Stage(Limited):
    """One HTTP step, called when a row is at (``after``, done).

    ``timeout`` is in seconds and runs from the call's start until the call, or a stage that was accepted,
    is given up. ``attempts`` counts failed ones. Its limits are those of :class:`~pgbaton.limits.Limited`. ``batch``:
    one call carries several jobs.
    """

    step: Step
    after: Step
    path: Annotated[str, AfterValidator(_check_path)]
    timeout: float = Field(default=600, gt=0, le=7 * 86400, allow_inf_nan=False)
    attempts: int = Field(default=5, ge=1, le=1000)
    advance: Advance = Advance.STAGE

    @property
    def entry(self) -> tuple[str, str]:
        """The row's (step, status) in which this stage is due."""
        return self.after, DONE


class Pipeline(_Frozen):
    """A table of jobs, its columns, and the stages that its rows go through.

    ``table`` is ``name`` or ``schema.name``, ``key`` a column or several; names are taken as they are, and quoted.
    ``statuses``: the table's own words, where they are not running, done and failed.
    ``channel``: publish every change there as JSON; absent: nothing is published.
    ``priority``: a column of small whole numbers; a smaller one is sooner among a tenant's own jobs. ``not_before``: a
    timestamptz column; the job is not called before it. ``pools``: what its stages share.
    Raises pydantic's ``ValidationError`` on anything that cannot work.
    """

    name: Annotated[str, AfterValidator(_check_name)]
    table: Annotated[str, AfterValidator(_check_table)]
    key: Annotated[str | tuple[str, ...], PlainValidator(_check_key)]
    tenant: Identifier | None = None
    step: Identifier
    status: Identifier
    priority: Identifier | None = None
    not_before: Identifier | None = None
    statuses: Statuses = Statuses()
    channel: Annotated[str, AfterValidator(_check_channel)] | None = None
    base_url: Annotated[str, AfterValidator(_check_base_url)]
    stages: tuple[Stage, ...] = Field(validation_alias=AliasChoices("stages", "stage"), min_length=1)
    pools: tuple[Pool, ...] = Field(default=(), validation_alias=AliasChoices("pools", "pool"))

    @model_validator(mode="after")
    def _routes_make_sense(self) -> Self:
        columns = [*self.keys, self.step, self.status]
        if self.tenant is not None and not (len(self.keys) > 1 and self.tenant in self.keys):
            columns.append(self.tenant)
        columns += [c for c in (self.priority, self.not_before) if c is not None]
        _refuse_repeated(columns, "the column {} is named twice")
        _refuse_repeated((s.step for s in self.stages), "the step {} is performed by two stages")
        _refuse_repeated((s.after for s in self.stages), "two routes lead from the state ({}, done)")
        after = {s.step: s.after for s in self.stages}
        entry = next((s.after for s in self.stages if s.after not in after), None)
        for stage in self.stages:
            seen, at = {stage.step}, stage.after
            while at in after and at not in seen:
                seen.add(at)
                at = after[at]
            if at != entry:
                why = "it follows itself" if at in seen else f"no stage performs {at!r}"
                raise ValueError(f"the stage {stage.step!r} is unreachable: {why}")
        return self

    @model_validator(mode="after")
    def _limits_make_sense(self) -> Self:
        _refuse_repeated((p.name for p in self.pools), "the pool {} is there twice")
        sizes = {pool.name: pool.size for pool in self.pools}
        for s in self.stages:
            if s.pool is not None and s.pool not in sizes:
                raise ValueError(
                    f"the stage {s.step!r}: there is no pool {s.pool!r}: add it as [[pool]] with name and size"
                )
            if s.pool is not None and (s.cost or 1) > sizes[s.pool]:
                raise ValueError(
                    f"the stage {s.step!r} can never be called: its cost is {s.cost}, and the pool {s.pool!r} "
                    f"has {sizes[s.pool]}"
                )
            for key in ("per_tenant", "rate_per_tenant"):
                if getattr(s, key) is not None and self.tenant is None:
                    raise ValueError(f"the stage {s.step!r}: {key} needs tenants: name their column with tenant")
        return self

    def takes_turns(self, stage: Stage) -> bool:
        """Whether the jobs that wait for ``stage`` are kept in the order of their tenants' turns, which costs each of
        their writers an index entry: where something limits the stage and there are tenants, or jobs are ordered by a
        column."""
        return (
            self.priority is not None or self.not_before is not None or (self.tenant is not None and stage.is_limited)
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key."""
        return (self.key,) if isinstance(self.key, str) else self.key

    def stage(self, step: str) -> Stage:
        """The stage that performs ``step``; raises ``KeyError`` where there is none."""
        return self._by_step[step]

    @cached_property
    def _by_step(self) -> dict[str, Stage]:
        return {s.step: s for s in self.stages}

    @property
    def in_order(self) -> tuple[Stage, ...]:
        """The stages along the pipeline, the first first (a state has one route, so this is a line)."""
        following = {s.after: s for s in self.stages}
        at = next(s.after for s in self.stages if s.after not in self._by_step)
        line: list[Stage] = []
        while at in following:
            line.append(following[at])
            at = following[at].step
        return tuple(line)


def _refuse_repeated(names: Iterable[str], sentence: str) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(sentence.format(repr(name)))


@dataclass(frozen=True, slots=True)
class Row:
    """The user's row as it was read: where the job is now. ``status``: what it means; ``word``: as the table has it,
    for people, where that is known."""

    tenant: str | None
    step: str | None
    status: str | None
    word: str | None = None

    @property
    def at(self) -> tuple[str | None, str | None]:
        return self.step, self.status

    @property
    def shown(self) -> tuple[str | None, str | None]:
        """``at``, in the table's own words."""
        return self.step, self.status if self.word is None else self.word


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One duty to call one stage for one job, as it was claimed, with the job's row beside it.

    ``attempt`` names the call that may settle it. ``run``: the first dispatch of this run of the job. ``made``: when it
    was made, in microseconds since 1970 by the database's clock. ``probing``: it
    was claimed to find out whether its stage, which was down, is back. ``waited``: seconds between due and claimed.
    """

    id: int
    job_key: str
    stage: str
    attempt: int
    run: int
    row: Row
    made: int = 0
    probing: bool = False
    waited: float = 0.0

    @property
    def name(self) -> tuple[int, int]:
        """What tells this attempt from all others: dispatch id and attempt."""
        return self.id, self.attempt

    def idempotency_key(self, pipeline: str) -> str:
        """The same for every attempt of this dispatch, and for no other.

        An id alone repeats after a restore, and in another installation; together with the time it does not."""
        return f"{pipeline}-{self.id}-{self.made:x}"


def trace_id(pipeline: str, job_key: str, run: int) -> str:
    """The trace of a run of a job through the pipeline, in hexadecimal. Derived, so that nothing is stored for it."""
    return blake2b(f"{pipeline}:{job_key}:{run}".encode(), digest_size=16).hexdigest()
