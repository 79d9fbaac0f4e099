"""Interleavings that the machine of test_protocol_machine.py found to go wrong, each as short as it can be."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from protocol_bench import READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE, Bench, Ground
from protocol_model import Duty, Place

ENTRY: Place = ("made", "done")


@pytest.fixture
async def bench(database: str) -> AsyncIterator[Bench]:
    """Job 0 is not there yet; after every step the database must hold what the model says."""
    async with Ground.on(database) as ground:
        bench = Bench(ground)
        await bench.then(bench.start())
        yield bench
        await bench.come_to_rest()


def only_duty(bench: Bench) -> Duty:
    (duty,) = bench.model.open_duties
    return duty


async def test_a_job_that_comes_back_is_not_taken_for_gone_before_its_commit(bench: Bench) -> None:
    await bench.then(bench.put(0, ENTRY))
    await bench.then(bench.put(0, None, SERIALIZABLE))
    await bench.then(bench.open_transaction(READ_COMMITTED))
    await bench.then(bench.put_in_transaction(0, ENTRY))
    await bench.then(bench.absorb())
    await bench.then(bench.commit())
    await bench.then(bench.absorb())
    assert only_duty(bench).stage == "cut"


async def test_a_job_that_comes_back_is_not_forgotten_by_a_worker_that_looked_before(bench: Bench) -> None:
    await bench.then(bench.put(0, ENTRY))
    await bench.then(bench.put(0, None, SERIALIZABLE))
    (hand,) = await bench.then(bench.claim(0))
    await bench.then(bench.go_on(hand))  # it sees no row
    await bench.then(bench.open_transaction(READ_COMMITTED))
    await bench.then(bench.put_in_transaction(0, ENTRY))
    await bench.then(bench.go_on(hand))
    await bench.then(bench.absorb())
    await bench.then(bench.commit())
    await bench.then(bench.absorb())
    assert only_duty(bench).stage == "cut"


async def test_a_transaction_that_brings_a_job_back_keeps_no_worker_waiting(bench: Bench) -> None:
    await bench.then(bench.put(0, ENTRY))
    await bench.then(bench.put(0, None, SERIALIZABLE))
    await bench.then(bench.put(1, ENTRY, SERIALIZABLE))
    await bench.then(bench.open_transaction(READ_COMMITTED))
    await bench.then(bench.put_in_transaction(0, ("elsewhere", "done")))
    await bench.then(bench.absorb())
    assert [duty.stage for duty in bench.model.open_duties] == ["cut", "cut"]


@pytest.mark.parametrize("row", [None, ("elsewhere", "done"), ("cut", "failed"), ("glue", "running")])
async def test_a_dispatch_made_after_a_transactions_snapshot_is_not_overlooked_by_it(
    bench: Bench, row: Place | None
) -> None:
    await bench.then(bench.put(0, ENTRY, SERIALIZABLE))
    await bench.then(bench.open_transaction(REPEATABLE_READ))
    await bench.then(bench.absorb())
    await bench.then(bench.put_in_transaction(0, row))
    await bench.then(bench.commit())


async def test_a_dispatch_completed_after_a_transactions_snapshot_is_not_taken_for_open_by_it(bench: Bench) -> None:
    await bench.then(bench.put(0, ENTRY))
    await bench.then(bench.put(0, ("cut", "done"), SERIALIZABLE))
    await bench.then(bench.open_transaction(REPEATABLE_READ))
    await bench.then(bench.absorb())
    await bench.then(bench.put_in_transaction(0, ("cut", "running")))
    await bench.then(bench.commit())


async def test_a_failure_in_the_inbox_counts_once(bench: Bench) -> None:
    await bench.then(bench.put(0, ENTRY))
    (hand,) = await bench.then(bench.claim(0))
    await bench.then(bench.begin(hand, SERIALIZABLE))
    await bench.then(bench.end(hand, "failed", SERIALIZABLE))
    hand.answer, hand.step = "500", "answered"
    await bench.then(bench.settle_all(0))
    await bench.then(bench.absorb())
    assert only_duty(bench).failures == 1


async def test_a_dead_dispatch_does_not_rise_again_by_a_rewind_that_waited_in_the_inbox(bench: Bench) -> None:
    await bench.then(bench.put(0, ENTRY))
    (hand,) = await bench.then(bench.claim(0))
    await bench.then(bench.begin(hand))
    await bench.then(bench.end(hand, "failed"))
    await bench.then(bench.put(0, ENTRY, SERIALIZABLE))  # somebody rewinds it; its retry serves that
    await bench.then(bench.make_due(only_duty(bench)))
    (hand,) = await bench.then(bench.claim(0))
    await bench.then(bench.begin(hand))
    await bench.then(bench.end(hand, "failed"))
    await bench.then(bench.absorb())
    assert bench.model.open_duties == []
