"""The names of a pipeline's triggers and their function. Pure.

The first pipeline of a table has the names of the contract; one beside it, names of its own, so that either can be
detached alone.
"""

from __future__ import annotations

import hashlib

from pgbaton.sql import quoted
from pgbaton.table import JobTable

TRIGGERS = ("job_state_change_trigger", "job_state_insert_trigger")
LONGEST = 63
"""Bytes of a name in Postgres, which cuts a longer one."""


def trigger_names(table: JobTable) -> tuple[str, str]:
    """The triggers of UPDATE and INSERT."""
    if not table.beside:
        return TRIGGERS
    names = [f"{name}_{table.pipeline}" for name in TRIGGERS]
    if any(len(name.encode()) > LONGEST for name in names):
        names = [f"{name}_{_digest(table.pipeline)}" for name in TRIGGERS]
    return names[0], names[1]


def trigger_function(table: JobTable) -> str:
    """The qualified name of the trigger function: the contract's own for ``jobs``."""
    name = "notify_job_state_change"
    if table.beside:
        name = f"notify_{_digest(f'{table.name}/{table.pipeline}')}_state_change"
    elif table.name != "jobs":
        name = f"notify_{table.name}_state_change"
        if len(name.encode()) > LONGEST or table.name == "job":
            name = f"notify_{_digest(table.name)}_state_change"
    return f"{quoted(table.schema)}.{quoted(name)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]
