"""turn.sql: the duties and looks that a turn takes, ends and claims, those that it leaves, and that it waits for no lock."""

from __future__ import annotations

import asyncio

import pytest

from line import attached, two_stages
from pgbaton.errors import LeaseLost
from pgbaton.model import Row
from store_bench import Bench, bench, quickly, said


async def test_a_turn_claims_the_last_stage_first_and_the_oldest_duty_within_a_stage(database: str) -> None:
    async with bench(database) as b:
        jobs = [await b.add(step) for step in ("made", "cut", "made", "cut", "made")]
        assert {d.job_key for d in (await b.store.turn(b.worker, 3)).claimed} == {jobs[1], jobs[3], jobs[0]}
        assert [d.job_key for d in (await b.store.turn(b.worker, 9)).claimed] == [jobs[2], jobs[4]]
        assert (await b.store.turn(b.worker, 9)).found == 0


async def test_a_claim_names_the_attempt_the_worker_and_the_row(database: str) -> None:
    async with bench(database) as b:
        dispatch = await b.claimed()
        assert (dispatch.stage, dispatch.attempt, dispatch.run) == ("cut", 1, dispatch.id)
        assert dispatch.row == Row("acme", "made", "done")
        assert 0 <= dispatch.waited < 5
        call = await b.call(dispatch.job_key)
        assert call is not None
        assert (call["id"], call["worker"], call["attempt"], call["entry"]) == (dispatch.id, b.worker, 1, "made")
        assert (call["due_at"], call["deadline"], call["slot"], call["seen"]) == (None, None, None, None)
        assert await b.duties(dispatch.job_key) == []
        attempt = await b.db.fetchrow("SELECT worker, outcome, finished_at FROM pgbaton.attempts")
        assert tuple(attempt) == ("me", None, None)


async def test_a_duty_ends_the_call_before_it_and_is_the_jobs_call_in_its_place(database: str) -> None:
    async with bench(database) as b:
        first = await b.begun()
        await b.put(first.job_key, "cut", "done")
        turn = await b.store.turn(b.worker, 9, [(first, said(200))])
        (second,) = turn.claimed
        assert turn.ended == {first.id}
        assert (second.stage, second.attempt, second.run) == ("glue", 1, first.run)
        (ended,) = await b.history(first.job_key)
        assert (ended["id"], ended["state"], ended["outcome"], ended["called"]) == (
            first.id,
            "completed",
            "completed",
            True,
        )
        assert (ended["http_status"], ended["worker"]) == (200, b.worker)
        assert await b.states(first.job_key) == [("cut", "completed"), ("glue", "running")]


async def test_an_answer_to_another_attempt_is_not_kept_with_the_one_that_ended(database: str) -> None:
    async with bench(database) as b:
        first, other = await b.claimed(), await b.claimed()
        await b.put(first.job_key, "cut", "done")
        await b.store.turn(b.worker, 9, [(other, said(500)), (first, said(201))])
        assert [h["http_status"] for h in await b.history(first.job_key)] == [201]
        second = await b.claimed()
        await b.db.execute("UPDATE pgbaton.calls SET attempt = 2 WHERE id = $1", second.id)
        await b.put(second.job_key, "cut", "done")
        await b.store.turn(b.worker, 9, [(second, said(500))])
        assert [h["http_status"] for h in await b.history(second.job_key)] == [None]


async def test_a_look_at_the_end_of_the_line_ends_the_call_and_claims_nothing(database: str) -> None:
    async with bench(database) as b:
        last = await b.claimed("cut")
        await b.put(last.job_key, "glue", "done")
        turn = await b.store.turn(b.worker, 0, [(last, said(200))])
        assert (turn.claimed, turn.ended, turn.others) == ((), {last.id}, frozenset())
        assert await b.call(last.job_key) is None
        assert await b.duties(last.job_key) == []
        assert await b.states(last.job_key) == [("glue", "completed")]


async def test_a_look_at_a_job_that_is_in_no_call_is_taken_away(database: str) -> None:
    async with bench(database) as b:
        job = await b.job_in("dead")
        await b.put(job, "archived", "done")
        assert len(await b.duties(job)) == 1
        turn = await b.store.turn(b.worker, 0)
        assert (turn.found, turn.others) == (1, frozenset())
        assert await b.duties(job) == []


# Jobs that are not everyday ones: what is done to them is decided with all that there is of them.
OTHERS = {
    "two duties": "INSERT INTO pgbaton.due (pipeline, stage, job_key, step, status) VALUES ('craft', 'cut', $1, 'made', 'done')",
    "a duty and a look": "INSERT INTO pgbaton.due (pipeline, stage, job_key, step, status) VALUES ('craft', '', $1, 'cut', 'x')",
    "the row elsewhere": "UPDATE jobs SET current_step = 'aside' WHERE job_id = $1::text::uuid",
    "the row gone": "DELETE FROM jobs WHERE job_id = $1::text::uuid",
    "the row begun": "UPDATE jobs SET current_step = 'cut', status = 'running' WHERE job_id = $1::text::uuid",
    "its tenant paused": "INSERT INTO pgbaton.paused_tenants (pipeline, tenant) SELECT 'craft', 'acme' WHERE $1::text <> ''",
    "a call of the same stage": "INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, run, attempt, worker, created_at) "
    "VALUES ('craft', $1, 0, 'cut', 'made', 0, 1, 1, now())",
    "a call of another stage": "INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, run, attempt, worker, created_at) "
    "VALUES ('craft', $1, 0, 'glue', 'cut', 0, 1, 1, now())",
    "a call that has seen a duty": "INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, run, attempt, worker, "
    "created_at, seen) VALUES ('craft', $1, 0, 'made', 'x', 0, 1, 1, now(), 1)",
    "a call that is newer": "INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, run, attempt, worker, created_at) "
    "VALUES ('craft', $1, 999, 'made', 'x', 0, 1, 1, now())",
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
async def test_a_job_that_is_no_everyday_one_is_left_as_it_is_and_named(database: str, case: str) -> None:
    async with bench(database) as b:
        job = await b.add()
        await b.db.execute(OTHERS[case], job)
        before = await b.engine_rows()
        turn = await b.store.turn(b.worker, 9)
        assert (turn.claimed, turn.ended, turn.others, turn.newest) == ((), frozenset(), {job}, {})
        assert await b.engine_rows() == before


@pytest.mark.parametrize("limit", [0, 1, 4, 5, 6])
async def test_a_turn_takes_no_more_duties_than_asked_for_and_looks_besides(database: str, limit: int) -> None:
    async with bench(database) as b:
        for step in ("made", "cut", "made", "cut", "made"):
            await b.add(step)
        await b.db.execute(
            "INSERT INTO pgbaton.due (pipeline, stage, job_key) "
            "SELECT 'craft', '', gen_random_uuid() FROM generate_series(1, 3) AS n"
        )
        turn = await b.store.turn(b.worker, limit, looks=2)
        assert len(turn.claimed) == min(limit, 5)
        assert turn.found == min(limit, 5) + 2


async def test_a_turn_that_calls_nothing_names_the_jobs_of_the_duties(database: str) -> None:
    async with bench(database) as b:
        jobs = {await b.add() for _ in range(3)}
        turn = await b.store.turn(b.worker, 9, calling=False)
        assert (turn.claimed, turn.others) == ((), jobs)


async def test_a_turn_begins_at_the_id_that_it_is_told_in_each_stage(database: str) -> None:
    async with bench(database) as b:
        jobs = [await b.add(step) for step in ("made", "made", "cut", "cut")]
        ids = [(await b.duties(job))[0] for job in jobs]
        turn = await b.store.turn(b.worker, 9, since={"cut": ids[1], "glue": ids[3]})
        assert {d.job_key for d in turn.claimed} == {jobs[1], jobs[3]}
        assert turn.newest == {"cut": ids[1], "glue": ids[3]}
        assert {d.job_key for d in (await b.store.turn(b.worker, 9)).claimed} == {jobs[0], jobs[2]}


@pytest.mark.parametrize("paused", ["stage", "pipeline", "unrouted", "open circuit"])
async def test_a_stage_that_is_not_to_be_called_is_not_claimed(database: str, paused: str) -> None:
    async with bench(database) as b:
        cut, glue = await b.add("made"), await b.add("cut")
        change, back = {
            "stage": ("stages SET paused_at = now() WHERE step = 'glue'", "stages SET paused_at = NULL"),
            "pipeline": ("pipelines SET paused_at = now()", "pipelines SET paused_at = NULL"),
            "unrouted": ("stages SET routed = false WHERE step = 'glue'", "stages SET routed = true"),
            "open circuit": (
                "stages SET open_until = now() + interval '1 h' WHERE step = 'glue'",
                "stages SET open_until = NULL",
            ),
        }[paused]
        await b.db.execute(f"UPDATE pgbaton.{change}")
        assert [d.job_key for d in (await b.store.turn(b.worker, 9)).claimed] == ([] if paused == "pipeline" else [cut])
        await b.db.execute(f"UPDATE pgbaton.{back}")
        assert glue in [d.job_key for d in (await b.store.turn(b.worker, 9)).claimed]


async def test_a_worker_leaves_stages_alone_that_it_does_not_know(database: str) -> None:
    async with bench(database, steps=("cut", "dry")) as b:
        cut, glue = await b.add("made"), await b.add("cut")
        turn = await b.store.turn(b.worker, 9)
        assert ([d.job_key for d in turn.claimed], turn.found) == ([cut], 1)
        assert len(await b.duties(glue)) == 1


# -- locks ------------------------------------------------------------------------------------------


async def test_a_duty_that_another_worker_has_locked_is_skipped_and_not_waited_for(database: str) -> None:
    async with bench(database) as b:
        held, free = await b.add(), await b.add()
        async with b.holding("SELECT FROM pgbaton.due WHERE job_key = $1 FOR UPDATE", held):
            assert [d.job_key for d in (await quickly(b.store.turn(b.worker, 9))).claimed] == [free]
        assert [d.job_key for d in (await b.store.turn(b.worker, 9)).claimed] == [held]


async def test_a_job_whose_call_another_worker_has_locked_is_skipped_and_not_waited_for(database: str) -> None:
    async with bench(database) as b:
        held, free = await b.claimed(), await b.claimed()
        for dispatch in (held, free):
            await b.put(dispatch.job_key, "cut", "done")
        async with b.holding("SELECT FROM pgbaton.calls WHERE job_key = $1 FOR UPDATE", held.job_key):
            turn = await quickly(b.store.turn(b.worker, 9))
        assert ([d.job_key for d in turn.claimed], turn.others) == ([free.job_key], {held.job_key})
        assert [d.job_key for d in (await b.store.turn(b.worker, 9)).claimed] == [held.job_key]


async def test_a_row_that_a_writer_has_locked_does_not_keep_its_duty_from_being_claimed(database: str) -> None:
    async with bench(database) as b:
        job = await b.add()
        async with b.holding("SELECT FROM jobs FOR UPDATE"):
            assert [d.job_key for d in (await quickly(b.store.turn(b.worker, 9))).claimed] == [job]


async def test_a_turn_whose_worker_has_no_lease_writes_nothing(database: str) -> None:
    async with bench(database) as b:
        await b.add()
        last = await b.claimed("cut")
        await b.put(last.job_key, "glue", "done")
        await b.let_lapse()
        before = await b.engine_rows()
        for worker in (b.worker, b.worker + 99, None):
            with pytest.raises(LeaseLost):
                await b.store.turn(worker, 1, [(last, said(200))])
            with pytest.raises(LeaseLost):
                await b.store.claim_waiting(worker, 1)
        assert await b.engine_rows() == before


async def test_a_worker_that_gave_its_lease_up_claims_nothing_under_it(database: str) -> None:
    async with bench(database) as b:
        await b.add()
        await b.store.give_up_lease(b.worker)
        with pytest.raises(LeaseLost, match=f"worker {b.worker} holds no lease"):
            await b.store.turn(b.worker, 1)


async def test_workers_that_claim_at_once_share_without_loss_or_overlap(database: str) -> None:
    async with bench(database) as b:
        await b.db.execute("INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, 300)")
        turns = await asyncio.gather(*(b.store.turn(b.worker, 50) for _ in range(8)))
        turns += await asyncio.gather(*(b.store.turn(b.worker, 50) for _ in range(8)))
        ids = [d.id for turn in turns for d in turn.claimed]
        assert len(ids) == len(set(ids)) == 300
        assert await b.db.fetchval("SELECT count(*) FROM pgbaton.attempts WHERE attempt = 1") == 300


# -- limits and probes ------------------------------------------------------------------------------


async def _race(b: Bench, times: int, worker: int) -> list[int]:
    """Two workers claim at once, again and again; how many calls each claim of each kind brought."""
    work = [b.store.turn(w, 2) for w in (b.worker, worker) * times]
    work += [b.store.claim_waiting(w, 2) for w in (b.worker, worker) * times]
    return [len(turn.claimed) for turn in await asyncio.gather(*work)]


async def test_a_limit_is_exact_when_two_workers_claim_at_once(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=3)) as b:
        waiting = [await b.job_in("waiting") for _ in range(10)]
        await b.db.execute("INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, 30)")
        other = await b.another_worker()
        assert sum(await _race(b, 4, other)) == 3
        slots = await b.db.fetch("SELECT job_key FROM pgbaton.calls WHERE slot = 'cut'")
        assert len(slots) == 3
        assert len(waiting) == 10


async def test_a_stage_that_was_accepted_takes_up_its_slot_until_it_has_ended(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=1)) as b:
        first = await b.claimed()
        await b.add()
        await b.put(first.job_key, "cut", "running")
        await b.settle_with(b.store, first.job_key, 202)
        assert (await b.store.turn(b.worker, 9)).claimed == (), "the stage is at work"
        await b.put(first.job_key, "cut", "done")
        assert [d.stage for d in (await b.store.turn(b.worker, 9)).claimed] == ["glue"]
        assert [d.stage for d in (await b.store.turn(b.worker, 9)).claimed] == ["cut"]


async def test_a_call_that_waits_takes_up_no_slot(database: str) -> None:
    async with bench(database, two_stages(cut_concurrency=1)) as b:
        await b.job_in("waiting")
        await b.db.execute("UPDATE pgbaton.calls SET due_at = now() + interval '1 h'")
        await b.add()
        assert len((await b.store.turn(b.worker, 9)).claimed) == 1


async def test_a_stage_that_was_down_gets_one_probe_at_a_time(database: str) -> None:
    async with bench(database) as b:
        for _ in range(3):
            await b.job_in("waiting")
        await b.db.execute("INSERT INTO jobs (current_step, status) SELECT 'made', 'done' FROM generate_series(1, 9)")
        await b.store.strike("cut", probed=False)
        other = await b.another_worker()
        assert sum(await _race(b, 3, other)) == 0, "the circuit is open"
        await b.db.execute("UPDATE pgbaton.stages SET open_until = now() WHERE step = 'cut'")
        assert sum(await _race(b, 3, other)) == 1
        (probe,) = await b.db.fetch(
            "SELECT open_until > now() + interval '10 s' AS long FROM pgbaton.stages WHERE step = 'cut'"
        )
        assert probe["long"], "no other is called while the probe is out"
        await b.store.close_circuit("cut")
        assert sum(await _race(b, 3, other)) == 11, "the rest of them"


async def test_a_claim_that_comes_to_nothing_takes_no_probe(database: str) -> None:
    """A turn without a free slot, one without a duty, one whose only duty is void, one that calls nothing."""
    async with bench(database) as b:
        await b.store.strike("cut", probed=False)
        await b.db.execute("UPDATE pgbaton.stages SET open_until = now() WHERE step = 'cut'")
        await b.store.turn(b.worker, 9)
        await b.store.claim_waiting(b.worker, 9)
        void = await b.add()
        await b.store.claim_waiting(b.worker, 9)
        await b.store.turn(b.worker, 0)
        await b.store.turn(b.worker, 9, calling=False)
        await b.db.execute("DELETE FROM jobs")
        turn = await b.store.turn(b.worker, 9)
        assert turn.others == {void}
        await b.resolve(turn)
        await b.add()
        (probe,) = (await b.store.turn(b.worker, 9)).claimed
        assert probe.probing


async def test_a_circuit_opens_for_longer_each_time_that_its_probe_fails_and_not_for_other_answers(
    database: str,
) -> None:
    async with bench(database) as b:
        pauses = []
        for n in range(8):
            await b.store.strike("cut", probed=n > 0)
            left = "SELECT extract(epoch FROM open_until - clock_timestamp())::float8 FROM pgbaton.stages WHERE step = 'cut'"
            pauses.append(await b.db.fetchval(left))
            await b.store.strike("cut", probed=False)  # an answer to a call that was out when it opened
        for n, pause in enumerate(pauses):
            whole = min(15.0, 0.5 * 2**n)
            assert 0.4 * whole < pause <= whole
        assert await b.db.fetchval("SELECT strikes FROM pgbaton.stages WHERE step = 'cut'") == 8


async def test_another_pipelines_journal_is_not_touched(database: str) -> None:
    other = two_stages(name="other", table="others")
    async with attached(database, other, "CREATE TABLE others (LIKE jobs INCLUDING ALL)") as db, bench(database) as b:
        job = await db.fetchval(
            "INSERT INTO others (current_step, status) VALUES ('made', 'done') RETURNING job_id::text"
        )
        assert (await b.store.turn(b.worker, 9)).found == 0
        await db.execute(
            "INSERT INTO pgbaton.calls (pipeline, job_key, id, stage, entry, run, attempt, created_at, due_at, waits_for) "
            "VALUES ('other', $1, 1, 'cut', 'made', 1, 1, now(), now(), 'cut')",
            job,
        )
        assert (await b.store.claim_waiting(b.worker, 9)).found == 0
        assert await b.store.next_due() is None
        await db.execute("UPDATE pgbaton.calls SET due_at = NULL, waits_for = NULL, worker = 999")
        assert await b.store.lost("", 9) == []
        await db.execute("UPDATE pgbaton.calls SET deadline = now() - interval '1 s'")
        assert await b.store.lost("", 9) == []
        assert (await b.look(job)).call is None
        assert (await b.look(job)).duties == ()
