"""What the stages read and write: one function for each, run by the stage guard on a connection of its choosing.

A repeated stage replaces what its earlier attempt left.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import asyncpg

from adstudio.store import Kept
from adstudio.vision.masks import decode_mask, encode_mask
from adstudio.vision.overlay import Overlay
from adstudio.vision.planner import Plan
from adstudio.vision.shapes import Box, Detected, Mask, Verdict
from pgbaton.errors import DatabaseError
from pgbaton.fastapi import StageFailed, Turn

TABLES = (
    "jobs",
    "ad_inputs",
    "ad_analyses",
    "ad_detections",
    "ad_plans",
    "ad_overlays",
    "ad_judgements",
    "ad_pictures",
    "ad_notes",
    "ad_decisions",
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What an ad is made of: the photo's file as it came, and the copy to set."""

    photo: Kept
    copy: str


@dataclass(frozen=True, slots=True)
class Setting:
    """How the copy of a finished ad was set, as the judge needs it."""

    lines: tuple[str, ...]
    text_box: Box
    contrast: float


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished ad and everything that it is judged by."""

    image: Kept
    setting: Setting
    forbidden: Mask
    copy: str
    photo_verdict: Verdict


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
    """Photo and copy. Raises :class:`StageFailed` where the job was given none."""
    row = await _one(db, turn, "load_inputs", "the job has no inputs: nothing is in ad_inputs for it")
    return Inputs(Kept(row["photo"], row["photo_key"]), _copy(row))


async def load_forbidden(db: asyncpg.Connection, turn: Turn) -> Mask:
    """The area that must not be covered."""
    row = await _one(db, turn, "load_forbidden", "the job has no detection: yolo_detect has left nothing")
    return decode_mask(row["forbidden"])


async def load_boxes(db: asyncpg.Connection, turn: Turn) -> list[Box]:
    """The planner's proposals, best first."""
    row = await _one(db, turn, "load_boxes", "the job has no plan: planner has left nothing")
    return [Box(**proposal["box"]) for proposal in json.loads(row["proposals"])]


async def load_finished(db: asyncpg.Connection, turn: Turn) -> Finished:
    """The ad and what it is judged by."""
    row = await _one(db, turn, "load_finished", "the job has no finished ad: overlay has left nothing")
    setting = json.loads(row["setting"])
    return Finished(
        Kept(row["image"], row["image_key"]),
        Setting(tuple(setting["lines"]), Box(**setting["text_box"]), setting["contrast"]),
        decode_mask(row["forbidden"]),
        _copy(row),
        Verdict(row["passed"], row["judge"], tuple(json.loads(row["reasons"])), ()),
    )


async def save_analysis(db: asyncpg.Connection, turn: Turn, verdict: Verdict) -> None:
    """What stage 1 thinks of the photo."""
    await _save_verdict(db, turn, "save_analysis", verdict)


async def save_judgement(db: asyncpg.Connection, turn: Turn, verdict: Verdict) -> None:
    """What stage 2 thinks of the ad."""
    await _save_verdict(db, turn, "save_judgement", verdict)


async def save_detection(db: asyncpg.Connection, turn: Turn, found: list[Detected], forbidden: Mask) -> None:
    """Boxes, labels, scores and the forbidden area."""
    height, width = forbidden.shape
    found_json = json.dumps([asdict(d) for d in found])
    await db.execute(_sql("save_detection"), *_whose(turn), width, height, found_json, encode_mask(forbidden))


async def save_plan(db: asyncpg.Connection, turn: Turn, plan: Plan) -> None:
    """The proposals, best first."""
    await db.execute(_sql("save_plan"), *_whose(turn), json.dumps([asdict(p) for p in plan.proposals]))


async def save_overlay(db: asyncpg.Connection, turn: Turn, overlay: Overlay, jpeg: Kept) -> None:
    """The ad and how its copy was set."""
    setting = {
        "lines": overlay.lines,
        "font_size": overlay.font_size,
        "text_box": asdict(overlay.text_box),
        "colour": overlay.colour,
        "backing": overlay.backing,
        "contrast": overlay.contrast,
        "dropped": overlay.dropped,
    }
    await db.execute(_sql("save_overlay"), *_whose(turn), jpeg.data, jpeg.key, json.dumps(setting, ensure_ascii=False))


def _copy(row: asyncpg.Record) -> str:
    """The roles go before the strings, a Korean copy before an English one."""
    if row["copy_fields"]:
        return "\n".join(json.loads(row["copy_fields"]).values())
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
