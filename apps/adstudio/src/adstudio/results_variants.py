"""Reads and writes of the stages for an ad's variants, as those of ``results`` for the ad."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import asyncpg

from adstudio import results
from adstudio.store import Kept
from adstudio.vision.layout import LAYOUTS, Layout
from adstudio.vision.making import Picture
from adstudio.vision.measured import JUDGE
from adstudio.vision.shapes import Check, Verdict
from pgbaton.fastapi import Turn

Stored = tuple[Picture, Kept]
"""A picture, its file left where it is kept (``jpeg`` is empty), and where that is."""


@cache
def _sql(name: str) -> str:
    return files("adstudio").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


async def begin(db: asyncpg.Connection, turn: Turn, count: int) -> None:
    """The rows of an ad's variants, in place of those of an earlier attempt, and none of its pictures."""
    whose = turn.job["job_id"], turn.job["tenant_id"]
    await db.execute(_sql("drop_variants"), *whose)
    await db.execute(_sql("drop_pictures"), *whose)
    await db.execute(_sql("add_variants"), *whose, count)


async def layouts(db: asyncpg.Connection, turn: Turn) -> list[Layout]:
    """Those that the variant draws in this round."""
    return LAYOUTS.validate_json(turn.job["layouts"])


async def save_layouts(db: asyncpg.Connection, turn: Turn, planned: Sequence[Layout]) -> None:
    """The layouts of a further round."""
    await db.execute(_sql("save_variant"), turn.job["variant_id"], LAYOUTS.dump_json(list(planned)).decode())


async def pictures(db: asyncpg.Connection, turn: Turn) -> list[Stored]:
    """The variant's pictures."""
    rows = await db.fetch(_sql("load_variant_pictures"), turn.job["job_id"], turn.job["tenant_id"], place_of(turn))
    return [_stored(row) for row in rows]


async def save_pictures(db: asyncpg.Connection, turn: Turn, stored: Sequence[Stored]) -> None:
    """Pictures of the variant, in place of those of their formats."""
    formats = [picture.layout.format for picture, _ in stored]
    whose = turn.job["job_id"], turn.job["tenant_id"]
    await db.execute(_sql("drop_variant_pictures"), *whose, place_of(turn), formats)
    for picture, image in stored:
        await results.save_picture(db, turn, picture, image)


async def judged(
    db: asyncpg.Connection, turn: Turn, formats: Sequence[str], judge: str
) -> tuple[list[Stored], list[int]]:
    """All pictures of an ad's variants in the order of ``formats``, judged by ``judge``, and the places of the variants
    that passed."""
    whose = turn.job["job_id"], turn.job["tenant_id"]
    passed = [row["number"] - 1 for row in await db.fetch(_sql("load_passed_variants"), *whose)]
    rows = await db.fetch(_sql("load_judged_pictures"), *whose)
    stored = [_stored(row, judge) for row in rows if row["format"] in formats]
    return sorted(stored, key=lambda one: (formats.index(one[0].layout.format), one[0].place)), passed


def place_of(turn: Turn) -> int:
    """Where the variant's pictures are among its ad's."""
    return int(turn.job["number"]) - 1


def _stored(row: asyncpg.Record, judge: str = JUDGE) -> Stored:
    verdict = None
    if row["passed"] is not None:
        checks = tuple(Check(**check) for check in json.loads(row["checks"]))
        verdict = Verdict(row["passed"], judge, tuple(json.loads(row["reasons"])), checks)
    layout = LAYOUTS.validate_json(f"[{row['layout']}]")[0]
    return Picture(layout, row["place"], b"", verdict), Kept(row["image"], row["image_key"])
