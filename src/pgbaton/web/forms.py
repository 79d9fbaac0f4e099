"""What a request asks for: a filter, a form of bounded size, the language to answer in. What is not understood is
refused, never left out: a filter without it would mean more jobs."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request

from pgbaton.events import Language
from pgbaton.insights import JobFilter
from pgbaton.model import State
from pgbaton.web.context import LANGUAGE_COOKIE, LONGEST_VALUE, MOST_VALUES, View
from pgbaton.web.messages import LANGUAGES, preferred

MOST_FORM_BYTES = 65_536
FILTER_NAMES = ("stage", "state", "tenant", "age", "error", "group", "id", "history")
OTHER_NAMES = ("action", "back", "before", "csrf", "expected", "key", "n", "said", "scope")
OLDEST_AGE = 10**9
"""Seconds."""


class Unfit(ValueError):
    """A value that no form of this page has, or a name that it does not know."""


def filter_of(view: View, pipeline: str) -> JobFilter:
    """What the address, or a form that was made from it, asks for. Raises :class:`Unfit` where any of it is not
    understood."""
    for name in view.names():
        if name not in FILTER_NAMES + OTHER_NAMES:
            raise Unfit(name)
    for name in FILTER_NAMES:
        given = [value for value in view.all_asked(name) if value]
        most = len(State) if name == "state" else 1
        if len(set(given)) > most or len(given) >= MOST_VALUES or any(len(value) >= LONGEST_VALUE for value in given):
            raise Unfit(name)
    states = [value for value in view.all_asked("state") if value]
    if not set(states) <= set(State):
        raise Unfit("state")
    age = number_of(view, "age")
    if age is not None and age >= OLDEST_AGE:
        raise Unfit("age")
    if view.asked("history") not in ("", "1"):
        raise Unfit("history")
    return JobFilter(
        pipeline=pipeline,
        stage=view.asked("stage") or None,
        states=tuple(s.value for s in State if s in states),
        tenant=view.asked("tenant") or None,
        older_than=None if age is None else float(age),
        error=view.asked("error") or None,
        error_group=view.asked("group") or None,
        job_prefix=view.asked("id") or None,
        latest=not view.asked("history"),
    )


def number_of(view: View, name: str) -> int | None:
    """A whole number, where one is given. Raises :class:`Unfit` on anything else."""
    number = view.number(name)
    if number is None and view.asked(name):
        raise Unfit(name)
    return number


def asked_of(view: View) -> dict[str, list[str]]:
    """The filter as the address spells it, without what is empty."""
    asked = {name: [v for v in view.all_asked(name) if v] for name in FILTER_NAMES}
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
