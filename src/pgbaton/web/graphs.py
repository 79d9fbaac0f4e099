"""The pipeline as a graph, with the jobs at each stage."""

from __future__ import annotations

from markupsafe import Markup
from starlette.responses import Response

from pgbaton import drawing, sql
from pgbaton.insights import StageOverview, shown_count
from pgbaton.web.context import View
from pgbaton.web.messages import text
from pgbaton.web.render import page
from pgbaton.worker.store import Store


async def graph(view: View) -> Response:
    """The pipeline drawn: its ways from state to state, and how many jobs each stage, wait and gather has."""
    seen = {s.stage: s for s in (await view.site.source.overview.get()).stages}
    async with view.site.source.opened() as (conn, table):
        stages = await Store(conn, table, ()).stages()
        routed = await conn.fetch(sql.read("install/routes.sql"), table.pipeline)
    nodes = [stages[r["step"]] for r in routed]
    counts = {name: _counted(view, s) for name, s in seen.items()}
    links = {name: view.url("jobs", stage=name) for name in seen}
    drawn = drawing.svg(drawing.drawing(nodes), counts, links)
    return page(view, "graph.html", drawn=Markup(drawn))  # noqa: S704 - its text is escaped


def _counted(view: View, stage: StageOverview) -> str:
    waiting = stage.waiting + stage.retrying
    parts = (("state.available", waiting), ("state.running", stage.running), ("state.dead", stage.dead))
    return " · ".join(f"{shown_count(count)} {text(view.language, key)}" for key, count in parts if count)
