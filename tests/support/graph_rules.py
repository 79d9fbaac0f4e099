"""A graph of states, interpreted in the plainest way: what becomes of one row, step by step. No SQL, no journal.

It is written from the guide and shares nothing with the product but the pipeline's own description.
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from pgbaton.model import Pipeline, Route, Stage

State = tuple[str, str]
_PARTS = re.compile(r"(\w+) (<=|>=|<>|=|<|>|is null|is not null|in)\s*(.*)")
_SIGNS: dict[str, Callable[[object, object], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def fits(condition: str | None, row: dict[str, object]) -> bool:
    """Whether the row fits, as SQL has it: a comparison with null does not."""
    return condition is None or all(_holds(part, row) for part in condition.split(" and "))


def _holds(part: str, row: dict[str, object]) -> bool:
    found = _PARTS.fullmatch(part.strip())
    assert found, part
    value, sign, said = row.get(found[1]), found[2], found[3]
    if sign.startswith("is"):
        return (value is None) == (sign == "is null")
    if value is None:
        return False
    constants = [_like(value, text) for text in re.findall(r"'(?:[^']|'')*'|[-+\w.]+", said)]
    return value in constants if sign == "in" else _SIGNS[sign](value, constants[0])


def _like(value: object, text: str) -> object:
    plain = text[1:-1].replace("''", "'") if text.startswith("'") else text
    return int(float(plain)) if isinstance(value, int) else plain


@dataclass
class Interpreter:
    """One job's way. ``says``: the status that a stage writes when it is called the n-th time for the job."""

    pipeline: Pipeline
    row: dict[str, object]
    says: Callable[[str, int], str]
    at: State
    called: list[str] = field(default_factory=list)
    _rounds: Counter[int] = field(default_factory=Counter)

    def run(self, most: int = 1000) -> State:
        """Until nothing leads on; more than ``most`` steps are an endless way."""
        for _ in range(most):
            if not self._step():
                return self.at
        raise AssertionError(f"endless: {self.called}")

    def _step(self) -> bool:
        if self.at[1] == "due":  # a stage of its own route that was counted or delayed
            return self._call(next(s for s in self.pipeline.stages if s.step == self.at[0]))
        ways: list[Stage | Route] = [s for s in self.pipeline.stages if (s.after, s.status) == self.at]
        ways += [r for r in self.pipeline.routes if (r.after, r.status) == self.at]
        ways.sort(key=lambda way: (way.when or getattr(way, "only", None)) is None)
        for way in ways:
            if isinstance(way, Stage) and way.only is not None and not fits(way.only, self.row):
                continue
            if fits(way.when, self.row):
                return self._go(way)
        for way in ways:
            if isinstance(way, Stage) and way.only is not None:
                self.at = (way.step, "done")
                return True
        return False

    def _go(self, way: Stage | Route) -> bool:
        if way.rounds is not None:
            if self._rounds[id(way)] >= way.rounds:
                assert way.then is not None
                self.at = way.then
                return True
            self._rounds[id(way)] += 1
        if isinstance(way, Stage):
            return self._call(way)
        if isinstance(way.to, str):
            stage = next(s for s in self.pipeline.stages if s.step == way.to)
            self.at = (stage.step, "due") if stage.rounds or stage.delay else (stage.after, stage.status)
        else:
            self.at = way.to
        return True

    def _call(self, stage: Stage) -> bool:
        self.called.append(stage.step)
        self.at = (stage.step, self.says(stage.step, self.called.count(stage.step)))
        return True
