"""The sentence that a job keeps when a stage could not work on it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from uuid import UUID

import asyncpg

from adstudio.vision.copytext import has_hangul
from adstudio.vision.errors import Language


@cache
def _sql(name: str) -> str:
    return files("adstudio").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def language_of(copy: str | None) -> Language:
    """A job's language is its copy's: Korean with any Hangul in it, and where it has no letters to tell it by."""
    letters = any(char.isalpha() for char in copy or "")
    return "en" if letters and not has_hangul(copy or "") else "ko"


async def language_of_job(db: asyncpg.Connection, job: UUID) -> Language:
    """As :func:`language_of`, of a job's copy."""
    return language_of(await db.fetchval(_sql("load_copy"), job))


async def put_back(db: asyncpg.Connection, pipeline: str, key: str, step: str, entry: tuple[str, str]) -> None:
    """From (``step``, running) to ``entry``, where the stage found it: an ad, or a variant."""
    await db.execute(_sql("put_back_variant" if pipeline == "ad_variants" else "put_back"), key, step, *entry)


async def note(
    db: asyncpg.Connection, job: UUID, tenant: str, step: str, sentence: str, *, final: bool, trace: str | None
) -> None:
    """Keep the sentence. ``final`` false: the job goes on by itself."""
    await db.execute(_sql("save_note"), job, tenant, step, sentence, final, trace)
