"""Calls that carry several jobs: jobs that were claimed for a stage with a ``batch`` gather here until there are
enough, or the first of them has waited for long enough. Each job keeps its own dispatch, attempt and row; only the
request is shared.

With each attempt a job goes among half as many, in the end alone: so a job that spoils a call of 16 is found after
eight more calls, and uses up no attempt of the others (``decision.outcome``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pgbaton.decision.outcome import Answer
from pgbaton.model import Dispatch
from pgbaton.model.limits import Batch

Group = tuple[str, int]
"""A stage, and how many jobs the call that gathers carries at most."""
Send = Callable[[list[Dispatch]], Awaitable[Answer]]


class Batches:
    """Gathers the dispatches of one worker, by stage. ``send`` makes the call for those that ``may_call`` still lets be
    called: gathering takes time, in which a lease may lapse."""

    def __init__(self, send: Send, may_call: Callable[[Dispatch], Awaitable[bool]]) -> None:
        self._send = send
        self._may_call = may_call
        self._gathering: dict[Group, list[tuple[Dispatch, asyncio.Future[Answer]]]] = {}
        self._timers: dict[Group, asyncio.TimerHandle] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def call(self, dispatch: Dispatch, batch: Batch) -> Answer:
        """The answer of the call that carried this job, alone or with others. Cancelled where the job was not this
        worker's any more when the call was made."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        group = dispatch.stage, max(1, batch.max >> dispatch.attempt - 1)
        gathered = self._gathering.setdefault(group, [])
        gathered.append((dispatch, answer))
        if len(gathered) >= group[1]:
            self._flush(group)
        elif len(gathered) == 1:
            self._timers[group] = asyncio.get_running_loop().call_later(batch.wait, self._flush, group)
        return await answer

    def _flush(self, group: Group) -> None:
        if timer := self._timers.pop(group, None):
            timer.cancel()
        self._begin(self._gathering.pop(group))

    def _begin(self, gathered: list[tuple[Dispatch, asyncio.Future[Answer]]]) -> None:
        task = asyncio.create_task(self._carry_out(gathered))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _carry_out(self, gathered: list[tuple[Dispatch, asyncio.Future[Answer]]]) -> None:
        ready: list[tuple[Dispatch, asyncio.Future[Answer]]] = []
        try:
            for dispatch, answer in gathered:
                if not answer.done() and await self._may_call(dispatch):
                    ready.append((dispatch, answer))
                else:
                    answer.cancel()
            if not ready:
                return
            said = await self._send([dispatch for dispatch, _ in ready])
        except BaseException as error:
            for _, answer in gathered:
                if not answer.done():
                    answer.set_exception(error) if isinstance(error, Exception) else answer.cancel()
            if not isinstance(error, Exception):
                raise
        else:
            for _, answer in ready:
                if not answer.done():
                    answer.set_result(said)
