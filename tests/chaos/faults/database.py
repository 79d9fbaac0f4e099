"""Faults of the database: restarts, lost connections, no connection to be had, no room on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from chaos.cluster import MAX_CONNECTIONS, Cluster
from chaos.faults.fault import fault, only_feed
from chaos.scene import Scene


@fault(seconds=8)
async def postgres_stopped_at_once(scene: Scene) -> None:
    """Postgres is stopped without a goodbye under load, and comes back."""
    async for _ in scene.rounds(1, 2):
        await scene.cluster.stop("immediate")
        await asyncio.sleep(scene.dice.uniform(0, 1.5))
        await scene.cluster.ensure_running()


@fault(seconds=8)
async def postgres_killed(scene: Scene) -> None:
    """SIGKILL for every process of Postgres under load."""
    async for _ in scene.rounds(1, 2):
        await scene.cluster.stop("kill")
        await scene.cluster.ensure_running()


@fault(seconds=15, lease=15, poll=5, reconnect=5, recovery=20)
async def postgres_away(scene: Scene) -> None:
    """Postgres is away for 12 seconds; workers run with the settings that they have by default."""
    await asyncio.sleep(1.5)
    await scene.cluster.stop("immediate")
    await asyncio.sleep(12)
    await scene.cluster.ensure_running()
    scene.expect.calls_within(3, "calls flow after Postgres returned", time.monotonic())
    await only_feed(scene)


@fault(seconds=11, lease=3, poll=1, recovery=14)
async def postgres_away_past_the_lease(scene: Scene) -> None:
    """Postgres is away for three leases: every lease has lapsed when it returns."""
    await asyncio.sleep(1)
    with scene.cut_off():
        await scene.cluster.stop("kill")
        await asyncio.sleep(9)
        await scene.cluster.ensure_running()
    scene.expect.calls_within(3, "calls flow after Postgres returned", time.monotonic())
    await only_feed(scene)


@fault()
async def connections_terminated(scene: Scene) -> None:
    """Every session of workers and stages is terminated, ten times a second by the dice."""
    async for _ in scene.rounds(0.1, 0.3):
        await scene.terminate_backends(share=0.3)


@fault()
async def connections_of_workers_terminated(scene: Scene) -> None:
    """Every session of the workers is terminated several times a second; no call is repeated because of it."""
    async for _ in scene.rounds(0.1, 0.3):
        await scene.terminate_backends("pgbaton", share=0.5)
    scene.expect.no_repeats()


@fault(seconds=8, recovery=14)
async def connections_exhausted(scene: Scene) -> None:
    """max_connections is reached by others while workers and stages have lost theirs."""
    async for _ in scene.rounds(0.5, 1):
        hogs: list[asyncpg.Connection] = []
        try:
            await scene.terminate_backends()
            for _ in range(MAX_CONNECTIONS):
                with contextlib.suppress(asyncpg.PostgresError, OSError):
                    hogs.append(await asyncpg.connect(scene.dsn, server_settings={"application_name": "hand"}))
            await asyncio.sleep(2)
        finally:
            for hog in hogs:
                hog.terminate()


def _lose(*names: str) -> dict[str, str]:
    texts = {
        "claim": "pgbaton.room(",
        "note": "UPDATE pgbaton.history",  # a turn that claims notes, too
        "look": "c.due_at = pgbaton.parked() AS parked",
        "settle": "WITH verdict AS",
        "prepare": "WITH mine AS",
        "renew": "UPDATE pgbaton.workers",
        "lease": "pgbaton.take_lease(",
        "rescue": "pgbaton.alive(w) IS NOT TRUE",
    }
    return {name: texts[name] for name in names}


async def _lose_replies(scene: Scene, *names: str, share: float) -> None:
    texts = _lose(*names)
    scene.proxy.lose = lambda statement: (
        any(text in statement for text in texts.values()) and (scene.dice.random() < share)
    )
    await only_feed(scene)
    scene.note("lost_replies", count=len(scene.proxy.lost))
    if not scene.proxy.lost:
        scene.expect.violations.append("the fault did not happen: no reply was lost")
    scene.expect.no_repeats()


@fault(proxied=True)
async def reply_of_claim_lost(scene: Scene) -> None:
    """A claim is committed, its reply is lost with the connection: no stage was called, nothing stays behind."""
    await _lose_replies(scene, "claim", share=0.2)


@fault(proxied=True)
async def reply_of_lease_lost(scene: Scene) -> None:
    """A claim's reply is lost, so the worker takes a new lease: that is committed, and its reply is lost as well."""
    await _lose_replies(scene, "claim", "lease", share=0.2)


@fault(proxied=True)
async def reply_of_every_statement_lost(scene: Scene) -> None:
    """The same for all statements that claim, note, look, settle, renew and rescue."""
    await _lose_replies(scene, "claim", "note", "look", "settle", "prepare", "renew", "lease", "rescue", share=0.15)


@fault(stages_proxied=True)
async def reply_of_stages_commit_lost(scene: Scene) -> None:
    """A stage's commit succeeds, its reply is lost with the connection: the stage says 500, the row knows better."""
    scene.proxy.lose = lambda statement: statement.startswith("COMMIT") and scene.dice.random() < 0.1
    await only_feed(scene)
    if not scene.proxy.lost:
        scene.expect.violations.append("the fault did not happen: no reply was lost")


def _cannot_mount() -> str:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a small file system can be mounted by root on Linux only"
    probe = Path("/tmp/pgbaton-chaos-mount")  # noqa: S108
    probe.mkdir(exist_ok=True)
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", probe], capture_output=True, check=False)
        if mounted.returncode:
            return f"mount is refused: {mounted.stderr.decode().strip()}"
        subprocess.run(["umount", probe], check=False)
    finally:
        probe.rmdir()
    return ""


@asynccontextmanager
async def _on_a_small_disk(folder: Path) -> AsyncIterator[Cluster]:
    disk = folder / "small-disk"
    disk.mkdir()
    await _run("mount", "-t", "tmpfs", "-o", "size=400m,mode=0711", "tmpfs", str(disk))
    try:
        async with Cluster(disk / "cluster", {"max_wal_size": "64MB", "min_wal_size": "32MB"}) as cluster:
            yield cluster
    finally:
        await _run("umount", "-l", str(disk))
        disk.rmdir()


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    if await process.wait():
        raise RuntimeError(f"{command} failed")


@fault(_cannot_mount, own_cluster=_on_a_small_disk, seconds=10, rate=40, recovery=16)
async def disk_full(scene: Scene) -> None:
    """The disk under Postgres is full for some seconds; what cannot be written is not half written."""
    ballast = scene.cluster.folder.parent / "ballast"
    await asyncio.sleep(1)
    with scene.cut_off():
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(65536))
        await asyncio.sleep(5)
        ballast.unlink()
        await asyncio.sleep(0.5)
        await scene.cluster.ensure_running()
    await only_feed(scene)
