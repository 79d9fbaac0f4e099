"""Claim, call, settle: the work of a worker.

One loop takes turns with the database: what calls have brought back goes there, and what is due comes back, in one
statement; while one is under way, and for a moment more where much is going on, the next gathers. Settling that takes
more than that is done beside the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pgbaton import telemetry, tracing
from pgbaton.backoff import Backoff
from pgbaton.errors import LeaseLost
from pgbaton.events import Event, EventLog, describe
from pgbaton.gate import Gate
from pgbaton.hands import Ended, Hands
from pgbaton.loops import RETRY_CAP, Wake
from pgbaton.model import FAILED, RUNNING, Advance, Dispatch, Outcome, Pipeline, State
from pgbaton.outcome import Begin, Decision, decide_claimed, decide_lost
from pgbaton.pace import Pace
from pgbaton.reach import Reach
from pgbaton.reports import Reports, fields_of
from pgbaton.settler import Settler, is_same_attempt
from pgbaton.stage_client import StageClient
from pgbaton.store import Move, Store

ABSORB_BATCH = 200
LULL = 0.02
"""Seconds without anything to do before the database is asked when there will be."""
CLAIM_PATIENCE = 1.0
"""Seconds that whoever asks what is in our hands waits for a claim under way to end."""
HELD_ROW_PAUSE = 0.5
"""Seconds between two looks at a row that somebody else holds or is changing."""


class Dispatcher:
    """Claims what is due, calls its stage and settles what came of it, until :meth:`drain`.

    ``poll`` says for how many seconds it sleeps at most when nothing wakes it. ``gate``: where it says whether it
    sleeps. ``count_tenants``: among the metrics, attempts by tenant.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        client: StageClient,
        wake: Wake,
        log: EventLog,
        *,
        capacity: int,
        poll: Callable[[], float],
        gate: Gate | None = None,
        count_tenants: bool = False,
    ) -> None:
        self.worker: int | None = None
        self._pipeline = pipeline
        self._store = store
        self._client = client
        self._wake = wake
        self._log = log
        self._poll_now = poll
        self._gate = gate
        self._hands = Hands(pipeline.name, capacity, wake)
        self._reports = Reports(pipeline.name, log, count_tenants=count_tenants)
        self._settler = Settler(pipeline, store, self._hands, self._reports)
        self._claiming = asyncio.Lock()
        self._reach = Reach(store.steps)
        self._pace = Pace()
        self._lapsed = False
        self._draining = False

    def __repr__(self) -> str:
        return f"<Dispatcher {self._pipeline.name!r} {'draining' if self._draining else 'running'}, {self._hands!r}>"

    @property
    def held(self) -> frozenset[tuple[int, int]]:
        """The attempts in this worker's hands, as (dispatch id, attempt)."""
        return self._hands.held

    def not_in_hand(self, given: Sequence[Dispatch]) -> list[Dispatch]:
        """Those of ``given`` that are not in this worker's hands just now."""
        return [d for d in given if d not in self._hands]

    async def unknown(self, given: Sequence[Dispatch]) -> list[Dispatch]:
        """Those of ``given``, which the table gives to this worker, that are not in its hands: their claim's reply was
        lost. While a claim is under way, it may have committed already, nobody can say; where that lasts, none."""
        try:
            async with asyncio.timeout(CLAIM_PATIENCE):
                await self._claiming.acquire()
        except TimeoutError:
            return []
        try:
            return self.not_in_hand(given)
        finally:
            self._claiming.release()

    async def run(self) -> None:
        """Claim and call until drained and nothing is in hand any more."""
        async with asyncio.TaskGroup() as tasks:
            backoff = Backoff(0.1, RETRY_CAP)
            while self._hands or not self._draining:
                try:
                    if (early := self._pace.pause(time.monotonic(), self._hands.under_way)) > 0:
                        await asyncio.sleep(early)
                    self._pace.turned(time.monotonic())
                    pause = await self._take_turn(tasks)
                    backoff.reset()
                except Exception as error:
                    self._log.warning(Event.DATABASE_AWAY, loop="turn", error=describe(error))
                    await asyncio.sleep(backoff.next())
                    continue
                if pause > 0:
                    await self._wake.wait(pause)
                else:
                    await asyncio.sleep(0)  # let the calls begin that were just claimed

    def drain(self) -> None:
        """Claim nothing more."""
        self._draining = True
        self._wake.set()

    async def abandon(self) -> None:
        """Break off the calls that are under way and give their dispatches back, by the row."""
        async with self._claiming:  # what a claim under way brings is ours to give back, too
            calls = self._hands.empty()
        self._wake.set()
        for call in calls.values():
            call.cancel()
        await asyncio.gather(*calls.values(), return_exceptions=True)
        for dispatch in (await self._store.look([dispatch_id for dispatch_id, _ in calls])).values():
            if dispatch.state is State.RUNNING and dispatch.worker == self.worker:
                stage = self._pipeline.stage(dispatch.stage)
                await self._settler.settle_one(dispatch, decide_lost(stage, dispatch.row, Outcome.RELEASED))

    async def _take_turn(self, tasks: asyncio.TaskGroup) -> float:
        """One statement; returns for how many seconds nothing is to be done unless somebody wakes us."""
        answers = self._hands.pick_up()
        lapsed, self._lapsed = self._lapsed, False
        room = 0 if lapsed or self._draining or self.worker is None else self._hands.room
        if not answers and not room:
            if self._gate is not None:
                self._gate.open()  # whatever is written, it is not for us until a call has ended
            return LULL if lapsed else self._poll_now()  # a call that ends wakes us
        reach = self._reach.now() if room else None
        try:
            claimed = await self._turn(tasks, answers, room, reach)
        except BaseException:
            self._hands.put_down(answers)
            raise
        if not room:
            return LULL
        self._reach.came(claimed, everything=reach is None)
        if len(claimed) == room:
            if self._gate is not None:
                self._gate.came_full()
            return 0.0
        busy = bool(claimed or answers)
        if reach is not None and (not busy or (self._gate is not None and self._gate.is_open)):
            self._reach.forget()  # nobody falls asleep, or relies on being woken, who has not looked at everything
            return 0.0
        if self._gate is not None:
            self._gate.close()  # once it is closed, one more claim; then nothing can become due unheard
        if busy:
            return LULL  # while something happens all the time, there is no need to ask when something will
        due, changes = await self._store.next_due()
        if changes and await self._store.absorb(ABSORB_BATCH):
            return 0.0
        return self._poll_now() if due is None else min(self._poll_now(), max(0.01, due))

    async def _turn(
        self, tasks: asyncio.TaskGroup, answers: list[Ended], room: int, reach: list[float | None] | None
    ) -> list[Dispatch]:
        """Write answers down, settle by what the row says now, and call what was claimed."""
        try:
            async with self._claiming:
                began = time.time_ns()
                noted = [(call.dispatch, call.answer) for call in answers]
                limit = 0 if self._draining else room  # we may have been told to drain while we waited for the lock
                seen, claimed = await self._store.turn(self.worker, limit, noted, reach)
                self._begin(tasks, claimed)
        except LeaseLost:
            # The lease loop is about to mend it; meanwhile nothing is claimed, and answers are written down alone.
            telemetry.LEASES_LOST.labels(self._pipeline.name).inc()
            self._lapsed = True
            raise
        if claimed:
            tracing.claimed(self._pipeline.name, claimed, began)
            for dispatch in claimed:
                self._reports.claimed(dispatch)
        if rest := self._settler.let_go_of_settled(answers, seen):
            tasks.create_task(self._settle(rest, seen))
        return claimed

    def _begin(self, tasks: asyncio.TaskGroup, claimed: list[Dispatch]) -> None:
        """Carry out what was claimed. Rows that look out of place, which may only have been read before the claim found
        what they had just made due, are looked at once more, all of them at once."""
        out_of_place = []
        for dispatch in claimed:
            stage = self._pipeline.stage(dispatch.stage)
            if stage.advance is Advance.ENGINE or decide_claimed(stage, dispatch.row) is Begin.CALL:
                self._hands.take(dispatch, tasks.create_task(self._carry_out(dispatch)))
            else:
                out_of_place.append(dispatch)
        if out_of_place:
            looking = tasks.create_task(self._look_and_carry_out(out_of_place))
            for dispatch in out_of_place:
                self._hands.take(dispatch, looking)

    async def _look_and_carry_out(self, dispatches: list[Dispatch]) -> None:
        seen: dict[int, Dispatch] = {}
        try:
            seen = await self._store.look([dispatch.id for dispatch in dispatches])
        except Exception as error:
            self._log.warning(Event.DATABASE_AWAY, loop="look", error=describe(error))
        async with asyncio.TaskGroup() as calls:
            for dispatch in dispatches:
                now = seen.get(dispatch.id, dispatch)
                calls.create_task(self._carry_out(replace(dispatch, row=now.row)))

    async def _settle(self, calls: Sequence[Ended], seen: dict[int, Dispatch]) -> None:
        """What the trigger has not settled; what cannot be settled now comes again in a moment."""
        try:
            again = await self._settler.settle(calls, seen)
        except Exception as error:
            self._log.warning(Event.DATABASE_AWAY, loop="settle", error=describe(error))
            again = [call for call in calls if call.dispatch in self._hands]
        self._wake.set()  # a retry may be due sooner than we have thought
        if again:
            asyncio.get_running_loop().call_later(HELD_ROW_PAUSE, self._hands.put_down, again)

    async def _carry_out(self, dispatch: Dispatch) -> None:
        """From a claim to an answer that waits to be settled; whatever goes wrong, the hands let go."""
        try:
            stage = self._pipeline.stage(dispatch.stage)
            plain = stage.advance is Advance.STAGE and decide_claimed(stage, dispatch.row) is Begin.CALL
            ready = dispatch if plain else await self._prepare(dispatch)
            if ready is None:
                self._let_go(dispatch)
                return
            self._reports.calling(ready)
            began = time.monotonic()
            with tracing.calling(self._pipeline.name, ready) as call:
                answer = await self._client.call(ready, call.traceparent)
                call.answered(answer)
            now = time.monotonic()
            self._pace.called(now - began)
            self._reports.called(ready, now - began)
            self._hands.put_down([Ended(ready, answer, now)])
        except asyncio.CancelledError:
            self._let_go(dispatch)
            raise
        except Exception as error:
            # The table still gives it to this worker: it goes back by the row, in a moment.
            self._log.error(Event.DATABASE_AWAY, loop="call", error=describe(error), **fields_of(dispatch))
            self._let_go(dispatch)

    async def _prepare(self, claimed: Dispatch) -> Dispatch | None:
        """Bring the row into the state that a call needs. None: there is nothing to call."""
        stage = self._pipeline.stage(claimed.stage)
        while True:
            dispatch = (await self._store.look([claimed.id])).get(claimed.id)
            if dispatch is None or not is_same_attempt(dispatch, claimed):
                return None
            begin = decide_claimed(stage, dispatch.row)
            if isinstance(begin, Decision):
                if await self._settler.settle_one(dispatch, begin):
                    self._log.info(Event.STAGE_SKIPPED, outcome=begin.outcome.value, **fields_of(dispatch))
                    return None
            elif begin is Begin.REWIND:
                if await self._store.move([Move(dispatch, (stage.step, FAILED), stage.entry)]):
                    continue
            elif stage.advance is Advance.STAGE or await self._store.move(
                [Move(dispatch, stage.entry, (stage.step, RUNNING))]
            ):
                return replace(dispatch, probing=claimed.probing, waited=claimed.waited)
            await asyncio.sleep(HELD_ROW_PAUSE)

    def _let_go(self, dispatch: Dispatch) -> None:
        self._hands.let_go(dispatch)
        self._wake.set()
