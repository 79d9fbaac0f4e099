"""The words of commands, in the language of ``PGBATON_LOG_LANGUAGE``."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import TYPE_CHECKING, NoReturn

import typer

from pgbaton.cli.tables import plain
from pgbaton.counted import filled

if TYPE_CHECKING:
    from pgbaton.events import Language

Sentence = tuple[str, str]
"""In Korean and in English, with ``{name}`` where a value goes."""


@cache
def language() -> Language:
    """The setting. Raises :class:`~pgbaton.errors.ConfigError` where it is no language."""
    said = os.environ.get("PGBATON_LOG_LANGUAGE", "en")
    if said == "ko":
        return "ko"
    if said == "en":
        return "en"
    from pgbaton.config import load_settings

    return load_settings().log_language


def told(sentence: Sentence, **values: object) -> str:
    """The sentence with its values, which may be text of others' making."""
    return filled(sentence[0 if language() == "ko" else 1], {k: plain(v) for k, v in values.items()})


def tell(sentence: Sentence, **values: object) -> None:
    """Say it on standard output."""
    print(told(sentence, **values))


def warn(sentence: Sentence, **values: object) -> None:
    """Say it on standard error."""
    print(f"pgbaton: {told(sentence, **values)}", file=sys.stderr)


def fail(sentence: Sentence, **values: object) -> NoReturn:
    """Say it on standard error and end with exit code 1."""
    warn(sentence, **values)
    raise typer.Exit(1)
