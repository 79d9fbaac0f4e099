"""The report: a table to read in the terminal, the same as Markdown, and what is needed to reproduce."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.oracle import Verdict

HEAD = (
    "fault",
    "jobs",
    "calls",
    "repeated",
    "why",
    "at once",
    "unexplained",
    "twice",
    "lost",
    "recovered",
    "took",
    "slower",
    "held",
)


def row(verdict: Verdict) -> tuple[str, ...]:
    if verdict.skipped:
        return (verdict.fault, *[""] * 11, f"skipped: {verdict.skipped}")
    why = ", ".join(f"{reason} {times}" for reason, times in verdict.explained.most_common())
    recovered = "never" if verdict.recovered_in is None else f"{verdict.recovered_in:.1f} s"
    return (
        verdict.fault,
        str(verdict.jobs),
        str(verdict.calls),
        str(verdict.explained.total() + len(verdict.unexplained)),
        why,
        str(verdict.overlapping.total()),
        str(len(verdict.unexplained)),
        str(len(verdict.twice)),
        str(len(verdict.lost)),
        recovered,
        f"{verdict.seconds:.0f} s",
        f"{verdict.slowness:.1f} x",
        "yes" if verdict.held else "NO",
    )


def line(verdict: Verdict) -> str:
    """One fault, as it ends."""
    cells = row(verdict)
    if verdict.skipped:
        return f"{cells[0]:<28} {cells[-1]}"
    mark = "ok  " if verdict.held else "FAIL"
    text = f"{cells[0]:<28} {mark} {cells[1]:>5} jobs {cells[2]:>6} calls {cells[3]:>4} repeated "
    text += f"{cells[6]:>2} unexplained {cells[7]:>2} twice {cells[8]:>3} lost  "
    text += f"recovered {cells[9]:>6}  took {cells[10]:>5}"
    at_once = ", ".join(f"{reason} {times}" for reason, times in verdict.overlapping.most_common())
    said = "; ".join(part for part in (cells[4], at_once and f"at once: {at_once}") if part)
    return text + (f"  ({said})" if said else "")


def markdown(verdicts: Sequence[Verdict], seed: str, seconds: float, machine: str) -> str:
    """The whole run."""
    held = [v for v in verdicts if v.held and not v.skipped]
    lines = [
        f"Seed `{seed}`, {machine}, {seconds / 60:.1f} minutes: {len(held)} of {len(verdicts)} faults held, "
        f"{sum(v.jobs for v in verdicts):,} jobs, {sum(v.calls for v in verdicts):,} calls, "
        f"{sum(len(v.lost) for v in verdicts)} lost, {sum(len(v.twice) for v in verdicts)} effects twice, "
        f"{sum(len(v.unexplained) for v in verdicts)} repeated calls without a reason.",
        "",
        f"| {' | '.join(HEAD)} |",
        f"| {' | '.join('---' for _ in HEAD)} |",
    ]
    lines += [f"| {' | '.join(row(v))} |" for v in verdicts]
    targets = [(v.fault, *target) for v in verdicts for target in v.targets]
    if targets:
        lines += ["", "| target | fault | measured | at most |", "| --- | --- | --- | --- |"]
        lines += [f"| {name} | {fault} | {measured:.1f} s | {limit:g} s |" for fault, name, measured, limit in targets]
    return "\n".join(lines) + "\n"


def accusation(verdict: Verdict, seed: str, folder: str, target: str = "chaos") -> str:
    """The faults that were found, and how to see them again, by a target of make."""
    lines = [f"{verdict.fault}: again with  make {target} SEED={seed} FAULTS={verdict.fault}", f"  journals: {folder}"]
    lines += [f"  violated: {what}" for what in verdict.violations]
    for name in ("lost", "twice", "unexplained"):
        found = getattr(verdict, name)
        lines += [f"  {name}: {job} {what}" for job, what in found[:5]]
        lines += [f"  … and {len(found) - 5} more {name}"] if len(found) > 5 else []
    return "\n".join([*lines, *(f"    {line}" for line in verdict.evidence)])
