"""Expectations beside the oracle's rules (bounds in time, faults that repeat no call), and those that did not hold."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from chaos.journal import Entry
from chaos.plan import Plan


def slowness(pids: Iterable[int]) -> float:
    """How many times longer than on a machine of our own these processes take for what they do, from 1 to 6. The kernel
    tells how long they ran and how long they waited for a core, which they do half as long for each other anyway. Where
    it does not tell (it is not Linux), 1."""
    ran = waited = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError):
            run, wait, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
            ran, waited = ran + int(run), waited + int(wait)
    return min(6.0, max(1.0, (1 + waited / ran) / 1.5)) if ran else 1.0


class Expectations:
    """``targets`` are (what, measured, limit) in seconds. ``slowness``: how many times longer everything may take, as
    others use the machine as well; ``stalled``: how long this process itself had to wait, which comes on top."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._checks: list[Callable[[list[Entry]], None]] = []
        self.targets: list[tuple[str, float, float]] = []
        self.violations: list[str] = []
        self.repeats_allowed = True
        self.slowness = 1.0
        self.stalled = 0.0

    def no_repeats(self) -> None:
        """Not even explained ones: this fault gives no reason to call a stage twice."""
        self.repeats_allowed = False

    def target(self, name: str, measured: float, limit: float) -> None:
        self.targets.append((name, measured, limit))
        if measured > limit * self.slowness + self.stalled:
            slower = f", on a machine {self.slowness:.1f} times slower" if self.slowness > 1 else ""
            self.violations.append(f"{name}: {measured:.1f} s, at most {limit:g} s are allowed{slower}")

    def calls_within(self, limit: float, what: str, since: float) -> None:
        """The first call to a stage after ``since`` comes within ``limit`` seconds."""

        def check(entries: list[Entry]) -> None:
            calls = [e.at for e in entries if e.event == "received" and e.at > since]
            self.target(what, min(calls, default=since + 999) - since, limit)

        self._checks.append(check)

    def added_called_within(self, limit: float) -> None:
        """Each job's first call comes within ``limit`` seconds of the commit that added it."""

        def check(entries: list[Entry]) -> None:
            first: dict[str, float] = {}
            for e in entries:
                if e.event == "received":
                    first.setdefault(e["job"], e.at)
            waited = [first.get(job, e.at + 999) - e.at for e in entries if e.event == "added" for job in e["jobs"]]
            self.target("a job that was added is called", max(waited, default=999), limit)

        self._checks.append(check)

    def deaths_noticed(self) -> None:
        """A call that a worker held when it died is made again within its lease, a round of rescue and a second."""

        def check(entries: list[Entry]) -> None:
            noticed = []
            for death in entries:
                if death.event == "injected" and death["action"] == "die" and death["jobs"]:
                    jobs = set(death["jobs"])
                    again = [e.at for e in entries if e.event == "received" and e["job"] in jobs and e.at > death.at]
                    noticed.append(min(again, default=death.at + 999) - death.at)
            if noticed:
                self.target("a worker's death is noticed", max(noticed), self._plan.lease + 2)
            else:
                self.violations.append("the fault did not happen: no worker died with a claim in its hands")

        self._checks.append(check)

    def judge(self, entries: list[Entry]) -> None:
        """Ask the journals, once everything is over."""
        for check in self._checks:
            check(entries)
        if self._plan.injected and not any(e.event == "injected" for e in entries):
            self.violations.append("the fault did not happen: nothing was injected")
        if self._plan.tricks and not any("trick" in e.fields for e in entries):
            self.violations.append("the fault did not happen: no stage played a trick")
