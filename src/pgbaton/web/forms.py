"""The content of a request: a filter, a form of bounded size, the language to answer in. A value that is not understood
is refused, never left out: a filter without it would mean more jobs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from urllib.parse import parse_qs

from starlette.requests import Request

from pgbaton import times
from pgbaton.events import Language
from pgbaton.insights import AuditFilter, JobFilter
from pgbaton.model import State
from pgbaton.times import Moment
from pgbaton.web.context import LANGUAGE_COOKIE, LONGEST_VALUE, MOST_VALUES, View
from pgbaton.web.messages import LANGUAGES, preferred

MOST_FORM_BYTES = 65_536
"""Bytes of a form: enough for the keys of all jobs that one page shows."""
FILTER_NAMES = ("stage", "state", "tenant", "from", "to", "error", "group", "id", "history")
"""The fields that narrow a list of jobs, in the order in which it is shown."""
SEVERAL = frozenset({"stage", "state", "tenant"})
"""Those of which there may be several; any other one that is given twice is refused."""
LIST_NAMES = (*FILTER_NAMES, "before", "as")
CONFIRM_NAMES = (*FILTER_NAMES, "action", "key", "back")
ACT_NAMES = (
    *CONFIRM_NAMES,
    "csrf",
    "scope",
    "expected",
    "typed",
    "reason",
    "choice",
    "step",
    "force",
    "act",
    "do",
    "over",
    "limit",
    "value",
    "pool",
)
AUDIT_NAMES = ("from", "to", "who", "action", "before")
AUDITED = ("retry", "cancel", "rerun", "recall", "quarantine", "move", "reconcile", "pause", "resume", "limit")
"""The actions that the audit is filtered by."""
SAID_NAMES = ("said", "n", "record")


class Unfit(ValueError):
    """The name of a value that no form of this page has, or a name that it does not know."""


def known_only(view: View, names: Iterable[str], *, several: Iterable[str] = ()) -> None:
    """Raises :class:`Unfit` on a name that this page does not know, and on a second value where one is meant."""
    known, many = {*names, *SAID_NAMES}, set(several)
    for name in view.names():
        if name not in known:
            raise Unfit(name)
        given = [value for value in view.all_asked(name) if value]
        if len(given) >= MOST_VALUES or any(len(value) >= LONGEST_VALUE for value in given):
            raise Unfit(name)
        if len(set(given)) > 1 and name not in many:
            raise Unfit(name)


def filter_of(view: View, pipeline: str, names: Iterable[str] = LIST_NAMES) -> JobFilter:
    """The filter of the address, or of a form that was made from it. Raises :class:`Unfit` where any of it is not
    understood."""
    known_only(view, names, several=SEVERAL | {"key"})
    states = _given(view, "state")
    if not set(states) <= set(State):
        raise Unfit("state")
    if view.asked("history") not in ("", "1"):
        raise Unfit("history")
    return JobFilter(
        pipeline=pipeline,
        stages=_given(view, "stage"),
        states=tuple(s.value for s in State if s in states),
        tenants=_given(view, "tenant"),
        since=moment(view, "from"),
        until=moment(view, "to"),
        error=view.asked("error") or None,
        error_group=view.asked("group") or None,
        jobs=_given(view, "key") if "key" in names else (),
        job_prefix=view.asked("id") or None,
        latest=not view.asked("history"),
    )


def audit_filter_of(view: View) -> AuditFilter:
    """As :func:`filter_of`, of the audit."""
    known_only(view, AUDIT_NAMES, several=("action",))
    actions = _given(view, "action")
    if not set(actions) <= set(AUDITED):
        raise Unfit("action")
    return AuditFilter(_given(view, "who"), actions, moment(view, "from"), moment(view, "to"))


def moment(view: View, name: str) -> Moment | None:
    """A time, where one is given. Raises :class:`Unfit` on anything else."""
    try:
        return times.moment(view.asked(name), zone=UTC) if view.asked(name).strip() else None
    except ValueError:
        raise Unfit(name) from None


def _given(view: View, name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in view.all_asked(name) if value))


def number_of(view: View, name: str) -> int | None:
    """A whole number, where one is given. Raises :class:`Unfit` on anything else."""
    number = view.number(name)
    if number is None and view.asked(name):
        raise Unfit(name)
    return number


def asked_of(view: View) -> dict[str, list[str]]:
    """The filter as the address spells it, without what is empty; the jobs that were picked belong to it."""
    asked = {name: [v for v in view.all_asked(name) if v] for name in (*FILTER_NAMES, "key")}
    return {name: values for name, values in asked.items() if values}


def language_of(request: Request) -> Language:
    """As chosen on the page, or else as the browser prefers."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    for language in LANGUAGES:
        if language == chosen:
            return language
    return preferred(request.headers.get("accept-language", ""))


async def form_of(request: Request) -> dict[str, list[str]]:
    """A posted form, of bounded size; anything else that was posted is an empty one."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            return {}
    try:
        return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200)
    except ValueError:
        return {}
