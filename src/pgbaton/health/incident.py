"""An incident: findings, acts of people and deployments on one line of time; and as a short report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import asyncpg

from pgbaton import sql
from pgbaton.counted import filled
from pgbaton.events import Language
from pgbaton.health.finding import Finding
from pgbaton.insights.words import in_words

MOST = 500
"""Events of a kind at most."""


@dataclass(frozen=True, slots=True)
class Happened:
    """``kind``: a finding appeared or ended, a person acted, or a version, address or set of routes changed.
    ``lasted``: seconds, of a finding that ended."""

    at: datetime
    kind: Literal["appeared", "ended", "act", "deployed"]
    finding: Finding | None = None
    who: str | None = None
    what: str | None = None
    was: str | None = None
    of: str | None = None
    jobs: int = 0
    lasted: float | None = None

    def sentence(self, language: Language = "en") -> str:
        """In words; they hold text of others' making."""
        korean = language == "ko"
        if self.finding is not None:
            said = self.finding.sentence(language)
            if self.kind == "appeared":
                return f"[발생] {said}" if korean else f"[found] {said}"
            lasted = in_words(self.lasted or 0.0, language)
            return f"[해소, {lasted}] {said}" if korean else f"[over after {lasted}] {said}"
        if self.kind == "act":
            jobs = filled(" ({n}건)" if korean else " ({n:# job|# jobs})", {"n": f"{self.jobs:,}"}) if self.jobs else ""
            said = " ".join(part for part in (self.what, self.of) if part)
            return f"[조치] {self.who}: {said}{jobs}" if korean else f"[done by {self.who}] {said}{jobs}"
        return (
            f"[배포] {self.what}: {self.was} → {self.of}"
            if korean
            else f"[deployed] {self.what}: {self.was} → {self.of}"
        )

    def as_json(self, language: Language = "en") -> dict[str, Any]:
        """Plain data, with the words beside it."""
        return {
            "at": self.at.isoformat(),
            "kind": self.kind,
            "code": self.finding.code if self.finding else None,
            "who": self.who,
            "what": self.what,
            "was": self.was,
            "of": self.of,
            "jobs": self.jobs,
            "sentence": self.sentence(language),
        }


async def happened(conn: asyncpg.Connection, pipeline: str, since: datetime, until: datetime) -> list[Happened]:
    """The events in [``since``, ``until``), the oldest first; of each kind the newest 500 at most."""
    rows = await conn.fetch(sql.read("read/incident.sql"), pipeline, since, until, MOST)
    return [
        Happened(
            row["at"],
            row["kind"],
            Finding.from_json(json.loads(row["finding"])) if row["finding"] else None,
            row["who"],
            row["what"],
            row["was"],
            row["of"],
            row["jobs"],
            (row["at"] - row["other"]).total_seconds() if row["kind"] == "ended" else None,
        )
        for row in rows
    ]


def report(pipeline: str, events: Sequence[Happened], since: datetime, until: datetime, language: Language) -> str:
    """A short report as plain text, times in UTC."""
    korean = language == "ko"
    span = f"{since.astimezone(UTC):%Y-%m-%d %H:%M} – {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    head = f"사건 보고서: {pipeline}" if korean else f"Incident: {pipeline}"
    lines = [head, span, ""]
    lines += [f"{e.at.astimezone(UTC):%m-%d %H:%M:%S}  {e.sentence(language)}" for e in events]
    if not events:
        lines.append("기록된 일이 없습니다." if korean else "Nothing was recorded.")
    still = {(e.finding.code, e.finding.subject) for e in events if e.finding and e.kind == "appeared"}
    still -= {(e.finding.code, e.finding.subject) for e in events if e.finding and e.kind == "ended"}
    acts = sum(e.kind == "act" for e in events)
    found = sum(e.kind == "appeared" for e in events)
    lines += ["", _sum(found, len(still), acts, korean=korean)]
    return "\n".join(lines) + "\n"


def _sum(found: int, still: int, acts: int, *, korean: bool) -> str:
    if korean:
        return f"발생 {found}건(미해소 {still}건), 조치 {acts}건."
    return f"Found {found} ({still} not over), done {acts}."
