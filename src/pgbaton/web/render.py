"""From data to a page: one Jinja environment, everything escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from pgbaton.counted import Counted
from pgbaton.events import Language
from pgbaton.health import Finding
from pgbaton.insights import Explanation, shown_count
from pgbaton.operate.acts import LONGEST_REASON
from pgbaton.web import assets
from pgbaton.web.context import View
from pgbaton.web.messages import LANGUAGES, MESSAGES, duration, text

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Robots-Tag": "noindex",
}
LONGEST_TEXT = 4000
"""Characters of a text of others' making on the page."""
IN_EVERY_DATABASE = frozenset({"jobs", "dead", "trends", "stages", "workers", "audit", "databases"})


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("pgbaton.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["LONGEST_REASON"] = LONGEST_REASON
    made.filters["bounded"] = bounded
    made.filters["time"] = time_tag
    made.filters["time_short"] = time_short
    made.filters["why"] = why
    made.filters["with_values"] = lambda one, other: one | other
    return made


def bounded(value: object, most: int = LONGEST_TEXT) -> str:
    """Text of others' making, of bounded length, without characters that turn or hide what surrounds them."""
    said = "" if value is None else str(value)
    cut = said if len(said) <= most else said[: most - 1] + "…"
    if cut.isprintable():  # as nearly all is, and there is much of it on a page
        return cut
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in cut)


def time_tag(at: datetime | None) -> Markup:
    """A time of the database; the reader's browser spells it in the reader's zone."""
    if at is None:
        return Markup("–")
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        utc.isoformat(timespec="milliseconds").replace("+00:00", "Z"), f"{utc:%m-%d %H:%M:%S}"
    )


def time_short(at: datetime) -> Markup:
    """As :func:`time_tag`, without seconds."""
    utc = at.astimezone(UTC)
    return Markup('<time data-short datetime="{}">{}</time>').format(f"{utc:%Y-%m-%dT%H:%M:%SZ}", f"{utc:%m-%d %H:%M}")


def why(explanation: Explanation, language: Language) -> Markup:
    """Why a job is where it is; the reader's browser spells its times in the reader's zone."""
    form, words = explanation.parts(language, time_short)
    return Markup(form).format_map(  # noqa: S704  (a sentence of ours, whose words are escaped)
        {n: w if isinstance(w, Markup) else Counted(bounded(w)) for n, w in words.items()}
    )


def ways(view: View) -> list[tuple[str, str]]:
    """Each of several databases with the address of this page in it, as far as it has such a page: a job or an act is
    one database's."""
    there = view.page if view.page in IN_EVERY_DATABASE else ""
    return [(name, f"{view.root}{name}/{there}") for name in view.site.databases]


def page(view: View, template: str, status: int = 200, **values: Any) -> Response:
    """The answer to a look at the page; to htmx only the part that lives."""
    language = view.language

    def t(key: str, **given: object) -> str:
        for name in [n for n in given if n.endswith("_s")]:
            seconds = given.pop(name)
            given[name.removesuffix("_s")] = duration(language, seconds if isinstance(seconds, int | float) else None)
        return text(language, key, **given)

    def known(kind: str, value: object) -> str:
        """The word for a value; the value itself where the page has no word for it."""
        key = f"{kind}.{value}"
        return text(language, key) if key in MESSAGES else str(value or "")

    def sentence(found: Finding) -> str:
        """A finding in words."""
        return bounded(found.sentence(language))

    def remedy(found: Finding) -> str:
        """The remedy, in words."""
        return bounded(found.remedy(language))

    def made_of(found: Finding) -> str:
        """The shares of a finding, in words."""
        return bounded(found.made_of(language))

    html = (
        _environment()
        .get_template(template)
        .render(
            v=view,
            t=t,
            known=known,
            sentence=sentence,
            remedy=remedy,
            made_of=made_of,
            num=shown_count,
            dur=lambda seconds: duration(language, seconds),
            asset=lambda name: f"{view.base}/static/{assets.VERSION}/{name}",
            languages=LANGUAGES,
            ways=ways(view),
            layout="part.html" if view.request.headers.get("hx-request") == "true" else "layout.html",
            **values,
        )
    )
    return HTMLResponse(html, status)
