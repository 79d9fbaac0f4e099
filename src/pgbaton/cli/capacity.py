"""``pgbaton capacity``: the size of the database that a rate asks for. It connects to none."""

from __future__ import annotations

from math import isfinite
from typing import Annotated

import typer

from pgbaton.cli.common import AsJson, app, read_by
from pgbaton.cli.speech import Sentence, language, tell
from pgbaton.cli.tables import Column, Format, print_json, print_rows
from pgbaton.cli.when import short
from pgbaton.counted import filled
from pgbaton.times import duration

MEASURED: Sentence = (
    "측정한 범위 안입니다: 코어 {cores}개, 초당 {reached} hop까지 (Postgres {postgres})",
    "within what was measured: {cores} cores, up to {reached} hops a second (Postgres {postgres})",
)
EXTRAPOLATED: Sentence = (
    "외삽한 값입니다: 측정은 코어 {cores}개에서 초당 {reached} hop까지만 했습니다 (Postgres {postgres})",
    "extrapolated: measured on {cores} cores, up to {reached} hops a second only (Postgres {postgres})",
)
ENDS: dict[str, Sentence] = {
    "cores": (
        "프라이머리 한 대의 한계는 초당 약 {ends} hop이며, CPU가 먼저 모자랍니다 (외삽)",
        "one primary ends at about {ends} hops a second: its cores (extrapolated)",
    ),
    "wal": (
        "프라이머리 한 대의 한계는 초당 약 {ends} hop이며, WAL이 먼저 한계에 닿습니다 (외삽)",
        "one primary ends at about {ends} hops a second: its WAL (extrapolated)",
    ),
    "history": (
        "이 보존 기간이면 한계는 초당 약 {ends} hop입니다: 그 이상은 이력이 2 TB를 넘습니다. 보존 기간을 줄이세요",
        "with this retention one primary ends at about {ends} hops a second: 2 TB of history; keep it for less long",
    ),
}
BEYOND: Sentence = (
    "그 이상은 데이터베이스를 나눠야 합니다: 테넌트 묶음마다 하나씩, {shards}개",
    "this rate is beyond it: {shards:# database|# databases}, each for a group of tenants",
)
NEEDS: list[tuple[Sentence, str, Sentence]] = [
    (
        ("Postgres 코어", "cores of Postgres"),
        "{machine_cores}",
        ("평균 {postgres_cores:.2f}개 사용", "{postgres_cores:.2f} used on average"),
    ),
    (("Postgres 메모리", "memory of Postgres"), "{memory} GB", ("코어당 2 GB", "2 GB a core")),
    (
        ("디스크", "disk"),
        "{disk} GB",
        ("이력 {history:.1f} GB ({kept} 보존), WAL", "history {history:.1f} GB (kept for {kept}), WAL"),
    ),
    (("WAL", "WAL"), "{wal:.2f} MB/s", ("하루 {wal_a_day:.0f} GB", "{wal_a_day:.0f} GB a day")),
    (
        ("트랜잭션", "transactions"),
        "{transactions:.0f}/s",
        (
            "WAL flush 최대 {flushes:.0f}/s, 페이지 쓰기 {pages:.0f}/s",
            "up to {flushes:.0f} flushes, {pages:.0f} pages/s",
        ),
    ),
    (
        ("워커", "workers"),
        "{workers}",
        (
            "코어 {worker_cores:.2f}개, 연결 최대 {connections}개",
            "{worker_cores:.2f} cores, {connections:# connection|# connections}",
        ),
    ),
    (("하루 호출", "attempts a day"), "{attempts:.1f} M", ("", "")),
]
ROWS = [Column("what", "항목"), Column("how_much", "필요량", number=True), Column("from", "계산", text=True)]


@app.command(
    examples=[
        "pgbaton capacity --hops-per-second 500",
        "pgbaton capacity --hops-per-second 1200 --retention 3d --settings",
    ]
)
def capacity(
    hops_per_second: Annotated[
        float, typer.Option(min=0.01, max=1_000_000, help="Calls a second, day and night: jobs a second × stages.")
    ],
    retention: Annotated[
        float, typer.Option(metavar="DURATION", parser=read_by(duration), help="For how long the history is kept.")
    ] = 30 * 86400.0,
    payload: Annotated[
        float, typer.Option(min=0, metavar="BYTES", help="Bytes that a stage writes to your own tables in a hop.")
    ] = 0.0,
    settings: Annotated[bool, typer.Option("--settings", help="Only postgresql.conf.")] = False,
    as_json: AsJson = False,
) -> None:
    """The machine, disk and settings that a rate asks for, and where one primary ends: by the measured cost of a
    hop."""
    from pgbaton.capacity import figures, need

    if not (isfinite(hops_per_second) and isfinite(payload)):
        raise typer.BadParameter("--hops-per-second and --payload: numbers")
    if not 60 <= retention <= 100 * 365 * 86400:
        raise typer.BadParameter("--retention: from 60 seconds to 100 years, as the worker's setting")
    found = need(hops_per_second, retention, payload=payload)
    if as_json:
        print_json(found.as_json() | {"figures": figures()})
        return
    if settings:
        for name, value in found.settings.items():
            print(f"{name} = {value}")
        return
    given = {name: value for name, value in found.as_json().items() if name != "settings"}
    given |= {"kept": short(retention, language()), "attempts": found.attempts_a_day / 1e6}
    mine = 0 if language() == "ko" else 1
    rows = [[what[mine], much.format(**given), filled(how[mine], given)] for what, much, how in NEEDS]
    print_rows(ROWS, rows, Format.TABLE, language())
    print()
    on = figures()["measured_on"]
    said = EXTRAPOLATED if found.extrapolated else MEASURED
    tell(said, cores=on["cores"], reached=f"{figures()['busy']['hops_per_second']:,}", postgres=on["postgres"])
    tell(ENDS[found.ends_by], ends=f"{found.ends_at:,}")
    if hops_per_second > found.ends_at:
        tell(BEYOND, shards=-(-int(hops_per_second) // max(1, found.ends_at)))
