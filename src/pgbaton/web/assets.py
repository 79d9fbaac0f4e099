"""The page's own files, named by a hash of their contents, so that a browser may keep them for good."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from starlette.responses import Response

KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
FILES = {
    name: files("pgbaton.web").joinpath("static", name).read_bytes()
    for name in ("app.css", "app.js", "htmx.min.js", "icon.svg", "icon-bad.svg")
}
VERSION = hashlib.sha256(b"".join(FILES.values())).hexdigest()[:16]


def answer(version: str, name: str) -> Response:
    """One of the files; of another version than ours it is not kept."""
    if name not in FILES:
        return Response(status_code=404)
    kept = "public, max-age=31536000, immutable" if version == VERSION else "no-store"
    return Response(FILES[name], media_type=KINDS[name.rpartition(".")[2]], headers={"Cache-Control": kept})
