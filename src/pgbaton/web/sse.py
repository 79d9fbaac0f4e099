"""The server-sent events of one viewer, who may be slow, or gone."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pgbaton.web.broadcast import Broadcaster, Viewer
from pgbaton.web.context import View

SLOW = 10.0
"""Seconds that a viewer may take to accept a few bytes; a slower one is dropped (and will come back)."""
LONGEST = 25.0
"""Seconds after which a stream ends and the browser opens the next: no server waits longer for a page to close."""


async def live(view: View) -> Response:
    """Server-sent events: something changed."""
    return Stream(view.site.broadcaster)


class Stream(Response):
    """The server-sent events of one viewer: ``changed``, and nothing else; they carry no data."""

    def __init__(self, broadcaster: Broadcaster) -> None:
        super().__init__(media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._broadcaster = broadcaster

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._broadcaster.viewer() as viewer:
            if viewer is None:
                await Response(status_code=503, headers={"Retry-After": "5"})(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            talking = asyncio.create_task(self._talk(viewer, send))
            leaving = asyncio.create_task(_until_gone(receive))
            try:
                await asyncio.wait([talking, leaving], timeout=LONGEST, return_when=asyncio.FIRST_COMPLETED)
                slow = talking.done() and isinstance(talking.exception(), TimeoutError)
            finally:
                for task in (talking, leaving):
                    task.cancel()
                await asyncio.gather(talking, leaving, return_exceptions=True)
            if not slow and not (leaving.done() and not leaving.cancelled()):
                with suppress(TimeoutError, OSError):
                    async with asyncio.timeout(SLOW):
                        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _talk(self, viewer: Viewer, send: Send) -> None:
        message = b"retry: 1000\n\n"
        while True:
            async with asyncio.timeout(SLOW):
                await send({"type": "http.response.body", "body": message, "more_body": True})
            while not await viewer.wake.wait(LONGEST):
                pass
            if viewer.closed:
                return
            message = b"event: changed\ndata:\n\n"


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
