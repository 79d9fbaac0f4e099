"""Every kind of answer to a call, and rows, for the tests of decisions."""

from __future__ import annotations

from pgbaton.decision.outcome import Answer, Reply
from pgbaton.model import Row


def row(step: str | None, status: str | None) -> Row:
    return Row("acme", step, status)


ANSWERS: dict[str, Answer] = {
    **{str(code): Answer(Reply.ANSWERED, code, error="said so") for code in (
        100, 200, 201, 202, 204, 299, 300, 301, 304, 307, 399, 400, 401, 403, 404, 408, 409, 410, 422, 424, 425, 426,
        429, 451, 499, 500, 501, 502, 503, 504, 507, 599,
    )},
    **{reply.value: Answer(reply, error="said so") for reply in Reply if reply not in (Reply.ANSWERED, Reply.NONE)},
}  # fmt: skip
