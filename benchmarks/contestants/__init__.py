"""The contestants. Each peer is written the way its own documentation would, with 64 calls in flight."""

from __future__ import annotations

from importlib import import_module

from benchmarks.contestants.base import Contestant

_WHERE = {
    "limit": "limit.Limit",
    "pgbaton": "baton.Pgbaton",
    "pgbaton-channel": "baton.PgbatonChannel",
    "pgqueuer": "pgqueuer_.PgQueuerContestant",
    "oban": "oban_.ObanContestant",
    "chancy": "chancy_.ChancyContestant",
    "absurd": "absurd_.AbsurdContestant",
    "awa": "awa_.AwaContestant",
    "procrastinate": "procrastinate_.ProcrastinateContestant",
    "dbos": "dbos_.DBOSContestant",
    "naive": "naive.Naive",
}
NAMES = tuple(_WHERE)
"""In the order in which they take their turns."""
_LIMITED = {
    "pgbaton-limited": "baton.PgbatonLimited",
    "pgbaton-all-limits": "baton.PgbatonAllLimits",
    "pgqueuer-limited": "pgqueuer_.PgQueuerLimited",
    "dbos-limited": "dbos_.DBOSLimited",
}
"""Those with a limit for all workers together, for ``benchmarks.limits``."""


def contestant(name: str) -> Contestant:
    """Imports only what this one needs: a peer that is not installed is nobody else's trouble."""
    module, _, kind = (_WHERE | _LIMITED)[name].partition(".")
    made: Contestant = getattr(import_module(f"{__name__}.{module}"), kind)()
    return made
