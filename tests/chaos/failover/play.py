"""Plays one drill and has it judged by the attack's judge, which is told what replication may lose."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from chaos.failover.cluster import PatroniCluster
from chaos.failover.scene import FailoverScene
from chaos.faults.fault import Fault
from chaos.oracle import Verdict, judge
from chaos.runner import evidence_of, traceback_of

AT_MOST = 240.0


@dataclass
class Outcome:
    """``lost``: jobs whose insert was acknowledged and that no standby had. ``writable``: seconds until a primary took
    commits, for each failover; ``flowing``: from then until a stage was called."""

    mode: str
    verdict: Verdict
    lost: int = 0
    writable: list[float] = field(default_factory=list)

    @property
    def flowing(self) -> list[float]:
        return [measured for _, measured, _ in self.verdict.targets]


async def play(drill: Fault, seed: str, mode: str, cluster: PatroniCluster, folder: Path) -> Outcome:
    """One drill, judged."""
    place = folder / f"{mode}-{seed.rsplit(':', 1)[-1]}-{drill.name}"
    place.mkdir()
    began = time.monotonic()
    outcome = Outcome(mode, Verdict(drill.name))
    try:
        async with asyncio.timeout(AT_MOST):
            await cluster.ensure_running()
            await cluster.settled()
            async with FailoverScene(drill.name, drill.plan, seed, cluster, place) as scene:
                await scene.play(drill.attack)
                if not cluster.synchronous:
                    scene.note("commits_may_be_lost")
                outcome.lost = await scene.excuse_what_replication_lost()
                outcome.writable = scene.writable_after
                verdict = outcome.verdict = await judge(scene)
                verdict.violations += await asyncio.to_thread(_doctor, scene)
                verdict.evidence = await evidence_of(scene, verdict)
    except Exception as error:
        outcome.verdict.violations.append(f"the drill broke: {type(error).__name__}: {error}")
        outcome.verdict.evidence = traceback_of(error)
    outcome.verdict.seconds = time.monotonic() - began
    return outcome


def _doctor(scene: FailoverScene) -> list[str]:
    """The product's own word on rows and duties."""
    program = str(Path(sys.executable).with_name("pgbaton"))
    command = [program, "doctor", "--invariants", "--json", "--database-url", scene.dsn]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    broken = [found["sentence"] for found in json.loads(said) if found["code"] == "invariant_broken"]
    return [f"doctor --invariants: {sentence}" for sentence in broken]
