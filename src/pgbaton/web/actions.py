"""The actions: each one call of :mod:`pgbaton.operate`, by a person with the right, from a form of this page."""

from __future__ import annotations

import asyncio
import json
import logging
from functools import partial
from urllib.parse import urlencode

import asyncpg
from starlette.responses import RedirectResponse, Response

from pgbaton import operate
from pgbaton.errors import ConfigError
from pgbaton.events import describe
from pgbaton.insights import CAP
from pgbaton.model import RUNNING
from pgbaton.operate import acts, approve, bulk
from pgbaton.operate.desk import Action, Done
from pgbaton.table import JobTable
from pgbaton.web.context import Site, View
from pgbaton.web.errors import Told
from pgbaton.web.forms import ACT_NAMES, SEVERAL, Unfit, filter_of, known_only, number_of
from pgbaton.web.limiting import change_limit
from pgbaton.worker.store import Store

log = logging.getLogger("pgbaton.web")

PATIENCE = 1.5
"""Seconds that a person waits for an action; a longer one (thousands of jobs) goes on, and its record shows how far."""


async def act(view: View) -> Response:
    """Do it, and show the page that it was asked from, with the result; or, where it takes longer, its record."""
    action, scope = view.asked("action"), view.asked("scope")
    known_only(view, ACT_NAMES, several=SEVERAL | {"key"} if scope == "matching" else ())
    record: int | None = None
    if scope == "act" and view.asked("do") == "abort":
        return await _abort(view)
    if scope in ("act", "matching"):
        record = await (_begin_act(view, action) if scope == "matching" else _again(view))
        if record is None:
            return _back(view, {"said": "nothing"})
        doing = asyncio.create_task(_carry_on(view, record))
    else:
        doing = asyncio.create_task(_job(view, action) if view.asked("key") else _many(view, action, scope))
    view.site.under_way.add(doing)
    doing.add_done_callback(partial(_ended, view.site, action))
    await asyncio.wait([doing], timeout=PATIENCE)
    view.site.source.changed(at_once=True)
    view.site.broadcaster.changed()
    if not doing.done():
        if record is not None:
            return RedirectResponse(view.url("record", id=record), 303)
        return _back(view, {"said": "going"})
    done = doing.result()
    said: dict[str, object] = {"said": done.action, "n": done.count} if done.count else {"said": "nothing"}
    return _back(view, said | ({"record": record} if record is not None else {}))


def _back(view: View, said: dict[str, object]) -> Response:
    to = view.back(view.url())
    return RedirectResponse(f"{to}{'&' if '?' in to else '?'}{urlencode(said)}", 303)


def _ended(site: Site, action: str, doing: asyncio.Task[Done]) -> None:
    site.under_way.discard(doing)
    site.broadcaster.changed()
    if not doing.cancelled() and (error := doing.exception()) is not None and not isinstance(error, Unfit):
        log.warning("%s did not end well: %s", action, describe(error))


async def _begin_act(view: View, action: str) -> int | None:
    """Write down that it begins. An act on every job is done only where their number was typed."""
    what: Action
    match action:
        case "retry" | "cancel" as what:
            pass
        case _:
            raise Unfit("action")
    expected = number_of(view, "expected")
    if not expected:
        raise Unfit("expected")
    async with view.site.source.opened() as (conn, table):
        filters = filter_of(view, table.pipeline, ACT_NAMES)
        if not filters.narrows and _digits(view.asked("typed")) != str(min(expected, CAP)):
            raise Told("fault.typed", 422)
        return await bulk.begin(
            conn, table, filters, what, expected, who=view.who.name, reason=view.asked("reason")
        )  # fmt: skip


def _digits(typed: str) -> str:
    """The digits of a typed number, without separators and units."""
    return typed.strip().removesuffix("+").replace(",", "").replace(".", "").replace(" ", "")


async def _again(view: View) -> int:
    """The act that goes on from here: one that was broken off, or a new one that undoes another."""
    act = _act_of(view)
    match view.asked("do"):
        case "carry_on":
            return act
        case "undo":
            async with view.site.source.opened() as (conn, table):
                return await bulk.undo(conn, table, act, who=view.who.name, reason=view.asked("reason"))
    raise Unfit("do")


async def _abort(view: View) -> Response:
    act = _act_of(view)
    async with view.site.source.opened() as (conn, table):
        ended = await acts.abort(conn, table.pipeline, act, who=view.who.name)
    view.site.broadcaster.changed()
    return _back(view, {"said": "abort" if ended else "nothing"})


def _act_of(view: View) -> int:
    act = number_of(view, "act")
    if act is None:
        raise Unfit("act")
    return act


async def _carry_on(view: View, act: int) -> Done:
    async with view.site.source.opened() as (conn, table):
        return await bulk.carry_on(conn, table, act)


async def _job(view: View, action: str) -> Done:
    key, who = view.asked("key"), view.who.name
    async with view.site.source.opened() as (conn, table):
        match action:
            case "retry":
                return await operate.retry(conn, table, [key], who=who)
            case "cancel":
                return await operate.cancel(conn, table, [key], who=who)
            case "quarantine":
                return await operate.quarantine(conn, table, [key], who=who)
            case "rerun":
                match view.asked("force"):
                    case "" | "yes" as force:
                        return await operate.rerun(conn, table, key, view.asked("step"), who=who, force=bool(force))
                raise Unfit("force")
            case "decide":
                choice, reason = view.asked("choice"), view.asked("reason")
                await approve.decide(conn, table, key, choice, who=who, reason=reason)
                return Done("decide", 1, (key,), 1)
    raise Unfit("action")


async def _many(view: View, action: str, scope: str) -> Done:
    who, why = view.who.name, view.asked("reason")
    async with view.site.source.opened() as (conn, table):
        match action, scope:
            case "limit", _:
                return await change_limit(view, conn, table)
            case "recall", "stage":
                over = number_of(view, "over") or 0
                return await operate.recall(conn, table, _one(view, "stage"), who=who, over=over)
            case "reconcile", "pipeline":
                return Done("reconcile", len(await operate.reconcile(conn, table, create=True, who=who)))
            case "move", "rows":
                source, target = await _from_to(view, conn, table)
                return await operate.move_rows(conn, table, source, target, who=who)
            case "pause", "pipeline":
                return await operate.pause(conn, table.pipeline, who=who, reason=why)
            case "resume", "pipeline":
                return await operate.resume(conn, table.pipeline, who=who, reason=why)
            case "pause", "stage":
                return await operate.pause(conn, table.pipeline, _one(view, "stage"), who=who, reason=why)
            case "resume", "stage":
                return await operate.resume(conn, table.pipeline, _one(view, "stage"), who=who, reason=why)
            case "pause", "tenant":
                return await operate.pause_tenant(conn, table, _one(view, "tenant"), who=who, reason=why)
            case "resume", "tenant":
                return await operate.resume_tenant(conn, table, _one(view, "tenant"), who=who, reason=why)
    raise Unfit("action")


async def _from_to(view: View, conn: asyncpg.Connection, table: JobTable) -> tuple[tuple[str, str], tuple[str, str]]:
    """From where to where rows are moved: as the form says, or, of a stage, its running rows to its entry."""
    if stage := view.asked("stage"):
        stages = await Store(conn, table, ()).stages()
        if stage not in stages:
            raise Unfit("stage")
        return (stage, RUNNING), stages[stage].entry
    return _state(view, "from"), _state(view, "to")


def _state(view: View, name: str) -> tuple[str, str]:
    try:
        step, status = json.loads(_one(view, name))
    except ValueError:
        raise Unfit(name) from None
    if not isinstance(step, str) or not isinstance(status, str):
        raise Unfit(name)
    return step, status


def _one(view: View, name: str) -> str:
    value = view.asked(name)
    if not value:
        raise ConfigError(f"{name}: nothing was given")
    return value
