"""The asker's identity and rights: identities, signed sessions, tokens, and the proof that a form is ours."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from starlette.requests import Request

from pgbaton.errors import ConfigError

SHORTEST_TOKEN = 16
"""Characters of a token, at least, so that it cannot be guessed."""
SESSION_SECONDS = 12 * 3600
"""Seconds that a session lasts: longer than a working day."""
FAILURES, WINDOW = 10, 60.0
"""Failed logins from one address, and the seconds within which they make the next one wait."""


class Role(StrEnum):
    """``viewer`` looks, ``operator`` acts."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Identity:
    """The person who looks at the page; ``name`` goes into the audit."""

    name: str
    role: Role = Role.VIEWER

    @property
    def may_act(self) -> bool:
        return self.role is Role.OPERATOR


class Tokens:
    """One token for each role, and sessions signed with it: a changed token ends the sessions made with the old one.

    Raises :class:`ConfigError` where there is no token, where one is too short to resist guessing, or where the
    two are the same.
    """

    def __init__(self, operator: str | None, viewer: str | None) -> None:
        given = {Role.OPERATOR: operator, Role.VIEWER: viewer}
        self._tokens = {role: token.encode() for role, token in given.items() if token}
        if not self._tokens:
            raise ConfigError(
                "the page is not public: give access= (a dependency that returns an Identity), or set "
                "PGBATON_WEB_TOKEN (operators) or PGBATON_WEB_VIEWER_TOKEN (viewers)"
            )
        for role, token in self._tokens.items():
            if len(token) < SHORTEST_TOKEN:
                raise ConfigError(f"the page's token for {role}s is too short: at least {SHORTEST_TOKEN} bytes")
        if len(set(self._tokens.values())) < len(self._tokens):
            raise ConfigError("the page's tokens for operators and viewers must differ")

    def role_of(self, token: str) -> Role | None:
        """The role that the token belongs to. Every known token is compared, each in constant time."""
        offered = hashlib.sha256(token.encode(errors="replace")).digest()
        found = None
        for role, known in self._tokens.items():
            if hmac.compare_digest(hashlib.sha256(known).digest(), offered):
                found = role
        return found

    def begin(self, role: Role, now: float | None = None) -> str:
        """A session as a cookie's value."""
        until = int((time.time() if now is None else now) + SESSION_SECONDS)
        body = f"{role}.{secrets.token_urlsafe(18)}.{until}"
        return f"{body}.{self._signed(role, body)}"

    def read(self, session: str, now: float | None = None) -> Role | None:
        """The role of a session that is ours and not over."""
        body, _, signature = session[:300].rpartition(".")
        name, _, rest = body.partition(".")
        role = next((r for r in self._tokens if r == name), None)
        if role is None or not hmac.compare_digest(self._signed(role, body).encode(), signature.encode()):
            return None
        until = rest.rpartition(".")[2]
        return role if until.isdecimal() and int(until) > (time.time() if now is None else now) else None

    def _signed(self, role: Role, body: str) -> str:
        key = hmac.digest(self._tokens[role], b"pgbaton web session", "sha256")
        return hmac.new(key, body.encode(errors="replace"), "sha256").hexdigest()

    @property
    def secret(self) -> bytes:
        """The secret of form tokens: the same in every process, and not to be known without every token."""
        return hmac.digest(b"".join(self._tokens[r] for r in sorted(self._tokens)), b"pgbaton web form", "sha256")


def form_token(secret: bytes, session: str, who: Identity) -> str:
    """The token that a form of this session must carry."""
    return hmac.new(secret, f"{session}\n{who.name}\n{who.role}".encode(errors="replace"), "sha256").hexdigest()


def same_origin(request: Request) -> bool:
    """Whether a request that changes something comes from a page of this origin.

    Browsers say so themselves (``Sec-Fetch-Site``, which no page can forge); older ones at least send ``Origin``.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower() != ""
    except ValueError:
        return False


class LoginThrottle:
    """Counts failed logins by address, in bounded memory."""

    def __init__(self, limit: int = FAILURES, window: float = WINDOW, addresses: int = 1000) -> None:
        self._limit, self._window, self._addresses = limit, window, addresses
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, address: str, now: float | None = None) -> float:
        """Seconds that this address has to wait before its next try counts; 0: none."""
        now = time.monotonic() if now is None else now
        recent = [at for at in self._failed.get(address, ()) if at > now - self._window]
        return max(0.0, recent[-self._limit] + self._window - now) if len(recent) >= self._limit else 0.0

    def failed(self, address: str, now: float | None = None) -> None:
        """Note a failure."""
        now = time.monotonic() if now is None else now
        recent = [at for at in self._failed.pop(address, ()) if at > now - self._window]
        self._failed[address] = [*recent[-self._limit :], now]
        while len(self._failed) > self._addresses:
            self._failed.popitem(last=False)
