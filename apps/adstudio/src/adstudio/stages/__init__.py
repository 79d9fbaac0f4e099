"""The five stages: each reads its inputs, works off the event loop, and saves its results as it ends."""

from __future__ import annotations

from adstudio.stages import llava, overlay, planner, yolo
from adstudio.studio import Studio
from pgbaton.fastapi import Stages


def register(stages: Stages, studio: Studio) -> None:
    """Put all five at their paths."""
    for stage in (llava, yolo, planner, overlay):
        stage.register(stages, studio)
