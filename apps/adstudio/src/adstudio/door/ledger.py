"""Writes and reads of the door: each statement names the tenant, and finds no ad of another one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import asyncpg

from adstudio.door.ad import Ad
from adstudio.door.order import Order
from adstudio.door.rows import ad_of
from adstudio.store import Kept

MOST_LISTED = 60


@cache
def _sql(name: str) -> str:
    return files("adstudio").joinpath("sql", f"door_{name}.sql").read_text(encoding="utf-8")


def job_for(tenant: str, idempotency_key: str | None) -> UUID:
    """A new job's id; the same one where a client sends the same key again."""
    return uuid4() if not idempotency_key else uuid5(NAMESPACE_URL, json.dumps(["adstudio", tenant, idempotency_key]))


async def place(db: asyncpg.Connection, job: UUID, tenant: str, order: Order, photo: Kept) -> bool:
    """Make the job with its inputs, and hand it over: all of it or nothing. False: it was there already."""
    async with db.transaction():
        if not await db.fetchval(_sql("add"), job, tenant):
            return False
        copy = json.dumps(order.copy.fields(), ensure_ascii=False)
        original = (order.copy.original, None) if order.copy.language == "ko" else (None, order.copy.original)
        wanted = list(order.formats), order.variants, order.review
        await db.execute(_sql("add_inputs"), job, tenant, photo.data, photo.key, copy, *wanted, *original)
        await db.execute(_sql("hand_over"), job)
    return True


async def look(db: asyncpg.Connection, job: UUID, tenant: str | None, base: str) -> Ad | None:
    """The ad, if there is one and it is this tenant's (``None``: any tenant's)."""
    row = await db.fetchrow(_sql("ad"), job, tenant)
    return None if row is None else ad_of(row, await db.fetch(_sql("pictures"), job), base)


async def newest(db: asyncpg.Connection, tenant: str) -> list[Mapping[str, Any]]:
    """The tenant's newest ads, as rows."""
    return list(await db.fetch(_sql("list"), tenant, MOST_LISTED))


async def picture(db: asyncpg.Connection, ad: Ad, format: str, place: int) -> Kept | None:
    """One picture of the ad."""
    return _kept(await db.fetchrow(_sql("picture"), ad.job_id, ad.tenant_id, format, place))


async def photo(db: asyncpg.Connection, ad: Ad) -> Kept | None:
    """The photo that the ad is made of."""
    return _kept(await db.fetchrow(_sql("photo"), ad.job_id, ad.tenant_id))


async def brand(db: asyncpg.Connection, tenant: str) -> dict[str, Any]:
    """The tenant's brand kit as it is stored; of one that has none, nothing in every place."""
    row = await db.fetchrow(_sql("brand"), tenant)
    return dict(row) if row else dict.fromkeys(("name", "colour", "accent", "logo", "font"))


async def save_brand(db: asyncpg.Connection, tenant: str, kit: Mapping[str, Any]) -> None:
    """Replace it."""
    parts = [kit[name] for name in ("name", "colour", "accent", "logo", "font")]
    await db.execute(_sql("save_brand"), tenant, *parts)


async def decide(
    db: asyncpg.Connection, ad: Ad, approved: bool, reason: str, chosen: Mapping[str, int]
) -> datetime | None:
    """Keep a person's decision; ``None`` where the ad is not finished."""
    said = json.dumps(dict(chosen))
    decided: datetime | None = await db.fetchval(_sql("decide"), ad.job_id, ad.tenant_id, approved, reason, said)
    return decided


def _kept(row: asyncpg.Record | None) -> Kept | None:
    return None if row is None else Kept(row["image"], row["image_key"])
