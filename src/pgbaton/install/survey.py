"""A pipeline as the database has it, for :mod:`pgbaton.install.plan`. It only reads: no lock of it keeps a writer
waiting."""

from __future__ import annotations

import json
from collections.abc import Mapping

import asyncpg

from pgbaton import sql
from pgbaton.errors import AttachError, LockNotHad
from pgbaton.install.holders import holders
from pgbaton.install.plan import Installed, InstalledStage, Rows
from pgbaton.model import DONE, FAILED, RUNNING, Pipeline
from pgbaton.rollout import Rollout

COUNT_TIMEOUT = "300s"
"""How long counting the table's rows may take; 5 million take about a second."""


def busy(pipeline: Pipeline, seconds: float, holders: str) -> LockNotHad:
    """The error that says that the table's lock was not had in ``seconds``, and which sessions hold it."""
    return LockNotHad(
        f"the table {pipeline.table!r} was busy for {seconds:g} s: {holders}. "
        "Nothing was changed; try again when that has ended"
    )


async def installed_settings(conn: asyncpg.Connection, pipeline: Pipeline, parts: Mapping[str, str]) -> asyncpg.Record:
    """Everything but functions and triggers, whose text depends on it."""
    return await conn.fetchrow(sql.render(sql.read("install/installed.sql"), parts), pipeline.name)


async def installed(conn: asyncpg.Connection, row: asyncpg.Record, parts: Mapping[str, str]) -> Installed:
    """With functions and triggers. ``parts``: as the pipeline is to be attached."""
    wanted = sql.render(sql.read("install/wanted_triggers.sql"), parts)
    query = sql.render(sql.read("install/installed_code.sql"), {**parts, "wanted_triggers": wanted})
    code = await conn.fetch(query)
    return Installed(
        None if row["settings"] is None else json.loads(row["settings"]),
        tuple(InstalledStage(**stage) for stage in json.loads(row["stages"] or "[]")),
        row["home"] or "none",
        Rollout.of(row["rollout"]),
        row["adopting"],
        row["left"],
        code[0]["function"],
        {r["name"]: r["same"] for r in code},
    )


async def rows_by_state(
    conn: asyncpg.Connection, pipeline: Pipeline, has: Installed, parts: Mapping[str, str], patience: float
) -> dict[tuple[str, str], Rows]:
    """The rows of the user's table that are in a state of the pipeline's steps, as it is or was, counted. Waits
    ``patience`` seconds for a table that is locked as a whole."""
    was = [(stage.after, stage.status) for stage in has.stages if stage.routed]
    entries = [*(node.entry for node in pipeline.nodes), *was]
    stages = [*(node.step for node in pipeline.nodes), *(stage.step for stage in has.stages if stage.routed)]
    steps = list(dict.fromkeys((*(step for step, _ in entries), *stages)))
    statuses = list(dict.fromkeys((DONE, RUNNING, FAILED, *(status for _, status in entries))))
    query = sql.render(sql.read("install/rows.sql"), parts)
    try:
        async with conn.transaction():
            await conn.execute(f"SET LOCAL lock_timeout = {round(patience * 1000)}")
            await conn.execute(f"SET LOCAL statement_timeout = '{COUNT_TIMEOUT}'")
            counted = await conn.fetch(query, pipeline.name, steps, statuses)
    except asyncpg.QueryCanceledError:
        raise AttachError(
            f"counting the rows of {pipeline.table!r} takes longer than {COUNT_TIMEOUT}: "
            f"an index on ({pipeline.step}, {pipeline.status}) helps"
        ) from None
    except asyncpg.LockNotAvailableError:
        raise busy(pipeline, patience, await holders(conn, parts["table"])) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise AttachError(f"no right to attach to {pipeline.table!r}: {error}") from None
    found: dict[tuple[str, str], dict[str | None, int]] = {}
    for r in counted:
        found.setdefault((r["step"], r["status"]), {})[r["stage"]] = r["rows"]
    return {state: Rows(of) for state, of in found.items()}
