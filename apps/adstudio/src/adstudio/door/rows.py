"""From rows of the database to an ad; no I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adstudio.door.ad import STEPS, Ad, Check, Decision, Picture, State, Verdict
from adstudio.notes import language_of
from adstudio.vision.ad_copy import LONGEST


def state_of(row: Mapping[str, Any]) -> State:
    """From a row that has the job's columns, its note's and its last decision's."""
    at = (row["current_step"], row["status"])
    if at == (STEPS[-1], "done"):
        if row["approved"] is None:
            return State.FINISHED
        return State.APPROVED if row["approved"] else State.REJECTED
    if at[0] == "review":
        reviewed = {"waiting": State.FINISHED, "approved": State.APPROVED}
        return reviewed.get(at[1], State.REJECTED)
    if at[1] in ("failed", "given_up"):
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
