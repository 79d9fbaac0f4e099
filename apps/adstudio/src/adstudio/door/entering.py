"""In and out: sign in by token, sign out, language."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from adstudio.door.desk import LANGUAGE_COOKIE, Desk, base_of
from adstudio.door.forgery import refuse_foreign_forms, refuse_other_sites
from adstudio.door.render import page
from adstudio.door.tenants import SESSION_COOKIE, SESSION_SECONDS
from adstudio.door.texts import LANGUAGES
from adstudio.door.upload import read_form

YEAR = 365 * 86400
MOST_BODY, SECONDS = 16 * 1024, 30  # of a form with a token


async def form(desk: Desk, request: Request) -> Response:
    """Where the token is asked for."""
    return page(desk, request, "sign_in.html", fault=None, back=_back(request, request.query_params.get("back", "")))


async def sign_in(desk: Desk, request: Request) -> Response:
    """A session for a tenant's token."""
    refuse_other_sites(request)
    address = request.client.host if request.client else ""
    texts = (await read_form(request, MOST_BODY, SECONDS)).texts
    back = _back(request, texts.get("back", ""))
    if desk.brake.wait(address) > 0:
        return page(desk, request, "sign_in.html", 429, fault="token.slow", back=back)
    tenant = desk.tenants.of_token(texts.get("token", "").strip())
    if tenant is None:
        desk.brake.failed(address)
        return page(desk, request, "sign_in.html", 401, fault="token.wrong", back=back)
    answer = RedirectResponse(back, 303)
    _set(answer, request, SESSION_COOKIE, desk.tenants.begin(tenant), SESSION_SECONDS)
    return answer


async def sign_out(desk: Desk, request: Request) -> Response:
    """The browser forgets its session."""
    refuse_other_sites(request)
    refuse_foreign_forms(request, desk.tenants, (await read_form(request, MOST_BODY, SECONDS)).texts.get("csrf", ""))
    answer = RedirectResponse(f"{base_of(request)}/sign-in", 303)
    _set(answer, request, SESSION_COOKIE, "", 0)
    return answer


async def language(desk: Desk, request: Request) -> Response:
    """The reader's language, kept for a year."""
    answer = RedirectResponse(_back(request, request.query_params.get("back", "")), 303)
    if (chosen := request.query_params.get("to", "")) in LANGUAGES:
        _set(answer, request, LANGUAGE_COOKIE, chosen, YEAR)
    return answer


def to_sign_in(request: Request) -> Response:
    """For a browser that has no session: the form, and back to where it wanted to go."""
    base = base_of(request)
    here = f"{base}{request.scope['path'].rpartition('/ads')[2]}"
    return RedirectResponse(f"{base}/sign-in?{urlencode({'back': here})}", 303)


def _back(request: Request, path: str) -> str:
    """Where to go on: an address of ours, never one that a link from elsewhere brought in."""
    base = base_of(request)
    inside = path == base or (path.startswith(f"{base}/") and "//" not in path and "\\" not in path)
    return path if inside and path.isprintable() else base


def _set(answer: Response, request: Request, name: str, value: str, seconds: int) -> None:
    """A cookie of these pages only, out of scripts' reach, never sent along from another site."""
    secure = request.url.scheme == "https"
    answer.set_cookie(
        name, value, max_age=seconds, path=base_of(request), secure=secure, httponly=True, samesite="strict"
    )
