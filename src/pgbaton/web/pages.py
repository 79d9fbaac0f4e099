"""The screens: each reads, and shows."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from pgbaton import insights
from pgbaton.counted import outline
from pgbaton.health import WORDS, happened, report
from pgbaton.insights.tenant import COUNTED
from pgbaton.model import State
from pgbaton.operate import bulk
from pgbaton.operate.desk import Action
from pgbaton.web import charts, plots
from pgbaton.web.context import Alarm, View
from pgbaton.web.data import LOOK_BACK, PAGE, JobsAsked
from pgbaton.web.errors import Told
from pgbaton.web.forms import AUDITED, CONFIRM_NAMES, Unfit, asked_of, audit_filter_of, filter_of, known_only, number_of
from pgbaton.web.messages import LANGUAGES
from pgbaton.web.offers import offer
from pgbaton.web.render import page


async def with_alarm(view: View) -> View:
    """The view with the alarm of its title and icon; without one where the health cannot be read."""
    try:
        bad = [f for f in (await view.site.source.health.get()).findings if f.level == "bad"]
    except Exception:
        return view
    return replace(view, alarm=Alarm(len(bad), bad[0].sentence(view.language) if bad else ""))


async def overview(view: View) -> Response:
    """The pipeline at a glance, and its findings."""
    known_only(view, ())
    seen = await view.site.source.overview.get()
    health = await view.site.source.health.get()
    found = [(finding, offer(finding)) for finding in health.findings]
    return page(view, "overview.html", seen=seen, health=health, found=found, spark=charts.last_hour(view, seen))


async def jobs(view: View) -> Response:
    """Dispatches by filter, a page at a time."""
    before = number_of(view, "before")
    stages = (await view.site.source.overview.get()).stages
    async with view.site.source.opened() as (_, table):
        filters = filter_of(view, table.pipeline)
    found = await view.site.source.jobs.get(JobsAsked(filters, before))
    return page(
        view, "jobs.html", found=found, filters=filters, asked=asked_of(view), before=before, stages=stages,
        states=list(State), look_back=f"{LOOK_BACK:,}",
    )  # fmt: skip


async def job(view: View) -> Response:
    """One job, and why it is where it is."""
    known_only(view, ("key",))
    key = view.asked("key")
    line = (await view.site.source.overview.get()).stages
    stages = [s.stage for s in line if s.routed]
    async with view.site.source.opened() as (conn, table):
        seen = await insights.job(conn, table, key)
        changed = await insights.changes(conn, seen, {s.stage: s.after for s in line}) if seen else ()
    if seen is None:
        return page(view, "problem.html", 404, title=key, message="job.none", detail="", code=404)
    extra = await view.site.job_extra(view, key) if view.site.job_extra else None
    last = seen.dispatches[-1] if seen.dispatches else None
    return page(
        view, "job.html", job=seen, last=last, stages=stages, chart=charts.timeline(view, seen), extra=extra,
        changed=changed, sent=_sent(seen),
    )  # fmt: skip


def _sent(seen: insights.JobDetail) -> list[tuple[insights.DispatchSeen, str, str]]:
    """The content of each call of a stage, as far as it is known: the key and the body, which are the same in every
    attempt (the newest five dispatches)."""
    tenant = seen.row.tenant if seen.row else None
    body = json.dumps({"job_id": seen.key, "tenant_id": tenant}, ensure_ascii=False)
    made = (int(d.created_at.timestamp() * 1_000_000 + 0.5) for d in seen.dispatches)
    keys = [f"{seen.pipeline}-{d.id}-{at:x}" for d, at in zip(seen.dispatches, made, strict=True)]
    return [(d, key, body) for d, key in zip(seen.dispatches, keys, strict=True) if d.attempt][:-6:-1]


async def dead(view: View) -> Response:
    """Dead dispatches, grouped by stage and error."""
    known_only(view, ())
    return page(view, "dead.html", found=await view.site.source.dead.get())


async def workers(view: View) -> Response:
    """The workers."""
    known_only(view, ())
    return page(view, "workers.html", seen=await view.site.source.overview.get())


async def stages(view: View) -> Response:
    """The stages, their limits, and all that is paused."""
    known_only(view, ())
    source = view.site.source
    return page(view, "stages.html", seen=await source.overview.get(), limits=await source.limits.get())


async def trends(view: View) -> Response:
    """Throughput and waits over time."""
    known_only(view, ("span",))
    span = _span(view)
    found = await view.site.source.trends[span].get()
    return page(view, "trends.html", found=found, span=span, spans=insights.SPANS, plots=plots)


async def tenant(view: View) -> Response:
    """One tenant: its share of the queue, when its last job is called, its throughput."""
    known_only(view, ("name", "span"))
    span, name = _span(view), view.asked("name")
    seen = await view.site.source.overview.get()
    pace = {stage.stage: stage.per_minute for stage in seen.stages}
    async with view.site.source.opened() as (conn, table):
        standing = await insights.tenant_standing(conn, table.pipeline, name, pace)
        found = await insights.trends(conn, table.pipeline, span, name)
    paused = next((one for one in seen.tenants if one.tenant == name), None)
    return page(
        view, "tenant.html", name=name, seen=seen, paused=paused, standing=standing, found=found, span=span,
        spans=insights.SPANS, plots=plots, cap=insights.CAP, counted=COUNTED,
    )  # fmt: skip


def _span(view: View) -> str:
    span = view.asked("span") or "day"
    if span not in insights.SPANS:
        raise Unfit("span")
    return span


async def audit(view: View) -> Response:
    """The audit."""
    filters, before = audit_filter_of(view), number_of(view, "before")
    seen = await view.site.source.overview.get()
    async with view.site.source.opened() as (conn, table):
        found = await insights.audit(conn, table.pipeline, before, PAGE, filters)
    asked = {name: view.all_asked(name) for name in ("from", "to", "who", "action")}
    return page(
        view, "audit.html", found=found, before=before, filters=filters, seen=seen, actions=AUDITED,
        asked={name: [v for v in given if v] for name, given in asked.items()},
    )  # fmt: skip


async def record(view: View) -> Response:
    """One act on many jobs: how far it has come, and its jobs."""
    known_only(view, ("id", "after"))
    id = number_of(view, "id")
    async with view.site.source.opened() as (conn, table):
        entry = await insights.act(conn, table.pipeline, id) if id is not None else None
        if entry is None or entry.state is None:
            raise Told("record.none", 404)
        jobs = await insights.act_jobs(conn, entry.id, view.asked("after") or None, PAGE)
    return page(view, "record.html", entry=entry, jobs=jobs, more=len(jobs) == PAGE)


async def incident(view: View) -> Response:
    """Recent findings, acts and deployments; as a report to copy in either language."""
    chosen = number_of(view, "hours") or 2
    if not 1 <= chosen <= 24 * 31:
        raise Unfit("hours")
    until = datetime.now(UTC)
    since = until - timedelta(hours=chosen)
    async with view.site.source.opened() as (conn, table):
        events = await happened(conn, table.pipeline, since, until)
    reports = [(code, report(table.pipeline, events, since, until, code)) for code in LANGUAGES]
    return page(view, "incident.html", events=list(reversed(events)), reports=reports, chosen=chosen)


async def help_page(view: View) -> Response:
    """Every sentence of a finding, with its cause and its remedy."""
    known_only(view, ())
    which = 0 if view.language == "ko" else 1
    words = [(code, *(outline(text[which]) for text in said)) for code, said in WORDS.items()]
    return page(view, "help.html", words=words)


async def confirm(view: View) -> Response:
    """How many it would be and where they are, before anything is done."""
    action: Action
    match view.asked("action"):
        case "cancel" | "retry" as action:
            pass
        case _:
            raise Unfit("action")
    async with view.site.source.opened() as (conn, table):
        filters = filter_of(view, table.pipeline, CONFIRM_NAMES)
        one = len(filters.jobs) == 1
        preview = None if one else await bulk.preview_matching(conn, filters, action)
    asked = asked_of(view)
    picked = len(asked.pop("key", ()))
    return page(
        view, "confirm.html", action=action, key=filters.jobs[0] if one else None, preview=preview, asked=asked,
        filters=filters, picked=picked, cap=insights.CAP,
    )  # fmt: skip
