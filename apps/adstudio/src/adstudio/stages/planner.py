"""``planner``: in every format, where the photo, the panel and each line of type go."""

from __future__ import annotations

from pydantic import BaseModel

from adstudio import results, results_variants
from adstudio.studio import Studio
from adstudio.vision import variants
from adstudio.vision.making import plan_all
from adstudio.vision.planner import CANDIDATES
from pgbaton.fastapi import Stages, Turn


class PlanAnswer(BaseModel):
    """The master chosen for each format, how many layouts there are, and the formats that cannot be."""

    chosen: dict[str, str]
    layouts: int
    refused: dict[str, str]


def register(stages: Stages, studio: Studio) -> None:
    """Put the stage at its path."""

    @stages.post("planner")
    async def plan(turn: Turn) -> PlanAnswer:
        """Lay the ad out in every format."""
        inputs = await turn.read(results.load_inputs)
        detection = await turn.read(results.load_detection)
        file = await studio.shelf.fetch(turn.job["tenant_id"], inputs.photo)
        copy, formats, kit = inputs.copy(), inputs.formats(), inputs.kit()
        varied = inputs.variants > 1
        most = variants.CANDIDATES if varied else CANDIDATES
        planned = await studio.compute(plan_all, file, detection, copy, formats, kit, most)
        turn.save(results.save_plan, planned, copy.language)
        if varied:
            turn.save(results_variants.begin, inputs.variants)
            turn.ends("varied")
        return PlanAnswer(
            chosen={layout.format: layout.master for layout in reversed(planned.layouts)},
            layouts=len(planned.layouts),
            refused={format_.name: reason.told(copy.language) for format_, reason in planned.refused},
        )
