"""One ad as a client sees it: where it is, what it says, its pictures and what was decided. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from adstudio.notes import language_of
from adstudio.vision.ad_copy import LONGEST
from adstudio.vision.errors import Language
from adstudio.vision.formats import FORMATS

STEPS = ("img_gen", "vlm_analyze", "yolo_detect", "planner", "overlay", "vlm_judge")


class State(StrEnum):
    """``held``: waits for something that is away, and goes on by itself."""

    WAITING = "waiting"
    WORKING = "working"
    HELD = "held"
    FAILED = "failed"
    FINISHED = "finished"
    APPROVED = "approved"
    REJECTED = "rejected"

    @property
    def moves(self) -> bool:
        """Whether it changes without a person."""
        return self in (State.WAITING, State.WORKING, State.HELD)


class Check(BaseModel):
    """One question asked of a picture."""

    name: str
    passed: bool
    value: float | str | None = None
    limit: float | str | None = None
    unit: str = ""
    reason: str = ""


class Picture(BaseModel):
    """A candidate in a format; ``place`` 0 is the suggested one."""

    format: str
    place: int
    master: str
    url: str
    passed: bool | None
    reasons: list[str]
    checks: list[Check]


class Verdict(BaseModel):
    """What the judge concluded of the whole ad."""

    passed: bool
    judge: str
    reasons: list[str]
    checks: list[Check]


class Decision(BaseModel):
    """What a person decided; ``chosen``: the candidate's place for each format."""

    approved: bool
    reason: str
    chosen: dict[str, int]
    decided_at: datetime


class Ad(BaseModel):
    """The answer of ``GET /ads/{id}``. ``sentence``: why it is held up or was not made;
    ``refused``: why there is no picture of a format that was wanted."""

    job_id: UUID
    tenant_id: str
    state: State
    step: str
    status: str
    language: Language
    copy_: dict[str, str] = Field(serialization_alias="copy")
    created_at: datetime
    updated_at: datetime
    sentence: str | None
    verdict: Verdict | None
    photo: str | None
    pictures: list[Picture]
    refused: dict[str, str]
    decision: Decision | None
    download: str | None

    def by_format(self) -> list[tuple[str, list[Picture]]]:
        """The pictures of each format, in the order of the formats."""
        order = {name: n for n, name in enumerate(FORMATS)}
        ranked = sorted(self.pictures, key=lambda p: (order.get(p.format, len(order)), p.format, p.place))
        return [(name, list(group)) for name, group in groupby(ranked, key=lambda p: p.format)]

    def chosen(self) -> list[Picture]:
        """One picture for each format: the one decided on, else the suggested one."""
        picked = self.decision.chosen if self.decision else {}
        return [
            next((p for p in group if p.place == picked.get(name, 0)), group[0]) for name, group in self.by_format()
        ]


def state_of(row: Mapping[str, Any]) -> State:
    """From a row that has the job's columns, its note's and its last decision's."""
    at = (row["current_step"], row["status"])
    if at == (STEPS[-1], "done"):
        if row["approved"] is None:
            return State.FINISHED
        return State.APPROVED if row["approved"] else State.REJECTED
    if row["status"] == "failed":
        return State.FAILED
    if row["final"] is False and row["noted_at"] >= row["updated_at"]:
        return State.HELD
    return State.WAITING if at[0] == STEPS[0] else State.WORKING


def copy_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The copy by roles; one that came as a string is all headline."""
    if row["copy_fields"]:
        stored = json.loads(row["copy_fields"])  # jsonb has an order of its own
        return {role: str(stored[role]) for role in LONGEST if stored.get(role)}
    whole = row["copy_ko"] if (row["copy_ko"] or "").strip() else row["copy_en"]
    return {"headline": whole} if whole else {}


def ad_of(row: Mapping[str, Any], pictures: Sequence[Mapping[str, Any]], base: str) -> Ad:
    """The ad in rows of ``door_ad`` and ``door_pictures``; ``base``: the path that its addresses begin with."""
    state, copy, here = state_of(row), copy_of(row), f"{base}/{row['job_id']}"
    told = row["sentence"] if state is State.HELD or (state is State.FAILED and _about_this(row)) else None
    return Ad(
        job_id=row["job_id"],
        tenant_id=row["tenant_id"],
        state=state,
        step=row["current_step"],
        status=row["status"],
        language=language_of(" ".join(copy.values()) if copy else None),
        copy_=copy,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        sentence=told,
        verdict=_verdict(row),
        photo=f"{here}/photo" if row["has_photo"] else None,
        pictures=[_picture(picture, here) for picture in pictures],
        refused={str(name): str(why) for name, why in json.loads(row["refused"] or "{}").items()},
        decision=_decision(row),
        download=f"{here}/download" if pictures else None,
    )


def _about_this(row: Mapping[str, Any]) -> bool:
    """Whether the note is about the step that failed, not about an earlier one that has been mended since."""
    return bool(row["final"]) and row["note_step"] == row["current_step"]


def _picture(row: Mapping[str, Any], here: str) -> Picture:
    return Picture(
        format=row["format"],
        place=row["place"],
        master=row["master"],
        url=f"{here}/pictures/{row['format']}/{row['place']}",
        passed=row["passed"],
        reasons=_list(row["reasons"]),
        checks=[Check.model_validate(check) for check in _list(row["checks"])],
    )


def _verdict(row: Mapping[str, Any]) -> Verdict | None:
    if row["passed"] is None:
        return None
    checks = [Check.model_validate(check) for check in _list(row["checks"])]
    return Verdict(passed=row["passed"], judge=row["judge"], reasons=_list(row["reasons"]), checks=checks)


def _decision(row: Mapping[str, Any]) -> Decision | None:
    if row["approved"] is None:
        return None
    chosen = {str(name): int(place) for name, place in json.loads(row["chosen"]).items()}
    return Decision(approved=row["approved"], reason=row["reason"], chosen=chosen, decided_at=row["decided_at"])


def _list(stored: str | None) -> list[Any]:
    return list(json.loads(stored)) if stored else []
