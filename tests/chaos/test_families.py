"""Fan-in, bounded loops and approvals under kill -9 and cut sessions: a slice of a fault of ``make chaos``."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from chaos.families import Families
from line import until

ATTACK = 5.0
"""Seconds that jobs come and workers die."""
PATIENCE = 40.0
"""Seconds after that in which each job has to come to its end: a few leases and timeouts on a busy machine."""


@pytest.mark.timeout(120)
async def test_families_loops_and_approvals_survive_an_attack(database: str, tmp_path: Path) -> None:
    dice = random.Random(14)
    async with Families(database, tmp_path, dice) as families:
        end, kill_at = time.monotonic() + ATTACK, time.monotonic() + 1.5  # a worker needs its time to come up
        while time.monotonic() < end:
            await families.come(hands=False)  # a deleted child is noticed after 20 s: too long for the suite
            if time.monotonic() > kill_at:
                families.kill_a_worker()
                kill_at = time.monotonic() + dice.uniform(0.5, 1.5)
                async with families.session() as db:
                    await db.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                        "AND application_name LIKE 'pgbaton%' AND random() < 0.5"
                    )

        async def ended() -> bool:
            return await families.left() == 0

        await until(ended, "every job is at its end", PATIENCE)
        assert families.killed > 1
        assert await families.broken() == []
