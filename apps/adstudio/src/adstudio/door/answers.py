"""How the door answers: headers that every page has, and faults as pages or problems."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from adstudio.door.desk import Desk, wants_page
from adstudio.door.render import page
from adstudio.door.texts import TEXTS, text
from pgbaton.fastapi import problem

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
    "Vary": "Accept, Accept-Language, Cookie",
    "Cache-Control": "no-store",
}
TITLES = {401: "Sign in", 403: "Forbidden", 404: "Unknown ad", 409: "Not ready", 413: "Too large", 503: "Not now"}


def with_headers(answer: Response) -> Response:
    """The answer, with the headers that every answer to a browser has."""
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


def fault(desk: Desk, request: Request, status: int, told: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error; ``told`` is a sentence for the client, or the key of one."""
    sentence = text(desk.language_for(request), told) if told in TEXTS else told
    if wants_page(request):
        answer: Response = page(desk, request, "fault.html", status, sentence=sentence)
    else:
        answer = problem(status, TITLES.get(status, "Invalid request"), sentence)
    answer.headers.update(headers or {})
    return answer
