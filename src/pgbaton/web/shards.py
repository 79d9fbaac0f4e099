"""Several databases on one page: the overview of all of them, and the way from one to the other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from starlette.responses import Response

from pgbaton.events import describe
from pgbaton.health import Finding, Health
from pgbaton.insights import Overview
from pgbaton.web.context import Alarm, Site, View
from pgbaton.web.forms import known_only
from pgbaton.web.render import page

PATIENCE = 3.0
"""Seconds for which the overview waits for one database; it then says that this one does not answer."""


@dataclass(frozen=True)
class Seen:
    """One database, as far as it answers. ``away``: the reason why it does not answer, else ``None``."""

    name: str
    counts: Overview | None = None
    health: Health | None = None
    away: str | None = None

    @property
    def worst(self) -> Finding | None:
        return self.health.findings[0] if self.health and self.health.findings else None


async def databases(view: View) -> Response:
    """Every database, and its health. Each is asked by itself: one that is away keeps no other from being shown."""
    known_only(view, ())
    seen = await asyncio.gather(*(_seen(name, site) for name, site in view.site.databases.items()))
    bad = [f for one in seen if one.health for f in one.health.findings if f.level == "bad"]
    away = sum(one.away is not None for one in seen)
    view = replace(view, alarm=Alarm(len(bad) + away, bad[0].sentence(view.language) if bad else ""))
    return page(view, "databases.html", seen=seen)


async def _seen(name: str, site: Site) -> Seen:
    try:
        async with asyncio.timeout(PATIENCE):
            counts, health = await asyncio.gather(site.source.overview.get(), site.source.health.get())
    except TimeoutError:
        return Seen(name, away="")
    except Exception as error:
        return Seen(name, away=describe(error))
    return Seen(name, counts, health)
