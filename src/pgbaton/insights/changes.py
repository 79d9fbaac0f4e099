"""The changes of a job's row, as far as the journal knows: when it came to which state, and by whose hand. The journal
hears of the states of the pipeline only; that the row was written after the last of them is said, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg

from pgbaton import sql
from pgbaton.events import Language
from pgbaton.insights.detail import DispatchSeen, JobDetail
from pgbaton.insights.words import Sentence, Value, worded

MOST = 100
"""Changes that are shown, the newest."""
HARDLY_LATER = timedelta(seconds=2)
"""A row that was written so shortly behind the journal's last word was written by that very change."""


@dataclass(frozen=True, slots=True)
class Change:
    """At ``at`` the row changed, for the reason that ``code`` names; ``act``: the record of an operator's act, where
    that was an act on many."""

    at: datetime
    code: str
    values: dict[str, Value] = field(default_factory=dict)
    act: int | None = None

    def sentence(self, language: Language = "en") -> str:
        """One sentence. It holds text of others' making: escape it where that matters."""
        return worded(SENTENCES[self.code], self.values, language)


SENTENCES: dict[str, Sentence] = {
    "entered": (
        "행이 ({after}, done) 상태가 되어 {stage} 호출 대상이 되었습니다",
        "the row came to ({after}, done): {stage} is to be called",
    ),
    "completed": ("행이 ({stage}, done) 상태가 되었습니다", "the row came to ({stage}, done)"),
    "dead": (
        "{stage} 단계가 {attempts}회 시도 후 최종 실패했습니다. 행은 ({stage}, failed)에 남습니다",
        "{stage} was given up, attempts made: {attempts}; the row stays at ({stage}, failed)",
    ),
    "cancelled": (
        "{stage} 호출이 더 이상 필요하지 않게 되었습니다. 행이 다른 상태로 옮겨졌습니다",
        "the dispatch of {stage} came to nothing: the row was moved elsewhere",
    ),
    "acted": ("{who}: {action}", "{who}: {action}"),
    "acted_why": ("{who}: {action} ({reason})", "{who}: {action} ({reason})"),
    "written": (
        "그 뒤에 행이 다시 기록되었지만 파이프라인의 상태는 바뀌지 않았습니다",
        "the row was written again since, at no change of state that the pipeline follows",
    ),
}


async def changes(conn: asyncpg.Connection, seen: JobDetail, entries: Mapping[str, str]) -> tuple[Change, ...]:
    """The newest changes first. ``entries``: the step in whose done each stage is called."""
    acts = await conn.fetch(sql.read("read/acts_of.sql"), seen.pipeline, seen.key, MOST)
    told = [
        Change(
            a["at"],
            "acted_why" if a["reason"] else "acted",
            {"who": a["who"], "action": a["action"], "reason": a["reason"]},
            a["id"] if a["many"] else None,
        )
        for a in acts
    ]
    return compose(seen.dispatches, entries, told, seen.row.updated_at if seen.row else None)


def compose(
    dispatches: Sequence[DispatchSeen],
    entries: Mapping[str, str],
    acts: Iterable[Change],
    updated_at: datetime | None,
) -> tuple[Change, ...]:
    """Pure: the changes that these tell of."""
    told = list(acts)
    for d in dispatches:
        told.append(Change(d.created_at, "entered", {"stage": d.stage, "after": entries.get(d.stage, "?")}))
        if d.settled_at is not None:
            told.append(Change(d.settled_at, d.state, {"stage": d.stage, "attempts": d.attempt}))
    last = max((change.at for change in told), default=None)
    if updated_at is not None and last is not None and updated_at > last + HARDLY_LATER:
        began = [a.started_at for d in dispatches for a in d.attempts if a.finished_at is None]
        if not any(abs(updated_at - at) <= HARDLY_LATER for at in began):  # that was (stage, running)
            told.append(Change(updated_at, "written"))
    return tuple(sorted(told, key=lambda change: change.at, reverse=True)[:MOST])
