"""Conditions on a row's columns, as a route or a stage states them: ``kind = 'photo' and size > 2000``.

A small grammar of comparisons with constants, joined by ``and``. Nothing of the user's enters SQL as it was written: a
condition is read, and written again with its names and constants quoted. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^']|'')*')
          |(?P<number>[+-]?\d+(?:\.\d+)?)
          |"(?P<name>[^"\x00-\x1f\x7f]{1,63})"
          |(?P<word>[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)
          |(?P<sign><=|>=|!=|<>|=|<|>|\(|\)|,))""",
    re.VERBOSE,
)
_SIGNS = ("=", "!=", "<>", "<", "<=", ">", ">=")
LONGEST = 1000
"""Characters of a condition."""
GRAMMAR = (
    "comparisons of a column with a constant, joined by 'and', such as: kind = 'photo' and size > 2000. "
    "There are = != < <= > >=, in ('a', 'b'), is null, is not null; constants are 'text', 12.5, true, false"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """``column sign constant``; ``sign`` is one of ``= <> < <= > >=``, ``in``, ``is null``, ``is not null``."""

    column: str
    sign: str
    constants: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = ", ".join(constants if (constants := _plain(c)) else _quoted(c) for c in self.constants)
        name = self.column if re.fullmatch(r"[a-z_][a-z0-9_]*", self.column) else f'"{self.column}"'
        if self.sign == "in":
            return f"{name} in ({shown})"
        return f"{name} {self.sign} {shown}".rstrip()


Condition = tuple[Comparison, ...]


def _plain(constant: str) -> str:
    return constant if re.fullmatch(r"[+-]?\d+(\.\d+)?|true|false", constant) else ""


def _quoted(constant: str) -> str:
    return "'" + constant.replace("'", "''") + "'"


def shown(condition: Condition) -> str:
    """The condition as people write it; reading it again gives the same."""
    return " and ".join(str(comparison) for comparison in condition)


def read(text: str) -> Condition:
    """The condition that ``text`` states. Raises ``ValueError`` that says where it ends to be one."""
    if len(text) > LONGEST:
        raise ValueError(f"must be at most {LONGEST} characters")
    reader = _Reader(text)
    found = [reader.comparison()]
    while reader.word("and"):
        found.append(reader.comparison())
    reader.end()
    return tuple(found)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def comparison(self) -> Comparison:
        column = self._column()
        if self.word("is"):
            negated = self.word("not")
            if not self.word("null"):
                raise self._unlike("null")
            return Comparison(column, "is not null" if negated else "is null")
        if self.word("in"):
            self._sign("(")
            constants = [self._constant()]
            while self._has(","):
                constants.append(self._constant())
            self._sign(")")
            return Comparison(column, "in", tuple(constants))
        for sign in sorted(_SIGNS, key=len, reverse=True):
            if self._has(sign):
                return Comparison(column, "<>" if sign == "!=" else sign, (self._constant(),))
        raise self._unlike("a comparison")

    def word(self, word: str) -> bool:
        found = _TOKEN.match(self._text, self._at)
        if found and (found["word"] or "").lower() == word:
            self._at = found.end()
            return True
        return False

    def end(self) -> None:
        if self._text[self._at :].strip():
            raise self._unlike("'and' or the end")

    def _column(self) -> str:
        found = _TOKEN.match(self._text, self._at)
        name = found and (found["name"] or found["word"])
        if not found or not name or len(name.encode()) > 63:
            raise self._unlike("a column")
        self._at = found.end()
        return name

    def _constant(self) -> str:
        found = _TOKEN.match(self._text, self._at)
        if found:
            constant = None
            if found["text"] is not None and "\x00" not in found["text"]:
                constant = found["text"][1:-1].replace("''", "'")
            elif found["number"] is not None:
                constant = found["number"]
            elif (found["word"] or "").lower() in ("true", "false"):
                constant = found["word"].lower()
            if constant is not None:
                self._at = found.end()
                return constant
        raise self._unlike("a constant")

    def _has(self, sign: str) -> bool:
        found = _TOKEN.match(self._text, self._at)
        if found and found["sign"] == sign:
            self._at = found.end()
            return True
        return False

    def _sign(self, sign: str) -> None:
        if not self._has(sign):
            raise self._unlike(repr(sign))

    def _unlike(self, wanted: str) -> ValueError:
        rest = self._text[self._at :].strip()[:40]
        found = f"before {rest!r}" if rest else "at its end"
        return ValueError(f"not a condition: {wanted} is missing {found}; it takes {GRAMMAR}")
