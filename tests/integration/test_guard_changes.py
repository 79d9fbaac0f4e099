"""The guard while the table changes under it, or refuses a row."""

from __future__ import annotations

import asyncpg
import pytest

from guarded import cut, guarded, is_problem
from line import RETYPED
from pgbaton.fastapi import StageFailed, Turn

# -- the table changes under it ----------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before it begins", "while it works"])
@pytest.mark.parametrize("how", ["an enum", "the key"])
async def test_a_stage_goes_on_after_a_column_got_another_type(database: str, how: str, when: str) -> None:
    async def work(turn: Turn) -> dict[str, str]:
        if when == "while it works":
            await turn.read(lambda db, turn: db.execute(RETYPED[how]))
        return await cut(turn)

    async with guarded(database, work) as g:
        job = await g.add()
        if when == "before it begins":
            await g.db.execute(RETYPED[how])
        assert (await g.call(job)).status == 200
        assert (await g.call(job, path="/glue")).json == {"seen": "cut", "tenant": "acme"}
        assert await g.row(job) == ("glue", "done")


async def test_a_stage_whose_column_was_renamed_says_so_and_leaves_the_row(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with guarded(database) as g:
        job = await g.add()
        await g.db.execute("ALTER TABLE jobs RENAME status TO state")
        assert (await g.call(job)).status == 500
        assert "no column 'status'" in caplog.text
        assert await g.db.fetchval("SELECT state FROM jobs") == "done"


@pytest.mark.parametrize("refused", ["done", "failed"])
async def test_a_stage_whose_row_the_table_refuses_says_so_without_the_rows_contents(
    database: str, refused: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(turn: Turn) -> None:
        if refused == "failed":
            raise StageFailed("no picture")

    async with guarded(database, work) as g:
        job = await g.add()
        check = f"CHECK (status <> '{refused}' OR current_step = 'made')"
        await g.db.execute(f"UPDATE jobs SET note = 'secret'; ALTER TABLE jobs ADD CONSTRAINT never {check}")
        reply = await g.call(job)
        said = (
            "no picture" if refused == "failed" else "the table refuses ('cut', 'done'): new row for relation \"jobs\""
        )
        assert is_problem(reply, 500, "Stage failed", said)
        assert await g.row(job) == ("cut", "running" if refused == "failed" else "failed")
        assert "secret" not in reply.json["detail"] + caplog.text


async def test_a_deferred_constraint_that_refuses_the_commit_is_told_without_the_rows_contents(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def note(db: asyncpg.Connection, turn: Turn) -> None:
        await db.execute("UPDATE jobs SET note = 'secret' WHERE job_id::text = $1", turn.job_id)

    async def work(turn: Turn) -> None:
        turn.save(note)

    async with guarded(database, work) as g:
        await g.db.execute(
            "ALTER TABLE jobs ADD CONSTRAINT once UNIQUE (note) DEFERRABLE INITIALLY DEFERRED;"
            "INSERT INTO jobs (current_step, status, note) VALUES ('archived', 'done', 'secret')"
        )
        job = await g.add()
        reply = await g.call(job)
        assert is_problem(reply, 500, "Stage failed", "the database refuses the commit: duplicate key value")
        assert await g.row(job) == ("cut", "failed")
        assert "secret" not in reply.json["detail"] + caplog.text
