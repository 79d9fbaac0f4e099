"""Requests that another site's page makes in a visitor's name: they change nothing here.

A browser says where a request comes from (``Sec-Fetch-Site``, ``Origin``), and no page can make it say otherwise. A
client that sends neither is no browser, and carries no visitor's cookies. That also guards an open door on one's own
machine, which has no cookies to steal but could be posted to by any page that its owner visits.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.requests import Request

from adstudio.door.tenants import SESSION_COOKIE, Tenants


def refuse_other_sites(request: Request) -> None:
    """Raises 403."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        ours = site in ("same-origin", "none")
    elif origin is not None:
        ours = _host(origin) == request.headers.get("host", "").lower() != ""
    else:
        ours = True
    if not ours:
        raise HTTPException(403, "fault.403")


def refuse_foreign_forms(request: Request, tenants: Tenants, token: str) -> None:
    """Raises 403 where a session's cookie came without the token that only this application's own pages have."""
    by_cookie = SESSION_COOKIE in request.cookies and "authorization" not in request.headers
    if by_cookie and not tenants.open and not hmac.compare_digest(tenants.form_token(request).encode(), token.encode()):
        raise HTTPException(403, "fault.403")


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
