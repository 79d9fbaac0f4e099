"""Reading a form of bounded size, in bounded time, with little of it in memory meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import HTTPException
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException as HTTPRefusal
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from adstudio.vision.photo import MAX_BYTES

MOST_BODY = MAX_BYTES + 1024 * 1024
"""Bytes: a photo of the largest size, and the rest of the form."""
MOST_FIELDS, MOST_FIELD = 40, 64 * 1024
SECONDS = 300
"""Seconds that a whole upload may take: the largest photo over a line of 0.7 Mbit/s."""
AT_ONCE = 8
"""Uploads under way; each may have a photo in memory for a moment."""


class TooLarge(Exception):
    """The body has more bytes than are taken."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form's texts, the last of each name, and its files; ``repeated``: every value of each name."""

    texts: Mapping[str, str]
    repeated: Mapping[str, list[str]]
    files: Mapping[str, bytes]

    def tenant(self, asking: str | None) -> str:
        """The form's tenant; raises 403 where the form names another tenant than the one that asks."""
        said = self.texts.get("tenant") or self.texts.get("tenant_id") or asking or ""
        if asking is not None and said != asking:
            raise HTTPException(403, "fault.tenant")
        return said


@dataclass
class Uploads:
    """The uploads that this process takes at a time."""

    under_way: int = 0
    at_once: int = field(default=AT_ONCE)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Raises 503 where too many are under way."""
        if self.under_way >= self.at_once:
            raise HTTPException(503, "fault.busy", {"Retry-After": "2"})
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1


async def read_form(request: Request, most: int, seconds: float = SECONDS, files: Sequence[str] = ()) -> Form:
    """The form in the body, with those ``files``.

    Raises :class:`TooLarge`, and ``HTTPException``: 422 for what is no form, 408 for one that does not come to an end.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        raise HTTPException(422, "send a form: multipart/form-data")
    if (length := request.headers.get("content-length", "")).isdecimal() and int(length) > most:
        raise TooLarge
    counted = Request(request.scope, _counting(request.receive, most))
    try:
        async with asyncio.timeout(seconds):
            form = await counted.form(max_files=len(files), max_fields=MOST_FIELDS, max_part_size=MOST_FIELD)
    except TimeoutError:
        raise HTTPException(408, f"the form did not come to its end within {seconds:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the form broke off") from None
    except HTTPRefusal as error:
        raise HTTPException(422, f"the form cannot be read: {error.detail}") from None
    try:
        return await _plain(form, files)
    finally:
        await form.close()


async def _plain(form: FormData, names: Sequence[str]) -> Form:
    repeated: dict[str, list[str]] = {}
    files: dict[str, bytes] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name in names and (value.filename or value.size):  # a browser sends fields that were left empty, too
                files[name] = await value.read()
        else:
            repeated.setdefault(name, []).append(value)
    return Form({name: values[-1] for name, values in repeated.items()}, repeated, files)


def _counting(receive: Receive, most: int) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise TooLarge
        return message

    return counted
