"""Ways from state to state without a call, as a pipeline's file says them: routes, waits, gathers. No I/O."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, field_validator, model_validator

from pgbaton.model.fields import (
    NAME,
    At,
    Deadline,
    Delay,
    EntryStatus,
    Frozen,
    Rounds,
    Step,
    When,
    check_key,
    check_name,
)
from pgbaton.model.states import DONE


class Route(Frozen):
    """A way on from a state: to a stage (it is called), or to a state that the engine writes.

    ``when``: only rows that fit; the first route of a state that fits is taken, and the one without ``when`` is for
    the rest. ``rounds``: how often a job may come this way; then it goes to ``then``. ``delay``: seconds (or "10m")
    that it waits there first; any other move of the row cancels that.
    """

    after: Step
    status: EntryStatus = DONE
    when: When | None = None
    to: Step | At
    rounds: Rounds | None = None
    then: At | None = None
    delay: Delay = 0.0

    @model_validator(mode="after")
    def _bound_has_an_end(self) -> Self:
        check_bound(self.rounds, self.then)
        return self


class Wait(Frozen):
    """A state ``at`` in which nothing is called: the row waits for a person or a program to move it on.

    ``choices``: the names that people choose by, and the state that each of them means. After ``deadline`` seconds
    (or "8h") the row goes to ``then``.
    """

    at: At
    choices: dict[str, At] = Field(default_factory=dict)
    deadline: Deadline | None = None
    then: At | None = None

    @field_validator("choices")
    @classmethod
    def _names_are_words(cls, choices: dict[str, At]) -> dict[str, At]:
        for name in choices:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} must be 1 to 48 lower-case letters, digits and underscores")
        return choices

    @model_validator(mode="after")
    def _deadline_has_a_target(self) -> Self:
        check_deadline(self.deadline, self.then)
        return self


class Gather(Frozen):
    """A state ``at`` in which a row waits for its children: rows of the pipeline ``children``, whose table names its
    parent. Once enough of them are at ``done`` the row goes to ``to``; where that cannot be any more, or after
    ``deadline``, to ``then``.

    ``need``: ``"all"``, ``"any"``, or how many. ``failed``: a child that ended elsewhere lets the parent ``"fail"`` at
    once, or is left out of the count (``"ignore"``).
    """

    at: At
    children: Annotated[str, AfterValidator(check_name)]
    done: At
    need: Literal["all", "any"] | Annotated[int, Field(ge=1, le=1_000_000)] = "all"
    failed: Literal["fail", "ignore"] = "fail"
    to: At
    then: At
    deadline: Deadline | None = None


class Parent(Frozen):
    """The pipeline whose rows a table's rows are children of, and the column that names the parent's key; of a parent
    whose key has several columns as many, in the same order."""

    pipeline: Annotated[str, AfterValidator(check_name)]
    key: Annotated[str | tuple[str, ...], PlainValidator(check_key)]

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns."""
        return (self.key,) if isinstance(self.key, str) else self.key


def check_bound(rounds: int | None, then: At | None) -> None:
    if rounds is not None and then is None:
        raise ValueError('rounds needs then: the state of a job that has used them up, such as ["judge", "given_up"]')
    if rounds is None and then is not None:
        raise ValueError("then needs rounds: how often a job may come this way before it goes there")


def check_deadline(deadline: float | None, then: At | None) -> None:
    if deadline is not None and then is None:
        raise ValueError(
            'deadline needs then: where the row goes when nobody has moved it, such as ["review", "expired"]'
        )
    if deadline is None and then is not None:
        raise ValueError('then needs deadline: when the row goes there, such as "8h"')
