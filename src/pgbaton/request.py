"""What is sent to a stage. Pure."""

from __future__ import annotations

import json

from pgbaton.key import Key
from pgbaton.model import Dispatch


def headers_of(pipeline: str, dispatch: Dispatch) -> dict[str, str]:
    """The engine's own headers, but for the trace's."""
    return {
        "idempotency-key": dispatch.idempotency_key(pipeline),
        "x-pgbaton-attempt": str(dispatch.attempt),
    }


def body_of(dispatch: Dispatch, key: Key) -> bytes:
    """The body, as JSON."""
    return json.dumps({"job_id": key.in_body(dispatch.job_key), "tenant_id": dispatch.row.tenant}).encode()
