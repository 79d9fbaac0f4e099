"""A finding, a check, and both together: the health of a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

from pgbaton.events import Language
from pgbaton.health.words import WORDS
from pgbaton.insights.words import Sentence, Value, worded

Level = Literal["bad", "warn", "note"]
"""``bad``: jobs stand still. ``warn``: they are slow, or soon will stand still. ``note``: an operator wanted it so, or
it is over."""

LEVELS: tuple[Level, ...] = ("bad", "warn", "note")
DOCUMENT = "docs/operations.md"
_NAMES = ("stage", "tenant", "worker", "job", "trigger", "index", "check", "step", "status", "pid")
"""Values that tell two findings of one code apart."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of a trouble: ``percent`` of it is of this ``kind`` (tenant, worker, version, url, error, job)."""

    kind: Literal["tenant", "worker", "version", "url", "error", "job"]
    value: str
    percent: int


@dataclass(frozen=True, slots=True)
class Finding:
    """``code`` is for programs and never changes; ``values`` are those that its sentence names (durations in seconds).
    ``pipeline``: none where it concerns the whole database. ``shares``: its parts by kind, the largest first."""

    code: str
    level: Level
    values: dict[str, Value] = field(default_factory=dict)
    pipeline: str | None = None
    shares: tuple[Share, ...] = ()

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """As :meth:`as_json` wrote it. A code that this version does not know any more is said as it was said."""
        shares = tuple(Share(s["kind"], s["value"], s["percent"]) for s in said.get("shares", ()))
        if said["code"] not in WORDS:
            return cls(
                "unchecked", said["level"], {"check": said["code"], "reason": said["sentence"]}, said["pipeline"]
            )
        return cls(said["code"], said["level"], dict(said["values"]), said["pipeline"], shares)

    @property
    def subject(self) -> str:
        """The subject: two findings of one code and subject are the same one, seen twice."""
        return " ".join(f"{name}={self.values[name]}" for name in _NAMES if self.values.get(name) is not None)[:500]

    @property
    def link(self) -> str:
        """Its paragraph in the documents."""
        return f"{DOCUMENT}#{self.code}"

    def sentence(self, language: Language = "en") -> str:
        """The sentence. It holds text of others' making: escape it where that matters."""
        return worded(WORDS[self.code].said, self.values, language)

    def cause(self, language: Language = "en") -> str:
        """The cause: the usual one of such a trouble, and the shares of this one. As hostile as the
        sentence."""
        why = worded(WORDS[self.code].why, self.values, language)
        return f"{why} {said}" if (said := self.made_of(language)) else why

    def made_of(self, language: Language = "en") -> str:
        """Its shares in words; empty where there are none."""
        parts = (worded(_SHARES[s.kind], {"value": s.value, "percent": s.percent}, language) for s in self.shares)
        return ", ".join(parts)

    def remedy(self, language: Language = "en") -> str:
        """The remedy."""
        return worded(WORDS[self.code].mends, self.values | {"pipeline": self.pipeline}, language)

    def as_json(self, language: Language = "en") -> dict[str, Any]:
        """Plain data, with the words beside it."""
        return {
            "code": self.code,
            "level": self.level,
            "pipeline": self.pipeline,
            "values": self.values,
            "shares": [{"kind": s.kind, "value": s.value, "percent": s.percent} for s in self.shares],
            "sentence": self.sentence(language),
            "cause": self.cause(language),
            "remedy": self.remedy(language),
            "link": self.link,
        }


_SHARES: dict[str, Sentence] = {
    "tenant": ("{percent}%가 테넌트 {value}", "{percent} % are of the tenant {value}"),
    "worker": ("{percent}%가 워커 {value}", "{percent} % come from the worker {value}"),
    "version": ("{percent}%가 버전 {value}", "{percent} % come from version {value}"),
    "url": ("{percent}%가 {value} 호출", "{percent} % were calls to {value}"),
    "error": ("{percent}%가 오류 “{value}”", "{percent} % have the error “{value}”"),
    "job": ("{percent}%에 작업 {value}", "the job {value} was in {percent} % of them"),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One check. ``at``: when it was made, by the database's clock; None: never. ``why``: the reason why it was not
    made, or cannot be trusted; None: it counts."""

    name: str
    at: datetime | None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """The findings of a pipeline, the worst first, and the checks that they come from. ``at``: the database's time."""

    pipeline: str
    at: datetime
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]

    @property
    def well(self) -> bool:
        """Whether nothing was found, and everything was looked at."""
        return not self.findings and all(check.why is None for check in self.checks)

    @property
    def level(self) -> Level | None:
        """The worst level; None: all is well."""
        return self.findings[0].level if self.findings else None

    def as_json(self, language: Language = "en") -> dict[str, Any]:
        """Plain data."""
        return {
            "pipeline": self.pipeline,
            "at": self.at.isoformat(),
            "well": self.well,
            "findings": [f.as_json(language) for f in self.findings],
            "checks": [{"name": c.name, "at": c.at.isoformat() if c.at else None, "why": c.why} for c in self.checks],
        }


_HIDES = {
    "not_at_home": {"no_worker", "behind", "full", "workers_full", "looks_wait", "unchecked", "silent"},
    "read_only": {
        "no_worker",
        "late_worker",
        "lost_worker",
        "lost_over",
        "behind",
        "full",
        "workers_full",
        "looks_wait",
        "unchecked",
        "locked",
    },
    "commits_wait": {
        "no_worker",
        "late_worker",
        "lost_worker",
        "lost_over",
        "behind",
        "full",
        "workers_full",
        "looks_wait",
        "unchecked",
        "silent",
        "no_end",
        "rows_held",
    },
    "rows_held": {"behind", "looks_wait", "no_end", "silent", "slower"},
    "worker_refused": {"behind", "full", "workers_full", "looks_wait"},
    "no_descriptors": {"behind", "full", "workers_full", "looks_wait"},
    "table_swapped": {"trigger_drifted", "behind", "looks_wait", "unchecked"},
    "locked": {"rows_held", "behind", "full", "workers_full", "looks_wait", "unchecked", "silent"},
    "column_renamed": {"trigger_drifted", "behind", "looks_wait", "unchecked"},
    "column_dropped": {"trigger_drifted", "behind", "looks_wait", "unchecked"},
    "table_renamed": {"trigger_drifted", "behind", "looks_wait", "unchecked"},
    "table_gone": {"trigger_missing", "no_worker", "unchecked"},
    "no_worker": {"unchecked", "behind", "full", "workers_full", "stage_unknown"},
    "stage_unknown": {"behind"},
    "lost_answers": {"full", "silent"},
    "silent": {"full"},
}
"""Findings that are only consequences of a cause that is known."""
_OF_THE_SAME_STAGE = {"stage_unknown", "lost_answers", "silent"}


def worst_first(found: Iterable[Finding]) -> list[Finding]:
    """Sorted by level, and within one as they came; without mere consequences of another."""
    found = list(found)
    hidden = {
        (code, f.values.get("stage") if f.code in _OF_THE_SAME_STAGE else None)
        for f in found
        for code in _HIDES.get(f.code, ())
    }
    shown = (f for f in found if not {(f.code, None), (f.code, f.values.get("stage"))} & hidden)
    return sorted(shown, key=lambda f: LEVELS.index(f.level))
