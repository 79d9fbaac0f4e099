"""``overlay``: every layout is drawn, and the pictures are kept."""

from __future__ import annotations

from pydantic import BaseModel

from adstudio import results
from adstudio.studio import Studio
from adstudio.vision.making import chosen_of, draw_all
from pgbaton.fastapi import Stages, Turn


class OverlayAnswer(BaseModel):
    """The lines of the first format's ad as they were set, and how many pictures there are of each format."""

    lines: tuple[str, ...]
    pictures: dict[str, int]


def register(stages: Stages, studio: Studio) -> None:
    """Put the stage at its path."""

    @stages.post("overlay")
    async def overlay(turn: Turn) -> OverlayAnswer:
        """Draw the ads."""
        inputs = await turn.read(results.load_inputs)
        layouts = await turn.read(results.load_layouts)
        tenant = turn.job["tenant_id"]
        file = await studio.shelf.fetch(tenant, inputs.photo)
        pictures = await studio.compute(draw_all, file, layouts, inputs.copy(), inputs.kit())
        images = [await studio.shelf.keep(tenant, picture.jpeg) for picture in pictures]
        turn.save(results.save_pictures, pictures, images)
        counts: dict[str, int] = {}
        for picture in pictures:
            counts[picture.layout.format] = counts.get(picture.layout.format, 0) + 1
        lines = tuple(line.text for line in chosen_of(pictures)[0].layout.lines)
        return OverlayAnswer(lines=lines, pictures=counts)
