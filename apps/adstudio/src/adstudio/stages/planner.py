"""``planner``: where the copy may go."""

from __future__ import annotations

from pydantic import BaseModel

from adstudio import results
from adstudio.studio import FONT, Studio
from adstudio.vision.errors import CopyError
from adstudio.vision.font import covered
from adstudio.vision.photo import open_photo
from adstudio.vision.planner import Plan, propose
from adstudio.vision.setting_text import drawable
from adstudio.vision.shapes import Mask
from pgbaton.fastapi import Stages, Turn


class PlanAnswer(BaseModel):
    """How many places there are, and how good (0 to 1) the best of them is."""

    proposals: int
    best_score: float


def register(stages: Stages, studio: Studio) -> None:
    """Put the stage at its path."""

    @stages.post("planner")
    async def plan(turn: Turn) -> PlanAnswer:
        """Propose boxes for the copy that keep clear of what must not be covered."""
        inputs = await turn.read(results.load_inputs)
        forbidden = await turn.read(results.load_forbidden)
        file = await studio.shelf.fetch(turn.job["tenant_id"], inputs.photo)
        found = await studio.compute(_plan, file, forbidden, inputs.copy)
        if not found.proposals:
            raise CopyError(found.reason or "there is no room for the copy")
        turn.save(results.save_plan, found)
        return PlanAnswer(proposals=len(found.proposals), best_score=round(found.proposals[0].score, 4))


def _plan(file: bytes, forbidden: Mask, copy: str) -> Plan:
    return propose(open_photo(file), forbidden, drawable(copy, covered(FONT)).text)
