"""What a request brings along: a form of bounded size, and the language to answer in."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request

from pgbaton.events import Language
from pgbaton.web.messages import LANGUAGES, preferred
from pgbaton.web.site import LANGUAGE_COOKIE

MOST_FORM_BYTES = 65_536


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
