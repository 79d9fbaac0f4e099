"""Both languages say everything."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

import pgbaton.web
from pgbaton.events import Language
from pgbaton.model import Outcome, State
from pgbaton.web.messages import MESSAGES, duration, preferred, text

WEB = Path(pgbaton.web.__file__).parent


def fields(message: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(message) if name}


def test_every_message_is_in_both_languages_and_names_the_same_values() -> None:
    for key, (korean, english) in MESSAGES.items():
        assert korean.strip(), key
        assert english.strip(), key
        assert fields(korean) == fields(english), key


def test_every_text_that_a_page_asks_for_is_there() -> None:
    for template in WEB.glob("templates/*.html"):
        for key in re.findall(r"\bt\('([a-z0-9_.]+)'\s*[,)]", template.read_text(encoding="utf-8")):
            assert key in MESSAGES, (template.name, key)
    assert {f"state.{s}" for s in State} | {f"outcome.{o}" for o in Outcome} <= set(MESSAGES)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("ko", "ko"),
        ("ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("fr,en;q=0.5,ko;q=0.7", "ko"),
        ("en, ko;q=x", "en"),
        ("ko;q=0", "en"),
    ],
)
def test_the_browsers_first_language_that_we_have_is_taken(header: str, language: Language) -> None:
    assert preferred(header) == language


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (1.26, "1.3 s"),
        (9.99, "10 s"),
        (119, "119 s"),
        (121, "2 min"),
        (7200, "2 h"),
        (180000, "2 d"),
    ],
)
def test_durations_have_two_figures(seconds: float | None, said: str) -> None:
    assert duration("en", seconds) == said


def test_korean_units_stand_at_the_number() -> None:
    assert duration("ko", 4.24) == "4.2초"
    assert text("ko", "confirm.retry", count="3") == "3건을 재시도합니다."
