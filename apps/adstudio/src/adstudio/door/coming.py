"""``POST /ads``: everything that can be refused is refused here, at once and in a sentence."""

from __future__ import annotations

from fastapi import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from adstudio.door import ledger
from adstudio.door.desk import Desk, base_of, wants_page
from adstudio.door.forgery import refuse_foreign_forms, refuse_other_sites
from adstudio.door.order import Order, language_of, no_photo, no_tenant, read_order, read_texts
from adstudio.door.tenants import is_tenant
from adstudio.door.texts import text
from adstudio.door.upload import MOST_BODY, Form, read_form
from adstudio.store import Kept, StoreAway
from adstudio.vision.errors import InputError
from adstudio.vision.formats import chosen
from adstudio.vision.judge import judge_parting
from adstudio.vision.kit import read_kit
from adstudio.vision.photo import open_photo
from adstudio.vision.room import check_room, check_size

MOST_COPY, COPY_SECONDS = 64 * 1024, 30
"""Bytes and seconds that a form with a copy alone may take."""

LONGEST_KEY = 255  # characters of an Idempotency-Key


async def submit(desk: Desk, request: Request) -> Response:
    """A job for a photo and a copy: 202, or 303 to its page for browsers."""
    refuse_other_sites(request)
    asking = desk.tenants.asking(request)
    async with desk.uploads.one():
        form = await read_form(request, MOST_BODY, files=("photo",))
        refuse_foreign_forms(request, desk.tenants, form.texts.get("csrf", ""))
        language = language_of(form.texts, desk.language_for(request))
        try:
            tenant = form.tenant(asking)
            order, photo = await _checked(desk, form, tenant)
        except InputError as error:
            raise HTTPException(422, error.told(language)) from None
        try:
            kept = await desk.studio.shelf.keep(tenant, photo)
        except StoreAway:
            raise HTTPException(503, text(language, "fault.store"), {"Retry-After": "10"}) from None
    return await _placed(desk, request, tenant, order, kept)


async def read(desk: Desk, request: Request) -> Response:
    """How a copy in one string is read, by roles: to be looked at and mended before an ad is made. Keeps nothing."""
    refuse_other_sites(request)
    desk.tenants.asking(request)
    texts = (await read_form(request, MOST_COPY, COPY_SECONDS)).texts
    refuse_foreign_forms(request, desk.tenants, texts.get("csrf", ""))
    language = language_of(texts, desk.language_for(request))
    try:
        copy = await read_texts(texts, desk.studio.vision)
    except InputError as error:
        raise HTTPException(422, error.told(language)) from None
    said = judge_parting(copy)
    doubts = [] if said.passed else [said.reason]
    return JSONResponse({"copy": copy.fields(), "sure": said.passed, "doubts": doubts})


async def _checked(desk: Desk, form: Form, tenant: str) -> tuple[Order, bytes]:
    """The order and its photo, which was opened once: a photo that the first stage would refuse is refused now."""
    if not is_tenant(tenant):
        raise no_tenant()
    order = await read_order(form.texts, form.repeated.get("formats", []), desk.studio.vision)
    if (file := form.files.get("photo")) is None:
        raise no_photo()
    photo = await desk.studio.compute(open_photo, file)
    formats = chosen(order.formats)
    check_size(photo.shape[1], photo.shape[0], formats)
    kit = await desk.studio.compute(read_kit, **await desk.query(ledger.brand, tenant))
    await desk.studio.compute(check_room, order.copy, formats, kit)
    return order, file


async def _placed(desk: Desk, request: Request, tenant: str, order: Order, photo: Kept) -> Response:
    key = request.headers.get("idempotency-key", "")[:LONGEST_KEY]
    job = ledger.job_for(tenant, key or None)
    await desk.query(ledger.place, job, tenant, order, photo)
    address, copy = f"{base_of(request)}/{job}", order.copy.fields()
    answer: Response
    if wants_page(request):
        answer = RedirectResponse(address, 303)
    else:
        sure = judge_parting(order.copy).passed
        told = {"job_id": str(job), "tenant_id": tenant, "url": address, "copy": copy, "sure": sure}
        told |= {"formats": order.formats}
        answer = JSONResponse(told, 202, {"Location": address})
    return desk.remember(tenant, request, answer)
