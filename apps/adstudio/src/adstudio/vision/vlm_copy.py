"""A copy in one string parted into roles by a model, where one is configured.

Its answer counts only where it has all of the client's words and no others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from pydantic import BaseModel, ConfigDict

from adstudio.vision.ad_copy import AdCopy, copy_of_fields
from adstudio.vision.copy_reading import read_copy
from adstudio.vision.copytext import tidy
from adstudio.vision.errors import CopyError
from adstudio.vision.parting import doubts
from adstudio.vision.prompts import prompt
from adstudio.vision.vlm import VisionAway, VisionModel, VisionNonsense, ask

PATIENCE: Final = 20.0
"""Seconds that a client waits at the door for the model's reading; after that the rules read."""


class CopyAnswer(BaseModel):
    """The copy by roles; an empty string for a role that it does not have."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    headline: str
    sub: str
    offer: str
    note: str
    cta: str
    brand: str
    legal: str


async def read_with(model: VisionModel | None, text: str) -> AdCopy:
    """The copy in ``text`` as ``model`` parts it, where every word is there once and nothing about it is doubtful;
    otherwise, and where the model is away or answers nonsense, as the rules read it. Raises ``CopyError``."""
    by_rules = await asyncio.to_thread(read_copy, text)  # also refuses what cannot be set
    if model is None:
        return by_rules
    question = prompt("copy").about(text, by_rules.language)
    try:
        async with asyncio.timeout(PATIENCE):
            answer = (await ask(model, None, question, CopyAnswer)).answer
        copy = copy_of_fields(**answer.model_dump())
    except (VisionAway, VisionNonsense, TimeoutError, CopyError):
        return by_rules
    if _signs(text) != _signs(copy.whole) or doubts(text, copy):
        return by_rules
    return copy.model_copy(update={"original": text})


def _signs(text: str) -> Counter[str]:
    """The signs that a model has to keep: no white space, no marks that only part; ``%`` and ``₩`` are kept."""
    return Counter(char for char in tidy(text) if not char.isspace() and char not in ".,!?…—–-|/·:;")
