"""The one of several databases that a task works in: the log, the metrics, the webhook and the calls name it."""

from __future__ import annotations

from contextvars import ContextVar

DATABASE: ContextVar[str] = ContextVar("pgbaton_database", default="")
"""The name of the database (``PGBATON_DATABASES``); empty where there is one without a name. A worker sets it once, and
every task that it starts has it from there."""
