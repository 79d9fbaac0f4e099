"""The screens: each reads, and shows."""

from __future__ import annotations

from starlette.responses import Response

from pgbaton import insights, operate
from pgbaton.health import WORDS
from pgbaton.model import State
from pgbaton.web import charts
from pgbaton.web.context import View
from pgbaton.web.forms import Unfit, asked_of, filter_of, number_of
from pgbaton.web.offers import offer
from pgbaton.web.render import page

PAGE = 50
LOOK_BACK = insights.CAP
"""Failed calls that a search for an error reads at a time."""
AGES = (300, 3600, 6 * 3600, 86400, 7 * 86400)


async def overview(view: View) -> Response:
    """The pipeline at a glance, and what is wrong."""
    seen = await view.site.source.overview.get()
    health = await view.site.source.health.get()
    found = [(finding, offer(finding)) for finding in health.findings]
    return page(view, "overview.html", seen=seen, health=health, found=found, spark=charts.last_hour(view, seen))


async def jobs(view: View) -> Response:
    """Dispatches by filter, a page at a time."""
    before = number_of(view, "before")
    stages = (await view.site.source.overview.get()).stages
    async with view.site.source.opened() as (conn, table):
        filters = filter_of(view, table.pipeline)
        found = await insights.list_jobs(conn, filters, before, PAGE, look_back=LOOK_BACK)
    return page(
        view, "jobs.html", found=found, filters=filters, asked=asked_of(view), before=before, stages=stages,
        states=list(State), ages=AGES, look_back=f"{LOOK_BACK:,}",
    )  # fmt: skip


async def job(view: View) -> Response:
    """One job, and why it is where it is."""
    key = view.asked("key")
    stages = [s.stage for s in (await view.site.source.overview.get()).stages if s.routed]
    async with view.site.source.opened() as (conn, table):
        seen = await insights.job(conn, table, key)
    if seen is None:
        return page(view, "problem.html", 404, title=key, message="job.none", detail="", code=404)
    extra = await view.site.job_extra(view, key) if view.site.job_extra else None
    last = seen.dispatches[-1] if seen.dispatches else None
    return page(
        view, "job.html", job=seen, last=last, stages=stages, chart=charts.timeline(view, seen), extra=extra
    )  # fmt: skip


async def dead(view: View) -> Response:
    """What died, grouped by stage and error."""
    return page(view, "dead.html", found=await view.site.source.dead.get())


async def workers(view: View) -> Response:
    """Who calls."""
    return page(view, "workers.html", seen=await view.site.source.overview.get())


async def stages(view: View) -> Response:
    """What is called, and what is paused."""
    return page(view, "stages.html", seen=await view.site.source.overview.get())


async def audit(view: View) -> Response:
    """Who did what."""
    before = number_of(view, "before")
    async with view.site.source.opened() as (conn, table):
        found = await insights.audit(conn, table.pipeline, before, PAGE)
    return page(view, "audit.html", found=found, before=before)


async def help_page(view: View) -> Response:
    """Every sentence of a finding: what it comes from, and what mends it."""
    which = 0 if view.language == "ko" else 1
    words = [(code, *(text[which] for text in said)) for code, said in WORDS.items()]
    return page(view, "help.html", words=words)


async def confirm(view: View) -> Response:
    """How many it would be, before anything is done."""
    action: operate.Action
    match view.asked("action"):
        case "cancel" | "retry" as action:
            pass
        case unknown:
            raise Unfit(unknown)
    key = view.asked("key")
    count: int | None = 1
    async with view.site.source.opened() as (conn, table):
        filters = filter_of(view, table.pipeline)
        if not key:
            count = await operate.count_matching(conn, filters, action)
    return page(view, "confirm.html", action=action, key=key, count=count, asked=asked_of(view))
