"""``yolo_detect``: the parts that must not be covered, with weights: faces, the subject, the rest of a person, lone
boxes."""

from __future__ import annotations

from pydantic import BaseModel

from adstudio import results
from adstudio.studio import Studio
from adstudio.vision.importance import SUBJECT
from adstudio.vision.making import detect
from pgbaton.fastapi import Stages, Turn


class DetectAnswer(BaseModel):
    """The things in the photo, how many faces, and the share of the photo (0 to 1) that the subject takes up."""

    labels: list[str]
    faces: int
    subject_share: float


def register(stages: Stages, studio: Studio) -> None:
    """Put the stage at its path."""

    @stages.post("yolo_detect")
    async def look(turn: Turn) -> DetectAnswer:
        """Find the parts that must not be covered."""
        inputs = await turn.read(results.load_inputs)
        file = await studio.shelf.fetch(turn.job["tenant_id"], inputs.photo)
        found = await studio.compute(detect, file, inputs.copy(), studio.detector, studio.subject, studio.faces)
        turn.save(results.save_detection, found)
        return DetectAnswer(
            labels=[thing.label for thing in found.found],
            faces=len(found.faces),
            subject_share=round(float((found.weights >= SUBJECT).mean()), 4),
        )
