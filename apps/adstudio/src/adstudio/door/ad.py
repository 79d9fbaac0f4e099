"""One ad as a client sees it: its state, its copy, its pictures and the decisions about it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from itertools import groupby
from uuid import UUID

from pydantic import BaseModel, Field

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
    """The judge's verdict about the whole ad."""

    passed: bool
    judge: str
    reasons: list[str]
    checks: list[Check]


class Decision(BaseModel):
    """A person's decision; ``chosen``: the candidate's place for each format."""

    approved: bool
    reason: str
    chosen: dict[str, int]
    decided_at: datetime


def waits_for_a_word(step: str, passed: bool | None) -> bool:
    """Whether only a person's word on the reading of its copy is missing: an ad that fails otherwise is not there."""
    return step == "review" and passed is False


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

    @property
    def to_confirm(self) -> bool:
        """As :func:`waits_for_a_word`."""
        return waits_for_a_word(self.step, None if self.verdict is None else self.verdict.passed)

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
