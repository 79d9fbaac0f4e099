"""The application's own lines in the log, beside the engine's events: the same form, Korean or English."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Literal

from pgbaton.events import shown

Language = Literal["ko", "en"]
Speaker = Callable[..., None]
"""Called with a :class:`Said` and with fields."""


class Said(Enum):
    """An event's machine-readable name, and its text in Korean and in English."""

    EMBEDDED = ("embedded_postgres_started", "내장 Postgres 시작", "embedded Postgres started")
    SERVING = ("serving", "서버 시작", "serving")
    ENDED = ("server_ended", "서버 종료", "server ended")


def speaker(language: Language) -> Speaker:
    """Says things in ``language``."""
    return partial(_say, 1 if language == "ko" else 2)


def _say(text: int, said: Said, **fields: object) -> None:
    told = "".join(f" {name}={shown(value)}" for name, value in fields.items())
    logging.getLogger("adstudio").info(
        "%s event=%s%s", said.value[text], said.value[0], told, extra={"event": said.value[0], "fields": fields}
    )
