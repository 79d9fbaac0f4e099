"""A worker like any other (``pgbaton run``) in which faults happen at named points.

    python -m chaos.faulty_worker '{"who": …, "faults": {"after_claim:die": 0.05}, …}' run --config F

Points are ``before_`` and ``after_`` the worker's ``claim``, ``call``, ``note``, ``look``, ``settle``, ``prepare``,
``renew`` and ``lease``; after means: it happened, and its result is not known. A turn is a claim, a note, or both;
a lease is a point where it takes the place of an older one. Actions:
``die`` (SIGKILL), ``freeze`` (SIGSTOP; the scene wakes it after its lease), ``raise`` (what a driver raises outside
its own tree of errors), ``drop`` (the pool's connections).
Nothing happens any more once the file ``calm`` is in the folder.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg

from chaos.journal import Journal
from chaos.processes import INJECTED
from pgbaton import cli
from pgbaton.decision.verdict import Job, Verdict
from pgbaton.model import Dispatch
from pgbaton.worker.stage_client import StageClient
from pgbaton.worker.store import Move, Store

POINTS: dict[str, type] = {"call": StageClient} | dict.fromkeys(
    ("turn", "claim_waiting", "note", "look", "settle", "prepare", "renew", "take_lease"), Store
)


class Faults:
    """Decides at every point whether something happens there."""

    def __init__(self, who: str, folder: str, seed: str, faults: dict[str, float]) -> None:
        self._journal = Journal(Path(folder), who)
        self._calm = Path(folder, "calm")
        self._dice = random.Random(f"{seed}:{who}")
        self._faults = faults

    def install(self) -> None:
        for name, owner in POINTS.items():
            setattr(owner, name, self._wrapped(name, getattr(owner, name)))

    def _wrapped(self, name: str, real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def wrapped(owner: Any, *arguments: Any, **named: Any) -> Any:
            before, _ = _points(name, arguments, None)
            for point, spoken_of in before.items():
                self._strike(f"before_{point}", owner, spoken_of)
            result = await real(owner, *arguments, **named)
            _, after = _points(name, arguments, result)
            for point, spoken_of in after.items():
                self._strike(f"after_{point}", owner, spoken_of)
            return result

        return wrapped

    def _strike(self, point: str, owner: Any, seen: Any) -> None:
        for name, share in self._faults.items():
            at, action = name.split(":")
            if at == point and self._dice.random() < share and not self._calm.exists():
                self._journal.write("injected", point=point, action=action, pid=os.getpid(), jobs=_jobs(seen))
                getattr(self, f"_{action}")(owner)

    def _die(self, _owner: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _freeze(self, _owner: Any) -> None:
        """The scene wakes us: who is frozen cannot tell the time."""
        os.kill(os.getpid(), signal.SIGSTOP)

    def _raise(self, _owner: Any) -> None:
        raise asyncpg.InternalClientError(f"{INJECTED}; another operation is in progress")

    def _drop(self, owner: Any) -> None:
        for holder in getattr(getattr(owner, "_session", None), "_holders", ()):
            if holder._con is not None:
                holder._con.terminate()
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


def _points(name: str, arguments: Any, result: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The points of interest before and after a method, with the jobs of each: a claim has none before, and after it
    those that were claimed. A claim of nothing is no point of interest afterwards."""
    if name == "turn":
        _, limit, answers, *_ = (*arguments, ())
        noted = {"note": answers} if answers else {}
        before = noted | ({"claim": ()} if limit else {})
        after = noted | ({"claim": result.claimed} if result and result.claimed else {})
    elif name == "claim_waiting":
        before, after = {"claim": ()}, ({"claim": result.claimed} if result and result.claimed else {})
    elif name == "take_lease":
        before = after = {"lease": ()} if arguments[0] is not None else {}
    else:
        before, after = {name: arguments}, {name: arguments}
    return before, after


def _jobs(seen: Any) -> list[str]:
    """The jobs that are spoken of: dispatches and verdicts, somewhere in arguments or results."""
    if isinstance(seen, list | tuple):
        return [job for part in seen for job in _jobs(part)]
    if isinstance(seen, Move):
        seen = seen.dispatch
    if isinstance(seen, Verdict):
        seen = seen.job
    return [seen.job_key] if isinstance(seen, Dispatch) else [seen.key] if isinstance(seen, Job) else []


if __name__ == "__main__":
    Faults(**json.loads(sys.argv.pop(1))).install()
    cli.main()
