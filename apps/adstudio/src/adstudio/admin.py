"""The operators' page of app-yh: pgbaton's, with the ad itself on each job's page."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal
from uuid import UUID

from fastapi import Depends, Response
from markupsafe import Markup

from adstudio.config import AppSettings
from adstudio.store import Kept, Shelf, StoreAway
from adstudio.vision.photo_format import claimed_format
from pgbaton import Settings
from pgbaton.fastapi import Stages
from pgbaton.web import Dashboard, View, dashboard

KINDS = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp"}

TEXT = {
    "ko": ("광고", "만든 광고", "원본 사진", "통과", "불통과"),
    "en": ("The ad", "the finished ad", "the photo", "passed", "not passed"),
}


@cache
def _sql(name: str) -> str:
    return files("adstudio").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def admin_page(settings: AppSettings, worker: Settings, stages: Stages, shelf: Shelf | None = None) -> Dashboard:
    """The page, for readers who know a token. Raises :class:`ConfigError` where none is set."""

    pictures = shelf or Shelf(None)

    async def ad(view: View, key: str) -> Markup | None:
        try:
            job = UUID(key)
        except ValueError:
            return None
        row = await stages.pool.fetchrow(_sql("admin_ad"), job)
        if row is None:
            return None
        title, finished, photo, passed, failed = TEXT[view.language]
        images = [("ad", finished)] if row["finished"] else []
        shown = Markup("").join(
            Markup('<figure><img src="{}" alt="{}" loading="lazy"><figcaption>{}</figcaption></figure>').format(
                view.url(f"ads/{job}/{which}"), alt, alt
            )
            for which, alt in [*images, ("photo", photo)]
        )
        verdict = Markup("")
        if row["passed"] is not None:
            words = [passed if row["passed"] else failed, row["judge"], *row["reasons"][:5]]
            verdict = Markup('<p class="small soft">{}</p>').format(" · ".join(words)[:600])
        return Markup('<h2>{}</h2><p>{}</p><div class="figures">{}</div>{}').format(
            title, (row["copy"] or "")[:300], shown, verdict
        )

    admin = dashboard(
        worker,
        pipeline=stages.pipeline.name,
        token=_said(settings, "pgbaton_web_token"),
        viewer_token=_said(settings, "pgbaton_web_viewer_token"),
        job_extra=ad,
        title=f"app-{settings.part_name}",
    )

    @admin.get("/ads/{job}/{which}", dependencies=[Depends(admin.viewer)])
    async def image(job: UUID, which: Literal["ad", "photo"]) -> Response:
        row = await stages.pool.fetchrow(_sql("admin_image"), job, which == "ad")
        if row is None:
            return Response(status_code=404)
        try:
            found = await pictures.fetch(row["tenant_id"], Kept(row["image"], row["image_key"]))
        except StoreAway:
            return Response(status_code=503)
        kind = KINDS.get(claimed_format(found) or "")
        if kind is None:
            return Response(status_code=415)
        headers = {
            "Cache-Control": "private, no-cache",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        return Response(found, media_type=kind, headers=headers)

    return admin


def _said(settings: AppSettings, name: Literal["pgbaton_web_token", "pgbaton_web_viewer_token"]) -> str | None:
    secret = getattr(settings, name)
    return secret.get_secret_value() if secret else None
