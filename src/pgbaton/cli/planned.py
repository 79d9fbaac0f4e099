"""A plan of ``attach`` in words, the question about rows of the past, and the progress of the walk over them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from pgbaton.cli.speech import Sentence, language, tell, told
from pgbaton.cli.tables import Column, Format, print_rows

if TYPE_CHECKING:
    from pgbaton.install.past import Progress
    from pgbaton.install.plan import Plan, StateRows
    from pgbaton.install.script import Decided

Rate = Annotated[
    str | None,
    typer.Option(
        "--rate", metavar="RATE", help="Of the backfill: 100/s (the default), 600/min, 1000/h.", show_default=False
    ),
]
STATES = [
    Column("state", "상태"),
    Column("rows", "행", number=True),
    Column("in_dispatch", "진행 중", number=True, spare=2),
    Column("stage", "호출할 단계", spare=1),
    Column("becomes", "처리"),
]
FATES: dict[str, Sentence] = {
    "asked": ("정해야 합니다: --from now 또는 --backfill", "to be decided: --from now or --backfill"),
    "left_alone": ("움직일 때까지 호출하지 않음", "left alone until they move"),
    "called": ("백필로 호출", "called, by the backfill"),
    "recorded": ("섀도 모드: 호출하지 않음", "shadow mode: not called"),
    "goes_on": ("지금처럼 계속", "go on as before"),
    "stays": (
        "그대로 남음: pgbaton move나 UPDATE로 옮기세요",
        "stay there: move them with pgbaton move, or an UPDATE",
    ),
    "waits": ("단계가 돌아올 때까지 기다림", "wait until their stage comes back"),
    "not_called": ("호출하지 않음, 끝나면 다음 단계를 호출", "not called; the next stage is, once they are done"),
}
WHATS: dict[str, Sentence] = {
    "install": ("설치", "installed"),
    "change": ("변경", "changed"),
    "remove": ("제거", "removed"),
}
STAGES: dict[str, Sentence] = {
    "added": ("추가", "added"),
    "removed": ("제거", "removed"),
    "renamed": ("이름 변경", "renamed"),
    "changed": ("설정 변경", "changed"),
}
IS_DONE: Sentence = ("{kind} {name}: {what}", "{kind} {name}: {what}")
WOULD_BE: Sentence = ("{kind} {name}: {what} 예정", "{kind} {name}: would be {what}")
NOTHING: Sentence = ("바꿀 것이 없습니다", "nothing is to be changed")
LOCKED: Sentence = (
    "{on} 테이블의 잠금: {mode}, 몇 밀리초. 한 번 시도할 때 쓰기가 최대 {waits} ms 기다리고, {tries}초까지 시도합니다",
    "lock on {on}: {mode}, for some milliseconds; one try to get it keeps writers waiting for at most {waits} ms, "
    "tried for {tries} s",
)
NOT_LOCKED: Sentence = ("{on} 테이블의 잠금: 없음", "lock on {on}: none")
KINDS: dict[str, Sentence] = {
    "call": ("단계", "stage"),
    "move": ("경로", "route"),
    "wait": ("대기", "wait"),
    "gather": ("자식 대기", "gather"),
}
STAGE: Sentence = ("{kind} {step}: {change}", "{kind} {step}: {change}")
IN_PLACE: Sentence = ("{kind} {step}: {change} (이전 {was})", "{kind} {step}: {change}, in place of {was}")
INSIDE: Sentence = ("  진행 중인 호출 {count}건", "  {count:# open dispatch is|# open dispatches are} inside")
INSIDES: dict[str, Sentence] = {
    "instead": (
        "  {count}건은 {at}에 있으며 앞으로 {stage} 단계를 호출합니다",
        "  {count:# stands|# stand} at {at}, where {stage} is called from now on",
    ),
    "ends": (
        "  {count}건은 {at}에서 처리 중이며 그대로 끝납니다",
        "  {count:# is|# are} at work, {at}, and {count:ends|end} as before",
    ),
    "waits": (
        "  {count}건은 {at}에서 {step} 단계가 돌아올 때까지 기다립니다: pgbaton rerun --stage {step} --from STEP, "
        "또는 pgbaton cancel --stage {step}",
        "  {count:# waits|# wait} at {at} until {step} comes back: pgbaton rerun --stage {step} --from STEP, "
        "or pgbaton cancel --stage {step}",
    ),
    "stays": (
        "  {count}건은 {at}에서 더 이상 호출하지 않습니다",
        "  {count:# stands|# stand} at {at}, where nothing is called any more",
    ),
}
INSTEAD: Sentence = ("{count}건은 앞으로 {stage} 호출", "{count:# goes|# go} on with {stage} instead")
IN_SHADOW: Sentence = (
    "섀도 모드: 작업의 {share}%를 호출하고 나머지는 기록만 합니다",
    "shadow mode: {share} % of the jobs are called, of the rest it is recorded",
)
THEIRS: Sentence = ("  전부 호출하는 테넌트: {tenants}", "  and all of {tenants}")
LEFT: Sentence = (
    "attach 전부터 있던 행 {count}건은 움직일 때까지 호출하지 않습니다",
    "{count:# row of the past is left alone until it moves|# rows of the past are left alone until they move}",
)
GOES_ON: Sentence = (
    "중단된 이전 행 처리({mode})를 이어서 합니다",
    "a walk over rows of the past was broken off, and goes on ({mode})",
)
ELSEWHERE: Sentence = (
    "파이프라인을 attach한 데이터베이스가 아닙니다(사본일 수 있습니다). --here를 주면 이곳에서 운영합니다",
    "this database is not the one that the pipeline was attached in, perhaps a copy: --here makes it its home",
)
QUESTION: Sentence = (
    "행 {count}건이 호출 대상이 되는 상태에 있습니다. 어떻게 할까요?\n"
    "  now       움직일 때까지 호출하지 않습니다\n"
    "  backfill  호출합니다",
    "{count:# row stands in a state that becomes|# rows stand in states that become} routed. "
    "What becomes of {count:it|them}?\n"
    "  now       left alone, until a writer moves {count:it|them}\n"
    "  backfill  called",
)
LEFT_ALONE: Sentence = ("호출하지 않고 둔 행: {rows}", "rows of the past left alone: {rows}")
TO_BE_CALLED: Sentence = ("호출할 이전 행: {rows}", "rows of the past to be called: {rows}")
NONE: Sentence = ("없음", "none")


def print_plan(plan: Plan, *, dry: bool) -> None:
    """The plan in words: each change, its locks, and the fate of the rows."""
    for line in plan_lines(plan, dry=dry):
        print(line)
    rows = [
        [
            f"({s.step}, {s.status})",
            f"{s.rows:,}",
            f"{s.known:,}",
            s.stage,
            _becomes(s),
        ]
        for s in plan.states
    ]
    print_rows(STATES, rows, Format.TABLE, language())


def _becomes(state: StateRows) -> str:
    said = told(FATES[state.fate if state.rows > state.known or not state.new else "goes_on"])
    if not state.instead:
        return said
    instead = told(INSTEAD, count=f"{state.instead:,}", stage=state.stage)
    return instead if state.instead == state.rows else f"{instead}; {said}"


def plan_lines(plan: Plan, *, dry: bool) -> Iterator[str]:
    """The plan but for the rows."""
    for change in plan.changes:
        if change.kind == "stage":
            continue  # told below, with the jobs inside
        yield told(WOULD_BE if dry else IS_DONE, kind=change.kind, name=change.name, what=told(WHATS[change.what]))
    if not plan.changes:
        yield told(NOTHING)
    for lock in plan.locks:
        yield told(LOCKED, on=lock.on, mode=lock.mode, waits=f"{lock.waits * 1000:.0f}", tries=f"{lock.tries:g}")
    if not plan.locks:
        yield told(NOT_LOCKED, on=plan.table)
    for stage in plan.stages:
        if stage.change != "kept":
            said = STAGE if stage.was is None else IN_PLACE
            changed, kind = told(STAGES[stage.change]), told(KINDS[stage.kind])
            yield told(said, kind=kind, step=stage.step, change=changed, was=stage.was)
            if stage.open:
                yield told(INSIDE, count=f"{stage.open:,}")
            for part in stage.inside:
                at, was = f"({part.state[0]}, {part.state[1]})", stage.was or stage.step
                yield told(INSIDES[part.fate], count=f"{part.count:,}", at=at, step=was, stage=part.stage)
    if plan.rollout is not None:
        yield told(IN_SHADOW, share=f"{plan.rollout.share:g}")
        if plan.rollout.tenants:
            yield told(THEIRS, tenants=", ".join(plan.rollout.tenants))
    if plan.left:
        yield told(LEFT, count=f"{plan.left:,}")
    if plan.continues is not None:
        yield told(GOES_ON, mode=plan.continues)
    if plan.home == "elsewhere":
        yield told(ELSEWHERE)


def asked(count: int) -> Decided:
    """The answer of a person at the terminal about ``count`` rows of the past."""
    tell(QUESTION, count=f"{count:,}")
    while True:
        said = typer.prompt("now / backfill").strip()
        if said in ("now", "backfill"):
            return "now" if said == "now" else "backfill"


class Told:
    """Shows a walk's progress once a second at most, and keeps the last. ``of``: how many rows it is about, if that is
    known."""

    def __init__(self, quiet: bool, of: int) -> None:
        self.last: Progress | None = None
        self._quiet, self._of, self._at = quiet, of, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        self.last = progress
        if not self._quiet and not progress.ended and time.monotonic() - self._at > 1:
            self._at = time.monotonic()
            of = f" / {self._of:,}" if self._of else ""
            print(_walked(progress, f"{sum(progress.rows.values()):,}{of}"), file=sys.stderr, flush=True)


def tell_walked(progress: Progress | None) -> None:
    """The result of a walk, by stage."""
    if progress is not None:
        by_stage = ", ".join(f"{stage} {count:,}" for stage, count in sorted(progress.rows.items()))
        print(_walked(progress, by_stage or told(NONE)))


def _walked(progress: Progress, rows: str) -> str:
    return told(LEFT_ALONE if progress.mode == "now" else TO_BE_CALLED, rows=rows)
