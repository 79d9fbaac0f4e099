"""The door's routes in ``/openapi.json``: written by hand, because no framework sees how they read their bodies."""

from __future__ import annotations

import re
from typing import Any

from adstudio.door.ad import Ad
from adstudio.door.deciding import Decided
from adstudio.door.order import ROLES
from adstudio.vision.formats import FORMATS
from adstudio.vision.variants import VARIANTS
from pgbaton.fastapi import Problem

_TEXT = {"type": "string"}
_FILE = {"type": "string", "format": "binary"}
_TENANT = {
    "name": "tenant",
    "in": "query",
    "required": False,
    "schema": _TEXT,
    "description": "Whose; with a token it is the token's, and need not be said.",
}
_ORDER = {
    "photo": {**_FILE, "description": "JPEG, PNG or WebP, up to 25 MiB"},
    "copy": {**_TEXT, "description": "The whole copy; line breaks part headline and sub line. Or else the roles:"},
    **dict.fromkeys(ROLES, _TEXT),
    "formats": {"type": "array", "items": {"enum": list(FORMATS)}},
    "variants": {"type": "integer", "minimum": 1, "maximum": VARIANTS, "description": "made, of which the best wins"},
    "review": {"type": "boolean", "description": "a person is to approve it"},
    "tenant": _TEXT,
    "language": {"enum": ["ko", "en"], "description": "of refusals; otherwise the copy's"},
}
_BRAND = {**dict.fromkeys(("tenant", "name", "colour", "accent"), _TEXT), "logo": _FILE, "font": _FILE}
_FAULTS = {
    400: "The form broke off",
    401: "A token is needed",
    403: "Another tenant's token, or another site's page",
    404: "No such ad, or another tenant's",
    408: "The form did not come to its end in time",
    409: "The ad is not finished",
    413: "More bytes than are taken",
    415: "The file is no picture",
    422: "What was sent cannot be used: a sentence in the client's language",
    503: "The store is away, or too much comes in at once; `Retry-After` says for how long",
}


def responses(path: str, method: str) -> dict[int | str, dict[str, Any]]:
    """The answers that a route may give, by status."""
    problem = {"application/problem+json": {"schema": Problem.model_json_schema()}}
    known: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": problem} for status, text in _FAULTS.items()
    }
    if (path, method) == ("", "POST"):
        return known | {202: {"description": "Taken in", "content": {"application/json": {}}}}
    if path == "/copy":
        return known | {200: {"description": "The copy by roles", "content": {"application/json": {}}}}
    if path == "/{job}" or path.endswith("/decision"):
        return known | {200: {"description": "The ad", "model": Ad}}
    if path.endswith(("/photo", "/{place}")):
        kinds = ("image/jpeg", "image/png", "image/webp")
        return known | {200: {"description": "A picture", "content": {kind: {"schema": _FILE} for kind in kinds}}}
    if path.endswith("/download"):
        return known | {200: {"description": "A ZIP", "content": {"application/zip": {"schema": _FILE}}}}
    return known


def request(path: str, method: str) -> dict[str, Any]:
    """Parameters and bodies."""
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT} for name in re.findall(r"{(\w+)}", path)
    ]
    if method == "GET":
        return {"parameters": [*parameters, _TENANT]}
    if path.endswith("/decision"):
        content: dict[str, Any] = {"application/json": {"schema": Decided.model_json_schema()}}
    else:
        fields, needed = {
            "/brand": (_BRAND, []),
            "/copy": ({name: _ORDER[name] for name in ("copy", "language")}, ["copy"]),
        }.get(path, (_ORDER, ["photo"]))
        schema = {"type": "object", "properties": fields, "required": needed}
        content = {"multipart/form-data": {"schema": schema}}
    return {"parameters": parameters, "requestBody": {"required": True, "content": content}}
