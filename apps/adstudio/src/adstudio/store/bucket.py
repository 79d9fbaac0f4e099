"""Files in an S3-compatible bucket, by ``obstore`` (the extra ``s3``).

Access is said where AWS's own tools look for it: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION`` and,
for MinIO, Ceph and others, ``AWS_ENDPOINT_URL``. S3 shows an object whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from adstudio.store.trouble import NotThere, StoreAway

_PAGE = 500  # names
_CONNECT = timedelta(seconds=5)
_ANSWER = timedelta(seconds=30)
_GIVE_UP = timedelta(seconds=15)  # the stage is called again later: it need not wait here for long


class Bucket:
    """``s3://bucket/prefix``."""

    def __init__(self, url: str) -> None:
        """Makes no connection yet. Raises ``ValueError`` where the address or the access said is of no use."""
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
        parts = urlsplit(url)
        if not parts.netloc:
            raise ValueError("it names no bucket")
        try:
            self._store = S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                virtual_hosted_style_request=not endpoint,  # only AWS itself has a host name for every bucket
                client_options={
                    "allow_http": endpoint.startswith("http://"),
                    "connect_timeout": _CONNECT,
                    "timeout": _ANSWER,
                },
                retry_config={"max_retries": 2, "retry_timeout": _GIVE_UP},
            )
        except BaseError as error:
            raise ValueError(str(error).splitlines()[0][:200]) from None

    async def put(self, key: str, data: bytes) -> None:
        """Raises :class:`StoreAway`."""
        try:
            await obstore.put_async(self._store, key, data)
        except (BaseError, OSError) as error:
            raise StoreAway(_told(error)) from None

    async def get(self, key: str) -> bytes:
        """Raises :class:`StoreAway`, :class:`NotThere`."""
        try:
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())
        except (FileNotFoundError, NotFoundError):
            raise NotThere from None
        except (BaseError, OSError) as error:
            raise StoreAway(_told(error)) from None

    async def names(self) -> AsyncIterator[list[str]]:
        """Every key, some hundreds at a time. Raises :class:`StoreAway`."""
        try:
            async for page in obstore.list(self._store, chunk_size=_PAGE):
                yield [item["path"] for item in page]
        except (BaseError, OSError) as error:
            raise StoreAway(_told(error)) from None

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove files; one that is not there any more counts as removed. Raises :class:`StoreAway`."""
        try:
            for key in keys:
                with suppress(FileNotFoundError, NotFoundError):
                    await obstore.delete_async(self._store, key)
        except (BaseError, OSError) as error:
            raise StoreAway(_told(error)) from None


def _told(error: Exception) -> str:
    """Only the kind: the message of such an error quotes addresses and the server's words."""
    return type(error).__name__
