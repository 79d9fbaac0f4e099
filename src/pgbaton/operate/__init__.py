"""The operators' writes. Each looks at jobs as a worker does, decides them (:mod:`pgbaton.decision.verdict`), and
writes the verdicts in one transaction with its row of ``pgbaton.audit``. Many jobs go in bounded batches, under one
row (:mod:`pgbaton.operate.acts`) that each batch moves on. An act that changed nothing is not audited, unless it was
begun as such.

A row that another transaction has locked is skipped, never waited for. ``who`` is the person or token that asked.
"""

from pgbaton.operate.desk import Done
from pgbaton.operate.jobs import (
    cancel,
    has_tenant,
    move_rows,
    pause,
    pause_tenant,
    quarantine,
    recall,
    reconcile,
    rerun,
    resume,
    resume_tenant,
    retry,
)

__all__ = [
    "Done",
    "cancel",
    "has_tenant",
    "move_rows",
    "pause",
    "pause_tenant",
    "quarantine",
    "recall",
    "reconcile",
    "rerun",
    "resume",
    "resume_tenant",
    "retry",
]
