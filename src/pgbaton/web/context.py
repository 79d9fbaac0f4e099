"""The parts of one mounted page, and one look at it by one person."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.requests import Request

from pgbaton.events import Language
from pgbaton.operate.desk import Done
from pgbaton.web.access import Identity, LoginThrottle, Tokens
from pgbaton.web.broadcast import Broadcaster
from pgbaton.web.data import Source

SESSION_COOKIE, LANGUAGE_COOKIE = "pgbaton_session", "pgbaton_language"
LONGEST_VALUE = 1000
"""Characters of a value of the address or of a form."""
MOST_VALUES = 100
"""Values of one name."""


@dataclass
class Site:
    """``name`` tells this page's routes from those of another one in the same application. ``tokens``: ``None`` where
    the host application identifies the asker. ``under_way``: actions that are not at their end. ``database``: its name,
    where the page is for several; ``databases``: all of them, this one included."""

    source: Source
    broadcaster: Broadcaster
    tokens: Tokens | None
    job_extra: Callable[[View, str], Awaitable[Markup | str | None]] | None
    title: str
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    throttle: LoginThrottle = field(default_factory=LoginThrottle)
    under_way: set[asyncio.Task[Done]] = field(default_factory=set)
    name: str = field(default_factory=lambda: f"pgbaton_{secrets.token_hex(4)}")
    database: str = ""
    databases: dict[str, Site] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alarm:
    """The trouble that each page tells of: how many findings there are, and the worst."""

    count: int
    worst: str


@dataclass(frozen=True)
class View:
    """One request by one person. ``base``: the path that the page is mounted at, without a slash at its end.
    ``page``: which one, as in its address. ``form``: what was posted. ``alarm``: ``None`` where it is not known."""

    site: Site
    request: Request
    page: str
    who: Identity
    language: Language
    base: str
    token: str
    form: dict[str, list[str]] = field(default_factory=dict)
    alarm: Alarm | None = None

    @property
    def root(self) -> str:
        """The path that the page has to itself, in all databases, with a slash at its end."""
        return f"{self.base.rpartition('/')[0] if self.site.databases else self.base}/"

    def url(self, page: str = "", **values: object) -> str:
        """The address of a page; empty values are left out."""
        pairs: list[tuple[str, str]] = []
        for name, value in values.items():
            many = value if isinstance(value, list | tuple) else [value]
            pairs += [(name, str(v)) for v in many if v is not None and v != "" and v is not False]
        return f"{self.base}/{page}" + (f"?{urlencode(pairs)}" if pairs else "")

    def asked(self, name: str) -> str:
        """A value of the address or, of a POST, of the form; bounded, without characters that Postgres cannot hold."""
        given = self.all_asked(name)
        return given[-1] if given else ""

    def all_asked(self, name: str) -> list[str]:
        """Every value of that name, at most :data:`MOST_VALUES`."""
        many = self.form.get(name, []) if self.request.method == "POST" else self.request.query_params.getlist(name)
        return [v[:LONGEST_VALUE].replace("\x00", "\ufffd") for v in many[:MOST_VALUES]]

    def names(self) -> set[str]:
        """The names that values are given for."""
        return set(self.form if self.request.method == "POST" else self.request.query_params.keys())

    def number(self, name: str) -> int | None:
        """A value that is a whole number below 2^62."""
        text = self.asked(name)
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None

    @property
    def here(self) -> str:
        """This address again, without the message that was shown once."""
        pairs = [(k, v) for k, v in self.request.query_params.multi_items() if k not in ("said", "n", "record")]
        return f"{self.base}/{self.page}" + (f"?{urlencode(pairs)}" if pairs else "")

    def back(self, default: str) -> str:
        """Where a form was sent from, if that is an address within this page."""
        path = self.asked("back")
        inside = path.startswith(f"{self.base}/") and not path.startswith("//") and "\\" not in path
        return path if inside and path.isprintable() else default
