"""The names of files: made here, from a tenant and from content, never from what a stranger calls them."""

from __future__ import annotations

import re
from hashlib import sha256

from adstudio.vision.photo_format import claimed_format

_SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp"}
_KEY = re.compile(r"[0-9a-f]{32}/[0-9a-f]{64}(\.jpg|\.png|\.webp)?")


def key_of(tenant: str, data: bytes) -> str:
    """``<tenant's folder>/<SHA-256 of the content>.<suffix>``: hexadecimal, whatever the tenant is called."""
    return f"{_folder(tenant)}/{sha256(data).hexdigest()}{_SUFFIX.get(claimed_format(data) or '', '')}"


def belongs(key: str, tenant: str) -> bool:
    """Whether ``key`` is one that :func:`key_of` makes for this tenant."""
    return _KEY.fullmatch(key) is not None and key.startswith(f"{_folder(tenant)}/")


def holds(key: str, data: bytes) -> bool:
    """Whether ``data`` is the content that ``key`` was made from."""
    return key.partition("/")[2][:64] == sha256(data).hexdigest()


def _folder(tenant: str) -> str:
    return sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:32]
