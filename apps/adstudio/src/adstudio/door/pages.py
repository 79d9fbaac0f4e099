"""The pages: a tenant's ads with a form for a new one, and one ad."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adstudio.door import ledger
from adstudio.door.ad import STEPS, Ad, State, waits_for_a_word
from adstudio.door.desk import Desk, base_of, remembered, wants_page
from adstudio.door.leaving import job_of
from adstudio.door.order import ROLES
from adstudio.door.render import page
from adstudio.door.rows import copy_of, state_of
from adstudio.vision.formats import DEFAULT, FORMATS


async def overview(desk: Desk, request: Request) -> Response:
    """A tenant's newest ads; for browsers with a form for the next."""
    tenant = desk.tenants.asking(request) or remembered(request)
    rows = await desk.query(ledger.newest, tenant) if tenant else []
    listed = [_line(row, base_of(request)) for row in rows]
    if not wants_page(request):
        return JSONResponse({"ads": listed})
    return page(
        desk, request, "overview.html", ads=listed, tenant=tenant or "", roles=ROLES, formats=FORMATS, usual=DEFAULT
    )


async def one(desk: Desk, request: Request) -> Response:
    """One ad."""
    ad = await desk.ad(request, job_of(request))
    if not wants_page(request):
        return JSONResponse(ad.model_dump(mode="json", by_alias=True))
    return page(desk, request, "ad.html", ad=ad, steps=steps_of(ad), chosen={p.url for p in ad.chosen()})


def steps_of(ad: Ad) -> list[tuple[str, str]]:
    """Each step, and whether it is ``done``, ``now``, ``failed`` or comes ``next``."""
    elsewhere = {"variants": STEPS.index("overlay"), "review": len(STEPS)}
    at = STEPS.index(ad.step) if ad.step in STEPS else elsewhere.get(ad.step, 0)
    done = at + 1 if ad.status == "done" else at
    states = []
    for number, step in enumerate(STEPS):
        if number < done:
            states.append((step, "done"))
        elif number == done:
            states.append((step, "failed" if ad.state is State.FAILED else "now"))
        else:
            states.append((step, "next"))
    return states


def _line(row: Any, base: str) -> dict[str, Any]:
    copy = copy_of(row)
    return {
        "job_id": str(row["job_id"]),
        "url": f"{base}/{row['job_id']}",
        "state": state_of(row).value,
        "passed": row["passed"],
        "to_confirm": waits_for_a_word(row["current_step"], row["passed"]),
        "headline": copy.get("headline", "")[:200],
        "created_at": row["created_at"].isoformat(),
    }
