"""Pictures on their way out: looked at, kept as a file, or all formats in one."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Sequence
from uuid import UUID

from fastapi import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from adstudio.door import ledger
from adstudio.door.ad import Ad
from adstudio.door.desk import Desk
from adstudio.store import Kept, StoreAway
from adstudio.vision.photo_format import claimed_format

KINDS = {"JPEG": ("image/jpeg", "jpg"), "PNG": ("image/png", "png"), "WebP": ("image/webp", "webp")}
# A stranger's file is shown as the picture that it claims to be, and as nothing else.
HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


async def photo(desk: Desk, request: Request) -> Response:
    """The photo as it came."""
    ad = await desk.ad(request, job_of(request))
    return _picture(await _fetched(desk, ad, await desk.query(ledger.photo, ad)), f"photo-{ad.job_id}", request)


async def picture(desk: Desk, request: Request) -> Response:
    """One picture of an ad."""
    format, place = request.path_params["format"], request.path_params["place"]
    ad = await desk.ad(request, job_of(request))
    known = [p for p in ad.pictures if (p.format, str(p.place)) == (format, place)]
    if not known:
        raise HTTPException(404, "fault.picture")
    data = await _fetched(desk, ad, await desk.query(ledger.picture, ad, format, known[0].place))
    return _picture(data, _name(ad, format), request)


async def download(desk: Desk, request: Request) -> Response:
    """The chosen picture of each format, in one ZIP."""
    ad = await desk.ad(request, job_of(request))
    if not ad.pictures:
        raise HTTPException(409, "fault.409")
    found = []
    for chosen in ad.chosen():
        kept = await desk.query(ledger.picture, ad, chosen.format, chosen.place)
        found.append((chosen.format, await _fetched(desk, ad, kept)))
    packed = await asyncio.to_thread(_packed, ad, found)
    return _as_file(packed, "application/zip", f"ad-{ad.job_id}.zip")


def job_of(request: Request) -> UUID:
    """The job in the path. Raises 404."""
    try:
        return UUID(request.path_params["job"])
    except ValueError:
        raise HTTPException(404, "fault.404") from None


async def _fetched(desk: Desk, ad: Ad, kept: Kept | None) -> bytes:
    if kept is None:
        raise HTTPException(404, "fault.picture")
    try:
        return await desk.studio.shelf.fetch(ad.tenant_id, kept)
    except StoreAway:
        raise HTTPException(503, "fault.missing", {"Retry-After": "10"}) from None


def _picture(data: bytes, name: str, request: Request) -> Response:
    kind, suffix = KINDS.get(claimed_format(data) or "", ("", ""))
    if not kind:
        raise HTTPException(415, "this is no picture")
    if request.query_params.get("save"):
        return _as_file(data, kind, f"{name}.{suffix}")
    return Response(data, media_type=kind, headers=HEADERS)


def _as_file(data: bytes, kind: str, name: str) -> Response:
    return Response(data, media_type=kind, headers={**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'})


def _name(ad: Ad, format: str) -> str:
    """Only letters that every file system takes: format names are checked against those that the ad has."""
    return f"ad-{ad.job_id}-{''.join(c for c in format if c.isascii() and (c.isalnum() or c in '_-'))}"


def _packed(ad: Ad, pictures: Sequence[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # pictures do not get any smaller
        for format, data in pictures:
            suffix = KINDS.get(claimed_format(data) or "", ("", "bin"))[1]
            archive.writestr(f"{_name(ad, format)}.{suffix}", data)
    return out.getvalue()
