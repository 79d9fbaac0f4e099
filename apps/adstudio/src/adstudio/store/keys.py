"""The names of files: made here, from a tenant, a day and content, never from a stranger's name for them.

The day is the one on which the file was written, and a file is never written under another day's name. So a name that
is days old and that no row has will be in no row: its file can be removed without a look at any clock of the store.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from hashlib import sha256

from adstudio.vision.photo_format import claimed_format

_SUFFIX = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp"}
_KEY = re.compile(r"[0-9a-f]{32}/[0-9a-f]{64}-(\d{8})(\.jpg|\.png|\.webp)?")


def key_of(tenant: str, data: bytes, day: date | None = None) -> str:
    """``<tenant's folder>/<SHA-256 of the content>-<day>.<suffix>``: hexadecimal, for any name of a tenant.

    ``day`` is today's of UTC.
    """
    written = (day or today()).strftime("%Y%m%d")
    return f"{_folder(tenant)}/{sha256(data).hexdigest()}-{written}{_SUFFIX.get(claimed_format(data) or '', '')}"


def today() -> date:
    """The day of UTC, by this machine's clock."""
    return datetime.now(UTC).date()


def day_of(key: str) -> date | None:
    """The day on which the file was written; None for a name that was not made here."""
    match = _KEY.fullmatch(key)
    try:
        return datetime.strptime(match[1], "%Y%m%d").date() if match else None
    except ValueError:
        return None


def belongs(key: str, tenant: str) -> bool:
    """Whether ``key`` is one that :func:`key_of` makes for this tenant."""
    return _KEY.fullmatch(key) is not None and key.startswith(f"{_folder(tenant)}/")


def holds(key: str, data: bytes) -> bool:
    """Whether ``data`` is the content that ``key`` was made from."""
    return key.partition("/")[2][:64] == sha256(data).hexdigest()


def _folder(tenant: str) -> str:
    return sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:32]
