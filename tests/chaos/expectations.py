"""What must hold beside the oracle's rules: bounds in time, faults that repeat no call; and what did not hold."""

from __future__ import annotations

import os
from collections.abc import Callable

from chaos.journal import Entry
from chaos.plan import Plan


def machine_busy() -> float:
    """How much longer things may take than on a machine of our own: 1 there, up to 4."""
    return min(4.0, max(1.0, os.getloadavg()[0] / (2 * (os.cpu_count() or 1))))


class Expectations:
    """``targets`` are (what, measured, limit) in seconds; ``stalled``: how long this process itself had to wait for
    the machine, which is allowed on top of every limit."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._checks: list[Callable[[list[Entry]], None]] = []
        self.targets: list[tuple[str, float, float]] = []
        self.violations: list[str] = []
        self.repeats_allowed = True
        self.stalled = 0.0

    def no_repeats(self) -> None:
        """Not even explained ones: this fault gives no reason to call a stage twice."""
        self.repeats_allowed = False

    def target(self, name: str, measured: float, limit: float) -> None:
        self.targets.append((name, measured, limit))
        if measured > limit * machine_busy() + self.stalled:
            self.violations.append(f"{name}: {measured:.1f} s, at most {limit:g} s are allowed")

    def calls_within(self, limit: float, what: str, since: float) -> None:
        """The first call to a stage after ``since`` comes within ``limit`` seconds."""

        def check(entries: list[Entry]) -> None:
            calls = [e.at for e in entries if e.event == "received" and e.at > since]
            self.target(what, min(calls, default=since + 999) - since, limit)

        self._checks.append(check)

    def deaths_noticed(self) -> None:
        """What a worker had claimed when it died is called again within its lease, a round of rescue and a second."""

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
