"""Files in a folder of this machine, or of a network drive that several machines share."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import uuid4

from adstudio.store.trouble import NotThere, StoreAway

_UNFINISHED = ".unfinished"
_GIVEN_UP = 24 * 3600  # seconds; no process writes one picture for a day


class Folder:
    """A file is written beside its place, brought to the disk, and only then moved there: it is whole or absent."""

    def __init__(self, root: Path) -> None:
        """Makes the folder where it is missing, and removes unfinished files of a crash; raises :class:`StoreAway`."""
        self._root = root
        try:
            (root / _UNFINISHED).mkdir(parents=True, exist_ok=True)
            for left in (root / _UNFINISHED).iterdir():
                if left.stat().st_mtime < time.time() - _GIVEN_UP:
                    left.unlink(missing_ok=True)
        except OSError as error:
            raise StoreAway(_told(error)) from None

    async def put(self, key: str, data: bytes) -> None:
        """Raises :class:`StoreAway`."""
        try:
            await asyncio.to_thread(self._write, key, data)
        except OSError as error:
            raise StoreAway(_told(error)) from None

    async def get(self, key: str) -> bytes:
        """Raises :class:`StoreAway`, :class:`NotThere`."""
        try:
            return await asyncio.to_thread((self._root / key).read_bytes)
        except FileNotFoundError:
            if not self._root.is_dir():
                raise StoreAway("the folder is not there") from None
            raise NotThere from None
        except OSError as error:
            raise StoreAway(_told(error)) from None

    async def names(self) -> AsyncIterator[list[str]]:
        """Every key, folder by folder. Raises :class:`StoreAway`."""
        try:
            folders = await asyncio.to_thread(lambda: [one for one in self._root.iterdir() if one.name != _UNFINISHED])
            for folder in folders:
                yield await asyncio.to_thread(_files_in, folder)
        except OSError as error:
            raise StoreAway(_told(error)) from None

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove files; one that is not there any more counts as removed. Raises :class:`StoreAway`."""
        try:
            for key in keys:
                await asyncio.to_thread((self._root / key).unlink, missing_ok=True)
        except OSError as error:
            raise StoreAway(_told(error)) from None

    def _write(self, key: str, data: bytes) -> None:
        place, unfinished = self._root / key, self._root / _UNFINISHED / uuid4().hex
        try:
            with unfinished.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            fresh = not place.parent.exists()
            place.parent.mkdir(exist_ok=True)
            unfinished.replace(place)
        finally:
            unfinished.unlink(missing_ok=True)
        for folder in (place.parent, *([self._root] if fresh else [])):
            _bring_to_disk(folder)


def _files_in(folder: Path) -> list[str]:
    return [f"{folder.name}/{file.name}" for file in folder.iterdir()]


def _bring_to_disk(folder: Path) -> None:
    """A new name lasts through a power cut only once its folder was written, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _told(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
