"""The calls of a worker between claim and settlement, without a database."""

from __future__ import annotations

import asyncio
from typing import Any

from pgbaton.decision.outcome import Answer, Reply
from pgbaton.model import Dispatch, Row
from pgbaton.worker.in_flight import Ended, InFlight
from pgbaton.worker.periodic import Wake


def a_call(number: int) -> Dispatch:
    return Dispatch(number, f"job {number}", "cut", 1, number, Row("acme", "made", "done"))


def begun(in_flight: InFlight, dispatch: Dispatch) -> Ended:
    task: Any = asyncio.get_running_loop().create_future()
    in_flight.begin(dispatch, task)
    return Ended(dispatch, Answer(Reply.ANSWERED, 200), 0.0)


async def test_an_answer_wakes_at_once_unless_its_attempt_has_ended_already() -> None:
    wake = Wake()
    in_flight = InFlight("craft", 8, wake)
    first, second = (begun(in_flight, a_call(number)) for number in (1, 2))
    in_flight.complete(frozenset({1}))
    in_flight.end([first])
    assert not await wake.wait(0), "it goes along with the next turn"
    in_flight.end([second])
    assert await wake.wait(0)
    assert [call.dispatch.id for call in in_flight.take_ended()] == [1, 2]


async def test_it_remembers_nothing_of_dispatches_that_other_workers_hold() -> None:
    in_flight = InFlight("craft", 8, Wake())
    own = begun(in_flight, a_call(1))
    in_flight.complete(frozenset(range(1000)))
    in_flight.let_go(own.dispatch)
    assert in_flight._completed == set()
