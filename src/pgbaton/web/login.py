"""In and out: login by token, sign-out, and the reader's language."""

from __future__ import annotations

from math import ceil

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from pgbaton.web.access import SESSION_SECONDS, Role
from pgbaton.web.context import LANGUAGE_COOKIE, SESSION_COOKIE, View
from pgbaton.web.messages import LANGUAGES
from pgbaton.web.render import page

YEAR = 365 * 86400
"""Seconds that the browser keeps the language."""


async def login_form(view: View) -> Response:
    """Where the token is asked for."""
    return page(view, "login.html", fault=None, wait=0.0)


async def login(view: View) -> Response:
    """A session for a reader who knows a token."""
    tokens, throttle = view.site.tokens, view.site.throttle
    if tokens is None:
        return Response(status_code=404)
    address = view.request.client.host if view.request.client else ""
    wait = throttle.wait(address)
    if wait > 0:
        answer = page(view, "login.html", 429, fault="login.slow", wait=wait)
        answer.headers["Retry-After"] = str(ceil(wait))
        return answer
    role = tokens.role_of(view.asked("token"))
    if role is None:
        throttle.failed(address)
        return page(view, "login.html", 401, fault="login.wrong", wait=0.0)
    answer = RedirectResponse(view.back(view.url()), 303)
    set_session(answer, view, tokens.begin(Role(role)), SESSION_SECONDS)
    return answer


async def logout(view: View) -> Response:
    """The browser forgets its session."""
    answer = RedirectResponse(view.url("login"), 303)
    set_session(answer, view, "", 0)
    return answer


async def language(view: View) -> Response:
    """The reader's language, kept for a year."""
    chosen = view.asked("to")
    answer = RedirectResponse(view.back(view.url()), 303)
    if chosen in LANGUAGES:
        _set_cookie(answer, view, LANGUAGE_COOKIE, chosen, YEAR)
    return answer


def set_session(answer: Response, view: View, value: str, seconds: int) -> None:
    """The session's cookie: for this page only, out of scripts' reach, never sent along from another site."""
    _set_cookie(answer, view, SESSION_COOKIE, value, seconds)


def _set_cookie(answer: Response, view: View, name: str, value: str, seconds: int) -> None:
    secure = _encrypted(view.request)
    answer.set_cookie(name, value, max_age=seconds, path=view.root, secure=secure, httponly=True, samesite="strict")


def _encrypted(request: Request) -> bool:
    return request.url.scheme == "https"
