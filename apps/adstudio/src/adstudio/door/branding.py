"""``/ads/brand``: a tenant's brand kit, which its next ads are made with."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from adstudio.door import ledger
from adstudio.door.desk import Desk, base_of, remembered, wants_page
from adstudio.door.forgery import refuse_foreign_forms, refuse_other_sites
from adstudio.door.render import page
from adstudio.door.tenants import is_tenant
from adstudio.door.upload import read_form
from adstudio.vision.errors import BrandError
from adstudio.vision.kit import MOST_LOGO_BYTES, read_kit

MOST_FONT = 8 * 1024 * 1024  # bytes; Pretendard, with all of Hangul, has 1.6 MB
MOST_BODY = MOST_LOGO_BYTES + MOST_FONT + 64 * 1024
LONGEST_NAME = 32  # characters, as a brand's line in an ad may have


async def kit(desk: Desk, request: Request) -> Response:
    """The kit as it is; a form, for browsers."""
    tenant = desk.tenants.asking(request) or remembered(request) or ""
    stored = await desk.query(ledger.brand, tenant)
    if wants_page(request):
        return page(desk, request, "brand.html", tenant=tenant, **_told(stored))
    if not tenant:
        raise HTTPException(422, "fault.no_tenant")
    return JSONResponse(_told(stored))


async def save(desk: Desk, request: Request) -> Response:
    """Replace the kit; a logo or font stays unless another one comes, or it is to be removed."""
    refuse_other_sites(request)
    asking = desk.tenants.asking(request)
    async with desk.uploads.one():
        form = await read_form(request, MOST_BODY, files=("logo", "font"))
    refuse_foreign_forms(request, desk.tenants, form.texts.get("csrf", ""))
    tenant = form.tenant(asking)
    if not is_tenant(tenant):
        raise HTTPException(422, "fault.no_tenant")
    made = await desk.query(ledger.brand, tenant)
    for name in ("name", "colour", "accent"):
        made[name] = form.texts.get(name, "").strip() or None
    for name in ("logo", "font"):
        if form.texts.get(f"remove_{name}"):
            made[name] = None
        made[name] = form.files.get(name) or made[name]
    if (name := made["name"]) and (len(name) > LONGEST_NAME or not name.isprintable()):
        raise BrandError(
            f"브랜드 이름은 {LONGEST_NAME}자까지 쓸 수 있습니다.",
            f"A brand's name has up to {LONGEST_NAME} characters.",
        )
    await desk.studio.compute(read_kit, **made)
    await desk.query(ledger.save_brand, tenant, made)
    page_of_it = RedirectResponse(f"{base_of(request)}/brand", 303)
    return desk.remember(tenant, request, page_of_it if wants_page(request) else JSONResponse(_told(made)))


def _told(stored: dict[str, Any]) -> dict[str, Any]:
    """A kit as an answer tells it; its files only as there or not."""
    files = {name: stored[name] is not None for name in ("logo", "font")}
    return {name: stored[name] for name in ("name", "colour", "accent")} | files
