"""The texts of one finding."""

from __future__ import annotations

from typing import NamedTuple

from pgbaton.insights.words import Sentence


class Words(NamedTuple):
    """``said``: the trouble. ``why``: its usual cause. ``mends``: the remedy. Each in Korean and in
    English, with ``{name}`` where a value of the finding goes."""

    said: Sentence
    why: Sentence
    mends: Sentence
