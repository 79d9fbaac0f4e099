"""The table of failovers, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.failover.play import Outcome
from chaos.runner import machine

HEAD = (
    "replication",
    "what happened",
    "jobs",
    "calls",
    "repeated",
    "why",
    "lost",
    "twice",
    "writable",
    "flowing",
    "held",
)


def row(outcome: Outcome) -> tuple[str, ...]:
    verdict = outcome.verdict
    return (
        outcome.mode,
        verdict.fault.replace("_", " "),
        str(verdict.jobs),
        str(verdict.calls),
        str(verdict.explained.total() + len(verdict.unexplained)),
        ", ".join(f"{reason} {times}" for reason, times in verdict.explained.most_common()),
        str(outcome.lost),
        str(len(verdict.twice)),
        " ".join(f"{seconds:.1f} s" for seconds in outcome.writable),
        " ".join(f"{seconds:.1f} s" for seconds in outcome.flowing),
        "yes" if verdict.held else "NO",
    )


def line(outcome: Outcome) -> str:
    cells = dict(zip(HEAD, row(outcome), strict=True))
    text = f"{cells['replication']:<13} {cells['what happened']:<19} {cells['jobs']:>4} jobs {cells['calls']:>5} calls "
    text += f"{cells['repeated']:>3} repeated  lost {cells['lost']:>3}  twice {cells['twice']}  "
    text += (
        f"writable {cells['writable']:>6}  flowing {cells['flowing']:>6}  {'ok' if outcome.verdict.held else 'FAIL'}"
    )
    return text + (f"  ({cells['why']})" if cells["why"] else "")


def markdown(outcomes: Sequence[Outcome], seed: str, seconds: float) -> str:
    held = sum(outcome.verdict.held for outcome in outcomes)
    lines = [
        f"Seed `{seed}`, {machine()}, {seconds / 60:.1f} minutes: {held} of {len(outcomes)} held.",
        "",
        f"| {' | '.join(HEAD)} |",
        f"| {' | '.join('---' for _ in HEAD)} |",
    ]
    return "\n".join([*lines, *(f"| {' | '.join(row(outcome))} |" for outcome in outcomes)]) + "\n"
