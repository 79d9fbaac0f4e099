"""The demonstration on the terminal: where the jobs are, and their results."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adstudio.demo_ads import STEPS, Ad
from adstudio.vision.measured import JUDGE

_NAME = 16  # cells of the terminal: the table with its five stages fits in 80
_PART = 4  # cells of the bar for each stage


def progress(ads: Iterable[Ad]) -> Table:
    """Where each job is now."""
    table = _table()
    table.add_column("job", max_width=_NAME, no_wrap=True)
    table.add_column("")
    table.add_column("is at", no_wrap=True)
    for ad in ads:
        bar = Text("━" * (_PART * ad.reached), "red" if ad.dead else "green")
        bar.append("━" * (_PART * (len(STEPS) - ad.reached)), "dim")
        again = f", attempt {ad.attempt}" if ad.attempt > 1 else ""
        table.add_row(ad.name, bar, f"{ad.step} {ad.status}{again}")
    return table


def print_result(console: Console, ads: Sequence[Ad], out: Path, seconds: float) -> None:
    """Print the results of the jobs, and where to look; ``seconds``: of the whole demonstration."""
    table = _table(title="seconds in each stage, and the judge's verdict", title_justify="left")
    table.add_column("job", max_width=_NAME, no_wrap=True)
    for step in STEPS:
        table.add_column(step, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for ad in ads:
        times = (f"{ad.seconds[step]:.2f}" if step in ad.seconds else "–" for step in STEPS)
        table.add_row(ad.name, *times, _verdict(ad))
    console.print(table)
    for ad in ads:
        if ad.finished and ad.passed:
            continue
        why = " ".join(ad.reasons) if ad.finished else ad.dead or f"not finished, at {ad.step} {ad.status}"
        console.print(f"{ad.name}: {why}", markup=False)
    console.print()
    if any(ad.variants > 1 for ad in ads):
        console.print(_variants(ads))
    made = sum(ad.finished for ad in ads)
    console.print(f"{made} of {len(ads)} ads made in {seconds:.0f} s; no stage was called by hand")
    for judge in sorted({ad.judge for ad in ads if ad.judge}):
        console.print(f"judge: {_explained(judge)}", markup=False)
    console.print(f"this process at its largest: {_largest():.0f} MB", style="dim")
    page = (out / "index.html").resolve()
    console.print(f"before and after: {page.as_uri()}", markup=False, soft_wrap=True)
    if made < len(ads):
        console.print(f"what happened: {out / 'demo.log'}", markup=False, soft_wrap=True)


def _variants(ads: Sequence[Ad]) -> str:
    made, passed = sum(ad.variants for ad in ads), sum(ad.variants_passed for ad in ads)
    again = sum(ad.again for ad in ads)
    return f"{made} variants, {passed} passed, {again} times one was rejected and planned again; each ad's best won"


def _largest() -> float:
    """The most memory that this process had: the server, its worker and the stages of two jobs at a time."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def _verdict(ad: Ad) -> Text:
    if not ad.finished:
        return Text("not made", "red")
    return Text("passed", "green") if ad.passed else Text("refused", "yellow")


def _explained(judge: str) -> str:
    return f"{judge} (no vision model looked; VLM_URL names one)" if judge == JUDGE else judge


def _table(**options: object) -> Table:
    return Table(box=None, pad_edge=False, header_style="bold", **options)  # type: ignore[arg-type]
