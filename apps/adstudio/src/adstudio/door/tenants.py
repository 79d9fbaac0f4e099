"""The asker's identity and tenant.

With ``ADS_TOKENS`` each tenant has a token: programs send it (``Authorization: Bearer …``), people sign in with it once
and then have a session in a cookie. Without, as with the calls to the stages, a request says for which tenant it is;
that is for a machine of one's own, or behind a gateway that knows its clients.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping

from fastapi import HTTPException
from starlette.requests import Request

from pgbaton.errors import ConfigError

SHORTEST_TOKEN = 16  # bytes; a shorter one can be guessed
SESSION_SECONDS = 12 * 3600
SESSION_COOKIE, TENANT_COOKIE = "ads_session", "ads_tenant"
LONGEST_TENANT = 255  # characters, as the column has


class Tenants:
    """Tokens by tenant; none: open. Raises :class:`ConfigError` for a token that is short, or another tenant's too."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        for tenant, token in tokens.items():
            if not is_tenant(tenant):
                raise ConfigError("ADS_TOKENS: a tenant's name has 1 to 255 characters, all of them visible")
            if len(token.encode()) < SHORTEST_TOKEN:
                raise ConfigError(f"ADS_TOKENS: the token of {tenant} is too short: at least {SHORTEST_TOKEN} bytes")
        if len(set(tokens.values())) < len(tokens):
            raise ConfigError("ADS_TOKENS: two tenants have the same token")
        self._tokens = {tenant: token.encode() for tenant, token in tokens.items()}

    @property
    def open(self) -> bool:
        """Whether a request's own word counts."""
        return not self._tokens

    def asking(self, request: Request) -> str | None:
        """The tenant that asks, or ``None`` where requests need not say. Raises 401 where one must and does not."""
        if self.open:
            return asked_for(request)
        if (found := self._by_token(request) or self.by_session(request)) is None:
            raise HTTPException(401, "fault.401", {"WWW-Authenticate": "Bearer"})
        return found

    def of_token(self, token: str) -> str | None:
        """The tenant that the token belongs to. Every known token is compared, each in constant time."""
        offered, found = hashlib.sha256(token.encode(errors="replace")).digest(), None
        for tenant, known in self._tokens.items():
            if hmac.compare_digest(hashlib.sha256(known).digest(), offered):
                found = tenant
        return found

    def begin(self, tenant: str, now: float | None = None) -> str:
        """A session as a cookie's value; a changed token ends it."""
        until = int((time.time() if now is None else now) + SESSION_SECONDS)
        body = f"{base64.urlsafe_b64encode(tenant.encode()).decode()}.{until}"
        return f"{body}.{self._signed(tenant, body, 'session')}"

    def by_session(self, request: Request, now: float | None = None) -> str | None:
        """The tenant of a session that is ours and not over."""
        body, _, signature = request.cookies.get(SESSION_COOKIE, "")[:1200].rpartition(".")
        name, _, until = body.partition(".")
        try:
            tenant = base64.urlsafe_b64decode(name).decode()
        except (binascii.Error, ValueError):
            return None
        if tenant not in self._tokens:
            return None
        if not hmac.compare_digest(self._signed(tenant, body, "session").encode(), signature.encode()):
            return None
        return tenant if until.isdecimal() and int(until) > (time.time() if now is None else now) else None

    def form_token(self, request: Request) -> str:
        """The token that a form of this session must carry; empty where there is no session that another site could
        use."""
        tenant = self.by_session(request)
        return self._signed(tenant, request.cookies[SESSION_COOKIE], "form") if tenant else ""

    def _by_token(self, request: Request) -> str | None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return self.of_token(token.strip()) if kind.lower() == "bearer" else None

    def _signed(self, tenant: str, text: str, purpose: str) -> str:
        key = hmac.digest(self._tokens[tenant], f"ads {purpose}".encode(), "sha256")
        return hmac.new(key, text.encode(errors="replace"), "sha256").hexdigest()


def is_tenant(name: str) -> bool:
    """Whether a tenant may be called that."""
    return 0 < len(name) <= LONGEST_TENANT and name.isprintable() and name == name.strip()


def asked_for(request: Request) -> str | None:
    """The tenant that an open request says it is for. Raises 422 where no tenant can be called that."""
    said = request.query_params.get("tenant") or request.headers.get("x-tenant-id") or None
    if said is not None and not is_tenant(said):
        raise HTTPException(422, "fault.no_tenant")
    return said
