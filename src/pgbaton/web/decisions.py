"""A decision by a signed link: opening it shows the job, a POST decides. The link itself proves its
reader's right; no login is asked for."""

from __future__ import annotations

import os

from starlette.responses import Response

from pgbaton.errors import Refused
from pgbaton.operate import approve
from pgbaton.web.context import View
from pgbaton.web.render import page


async def show(view: View) -> Response:
    """The decision that a link asks for. Raises :class:`Refused` for a link that is forged, late, or was used."""
    return await _page(view, view.asked("link"))


async def decide(view: View) -> Response:
    """Decide, once: afterwards the job does not wait for this decision any more."""
    token, link = view.asked("link"), _read(view.asked("link"))
    async with view.site.source.opened() as (conn, table):
        _of(link, table.pipeline)
        reason, who = view.asked("reason"), f"link:{link.to}"
        await approve.decide(
            conn, table, link.job_key, view.asked("choice"), who=who, reason=reason, dispatch=link.dispatch
        )
    view.site.source.changed(at_once=True)
    view.site.broadcaster.changed()
    return page(view, "decide.html", link=link, token=token, waiting=None, chosen=view.asked("choice"))


async def _page(view: View, token: str) -> Response:
    link = _read(token)
    async with view.site.source.opened() as (conn, table):
        _of(link, table.pipeline)
        found = await approve.waiting(conn, table, link.job_key)
    if found is None or found.dispatch != link.dispatch:
        raise Refused("not_waiting", "this was decided already, or the job has gone on")
    return page(view, "decide.html", link=link, token=token, waiting=found, chosen="")


def _read(token: str) -> approve.Link:
    return approve.read_link(token, approve.secret_of(os.environ.get("PGBATON_LINK_SECRET")))


def _of(link: approve.Link, pipeline: str) -> None:
    if link.pipeline != pipeline:
        raise Refused("forged", "this link is for another page")
