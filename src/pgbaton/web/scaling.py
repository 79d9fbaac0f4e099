"""Workers wanted, as JSON: for programs that start and stop workers, such as KEDA's metrics-api scaler."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from pgbaton.errors import ConfigError
from pgbaton.insights.wanted import WITHIN, wanted
from pgbaton.web.context import View


async def workers_wanted(view: View) -> Response:
    """Of the address: ``stages`` (with commas; none: all), ``capacity`` (calls that a worker makes at once), ``within``
    (seconds). 422 with a sentence where one of them cannot be."""
    stages = [step for step in view.asked("stages").split(",") if step] or None
    capacity, within = view.number("capacity"), view.number("within") if view.asked("within") else int(WITHIN)
    if capacity is None or not 1 <= capacity <= 10_000:
        return JSONResponse({"error": "capacity: a whole number from 1 to 10000"}, 422)
    if within is None or not 1 <= within <= 86400:
        return JSONResponse({"error": "within: whole seconds from 1 to 86400"}, 422)
    async with view.site.source.opened() as (conn, table):
        try:
            found = await wanted(conn, table.pipeline, stages, capacity, within)
        except ConfigError as error:
            return JSONResponse({"error": str(error)}, 422)
    return JSONResponse(found.as_json())
