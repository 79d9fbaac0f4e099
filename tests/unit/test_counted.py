"""In English a count says whether one thing is meant or several, in every sentence that has one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pgbaton
from pgbaton.counted import Counted, filled, outline

SOURCE = Path(pgbaton.__file__).parent
HANGUL = re.compile("[\uac00-\ud7a3]")
SEVERAL = re.compile(
    r"(?<![,.\d])\b1 (?:[a-z]+ )?(?:jobs|rows|calls|changes|dispatches|records|connections|workers|databases|children|"
    r"slots|places|times|tries|commits|viewers|wait|stand|are|were|have|move)\b"
)
NEVER_ONE = ("{count} failed calls", "{times} times or more", "{most} connections are taken")
"""Counts in these are always more."""


def sentences() -> Iterator[tuple[str, str]]:
    """Every text in Korean and English, wherever it is written: a tuple of two, the first with Hangul."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple) and len(node.elts) == 2:
                said = [e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
                if len(said) == 2 and HANGUL.search(said[0]):
                    yield said[0], said[1]


def with_one(template: str) -> str:
    """With 1 in each place."""
    parts = [(name, spec) for _, name, spec, _ in Formatter().parse(template) if name]
    return filled(template, {name: 1.0 if spec and spec[0] == "." else 1 for name, spec in parts})


def wrong(said: str) -> list[str]:
    return SEVERAL.findall(said)


def test_a_sentence_with_one_of_anything_does_not_speak_of_several() -> None:
    counted = [english for _, english in sentences() if "{" in english and not any(n in english for n in NEVER_ONE)]
    assert len(counted) > 150
    assert [said for said in map(with_one, counted) if wrong(said)] == []


def test_what_is_looked_for_is_found() -> None:
    assert wrong("1 calls of it") == ["1 calls"]
    assert wrong("1 open dispatches") == ["1 open dispatches"]
    assert wrong("1 wait for it") == ["1 wait"]
    assert wrong("1 job of 1 waits, 21 jobs") == []


def test_a_count_chooses_the_words_beside_it() -> None:
    said = "{count:# job waits|# jobs wait} at {stage!r}{share}"
    assert filled(said, {"count": 1, "stage": "cut", "share": 0.5}) == "1 job waits at 'cut'0.5"
    assert filled(said, {"count": "10,000+", "stage": "cut", "share": ""}) == "10,000+ jobs wait at 'cut'"
    assert filled(said, {"count": 0, "stage": "1|#", "share": ""}) == "0 jobs wait at '1|#'"
    assert f"{Counted(1):>3}" == "  1"


def test_an_outline_shows_values_as_dots() -> None:
    assert outline("{count:# job waits|# jobs wait} at {stage} for {oldest}") == "… jobs wait at … for …"
