"""``yolo_detect``: what must not be covered, by an object detector and a salient-subject mask together."""

from __future__ import annotations

from pydantic import BaseModel

from adstudio import results
from adstudio.studio import Studio
from adstudio.vision.photo import open_photo
from adstudio.vision.shapes import Detected, Mask
from adstudio.vision.subject import forbidden_area
from pgbaton.fastapi import Stages, Turn


class DetectAnswer(BaseModel):
    """What was seen, and the share of the photo (0 to 1) that must stay free."""

    labels: list[str]
    forbidden_share: float


def register(stages: Stages, studio: Studio) -> None:
    """Put the stage at its path."""

    @stages.post("yolo_detect")
    async def detect(turn: Turn) -> DetectAnswer:
        """Find what must not be covered."""
        inputs = await turn.read(results.load_inputs)
        file = await studio.shelf.fetch(turn.job["tenant_id"], inputs.photo)
        found, forbidden = await studio.compute(_look, studio, file)
        turn.save(results.save_detection, found, forbidden)
        return DetectAnswer(labels=[d.label for d in found], forbidden_share=round(float(forbidden.mean()), 4))


def _look(studio: Studio, file: bytes) -> tuple[list[Detected], Mask]:
    photo = open_photo(file)
    found = studio.detector.detect(photo)
    return found, forbidden_area(found, studio.subject.mask(photo), photo.shape[:2])
