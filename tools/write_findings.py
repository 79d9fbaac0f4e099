"""Write the index of findings into docs/operations.md and docs/operations.ko.md, from the code's words: `make api`.

A test compares them.
"""

from __future__ import annotations

import re
from pathlib import Path

from pgbaton.counted import outline
from pgbaton.health import WORDS

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {"ko": DOCS / "operations.ko.md", "en": DOCS / "operations.md"}
BEGIN, END = "<!-- findings: written by make api -->", "<!-- end of findings -->"
SAID = {"ko": ("원인", "조치"), "en": ("Comes from", "What to do")}


def index(language: str) -> str:
    """Every sentence as a list, and a paragraph for each."""
    which = 0 if language == "ko" else 1
    why, mends = SAID[language]
    lines = [f"- [{_plain(words.said[which])}](#{code})" for code, words in sorted(WORDS.items())]
    for code, words in sorted(WORDS.items()):
        lines += ["", f"### {code}", "", f"> {_plain(words.said[which])}", ""]
        lines += [f"**{why}.** {_plain(words.why[which])}", "", f"**{mends}.** {_plain(words.mends[which])}"]
    return "\n".join((BEGIN, "", *lines, "", END))


def with_index(page: str, language: str) -> str:
    """The page with the index as it is now."""
    return re.sub(f"{BEGIN}.*?{END}", lambda _: index(language), page, flags=re.DOTALL)


def _plain(text: str) -> str:
    """Values as …, and nothing that Markdown reads as its own."""
    return re.sub(r"([<>\[\]*_|])", r"\\\1", outline(text))


def main() -> None:
    for language, path in PAGES.items():
        path.write_text(with_index(path.read_text(encoding="utf-8"), language), encoding="utf-8")
        print(f"wrote the findings into {path.name}")


if __name__ == "__main__":
    main()
