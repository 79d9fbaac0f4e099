"""Reads and writes of the stages: one function for each, run by the stage guard on a connection of its choosing.

A repeated stage replaces the results of its earlier attempt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import asyncpg

from adstudio.store import Kept
from adstudio.vision.ad_copy import AdCopy, copy_of_fields
from adstudio.vision.copy_reading import read_copy
from adstudio.vision.errors import Language
from adstudio.vision.formats import Format, chosen
from adstudio.vision.importance import decode_weights, encode_weights
from adstudio.vision.kit import Kit, read_kit
from adstudio.vision.layout import LAYOUTS, Layout
from adstudio.vision.making import Detection, Picture, Planned, chosen_of
from adstudio.vision.shapes import Box, Detected, Verdict
from pgbaton.errors import DatabaseError
from pgbaton.fastapi import StageFailed, Turn

TABLES = (
    "jobs",
    "jobs_variants",
    "ad_inputs",
    "ad_analyses",
    "ad_detections",
    "ad_plans",
    "ad_overlays",
    "ad_judgements",
    "ad_brands",
    "ad_pictures",
    "ad_notes",
    "ad_decisions",
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of an ad, as they are stored: the photo's file, the copy, the formats, the tenant's brand kit."""

    photo: Kept
    text: str
    fields: dict[str, str] | None
    format_names: list[str] | None
    brand: dict[str, Any]
    variants: int = 1
    review: bool = False

    @property
    def by_page(self) -> bool:
        """Whether they came over HTTP: the page keeps a copy by roles, however it came."""
        return self.fields is not None

    def copy(self) -> AdCopy:
        """The copy by roles; where there are both, the fields are how the text was read. Raises ``CopyError``."""
        if not self.fields:
            return read_copy(self.text)
        return copy_of_fields(**self.fields).model_copy(update={"original": self.text or None})

    def formats(self) -> tuple[Format, ...]:
        """Raises ``InputError`` for a format that there is not."""
        return chosen(self.format_names)

    def kit(self) -> Kit:
        """Raises ``BrandError``."""
        return read_kit(**self.brand)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture as it is stored, before or after it was judged."""

    layout: Layout
    place: int
    image: Kept


@cache
def _sql(name: str) -> str:
    return files("adstudio").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


async def check_tables(db: asyncpg.Connection) -> None:
    """Raises :class:`DatabaseError` where a table that the stages need is not there."""
    missing = [row["name"] for row in await db.fetch(_sql("missing_tables"), TABLES)]
    if missing:
        raise DatabaseError(
            f"the database has no table {', '.join(missing)}: `adstudio prepare` makes what is missing, "
            "or apply db/init/*.sql with psql"
        )


async def load_inputs(db: asyncpg.Connection, turn: Turn) -> Inputs:
    """Photo, copy, formats and brand kit. Raises :class:`StageFailed` where the job was given none."""
    row = await _one(db, turn, "load_inputs", "the job has no inputs: nothing is in ad_inputs for it")
    brand = {key: row[key] for key in ("name", "colour", "accent", "logo", "font")}
    fields = json.loads(row["copy_fields"]) if row["copy_fields"] else None
    return Inputs(
        Kept(row["photo"], row["photo_key"]), _copy(row), fields, row["formats"], brand, row["variants"], row["review"]
    )


async def load_detection(db: asyncpg.Connection, turn: Turn) -> Detection:
    """The parts that must not be covered, with their weights."""
    row = await _one(db, turn, "load_detection", "the job has no detection: yolo_detect has left nothing")
    things = [Detected(one["label"], one["score"], Box(**one["box"])) for one in json.loads(row["found"])]
    return Detection(
        row["width"],
        row["height"],
        tuple(thing for thing in things if thing.label != "face"),
        tuple(thing for thing in things if thing.label == "face"),
        decode_weights(row["forbidden"]),
    )


async def load_layouts(db: asyncpg.Connection, turn: Turn) -> list[Layout]:
    """The planner's layouts, those of each format together and best first."""
    row = await _one(db, turn, "load_layouts", "the job has no plan: planner has left nothing")
    return LAYOUTS.validate_json(row["proposals"])


async def load_pictures(db: asyncpg.Connection, turn: Turn) -> list[Drawn]:
    """The pictures that overlay has drawn, by format in the order of the plan, the chosen one first."""
    rows = await db.fetch(_sql("load_pictures"), *_whose(turn))
    if not rows:
        raise StageFailed("the job has no finished ad: overlay has left nothing")
    return [
        Drawn(LAYOUTS.validate_json(f"[{row['layout']}]")[0], row["place"], Kept(row["image"], row["image_key"]))
        for row in rows
    ]


async def load_photo_verdict(db: asyncpg.Connection, turn: Turn) -> Verdict:
    """The verdict of stage 1 about the photo, as stored."""
    row = await _one(db, turn, "load_analysis", "the job has no analysis: vlm_analyze has left nothing")
    return Verdict(row["passed"], row["judge"], tuple(json.loads(row["reasons"])), ())


async def save_analysis(db: asyncpg.Connection, turn: Turn, verdict: Verdict) -> None:
    """Store the verdict of stage 1 about the photo."""
    await _save_verdict(db, turn, "save_analysis", verdict)


async def save_judgement(db: asyncpg.Connection, turn: Turn, verdict: Verdict) -> None:
    """Store the verdict of stage 2 about the ad."""
    await _save_verdict(db, turn, "save_judgement", verdict)


async def save_detection(db: asyncpg.Connection, turn: Turn, detection: Detection) -> None:
    """Boxes, labels, scores, faces among them, and the weights."""
    found = json.dumps([asdict(thing) for thing in (*detection.found, *detection.faces)])
    weights = encode_weights(detection.weights)
    await db.execute(_sql("save_detection"), *_whose(turn), detection.width, detection.height, found, weights)


async def save_plan(db: asyncpg.Connection, turn: Turn, planned: Planned, language: Language) -> None:
    """The layouts, and why formats are missing."""
    refused = {format_.name: reason.told(language) for format_, reason in planned.refused}
    layouts = LAYOUTS.dump_json(list(planned.layouts)).decode()
    await db.execute(_sql("save_plan"), *_whose(turn), layouts, json.dumps(refused, ensure_ascii=False))


async def save_pictures(
    db: asyncpg.Connection, turn: Turn, pictures: Sequence[Picture], images: Sequence[Kept]
) -> None:
    """The pictures, each with the place of its file, in place of those of an earlier attempt; the first format's choice
    is the job's ad."""
    await db.execute(_sql("drop_pictures"), *_whose(turn))
    for picture, image in zip(pictures, images, strict=True):
        await save_picture(db, turn, picture, image)
        if picture is chosen_of(pictures)[0]:
            layout = LAYOUTS.dump_json([picture.layout]).decode()[1:-1]
            await db.execute(_sql("save_overlay"), *_whose(turn), image.data, image.key, layout)


async def save_picture(db: asyncpg.Connection, turn: Turn, picture: Picture, image: Kept) -> None:
    """One picture, where there is none of its format and place."""
    verdict = picture.verdict
    await db.execute(
        _sql("save_picture"),
        *_whose(turn),
        picture.layout.format,
        picture.place,
        picture.layout.master,
        image.data,
        image.key,
        LAYOUTS.dump_json([picture.layout]).decode()[1:-1],
        None if verdict is None else verdict.passed,
        None if verdict is None else json.dumps(verdict.reasons, ensure_ascii=False),
        None if verdict is None else json.dumps([asdict(c) for c in verdict.checks], ensure_ascii=False),
    )


def _copy(row: asyncpg.Record) -> str:
    """A Korean copy goes before an English one."""
    return row["copy_ko"] if (row["copy_ko"] or "").strip() else row["copy_en"] or ""


def _whose(turn: Turn) -> tuple[Any, str]:
    return turn.job["job_id"], turn.job["tenant_id"]


async def _one(db: asyncpg.Connection, turn: Turn, query: str, missing: str) -> asyncpg.Record:
    row = await db.fetchrow(_sql(query), *_whose(turn))
    if row is None:
        raise StageFailed(missing)
    return row


async def _save_verdict(db: asyncpg.Connection, turn: Turn, query: str, verdict: Verdict) -> None:
    reasons = json.dumps(verdict.reasons, ensure_ascii=False)
    checks = json.dumps([asdict(c) for c in verdict.checks], ensure_ascii=False)
    trace = None if verdict.trace is None else json.dumps(dict(verdict.trace), ensure_ascii=False)
    await db.execute(_sql(query), *_whose(turn), verdict.passed, verdict.judge, reasons, checks, trace)
