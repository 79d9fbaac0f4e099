"""A store as the rest of the application sees it: bytes in, a reference out, and back again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adstudio.store.folder import Folder
from adstudio.store.keys import belongs, holds, key_of
from adstudio.store.trouble import NotThere, StoreAway
from pgbaton.errors import ConfigError


class Store(Protocol):
    """Files by key; a file is there whole or not at all."""

    async def put(self, key: str, data: bytes) -> None:
        """Raises :class:`StoreAway`."""
        ...

    async def get(self, key: str) -> bytes:
        """Raises :class:`StoreAway`, :class:`NotThere`."""
        ...

    def names(self) -> AsyncIterator[list[str]]:
        """Every key, in lists. Raises :class:`StoreAway`."""
        ...

    async def remove(self, keys: Sequence[str]) -> None:
        """Raises :class:`StoreAway`."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture in a row: the picture itself, or the key that a store has it under."""

    data: bytes | None = None
    key: str | None = None


class Shelf:
    """Keeps pictures in ``store``, or in the rows themselves where there is none."""

    def __init__(self, store: Store | None) -> None:
        self._store = store

    @property
    def store(self) -> Store | None:
        """None where pictures are in the rows."""
        return self._store

    async def keep(self, tenant: str, data: bytes) -> Kept:
        """Store a picture; returns its entry for the row. The picture is safe then. Raises :class:`StoreAway`."""
        if self._store is None:
            return Kept(data=data)
        key = key_of(tenant, data)
        await self._store.put(key, data)
        return Kept(key=key)

    async def fetch(self, tenant: str, kept: Kept) -> bytes:
        """The picture that a row of ``tenant`` keeps.

        Raises :class:`StoreAway` also where the file is missing or is another one: it is the store that has to be
        mended, and the job goes on after that.
        """
        if kept.data is not None:
            return kept.data
        if self._store is None:
            raise StoreAway("the row names a file, and ADSTUDIO_ASSETS names no store")
        if kept.key is None or not belongs(kept.key, tenant):
            raise StoreAway("the row names no file of its tenant")
        try:
            data = await self._store.get(kept.key)
        except NotThere:
            raise StoreAway("the file is missing") from None
        if not holds(kept.key, data):
            raise StoreAway("the file is damaged")
        return data


def open_shelf(address: str | None) -> Shelf:
    """The shelf for ``ADSTUDIO_ASSETS``: nothing (the rows), a folder, or ``s3://bucket/prefix``.

    Raises :class:`ConfigError`.
    """
    if address is None:
        return Shelf(None)
    if address.startswith("s3://"):
        return Shelf(_bucket(address))
    try:
        return Shelf(Folder(Path(address.removeprefix("file://")).absolute()))
    except StoreAway as error:
        raise ConfigError(f"ADSTUDIO_ASSETS: {address}: {error}") from None


def _bucket(address: str) -> Store:
    try:
        from adstudio.store.bucket import Bucket
    except ModuleNotFoundError:
        raise ConfigError("ADSTUDIO_ASSETS: an s3:// address needs the extra s3: pip install 'adstudio[s3]'") from None
    try:
        return Bucket(address)
    except ValueError as error:
        raise ConfigError(f"ADSTUDIO_ASSETS: {address}: {error}") from None
