"""The text of the trigger's function for one pipeline: ``sql/trigger.sql`` with its routes in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from pgbaton import sql
from pgbaton.install.limits import turn_columns
from pgbaton.key import LONGEST
from pgbaton.model import DONE, FAILED, RUNNING
from pgbaton.sql import literal, quoted
from pgbaton.table import Entrance, JobTable, fitting, meaning


def trigger_body_md5(table: JobTable) -> str:
    """The fingerprint of the trigger function's body, to tell whether the one in the database is ours."""
    return hashlib.md5(trigger_body(table).encode(), usedforsecurity=False).hexdigest()


def trigger_body(table: JobTable) -> str:
    """The body, to stand between dollar quotes."""
    tenant = "NULL" if table.tenant is None else f"NEW.{quoted(table.tenant)}::pg_catalog.text"
    old_status = meaning(table.words, _old(table.status))
    new_status = meaning(table.words, _new(table.status))
    published = [_new(table.status)] if table.channel is not None else []
    read = ", ".join((table.key.text("NEW"), _new(table.step), new_status, tenant, *published))
    names = {
        "new_key": table.key.text("NEW"),
        "key_fits": _key_fits(table),
        "key_is_null": "key IS NULL" if len(table.key.columns) == 1 else f"({table.key.present('NEW')}) IS NOT TRUE",
        "new_status": new_status,
        "old_step": _old(table.step),
        "old_status": old_status if table.words.plain else f"({old_status})",
        "unchanged": _unchanged(table),
        "compared_anew": literal(f"SELECT {_unchanged(table)} FROM (SELECT ($1).*) AS new, (SELECT ($2).*) AS old"),  # noqa: S608
        "read_anew": literal(f"SELECT {read} FROM (SELECT ($1).*) AS new"),  # noqa: S608
        "foreign": _foreign(table),
        "and_moved": _and_moved(table),
        "pipeline": literal(table.pipeline),
        "new_tenant": tenant,
        "unless_shadow": "",
        "end_unless": "",
        "routed": _among("status", _statuses(table)),
        "routes": _routes(table, table.routes),
        "routes_without_columns": _routes(table, _unconditional(table)) or "WHEN false THEN ''",
        "or_unlike": " OR data_exception" if any(r.condition for r in table.routes) else "",
        "left_an_entry": "\n           OR ".join(_left_an_entry(table, status) for status in _statuses(table)),
        "stages": ", ".join(literal(r.node) for r in table.routes if r.calls),
        "parent": _parent(table),
        "parent_declared": "    parent pg_catalog.text;\n" if table.parent else "",
        "parent_read": _parent_read(table),
        "unless_told": "ELSE\n            RETURN NULL;\n        "
        if table.channel is None and table.parent is None
        else "",
        **_wake_or_publish(table),
        **turn_columns(table),
    }
    if table.rollout is not None:
        live = [f"pgbaton.share_of(key) OPERATOR(pg_catalog.<) {table.rollout.share!r}::pg_catalog.float8"]
        if table.rollout.tenants:
            among = ", ".join(literal(tenant) for tenant in table.rollout.tenants)
            live.append(f"tenant OPERATOR(pg_catalog.=) ANY (ARRAY[{among}])")
        urls = table.rollout.urls.items()
        names |= {"live": " OR ".join(live), "urls": _urls(urls)}
        names["unless_shadow"] = sql.render(sql.read("install/unless_shadow.sql"), names).rstrip(" ")
        names["end_unless"] = "        END IF;\n"
    return sql.render(sql.read("trigger.sql"), table.parts() | names)


def _key_fits(table: JobTable) -> str:
    """Whether there is a key, and our indexes hold it; not true where there is none."""
    size = table.key.size("NEW").replace(table.key.text("NEW"), "key")
    fits = f"{size} OPERATOR(pg_catalog.<=) {LONGEST}"
    return fits if len(table.key.columns) == 1 else f"{table.key.present('NEW')} AND {fits}"


def _wake(pipeline: str) -> str:
    """The signal to the workers of a pipeline, behind the INSERT of a duty or look of theirs."""
    return sql.render(sql.read("trigger_wake.sql"), {"pipeline": literal(pipeline)})


def _wake_or_publish(table: JobTable) -> dict[str, str]:
    """The signal to workers, or what a pipeline with a channel publishes of every change."""
    if table.channel is None:
        nothing = dict.fromkeys(("and_word", "publish_declared", "publish_read", "publish"), "")
        return nothing | {"wake": _wake(table.pipeline)}
    return {
        "wake": "",
        "and_word": ", word",
        "publish_declared": "    word pg_catalog.text;\n    changed_at pg_catalog.timestamptz;\n",
        "publish_read": (
            f"    word := {_new(table.status)};\n"
            "    IF TG_NARGS OPERATOR(pg_catalog.>) 0 THEN\n        changed_at := NEW.updated_at;\n    END IF;\n"
        ),
        "publish": sql.render(sql.read("trigger_publish.sql"), {"channel": literal(table.channel)}),
    }


def _statuses(table: JobTable) -> list[str]:
    """The statuses that routes lead from."""
    return list(dict.fromkeys(r.status for r in table.routes))


def _equal(a: str, b: str) -> str:
    return f"{a} OPERATOR(pg_catalog.=) {literal(b)}"


def _among(subject: str, values: Iterable[str]) -> str:
    values = list(values)
    if len(values) == 1:
        return _equal(subject, values[0])
    return f"{subject} OPERATOR(pg_catalog.=) ANY (ARRAY[{', '.join(map(literal, values))}])"


def _unconditional(table: JobTable) -> tuple[Entrance, ...]:
    """The routes of states that do not ask for other columns of the row."""
    asked = {(r.step, r.status) for r in table.routes if r.condition}
    return tuple(r for r in table.routes if (r.step, r.status) not in asked)


def _routes(table: JobTable, routes: Sequence[Entrance]) -> str:
    """The first route of the row's state that its columns fit."""
    one_status = len(_statuses(table)) == 1
    cases = []
    for r in routes:
        parts = [_equal("step", r.step)]
        parts += [] if one_status else [_equal("status", r.status)]
        parts += [fitting(r.condition, "NEW")] if r.condition else []
        cases.append(f"WHEN {' AND '.join(parts)} THEN {literal(r.node)}")
    return " ".join(cases)


def _left_an_entry(table: JobTable, status: str) -> str:
    """Whether the row was at an entry with this status, and has not begun the stage that is called from there."""
    here = [r for r in table.routes if r.status == status]
    step = _old(table.step)
    calls = " ".join(f"WHEN {_equal('step', r.node)} THEN {literal(r.step)}" for r in here if r.calls)
    begun = (
        f" AND ({_equal('status', RUNNING)} AND {step} OPERATOR(pg_catalog.=) CASE {calls} END) IS NOT TRUE"
        if calls
        else ""
    )
    left = _equal(f"({meaning(table.words, _old(table.status))})", status)
    return f"{left} AND {_among(step, dict.fromkeys(r.step for r in here))}{begun}"


def _parent_read(table: JobTable) -> str:
    """Of several columns null where one of them is: the child has no parent."""
    if table.parent is None:
        return ""
    text, present = table.parent[1].text("NEW"), table.parent[1].present("NEW")
    read = text if len(table.parent[1].columns) == 1 else f"CASE WHEN {present} THEN {text} END"
    return f"    parent := {read};\n"


def _parent(table: JobTable) -> str:
    if table.parent is None:
        return ""
    parent = table.parent[0]
    return sql.render(sql.read("trigger_parent.sql"), {"parent_pipeline": literal(parent), "wake": _wake(parent)})


def _and_moved(table: JobTable) -> str:
    """A change that is published, from one word to another of the same meaning, is no change of the job."""
    if table.words.plain or table.channel is None:
        return ""
    pairs = [("step", _old(table.step)), ("status", f"({meaning(table.words, _old(table.status))})")]
    pairs += [(_new(c), _old(c)) for c in table.key.columns]
    same = " AND ".join(f"{new} OPERATOR(pg_catalog.=) {old}" for new, old in pairs)
    return f"\n       AND (TG_OP OPERATOR(pg_catalog.=) 'INSERT' OR ({same}) IS NOT TRUE)"


def _urls(urls: Iterable[tuple[str, str]]) -> str:
    return " ".join(f"WHEN next_stage OPERATOR(pg_catalog.=) {literal(s)} THEN {literal(url)}" for s, url in urls)


def listed(words: Iterable[str]) -> str:
    """SQL literals with commas between them."""
    return ", ".join(literal(word) for word in words)


def _old(column: str) -> str:
    """A column's value before the UPDATE, as text compared byte by byte, for any type and collation."""
    return f'OLD.{quoted(column)}::pg_catalog.text COLLATE pg_catalog."C"'


def _new(column: str) -> str:
    return f"NEW.{quoted(column)}::pg_catalog.text"


def _unchanged(table: JobTable) -> str:
    """Whether an UPDATE left status, step and key as they were; the one that changes most often is compared first.
    Where words are published, another word of the same meaning is a change."""
    status = (_new(table.status), _old(table.status))
    if not table.words.plain and table.channel is None:
        status = (f"({meaning(table.words, status[0])})", f"({meaning(table.words, status[1])})")
    pairs = [status, *((_new(c), _old(c)) for c in (table.step, *table.key.columns))]
    return " AND ".join(
        f"({new} OPERATOR(pg_catalog.=) {old} OR {new} IS NULL AND {old} IS NULL)" for new, old in pairs
    )


def _foreign(table: JobTable) -> str:
    """Whether neither status is one that stages write, or that a route leads from, and nothing is published."""
    if table.channel is not None or table.parent is not None:
        return "false"  # a child's end may have any status
    routed = _statuses(table)
    words = {
        f'{_new(table.status)} COLLATE pg_catalog."C"': routed,
        _old(table.status): [*dict.fromkeys((*routed, DONE, RUNNING, FAILED))],
    }
    return " AND ".join(
        f"({meaning(table.words, status)}) OPERATOR(pg_catalog.<>) ALL (ARRAY[{listed(unlike)}])"
        for status, unlike in words.items()
    )
