"""From data to a page: one Jinja environment, everything escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from adstudio.door import statics
from adstudio.door.desk import Desk, base_of
from adstudio.door.texts import LANGUAGES, TEXTS, text
from adstudio.vision.formats import FORMATS


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("adstudio.door"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["time"] = _time
    made.filters["number"] = _number
    return made


def page(desk: Desk, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page in the reader's language."""
    language, base = desk.language_for(request), base_of(request)

    def t(key: str, **given: object) -> str:
        return text(language, key, **given)

    html = (
        _environment()
        .get_template(template)
        .render(
            t=t,
            known=lambda kind, value: t(f"{kind}.{value}") if f"{kind}.{value}" in TEXTS else str(value),
            format_label=lambda name: FORMATS[name].label(language) if name in FORMATS else t("original"),
            language=language,
            languages=LANGUAGES,
            base=base,
            here=f"{base}{request.scope['path'].rpartition('/ads')[2]}",
            asset=lambda name: f"{base}/static/{statics.VERSION}/{name}",
            title=desk.title,
            form_token=desk.tenants.form_token(request),
            signed_in=desk.tenants.by_session(request),
            is_open=desk.tenants.open,
            **values,
        )
    )
    return HTMLResponse(html, status)


def _time(at: datetime) -> Markup:
    """A time of the database; the reader's browser spells it in the reader's zone."""
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        utc.isoformat(timespec="seconds").replace("+00:00", "Z"), f"{utc:%Y-%m-%d %H:%M}"
    )


def _number(value: object) -> str:
    """A measured value in as many figures as one reads."""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "–" if value is None else str(value)
