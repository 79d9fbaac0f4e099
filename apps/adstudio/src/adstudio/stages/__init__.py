"""The five stages of an ad, and the three of a variant.

Each reads its inputs, works off the event loop, and saves its results as it ends.
"""

from __future__ import annotations

from adstudio.stages import llava, overlay, planner, variants, yolo
from adstudio.studio import Studio
from pgbaton.fastapi import Stages


def register(stages: Stages, studio: Studio) -> None:
    """Put all five at their paths."""
    for stage in (llava, yolo, planner, overlay):
        stage.register(stages, studio)


def register_variants(stages: Stages, studio: Studio) -> None:
    """Put those of a variant at theirs."""
    variants.register(stages, studio)
