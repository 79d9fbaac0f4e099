"""How big a scene is, and the pipeline that its workers run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.cluster import Cluster

LINE = {"cut": "made", "fold": "cut", "glue": "fold"}
"""The pipeline: each step and the one that it follows."""
LAST = "glue"


@dataclass(frozen=True)
class Plan:
    """The size of a scene. Times are in seconds.

    ``rate``: jobs a second, for ``seconds``. ``recovery``: how long after the fault every job may take to reach the
    end. ``proxied``, ``stages_proxied``: connections of workers, or of stages, go through the proxy. ``injected``:
    faults at named points inside the first ``faulty`` workers (``faulty_worker.py``). ``tricks``: what stages do
    (``tricks.py``), as shares of first attempts. ``frozen``: how long a process stays stopped. ``may_abort``: the
    fault itself aborts users' transactions. ``patient``: stages take over what another call has begun. ``fleet``: the line is two pipelines of one table, which one worker process
    carries out over the same connections.
    """

    seconds: float = 5
    rate: float = 25
    workers: int = 2
    stages: int = 2
    lease: float = 3
    poll: float = 1
    reconnect: float = 0.5
    drain: float = 5
    timeout: float = 4
    attempts: int = 20
    concurrency: int | None = None
    per_tenant: int | None = None
    call_rate: str | None = None
    pool: int | None = None
    capacity: int = 32
    channel: bool = True
    fleet: bool = False
    proxied: bool = False
    stages_proxied: bool = False
    work: tuple[float, float] = (0.0, 0.3)
    faulty: int = 99
    injected: Mapping[str, float] = field(default_factory=dict)
    tricks: Mapping[str, float] = field(default_factory=dict)
    trick_attempts: int = 2
    isolation: str | None = None
    frozen: float = 5
    recovery: float = 12
    may_abort: bool = False
    patient: bool = False
    own_cluster: Callable[[Path], AbstractAsyncContextManager[Cluster]] | None = None

    @property
    def routes(self) -> tuple[object, ...]:
        """The part of the plan that is written into the database when the pipeline is attached."""
        limits = self.concurrency, self.per_tenant, self.call_rate, self.pool
        return self.timeout, self.attempts, *limits, self.channel, self.fleet

    @property
    def names(self) -> tuple[str, ...]:
        """The pipelines' names."""
        return ("chaos", f"chaos_{LAST}") if self.fleet else ("chaos",)

    def pipeline(self, worker: int, port: int, name: str = "chaos") -> str:
        """The file of one worker's pipeline: the worker's number is in the address that it calls."""
        lines = [
            "[pipeline]",
            f'name = "{name}"',
            'table = "public.jobs"',
            'key = "job_id"',
            'tenant = "tenant_id"',
            'step = "current_step"',
            'status = "status"',
            f'base_url = "http://127.0.0.1:{port}/w{worker}"',
        ]
        if self.channel and name == "chaos":
            lines.append('channel = "job_state_changed"')
        for step, after in LINE.items():
            if self.fleet and (step == LAST) == (name == "chaos"):
                continue
            lines += ["[[pipeline.stage]]", f'step = "{step}"', f'after = "{after}"', f'path = "/{step}"']
            lines += [f"timeout = {self.timeout}", f"attempts = {self.attempts}"]
            if self.concurrency:
                lines.append(f"concurrency = {self.concurrency}")
            if self.per_tenant:
                lines.append(f"per_tenant = {self.per_tenant}")
            if self.call_rate:
                lines.append(f'rate = "{self.call_rate}"')
            if self.pool:
                lines.append('pool = "places"')
        if self.pool:
            lines += ["[[pool]]", 'name = "places"', f"size = {self.pool}"]
        lines += ["[worker]", f"lease = {self.lease}", f"poll = {self.poll}", f"capacity = {self.capacity}"]
        lines += [f"reconnect_delay = {self.reconnect}", f"drain_timeout = {self.drain}"]
        return "\n".join(lines) + "\n"
