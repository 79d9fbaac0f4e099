"""The user's table that all contestants work on, and the five hops of a job."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

ENTRY = "s0"
STEPS = ("s1", "s2", "s3", "s4", "s5")
HOPS = len(STEPS)
TENANT = "acme"
IN_FLIGHT = 64
"""Calls under way at once, for every contestant."""

TABLE = """
CREATE TABLE jobs (
    job_id       uuid PRIMARY KEY,
    tenant_id    varchar(255) NOT NULL,
    current_step varchar(255) NOT NULL,
    status       varchar(50) NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70)
"""
ADD = "INSERT INTO jobs (job_id, tenant_id, current_step, status) SELECT unnest({}::uuid[]), 'acme', 's0', 'done'"
"""With the driver's placeholder for an array of keys filled in."""


def new_keys(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


def chunks(keys: Sequence[str], size: int = 1000) -> list[Sequence[str]]:
    return [keys[at : at + size] for at in range(0, len(keys), size)]
