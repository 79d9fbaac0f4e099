"""Between the socket and the routes: a bound on bodies, and two ways to be behind a proxy."""

from __future__ import annotations

import re
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pgbaton.fastapi import problem


class BodyLimit:
    """Answers 413 to a body of more than ``most`` bytes; the rest of it is neither awaited nor kept.

    Paths that match ``but`` see to their bodies themselves.
    """

    def __init__(self, app: ASGIApp, most: int, but: re.Pattern[str]) -> None:
        self._app = app
        self._most = most
        self._but = but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._but.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # the caller is gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._most:
                refusal = problem(413, "Body too large", f"the body has more than {self._most} bytes")
                refusal.headers["connection"] = "close"
                await refusal(scope, receive, send)
                return
        await self._app(scope, _replay(body, receive), send)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that first gives ``body`` whole."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


class RootPath:
    """Lets the routes be found whether or not a proxy takes ``root_path`` off the paths that it passes on.

    ``paths`` are the routes' own: one of them is taken as it is, even where it begins as ``root_path`` does
    (``/api/yh/planner`` behind a proxy at ``/api``, say).
    """

    def __init__(self, app: ASGIApp, root_path: str, paths: Collection[str]) -> None:
        self._app = app
        self._root_path = root_path
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if path in self._paths or not f"{path}/".startswith(f"{self._root_path}/"):
                path = self._root_path + path
            scope = {**scope, "root_path": self._root_path, "path": path}
        await self._app(scope, receive, send)
