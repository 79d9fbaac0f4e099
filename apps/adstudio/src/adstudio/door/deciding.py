"""``POST /ads/{id}/decision``: a person approves, or rejects and says why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from adstudio.door import ledger
from adstudio.door.ad import Ad
from adstudio.door.desk import Desk, base_of, wants_page
from adstudio.door.forgery import refuse_foreign_forms, refuse_other_sites
from adstudio.door.leaving import job_of
from adstudio.door.order import OrderError
from adstudio.door.texts import TEXTS
from adstudio.door.upload import TooLarge, read_form

LONGEST_REASON = 1000  # characters
MOST_BODY = 64 * 1024  # bytes


class Decided(BaseModel):
    """The body of a program's decision."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    approved: bool
    reason: str = ""
    chosen: dict[str, int] = {}


async def decide(desk: Desk, request: Request) -> Response:
    """Keep the decision; the newest one counts."""
    refuse_other_sites(request)
    ad = await desk.ad(request, job_of(request))
    said = await _said(desk, request)
    reason = " ".join("".join(c if c.isprintable() else " " for c in said.reason).split())
    if len(reason) > LONGEST_REASON or not (said.approved or reason):
        raise OrderError(*TEXTS["fault.reason"])
    _check_choice(ad, said.chosen)
    if await desk.query(ledger.decide, ad, said.approved, reason, said.chosen) is None:
        raise HTTPException(409, "fault.409")
    if wants_page(request):
        return RedirectResponse(f"{base_of(request)}/{ad.job_id}", 303)
    decided = await desk.ad(request, ad.job_id)
    return JSONResponse(decided.model_dump(mode="json", by_alias=True))


async def _said(desk: Desk, request: Request) -> Decided:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        refuse_foreign_forms(request, desk.tenants, request.headers.get("x-csrf-token", ""))
        try:
            return Decided.model_validate_json(await _body(request))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors())
            raise HTTPException(422, faults[:500]) from None
    form = await read_form(request, MOST_BODY, 30)
    refuse_foreign_forms(request, desk.tenants, form.texts.get("csrf", ""))
    return _of_form(form.texts)


def _of_form(texts: Mapping[str, str]) -> Decided:
    verdict = texts.get("verdict")
    if verdict not in ("approve", "reject"):
        raise HTTPException(422, "verdict: must be approve or reject")
    chosen = {
        name.removeprefix("chosen."): int(place)
        for name, place in texts.items()
        if name.startswith("chosen.") and place.isascii() and place.isdecimal() and len(place) < 6
    }
    return Decided(approved=verdict == "approve", reason=texts.get("reason", ""), chosen=chosen)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY:
            raise TooLarge
    return bytes(body)


def _check_choice(ad: Ad, chosen: Mapping[str, Any]) -> None:
    there = {(picture.format, picture.place) for picture in ad.pictures}
    if not set(chosen.items()) <= there:
        raise OrderError(*TEXTS["fault.choice"])
