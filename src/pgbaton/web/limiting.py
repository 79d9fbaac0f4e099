"""The form that changes a limit, as ``pgbaton limit`` does, by a person with the right."""

from __future__ import annotations

import asyncpg

from pgbaton.errors import ConfigError
from pgbaton.model.limits import MOST_AT_ONCE, MOST_WEIGHT, read_rate
from pgbaton.operate import adjust
from pgbaton.operate.desk import Done
from pgbaton.table import JobTable
from pgbaton.web.context import View
from pgbaton.web.forms import Unfit

OF_STAGE = ("concurrency", "per_tenant", "rate", "rate_per_tenant")
OF_TENANT = ("weight", "per_tenant", "rate_per_tenant")
RATES = frozenset({"rate", "rate_per_tenant"})
NO_LIMIT = "none"


async def change_limit(view: View, conn: asyncpg.Connection, table: JobTable) -> Done:
    """Set a limit of a stage, of a pool or of a tenant, or give it back to the file (``limit`` is ``reset``). Raises
    :class:`Unfit` on a name that no form of this page has, :class:`ConfigError` on a value that cannot be."""
    who, reason = view.who.name, view.asked("reason")
    name, scope, reset = view.asked("limit"), view.asked("scope"), view.asked("limit") == "reset"
    match scope:
        case "limit_stage" if name in OF_STAGE or reset:
            limits = {} if reset else {name: _value(view, name)}
            await adjust.limit_stage(conn, table, _named(view, "stage"), limits, reset=reset, who=who, reason=reason)
        case "limit_pool":
            size = _whole(_value(view, "size")) if view.asked("value").strip() else None
            await adjust.limit_pool(conn, table, _named(view, "pool"), size, who=who, reason=reason)
        case "limit_tenant" if name in OF_TENANT or reset:
            own: dict[str, float | None] = dict.fromkeys(OF_TENANT)
            if not reset:
                own[name] = _value(view, name)
                if own[name] is None:
                    raise ConfigError(f"{name}: a tenant has a number of its own or the stage's: reset takes it away")
            await adjust.limit_tenant(
                conn,
                table,
                _named(view, "tenant"),
                weight=_whole(own["weight"]),
                per_tenant=_whole(own["per_tenant"]),
                rate_per_tenant=own["rate_per_tenant"],
                reset=reset,
                who=who,
                reason=reason,
            )
        case _:
            raise Unfit("limit")
    return Done("limit", 1)


def _named(view: View, name: str) -> str:
    if not (value := view.asked(name)):
        raise ConfigError(f"{name}: nothing was given")
    return value


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _value(view: View, name: str) -> float | None:
    """The value as typed: a whole number, a rate for a rate, or ``none``."""
    typed = view.asked("value").strip()
    if typed == NO_LIMIT:
        return None
    if name in RATES:
        return read_rate(name, typed)
    most = MOST_WEIGHT if name == "weight" else MOST_AT_ONCE
    if not typed.isdecimal() or not typed.isascii() or not 1 <= int(typed[:7]) <= most:
        raise ConfigError(f"{name}: must be a whole number from 1 to {most}, or none (it is {typed!r:.50})")
    return int(typed[:7])
