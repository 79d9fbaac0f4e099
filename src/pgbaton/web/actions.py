"""The actions: each one call of :mod:`pgbaton.operate`, by someone who may, from a form that is ours."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from starlette.responses import RedirectResponse, Response

from pgbaton import approve, operate
from pgbaton.errors import ConfigError
from pgbaton.events import describe
from pgbaton.operate import Done
from pgbaton.web.context import Site, View
from pgbaton.web.forms import Unfit, filter_of, number_of

log = logging.getLogger("pgbaton.web")

PATIENCE = 5.0
"""Seconds that a person waits for an action; a longer one (thousands of jobs) goes on without them."""


async def act(view: View) -> Response:
    """Do it, and show the page that it was asked from, with what came of it."""
    action, who = view.asked("action"), view.who.name
    doing = asyncio.create_task(_job(view, action, who) if view.asked("key") else _many(view, action, who))
    view.site.under_way.add(doing)
    doing.add_done_callback(partial(_ended, view.site, action))
    await asyncio.wait([doing], timeout=PATIENCE)
    view.site.source.changed(at_once=True)
    view.site.broadcaster.changed()
    said: dict[str, object] = {"said": "going"}
    if doing.done():
        done = doing.result()
        said = {"said": action, "n": done.count} if done.count else {"said": "nothing"}
    to = view.back(view.url())
    mark = "&" if "?" in to else "?"
    return RedirectResponse(to + mark + "&".join(f"{k}={v}" for k, v in said.items()), 303)


def _ended(site: Site, action: str, doing: asyncio.Task[Done]) -> None:
    site.under_way.discard(doing)
    site.broadcaster.changed()
    if not doing.cancelled() and (error := doing.exception()) is not None and not isinstance(error, Unfit):
        log.warning("%s did not end well: %s", action, describe(error))


async def _job(view: View, action: str, who: str) -> Done:
    key = view.asked("key")
    async with view.site.source.opened() as (conn, table):
        match action:
            case "retry":
                return await operate.retry(conn, table, [key], who=who)
            case "cancel":
                return await operate.cancel(conn, table, [key], who=who)
            case "rerun":
                force = view.asked("force") == "yes"
                return await operate.rerun(conn, table, key, view.asked("step"), who=who, force=force)
            case "decide":
                choice, reason = view.asked("choice"), view.asked("reason")
                await approve.decide(conn, table, key, choice, who=who, reason=reason)
                return Done("decide", 1, (key,), 1)
    raise Unfit(action)


async def _many(view: View, action: str, who: str) -> Done:
    scope = view.asked("scope")
    async with view.site.source.opened() as (conn, table):
        match action, scope:
            case ("retry" | "cancel") as what, "matching":
                expected = number_of(view, "expected")
                if not expected:
                    raise Unfit("expected")
                filters = filter_of(view, table.pipeline)
                return await operate.act_on_matching(conn, table, filters, what, expected, who=who)
            case "pause", "pipeline":
                return await operate.pause(conn, table.pipeline, who=who)
            case "resume", "pipeline":
                return await operate.resume(conn, table.pipeline, who=who)
            case "pause", "stage":
                return await operate.pause(conn, table.pipeline, _given(view, "stage"), who=who)
            case "resume", "stage":
                return await operate.resume(conn, table.pipeline, _given(view, "stage"), who=who)
            case "pause", "tenant":
                return await operate.pause_tenant(conn, table, _given(view, "tenant"), who=who)
            case "resume", "tenant":
                return await operate.resume_tenant(conn, table, _given(view, "tenant"), who=who)
    raise Unfit(action)


def _given(view: View, name: str) -> str:
    value = view.asked(name)
    if not value:
        raise ConfigError(f"{name}: nothing was given")
    return value
