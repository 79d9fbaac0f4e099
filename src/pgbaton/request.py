"""The body and the headers of a call. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pgbaton.key import Key
from pgbaton.model import Dispatch


def headers_of(pipeline: str, dispatch: Dispatch, database: str = "") -> dict[str, str]:
    """The engine's own headers, but for the trace's. ``database``: its name, where there are several."""
    return {
        "idempotency-key": dispatch.idempotency_key(pipeline),
        "x-pgbaton-attempt": str(dispatch.attempt),
    } | ({"x-pgbaton-database": database} if database else {})


def batch_of(pipeline: str, dispatches: Sequence[Dispatch], key: Key) -> bytes:
    """The body of a call that carries several jobs, as JSON; each has its idempotency key and its attempt with it."""
    jobs = [
        {
            "job_id": key.in_body(d.job_key),
            "tenant_id": d.row.tenant,
            "idempotency_key": d.idempotency_key(pipeline),
            "attempt": d.attempt,
        }
        for d in dispatches
    ]
    return json.dumps({"jobs": jobs}).encode()


def body_of(dispatch: Dispatch, key: Key) -> bytes:
    """The body, as JSON."""
    return json.dumps({"job_id": key.in_body(dispatch.job_key), "tenant_id": dispatch.row.tenant}).encode()
