"""Orders of steps that broke the protocol once, each as short as it can be told: found by test_protocol_machine.py, by
the model in models/, or by reading. The comparison after every step is the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pgbaton.decision.verdict import Job, Verdict, refused
from pgbaton.model import Advance, Row
from support.protocol_trial import Ground, Trial

ENTRY = ("made", "done")


@pytest.fixture
async def ground(database: str) -> AsyncIterator[Ground]:
    async with Ground.on(database) as ground:
        yield ground


async def a_trial(ground: Ground, cut: Advance = Advance.STAGE, glue: Advance = Advance.STAGE) -> Trial:
    """A job that is about to be cut."""
    trial = Trial(ground, cut, glue)
    await trial.then(trial.start())
    await trial.then(trial.put(0, ENTRY))
    return trial


async def test_a_worker_whose_call_was_rescued_moves_no_row_for_it(ground: Ground) -> None:
    """The rescued call still named the worker that had it last, and waited under the same attempt."""
    trial = await a_trial(ground, cut=Advance.ENGINE)
    (hand,) = await trial.then(trial.turn(0))
    await trial.then(trial.lose_lease(0, forgets=False))
    await trial.then(trial.settle(await trial.rescue()))
    await trial.then(trial.go_on(hand))
    await trial.come_to_rest()


async def test_a_worker_that_takes_a_new_lease_keeps_no_call_that_was_rescued(ground: Ground) -> None:
    trial = await a_trial(ground)
    await trial.then(trial.turn(0))
    await trial.then(trial.lose_lease(0, forgets=False))
    await trial.then(trial.settle(await trial.rescue()))
    await trial.then(trial.take_lease(0))
    await trial.come_to_rest()


async def test_a_worker_that_decided_before_the_rescue_settles_nothing_after_it(ground: Ground) -> None:
    """The rescue had left the call to its stage, which works: only the standing of the call tells that from before."""
    trial = await a_trial(ground)
    (hand,) = await trial.then(trial.turn(0))
    await trial.then(trial.go_on(hand))
    hand.step, hand.answer = "answered", "409"
    late = await trial.then(trial.go_on(hand))  # not now, the stage had not begun
    await trial.then(trial.begin(hand))
    await trial.then(trial.lose_lease(0, forgets=True))
    await trial.then(trial.settle(await trial.rescue()))
    await trial.then(trial.settle(late))
    await trial.come_to_rest()


async def test_a_waiting_call_whose_row_a_user_put_to_running_is_called_where_the_engine_keeps_the_state(
    ground: Ground,
) -> None:
    """Nothing was at work and nothing would ever end that state; each claim found the job and left it."""
    trial = await a_trial(ground, cut=Advance.ENGINE)
    (hand,) = await trial.then(trial.turn(0))
    await trial.then(trial.go_on(hand))
    hand.step, hand.answer = "answered", "409"
    await trial.then(trial.settle(await trial.then(trial.go_on(hand))))
    await trial.then(trial.put(0, ("cut", "running")))
    await trial.come_to_rest()


async def test_a_worker_that_only_looks_leaves_what_is_known_of_an_attempt(ground: Ground) -> None:
    """A 202 was "accepted" until the next look called it "unknown"."""
    trial = await a_trial(ground)
    (hand,) = await trial.then(trial.turn(0))
    await trial.then(trial.go_on(hand))
    hand.step, hand.answer = "answered", "202"
    await trial.then(trial.settle(await trial.then(trial.go_on(hand))))
    await trial.then(trial.resolve([0]))
    await trial.come_to_rest()


async def test_a_call_that_follows_another_takes_nothing_over_of_its_outcome(ground: Ground) -> None:
    """The job goes on to glue, whose stage a writer has begun: that attempt was "completed" before it had ended."""
    trial = await a_trial(ground)
    await trial.then(trial.turn(0))
    await trial.then(trial.put(0, ("cut", "done")))
    await trial.then(trial.put(0, ("glue", "running")))
    await trial.then(trial.resolve([0]))
    await trial.come_to_rest()


async def test_a_duty_whose_stage_another_caller_has_begun_is_an_attempt_of_unknown_outcome(ground: Ground) -> None:
    trial = await a_trial(ground)
    await trial.then(trial.put(0, ("cut", "running")))
    await trial.then(trial.resolve([0]))
    await trial.come_to_rest()


async def test_a_decision_is_void_where_a_look_was_taken_from_a_waiting_call_meanwhile(ground: Ground) -> None:
    """A decision that relied on (cut, running) left the call to a stage that had failed already, until the deadline."""
    trial = await a_trial(ground)
    (hand,) = await trial.then(trial.turn(0))
    await trial.then(trial.go_on(hand))
    hand.step, hand.answer = "answered", "409"
    await trial.then(trial.settle(await trial.then(trial.go_on(hand))))
    await trial.then(trial.put(0, ("cut", "running")))
    late = await trial.then(trial.look([0]))
    await trial.then(trial.put(0, ("cut", "failed")))
    await trial.then(trial.resolve([0]))
    await trial.then(trial.settle(late))
    assert trial.model.jobs[0].call
    assert trial.model.jobs[0].call.standing == "waiting"
    await trial.come_to_rest()


async def test_a_duty_that_came_while_the_engine_wrote_done_for_its_stage_leaves_a_trace(ground: Ground) -> None:
    """It vanished from the view of dispatches."""
    trial = await a_trial(ground, cut=Advance.ENGINE)
    (hand,) = await trial.then(trial.turn(0))
    await trial.then(trial.go_on(hand))
    await trial.then(trial.put(0, ENTRY))  # the row was at (cut, running)
    hand.step, hand.answer = "answered", "200"
    await trial.then(trial.settle(await trial.then(trial.go_on(hand))))
    await trial.come_to_rest()


@pytest.mark.parametrize("waits", [True, False])
async def test_a_job_is_claimed_by_the_tenant_that_its_row_names_now(ground: Ground, waits: bool) -> None:
    """By the tenant of the duty it was neither claimed nor parked, and workers turned round it without a pause."""
    trial = await a_trial(ground)
    if waits:
        (hand,) = await trial.then(trial.turn(0))
        await trial.then(trial.go_on(hand))
        hand.step, hand.answer = "answered", "409"
        await trial.then(trial.settle(await trial.then(trial.go_on(hand))))
        await trial.then(trial.make_due(0))
    await trial.then(trial.pause("acme"))
    await trial.then(trial.move_to_tenant(0, "blue"))
    assert await trial.then(trial.claim_waiting(0) if waits else trial.turn(0))
    await trial.come_to_rest()


async def test_a_job_that_is_parked_for_its_new_tenant_is_due_when_that_is_resumed(ground: Ground) -> None:
    """It was parked under the tenant that it had before, and stayed parked."""
    trial = await a_trial(ground)
    (hand,) = await trial.then(trial.turn(0))
    await trial.then(trial.go_on(hand))
    hand.step, hand.answer = "answered", "409"
    await trial.then(trial.settle(await trial.then(trial.go_on(hand))))
    await trial.then(trial.make_due(0))
    await trial.then(trial.move_to_tenant(0, "blue"))
    await trial.then(trial.pause("blue"))
    await trial.then(trial.claim_waiting(0))
    await trial.then(trial.resolve([0]))
    await trial.come_to_rest()


async def test_a_worker_without_a_lease_takes_no_turn_even_where_it_has_no_room(ground: Ground) -> None:
    """Postgres never asked for the lease where nothing was to be claimed."""
    trial = await a_trial(ground)
    await trial.then(trial.lose_lease(0, forgets=False))
    await trial.then(trial.turn(0, 0))
    await trial.come_to_rest()


CLEAN_UP = """
CREATE FUNCTION clean_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.current_step = 'glue' AND NEW.status = 'failed' THEN
        UPDATE jobs SET current_step = 'made', status = 'done' WHERE job_id = NEW.job_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER a_clean_up AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION clean_up();
"""


async def test_a_trigger_of_the_users_that_moves_a_row_on_which_a_worker_gave_up_leaves_its_duty(
    ground: Ground,
) -> None:
    """The worker's write was silent for the whole job, and with it the trigger's own in the same statement."""
    trial = await a_trial(ground)
    await trial.then(trial.put(0, ("cut", "done")))
    await ground.look.execute(CLEAN_UP)
    await trial.resolve([0])
    (hand,) = await trial.then(trial.turn(0))
    await trial.then(trial.go_on(hand))
    hand.step, hand.answer = "answered", "422"
    await trial.settle(await trial.then(trial.go_on(hand)))
    assert (await ground.look.fetchval("SELECT current_step FROM jobs")) == "made"
    assert await ground.look.fetch("SELECT stage FROM pgbaton.due") == [("cut",)]


async def test_a_table_that_refuses_the_row_of_a_job_without_a_call_ends_its_duty(ground: Ground) -> None:
    """The verdict named no call, and its history could not be written: the job came back for ever."""
    trial = await a_trial(ground, cut=Advance.ENGINE)
    await trial.then(trial.put(0, ("cut", "running")))
    (decided,) = await trial.look([0])
    assert decided.verdict.target == ENTRY
    await trial.store.settle([(refused(decided.verdict, "no"), None)], trial.stages)
    assert await ground.look.fetch("SELECT stage, state FROM pgbaton.dispatches") == [("cut", "dead")]
    assert await ground.look.fetch("SELECT FROM pgbaton.due") == []


def test_a_refusal_without_a_call_ends_no_dispatch_but_its_duties() -> None:
    assert refused(Verdict(Job("1", Row(None, "cut", "running"), None), None, target=ENTRY), "no").ended is None
