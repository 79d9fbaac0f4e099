"""The page as a router of its own, for a host application's ``include_router``."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from pgbaton.config import Settings, each_database
from pgbaton.errors import ConfigError
from pgbaton.events import EventLog, Language
from pgbaton.shard import DATABASE
from pgbaton.web import actions, assets, decisions, exporting, graphs, login, pages, scaling, shards, sse
from pgbaton.web.access import SESSION_SECONDS, Identity, Role, Tokens, form_token, same_origin
from pgbaton.web.broadcast import Broadcaster
from pgbaton.web.context import SESSION_COOKIE, Site, View
from pgbaton.web.data import Source
from pgbaton.web.errors import problem, refused
from pgbaton.web.forms import form_of, language_of
from pgbaton.web.render import HEADERS

log = logging.getLogger("pgbaton.web")

Access = Callable[..., Any]
"""A FastAPI dependency that returns an :class:`Identity`, or raises ``HTTPException``."""
JobExtra = Callable[[View, str], Awaitable[Markup | str | None]]
"""The part of a job that a host application shows: :class:`Markup` is taken as it is, text is escaped, ``None`` is
nothing."""
Screen = Callable[[View], Awaitable[Response]]

SCREENS: dict[str, Screen] = {
    "": pages.overview,
    "jobs": pages.jobs,
    "export": exporting.export,
    "job": pages.job,
    "dead": pages.dead,
    "stages": pages.stages,
    "graph": graphs.graph,
    "workers": pages.workers,
    "trends": pages.trends,
    "tenant": pages.tenant,
    "audit": pages.audit,
    "record": pages.record,
    "incident": pages.incident,
    "help": pages.help_page,
    "live": sse.live,
    "wanted": scaling.workers_wanted,
}
NOWHERE = "/{nowhere:path}"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
FOR_PROGRAMS = frozenset({"wanted"})
"""Those that a token in the header opens, and that answer 401 in place of the way to the login."""
LIVING = frozenset(SCREENS) - {"live", "export", "wanted"}
"""Those whose title and icon show the alarm."""


class Dashboard(APIRouter):
    """The page. Include it under a prefix of your choice: ``app.include_router(admin, prefix="/admin")``.

    ``viewer`` is a dependency for routes of the host's own, for readers who may see this page.
    """

    def __init__(self, site: Site, access: Access | None) -> None:
        super().__init__(lifespan=self._lifespan, include_in_schema=False)
        self.site = site
        self._access = access or self._by_token
        for name, screen in SCREENS.items():
            self._add(name, screen, "GET")
        self._add("confirm", pages.confirm, "GET", acts=True)
        self._add("act", actions.act, "POST", acts=True)
        self._add("decide", decisions.show, "GET", public=True)
        self._add("decide", decisions.decide, "POST", public=True)
        self._add("language", login.language, "GET", public=True)
        if site.tokens is not None:
            self._add("login", login.login_form, "GET", public=True)
            self._add("login", login.login, "POST", public=True)
            self._add("logout", login.logout, "POST")
        self.add_api_route("/static/{version}/{name}", self._static, methods=["GET"])
        self.add_api_route(NOWHERE, self._nowhere, methods=METHODS, response_model=None)

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """As of any router. A route that the host adds later still comes before the one that catches the rest."""
        super().add_api_route(path, endpoint, **options)
        self.routes.sort(key=lambda route: getattr(route, "path", "") == NOWHERE)

    async def viewer(self, request: Request) -> Identity:
        """The person who is signed in to this page. Raises ``HTTPException`` 401 where there is none (with tokens
        only)."""
        who = self._by_token(request)
        if who is None:
            raise HTTPException(401, "sign in to see this")
        return who

    def close(self) -> None:
        """End the streams of open pages, so that a server that is told to stop need not wait for them."""
        self.site.broadcaster.close()

    @asynccontextmanager
    async def _lifespan(self, _app: object) -> AsyncIterator[None]:
        self.site.broadcaster.closed = False
        telling = asyncio.create_task(self._tell(), name="pgbaton page")
        try:
            yield
        finally:
            self.close()
            ending = [telling, *self.site.under_way]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await self.site.source.close()

    async def _tell(self) -> None:
        DATABASE.set(self.site.database)
        await self.site.broadcaster.run()

    def _by_token(self, request: Request) -> Identity | None:
        tokens = self.site.tokens
        role = tokens.read(request.cookies.get(SESSION_COOKIE, "")) if tokens else None
        return Identity(f"web:{role}", role) if role else None

    def _by_header(self, request: Request) -> Identity | None:
        """As :meth:`_by_token`, or by a token in ``Authorization: Bearer``; guessing is slowed down as at the login."""
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        tokens, throttle = self.site.tokens, self.site.throttle
        if tokens is None or kind.lower() != "bearer":
            return self._by_token(request)
        address = request.client.host if request.client else ""
        role = None if throttle.wait(address) > 0 else tokens.role_of(token.strip())
        if role is None:
            throttle.failed(address)
            return None
        return Identity(f"web:{role}", role)

    async def _nowhere(self, request: Request, nowhere: str) -> Response:
        """No page of ours, or one of ours that is asked for in another way than it can be."""
        view, _ = await self._view(request, self._by_token(request), nowhere)
        ours = [route for route in self.routes if getattr(route, "path", "") == f"/{nowhere}"]
        ways = sorted({way for route in ours for way in getattr(route, "methods", ())})
        answer = refused(view, "fault.method", 405) if ways else refused(view, "fault.nowhere", 404)
        if ways:
            answer.headers["Allow"] = ", ".join(ways)
        return _with_headers(answer)

    async def _static(self, version: str, name: str) -> Response:
        return _with_headers(assets.answer(version, name))

    def _add(self, name: str, screen: Screen, method: str, *, acts: bool = False, public: bool = False) -> None:
        async def nobody() -> None:
            return None

        by_header = name in FOR_PROGRAMS and self.site.tokens is not None
        who_asks = nobody if public else self._by_header if by_header else self._access

        async def endpoint(request: Request, who: Identity | None = Depends(who_asks)) -> Response:
            return _with_headers(await self._answer(request, who, name, screen, acts=acts, public=public))

        named = f"{self.site.name}:{name}" if method == "GET" else None
        self.add_api_route(f"/{name}", endpoint, methods=[method], name=named, response_model=None)

    async def _answer(
        self, request: Request, who: Identity | None, name: str, screen: Screen, *, acts: bool, public: bool
    ) -> Response:
        view, fresh = await self._view(request, who, name)
        refusal = self._refusal(view, who, acts=acts, public=public)
        if refusal is not None:
            return refusal
        try:
            if name in LIVING and not public:
                view = await pages.with_alarm(view)
            answer = await screen(view)
        except Exception as error:
            answer = problem(view, error)
        if fresh:
            login.set_session(answer, view, fresh, SESSION_SECONDS)
        return answer

    async def _view(self, request: Request, who: Identity | None, name: str) -> tuple[View, str | None]:
        """The look, and a session to hand out: the host's users get one too, for their forms' tokens."""
        session, fresh = request.cookies.get(SESSION_COOKIE, "")[:300], None
        if self.site.tokens is None and len(session) < 20:
            session = fresh = secrets.token_urlsafe(24)
        base = str(request.url_for(f"{self.site.name}:").path).rstrip("/")
        token = form_token(self.site.secret, session, who) if who else ""
        form = await form_of(request) if request.method == "POST" else {}
        someone = who or Identity("", Role.VIEWER)
        return View(self.site, request, name, someone, language_of(request), base, token, form), fresh

    def _refusal(self, view: View, who: Identity | None, *, acts: bool, public: bool) -> Response | None:
        posted = view.request.method == "POST"
        if posted and not same_origin(view.request):
            return refused(view, "fault.refused")
        if public:
            return None
        if not isinstance(who, Identity):
            if self.site.tokens is None:
                return refused(view, "fault.refused")
            if posted or view.page == "live" or view.page in FOR_PROGRAMS or view.request.headers.get("hx-request"):
                return Response(status_code=401)
            return RedirectResponse(view.url("login", back=view.here), 303)
        if acts and not who.may_act:
            return refused(view, "fault.viewer")
        if posted and not secrets.compare_digest(view.asked("csrf").encode(), view.token.encode()):
            return refused(view, "fault.form")
        return None


class Dashboards(APIRouter):
    """The pages of several databases under one prefix, each at its name; ``/`` leads to the overview of all. A person
    signs in once."""

    def __init__(self, each: Mapping[str, Dashboard]) -> None:
        super().__init__(include_in_schema=False)
        self.each = dict(each)
        sites = {name: one.site for name, one in each.items()}
        for name, one in each.items():
            one.site.database, one.site.databases = name, sites
            one.site.throttle = next(iter(sites.values())).throttle
            one._add("databases", shards.databases, "GET")
            self.include_router(one, prefix=f"/{name}")
        self.add_api_route("/", self._overview, methods=["GET"], response_model=None)

    def close(self) -> None:
        """As of each page."""
        for one in self.each.values():
            one.close()

    async def _overview(self, request: Request) -> Response:
        first = next(iter(self.each.values()))
        return _with_headers(RedirectResponse(str(request.url_for(f"{first.site.name}:databases").path), 303))


def dashboards(settings: Settings, **options: Any) -> Dashboards:
    """As :func:`dashboard`, with its ``options``, for each database that ``settings`` name
    (:func:`pgbaton.config.each_database`)::

        app.include_router(dashboards(Settings(), token=…), prefix="/admin")   # PGBATON_DATABASES=north,south
    """
    return Dashboards({name: dashboard(one, **options) for name, one in each_database(settings).items()})


def dashboard(
    settings: Settings,
    *,
    pipeline: str | None = None,
    access: Access | None = None,
    token: str | None = None,
    viewer_token: str | None = None,
    job_extra: JobExtra | None = None,
    title: str = "pgbaton",
    log_language: Language | None = None,
) -> Dashboard:
    """The page for one pipeline (``None``: the only one attached) of the database that ``settings`` name.

    ``access``, the host's dependency that returns an :class:`Identity`, decides about the rights of each reader; or
    else ``token`` makes a reader an operator, and ``viewer_token`` a viewer. With neither it raises
    :class:`ConfigError`: nothing is public. ``job_extra`` is asked for a block on each job's page.
    """
    if access is not None and (token or viewer_token):
        raise ConfigError("the page takes access= or tokens, not both")
    tokens = None if access is not None else Tokens(token, viewer_token)
    source = Source(settings, pipeline)
    events = EventLog(log_language or settings.log_language, log)
    broadcaster = Broadcaster(settings.listen_dsn() or settings.dsn(), pipeline, source, events)
    site = Site(source, broadcaster, tokens, job_extra, title, database=settings.database or "")
    if tokens is not None:
        site.secret = tokens.secret
    return Dashboard(site, access)


def _with_headers(answer: Response) -> Response:
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer
