"""Claim, call, settle: the loop of a worker.

A turn with the database carries the answers of calls there and brings new calls back, in one statement; while it is
under way, the next gathers. All that a turn does not end by itself is resolved beside the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import asyncpg

from pgbaton.backoff import Backoff
from pgbaton.database import ailment, is_refusal, report
from pgbaton.decision import passage
from pgbaton.decision.outcome import Answer, Reply, Verb, decide_claimed
from pgbaton.decision.verdict import Standing
from pgbaton.events import Event, EventLog, describe
from pgbaton.model import RUNNING, Advance, Dispatch, Kind, Outcome, Pipeline, State
from pgbaton.worker import tracing
from pgbaton.worker.batches import Batches
from pgbaton.worker.claim_window import ClaimWindow
from pgbaton.worker.descriptors import REST, Shortage
from pgbaton.worker.gate import Gate, NoGate
from pgbaton.worker.in_flight import Ended, InFlight
from pgbaton.worker.lease import Lease
from pgbaton.worker.periodic import RETRY_CAP, Wake
from pgbaton.worker.reports import Reports
from pgbaton.worker.resolver import Resolved, Resolver
from pgbaton.worker.stage_client import StageClient
from pgbaton.worker.store import Move, Store, Turn

LULL = 0.02
"""Seconds without anything to do after which the worker asks the database when the next call is due."""
LOCKED_PAUSE = 0.5
"""Seconds between two tries at a row or job that another transaction has locked."""
TURN_EVERY = 0.006
"""Seconds between the beginnings of two turns while many calls are under way: a turn costs 0.5 ms before it does
anything, so it should carry several answers. Without it Postgres worked 4 % more a hop; 3 to 10 ms were alike."""
MANY = 16
"""Calls under way from which on turns are paced."""
BEHIND = 0.1
"""Seconds that a success waits for its duty where turns come full: that duty stands behind those that the turns took.
Resolved at once, such answers made more statements than the turns did (1,045 beside 922)."""
COMPLETED = (Outcome.COMPLETED, State.COMPLETED)
LOOKS = 200
"""Looks that one turn takes at most."""
SWEEP = 500
"""Duties that are looked at in one go where most of the last ones came to nothing."""


class Dispatcher:
    """Claims duties, calls their stages and settles the answers, until :meth:`drain`.

    ``turns`` has a connection of its own, so that no turn waits for a slow statement. ``poll``: seconds that the worker
    sleeps at most when nothing wakes it.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        turns: Store,
        store: Store,
        client: StageClient,
        lease: Lease,
        in_flight: InFlight,
        resolver: Resolver,
        reports: Reports,
        wake: Wake,
        log: EventLog,
        gate: Gate | NoGate,
        poll: Callable[[], float],
    ) -> None:
        self._pipeline = pipeline
        self._turns = turns
        self._store = store
        self._client = client
        self._lease = lease
        self._in_flight = in_flight
        self._resolver = resolver
        self._reports = reports
        self._wake = wake
        self._log = log
        self._gate = gate
        self._poll = poll
        self._window = ClaimWindow()
        self._shortage = Shortage()
        self._giving_back = asyncio.Lock()
        self._batches = Batches(client.call_batch, self._may_call)
        self._turned_at = 0.0
        self._waiting_at = 0.0
        self._looked_at = 0.0
        self._rests_until = 0.0
        self._leaves_looks = False
        self._blocked_until: float | None = None
        self._governed: bool | None = None
        self._sweeping = False
        self._draining = False
        self._turning = asyncio.Lock()

    def __repr__(self) -> str:
        return (
            f"<Dispatcher {self._pipeline.name!r} {'draining' if self._draining else 'running'}, {self._in_flight!r}>"
        )

    async def run(self) -> None:
        """Take turns until drained and nothing is in flight any more."""
        backoff = Backoff(0.1, RETRY_CAP)
        async with asyncio.TaskGroup() as tasks:
            while self._in_flight or not self._draining:
                if self._in_flight.under_way >= MANY and (early := self._turned_at + TURN_EVERY - time.monotonic()) > 0:
                    await asyncio.sleep(early)
                self._turned_at = time.monotonic()
                try:
                    pause = await self._turn(tasks)
                except Exception as error:
                    report(self._log, "turn", error)
                    await self._lease.tell(error)
                    await asyncio.sleep(backoff.next())
                    continue
                backoff.reset()
                await asyncio.sleep(0)  # let the calls begin that were just claimed, before anything else
                if pause > 0:
                    await self._wake.wait(pause)

    @property
    def under_way(self) -> int:
        """How many calls are under way."""
        return self._in_flight.under_way

    def drain(self) -> None:
        """Claim nothing more."""
        self._draining = True
        self._wake.set()

    async def abandon(self) -> None:
        """Break off the calls that are under way and give their dispatches back, by the row."""
        async with self._turning:  # the claims of a turn under way are this worker's to give back, too
            tasks, unanswered, answers = self._in_flight.break_off()
        await asyncio.gather(*tasks, return_exceptions=True)
        if answers:  # a stage that has answered is not called again
            await self._resolver.resolve(answers, (), patient=False)
        if unanswered:
            await self._resolver.give_back(unanswered)

    async def _turn(self, tasks: asyncio.TaskGroup) -> float:
        """One turn; returns for how many seconds there is nothing to do, unless the wake flag is set."""
        await self._lease.secure()
        ended = self._in_flight.take_ended()
        if down := [call for call in ended if call.answer.down or call.answer.refuses_more]:
            await self._resolve(down, ())  # before more is claimed: their stage's circuit may open, or it is held back
            if any(call.answer.refuses_more for call in down):
                self._turns.governed = None  # it has a limit now, if it had none
            ended = [call for call in ended if call not in down]
        room = 0 if self._draining or not self._lease.holds else self._shortage.room(self._in_flight.room)
        if not ended and not room:
            self._gate.open()  # it can take no duty until a call of its own has ended, so no writer needs to wake it
            return LULL if self._draining else self._poll()  # a call that ends sets the wake flag
        try:
            found = await self._claim(tasks, ended, room)
        except BaseException:
            self._waiting_at = 0.0
            self._in_flight.end(ended)
            self._lease.doubt()  # the claim may have been committed
            raise
        self._in_flight.complete(found.ended)
        left = []
        full = (found.found >= room or found.cut_short) and not self._draining
        for call in ended:
            how = COMPLETED if call.dispatch.id in found.ended else found.late.get(call.dispatch.name)
            if how is not None and not call.dispatch.probing:
                self._reports.settled(call.dispatch, call.answer, *how, call.answer.error)
                self._in_flight.let_go(call.dispatch)
            elif full and self._may_be_behind(call):
                self._in_flight.put_back(call)
            else:
                left.append(call)
        if found.others and not found.claimed:
            pause = await self._resolve(left, found.others)
            return self._rest() if self._is_resting else pause
        if left or found.others:
            tasks.create_task(self._resolve(left, found.others))
        return self._pause(tasks, found, room, busy=bool(ended or found.found)) if room else LULL

    def _may_be_behind(self, call: Ended) -> bool:
        """Whether the stage has probably committed its end, so that a duty tells of it."""
        keeps_state = self._pipeline.stage(call.dispatch.stage).advance is Advance.STAGE
        done = call.answer.ok and call.answer.status != 202 and keeps_state
        return done and not call.dispatch.probing and time.monotonic() - call.at < BEHIND

    async def _claim(self, tasks: asyncio.TaskGroup, ended: Sequence[Ended], room: int) -> Turn:
        """Calls that wait and are due first, for they are older; then duties."""
        began = time.time_ns()
        answers = [(call.dispatch, call.answer) for call in ended]
        if self._turns.governed != self._governed:  # under the new rule, duties may be claimed that were kept back
            self._governed, self._waiting_at = self._turns.governed, 0.0
            self._window.widen()
        async with self._turning:
            claimed: tuple[Dispatch, ...] = ()
            if room and time.monotonic() >= self._waiting_at:
                self._looked_at = time.monotonic()
                self._waiting_at = self._looked_at + self._poll()  # a verdict beside this loop may bring it forward
                waiting = await self._turns.claim_waiting(self._lease.worker, room)
                self._begin(tasks, waiting.claimed)
                claimed = waiting.claimed
                if len(claimed) >= room or waiting.cut_short or waiting.others:
                    self._waiting_at = 0.0
                elif waiting.blocked is not None:
                    self._waiting_at = min(self._waiting_at, self._looked_at + waiting.blocked)
                if waiting.others:
                    tasks.create_task(self._resolve([], waiting.others))
            room = 0 if self._draining else room - len(claimed)
            limit, self._sweeping, calling = (SWEEP, False, False) if self._sweeping else (room, False, True)
            since = self._window.next(busy=self._in_flight.under_way >= MANY)
            self._leaves_looks = self._is_resting
            looks = 0 if self._leaves_looks else LOOKS
            turn = await self._turns.turn(self._lease.worker, limit, answers, since, looks=looks, calling=calling)
            self._begin(tasks, turn.claimed)
        self._blocked_until = None if turn.blocked is None else time.monotonic() + turn.blocked
        # Where more waits than was taken, the next claim begins where this one did: tenants take turns, not ids.
        self._window.came({stage: newest for stage, newest in turn.newest.items() if stage not in turn.more})
        self._sweeping = calling and limit > 0 and len(turn.others) > max(16, 0.8 * turn.found)
        claimed += turn.claimed
        self._reports.kept_back(turn.kept_back)
        if claimed:
            tracing.claimed(self._pipeline.name, claimed, began)
            for dispatch in claimed:
                self._reports.claimed(dispatch)
        return replace(turn, claimed=claimed)

    def _pause(self, tasks: asyncio.TaskGroup, found: Turn, room: int, *, busy: bool) -> float:
        if len(found.claimed) >= room or found.cut_short or self._sweeping:
            self._gate.came_full()
            return 0.0
        if not self._window.is_everything and (not busy or self._gate.is_open):
            # Before a worker sleeps, it looks at everything: a partial look can miss a late commit.
            self._window.widen()
            return 0.0
        if self._leaves_looks:
            return self._rest()
        self._gate.close()  # once it is closed, one more claim; then no duty can be left unheard
        # A call that a limit keeps back: no signal tells when another worker's call ends, or a rate allows one more.
        blocked = self._poll() if self._blocked_until is None else self._blocked_until - time.monotonic()
        if busy:
            return max(0.0, min(LULL, blocked))
        tasks.create_task(self._ask_what_waits())  # beside the sleep: a duty that comes meanwhile does not wait for it
        return max(0.0 if blocked <= 0 else 0.01, min(self._poll(), self._waiting_at - time.monotonic(), blocked))

    async def _ask_what_waits(self) -> None:
        """Wake where a call that waits is due before the worker would look."""
        try:
            due = await self._store.next_due(time.monotonic() - self._looked_at)
        except Exception as error:
            report(self._log, "next_due", error)
            return
        if due is not None and time.monotonic() + due < self._waiting_at:
            self._waiting_at = time.monotonic() + due
            self._wake.set()

    def _begin(self, tasks: asyncio.TaskGroup, claimed: Sequence[Dispatch]) -> None:
        for dispatch in claimed:
            self._in_flight.begin(dispatch, tasks.create_task(self._carry_out(dispatch)))

    async def _resolve(self, calls: Sequence[Ended], keys: Collection[str]) -> float:
        """Settle calls and look at jobs; a call that cannot be settled now comes again in a moment. Returns for how
        many seconds there is nothing more of that kind to do."""
        found, began = Resolved(again=list(calls)), time.monotonic()
        try:
            found = await self._resolver.resolve(calls, keys)
            if found.due_in is not None:
                self._waiting_at = min(self._waiting_at, time.monotonic() + found.due_in)
        except Exception as error:
            report(self._log, "resolve", error)
            await self._lease.tell(error)
        if found.again:
            asyncio.get_running_loop().call_later(LOCKED_PAUSE, self._in_flight.end, found.again)
        if not found.settled:
            return LOCKED_PAUSE
        if keys and (missing := found.missing) is not None:
            now = time.monotonic()
            pause = passage.rest(missing, now - began)
            self._rests_until = now + pause
            if missing:
                return pause
        self._window.widen()  # a duty that was left for the next turn may be behind it
        self._wake.set()
        return 0.0

    def _rest(self) -> float:
        """Seconds to sleep, in which no child's commit needs to wake this worker. Only the loop that sleeps opens the
        gate: opened beside it, it would sleep on unheard."""
        self._gate.open()
        return max(0.0, self._rests_until - time.monotonic())

    @property
    def _is_resting(self) -> bool:
        """Whether looks are left where they are: parents wait for so many children that the next ones cannot matter."""
        return time.monotonic() < self._rests_until

    async def _carry_out(self, claimed: Dispatch) -> None:
        """A dispatch from its claim to an answer that waits to be settled."""
        try:
            node = self._pipeline.stage(claimed.stage)
            if node.kind is not Kind.CALL:  # no call: by the row, the time and the counts
                self._in_flight.end([Ended(claimed, Answer(Reply.NONE), time.monotonic())])
                return
            ready = await self._prepare(claimed)
            if ready is not None and await self._may_call(ready):
                call = await self._call(ready)
                self._shortage.over()
                self._in_flight.end([call])
        except asyncio.CancelledError:
            self._in_flight.let_go(claimed)
            raise
        except Exception as error:
            await self._failed(claimed, error)

    async def _failed(self, claimed: Dispatch, error: Exception) -> None:
        """No answer came of a dispatch, by a fault of the worker's, its machine's or the database's."""
        try:
            if ailment(error) == "no_descriptors":
                await self._give_back(claimed, error)
                return
        except Exception as worse:
            error = worse
        report(self._log, "call", error)
        await self._lease.tell(error)
        self._in_flight.let_go(claimed)
        self._lease.doubt()  # it goes back with the lease: a worker that knows nothing of a call must not hold it

    async def _give_back(self, dispatch: Dispatch, error: Exception) -> None:
        """This worker has no file descriptor for a call; another may have one. A statement beside others may need one
        more, too: so one at a time, and again until it could be made."""
        if self._shortage.met():
            self._log.error(Event.NO_DESCRIPTORS, error=describe(error))
        while dispatch in self._in_flight:
            async with self._giving_back:
                await self._lease.tell(error)
                try:
                    await self._resolver.give_back([dispatch])
                    break
                except Exception as again:
                    if ailment(again) != "no_descriptors":
                        raise
            await asyncio.sleep(REST)
        self._in_flight.let_go(dispatch)
        self._waiting_at = min(self._waiting_at, time.monotonic() + REST)
        asyncio.get_running_loop().call_later(REST, self._wake.set)

    async def _prepare(self, dispatch: Dispatch) -> Dispatch | None:
        """Bring the row to where the stage expects it. None: the stage is not to be called."""
        stage = self._pipeline.stage(dispatch.stage)
        while True:
            verb = decide_claimed(stage, dispatch.row).verb
            target = {Verb.REWIND: stage.entry, Verb.BEGIN: (stage.step, RUNNING)}.get(verb)
            if verb is Verb.CALL:
                return dispatch
            if target is not None:
                if await self._move(dispatch, target):
                    dispatch = replace(dispatch, row=replace(dispatch.row, step=target[0], status=target[1]))
                    if verb is Verb.BEGIN:
                        return dispatch
                    continue
                await asyncio.sleep(LOCKED_PAUSE)
            else:
                await self._resolver.give_back([dispatch])
            job = (await self._store.look([dispatch.job_key]))[0]
            if job.call is None or (job.call.id, job.call.attempt, job.call.worker) != (
                *dispatch.name,
                self._lease.worker,
            ):
                self._in_flight.let_go(dispatch)
                return None
            if job.call.standing is not Standing.HELD or job.row is None:
                self._in_flight.let_go(dispatch)
                return None
            dispatch = replace(dispatch, row=job.row)

    async def _move(self, dispatch: Dispatch, target: tuple[str, str]) -> bool:
        source = (dispatch.row.step or "", dispatch.row.status or "")
        try:
            return bool(await self._store.prepare(self._lease.worker, [Move(dispatch, source, target)]))
        except asyncpg.PostgresError as error:
            if not is_refusal(error):
                raise
            await self._resolver.refuse(dispatch, target, error)
            return False

    async def _may_call(self, dispatch: Dispatch) -> bool:
        """No call begins under a lease that may have lapsed, while the database was slow to answer the claim, say: the
        attempt may be another worker's by now."""
        if not self._lease.holds:
            async with self._turning:
                self._lease.doubt()
                await self._lease.secure()
        return dispatch in self._in_flight

    async def _call(self, dispatch: Dispatch) -> Ended:
        self._reports.calling(dispatch)
        began = time.monotonic()
        with tracing.calling(self._pipeline.name, dispatch) as call:
            batch = self._pipeline.stage(dispatch.stage).batch
            if batch is None:
                answer = await self._client.call(dispatch, call.traceparent)
            else:
                answer = await self._batches.call(dispatch, batch)
            call.answered(answer)
        now = time.monotonic()
        self._reports.called(dispatch, now - began)
        return Ended(dispatch, answer, now, now - began)
