"""The pages' own files, named by a hash of their contents, so that a browser may keep them for good."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from adstudio.door.desk import Desk

KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
FILES = {
    name: files("adstudio.door").joinpath("static", name).read_bytes() for name in ("ads.css", "ads.js", "icon.svg")
}
VERSION = hashlib.sha256(b"".join(FILES.values())).hexdigest()[:16]


async def static(_: Desk, request: Request) -> Response:
    """One of the files; of another version than ours it is not kept."""
    version, name = request.path_params["version"], request.path_params["name"]
    if name not in FILES:
        return Response(status_code=404)
    kept = "public, max-age=31536000, immutable" if version == VERSION else "no-store"
    return Response(FILES[name], media_type=KINDS[name.rpartition(".")[2]], headers={"Cache-Control": kept})
