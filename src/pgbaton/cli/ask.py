"""The questions before an act on every job."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from pgbaton.cli.speech import told

if TYPE_CHECKING:
    from pgbaton.cli.speech import Sentence

NEEDS_YES: Sentence = (
    "모든 작업에 적용하려면 터미널에서 건수를 입력하거나 --yes를 지정하세요",
    "to do this to every job, type their number on a terminal or give --yes",
)
TYPE_IT: Sentence = (
    "{what}: 대상 {count}건. 계속하려면 건수를 입력하세요",
    "{what}: {count:# job|# jobs}. Type the number to go on",
)
NOT_DONE: Sentence = ("아무것도 바꾸지 않았습니다", "nothing was changed")


def agreed(count: int, what: Sentence, *, yes: bool) -> None:
    """Go on only if a person types ``count`` (above the counting limit: ``10000+``), or has given ``--yes``.

    Raises :class:`typer.Exit` (1) where they type something else, :class:`typer.BadParameter` (exit code 2) without a
    terminal to ask at.
    """
    from pgbaton.insights import shown_count

    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise typer.BadParameter(told(NEEDS_YES))
    wanted = shown_count(count)
    print(told(TYPE_IT, what=told(what), count=wanted) + ": ", end="", file=sys.stderr, flush=True)
    typed = sys.stdin.readline().strip()
    if typed.replace(",", "") != wanted.replace(",", ""):
        print(told(NOT_DONE), file=sys.stderr)
        raise typer.Exit(1)
