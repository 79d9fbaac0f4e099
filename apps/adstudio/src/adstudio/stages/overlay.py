"""``overlay``: the copy is set in the best of the planner's boxes that it fits, and the ad is written."""

from __future__ import annotations

from pydantic import BaseModel

from adstudio import results
from adstudio.studio import FONT, Studio
from adstudio.vision.overlay import CopyDoesNotFit, Overlay, render
from adstudio.vision.photo import encode_jpeg, open_photo
from adstudio.vision.shapes import Box
from pgbaton.fastapi import Stages, Turn


class OverlayAnswer(BaseModel):
    """How the copy was set; ``font_size`` in pixels, ``dropped`` what the font cannot draw."""

    lines: tuple[str, ...]
    font_size: int
    backing: str
    contrast: float
    dropped: tuple[str, ...]


def register(stages: Stages, studio: Studio) -> None:
    """Put the stage at its path."""

    @stages.post("overlay")
    async def overlay(turn: Turn) -> OverlayAnswer:
        """Set the copy and write the ad."""
        inputs = await turn.read(results.load_inputs)
        boxes = await turn.read(results.load_boxes)
        tenant = turn.job["tenant_id"]
        file = await studio.shelf.fetch(tenant, inputs.photo)
        made, jpeg = await studio.compute(_set_in_first_that_fits, file, boxes, inputs.copy)
        turn.save(results.save_overlay, made, await studio.shelf.keep(tenant, jpeg))
        return OverlayAnswer(
            lines=made.lines,
            font_size=made.font_size,
            backing=made.backing,
            contrast=round(made.contrast, 2),
            dropped=made.dropped,
        )


def _set_in_first_that_fits(file: bytes, boxes: list[Box], copy: str) -> tuple[Overlay, bytes]:
    photo = open_photo(file)
    for box in boxes:
        try:
            made = render(photo, box, copy, FONT)
        except CopyDoesNotFit:
            if box is boxes[-1]:
                raise
        else:
            return made, encode_jpeg(made.image)
    raise CopyDoesNotFit("the planner proposed no box")
