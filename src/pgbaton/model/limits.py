"""The limits of stages, pools and tenants, as they are written down: pure, no I/O.

SQL alone decides which calls may be made under them (``pgbaton.admit`` in ``sql/admission.sql``), where counting and
claiming are one statement; ``pgbaton simulate`` asks the same function, with a time of its own.
"""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pgbaton.errors import ConfigError
from pgbaton.model.fields import Identifier, in_seconds

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_RATE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*/\s*(s|min|h)\s*")
MOST_PER_SECOND = 100_000.0
"""Calls a second: the highest rate that is taken; a worker begins fewer, so a higher one would limit nothing."""
LEAST_PER_SECOND = 1 / 86400
"""Calls a second: the lowest rate, one call a day."""
MOST_AT_ONCE = 100_000
"""The largest limit of calls at once, and of a pool's places: more than any fleet makes."""
MOST_WEIGHT = 100
"""The largest weight: a tenant with it has a hundred calls in a turn, and one with the least has one."""

NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


def per_second(rate: str) -> float:
    """``10/s``, ``600/min`` or ``1000/h`` as calls a second. Raises ``ValueError`` where ``rate`` is none."""
    found = _RATE.fullmatch(rate)
    if found is None:
        raise ValueError("must be a rate such as 10/s, 600/min or 1000/h")
    value = float(found[1]) / _SECONDS[found[2]]
    if not LEAST_PER_SECOND <= value <= MOST_PER_SECOND:
        raise ValueError(f"must be between one call a day and {MOST_PER_SECOND:g} a second")
    return value


def read_rate(where: str, typed: str) -> float:
    """A rate that a person typed at ``where`` (an option, a field), as calls a second. Raises :class:`ConfigError`."""
    try:
        return per_second(typed)
    except ValueError as error:
        raise ConfigError(f"{where}: {error} (it is {typed!r:.60})") from None


def _check_rate(value: str) -> str:
    per_second(value)
    return re.sub(r"\s+", "", value)


def _a_rate(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a rate such as 10/s, 600/min or 1000/h")
    return value


def _a_count(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")
    return value


def check_name(value: str) -> str:
    """A name of a pool. Raises ``ValueError``."""
    if not NAME.fullmatch(value):
        raise ValueError("must be 1 to 48 lower-case letters, digits and underscores, a letter first")
    return value


Rate = Annotated[str, BeforeValidator(_a_rate), AfterValidator(_check_rate)]
Count = Annotated[int, BeforeValidator(_a_count), Field(ge=1, le=MOST_AT_ONCE)]
Name = Annotated[str, AfterValidator(check_name)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)


class Pool(_Frozen):
    """Places that stages share, of one pipeline or of several: a call takes its stage's ``cost`` of ``size``."""

    name: Name
    size: Count


class Tier(_Frozen):
    """A tier of tenants: ``weight`` calls in one turn, and limits of their own in place of the stage's."""

    weight: Annotated[int, BeforeValidator(_a_count), Field(ge=1, le=MOST_WEIGHT)] | None = None
    per_tenant: Count | None = None
    rate_per_tenant: Rate | None = None

    @property
    def said_limits(self) -> dict[str, float]:
        """The values that attach writes down; the rate in calls a second."""
        rate = None if self.rate_per_tenant is None else per_second(self.rate_per_tenant)
        limits: dict[str, float | None] = {"weight": self.weight, "per_tenant": self.per_tenant}
        limits["rate_per_tenant"] = rate
        return {name: limit for name, limit in limits.items() if limit is not None}


class Batch(_Frozen):
    """One call carries up to ``max`` jobs; the first waits up to ``wait`` seconds (or "200ms") for others."""

    max: Annotated[int, BeforeValidator(_a_count), Field(ge=2, le=1000)]
    wait: Annotated[float, BeforeValidator(in_seconds), Field(ge=0, le=60, allow_inf_nan=False)] = 0.2


class Limited(_Frozen):
    """The limits of a stage's calls; absent: there is none.

    ``concurrency``, ``per_tenant``: calls under way at once, of the whole fleet, and of one tenant. ``rate``,
    ``rate_per_tenant``: how many may begin in a second, a minute or an hour; a second's worth of them may begin at
    once. ``pool``, ``cost``: the places that each call takes of a pool. A call counts from its claim until it has ended
    or was given up, that of a lost worker, too. ``account``: the table's column that names the provider's account;
    answers 429 then hold back the stage's calls with that account alone.
    """

    concurrency: Count | None = None
    per_tenant: Count | None = None
    rate: Rate | None = None
    rate_per_tenant: Rate | None = None
    pool: Name | None = None
    cost: Count | None = None
    account: Identifier | None = None
    batch: Batch | None = None

    @model_validator(mode="after")
    def _cost_has_a_pool(self) -> Self:
        if self.cost is not None and self.pool is None:
            raise ValueError("cost needs a pool: name it with pool")
        return self

    @property
    def is_limited(self) -> bool:
        """Whether anything but the workers' capacity limits it."""
        limits = (self.concurrency, self.per_tenant, self.rate, self.rate_per_tenant, self.pool)
        return any(limit is not None for limit in limits)

    @property
    def said_limits(self) -> dict[str, float | str]:
        """The values that attach writes down; rates in calls a second."""
        limits: dict[str, float | str | None] = {
            "concurrency": self.concurrency,
            "per_tenant": self.per_tenant,
            "rate": None if self.rate is None else per_second(self.rate),
            "rate_per_tenant": None if self.rate_per_tenant is None else per_second(self.rate_per_tenant),
            "pool": self.pool,
            "cost": None if self.pool is None else self.cost or 1,
            "account": self.account,
        }
        return {name: limit for name, limit in limits.items() if limit is not None}
