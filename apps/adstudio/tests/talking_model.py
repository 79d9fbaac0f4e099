"""A server that says one reply to every question, and remembers the question: a vision model over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from adstudio.vision.vlm import VisionAway, VisionNonsense, ask
from adstudio.vision.vlm_endpoint import VisionEndpoint
from adstudio.vision.vlm_verdict import PhotoAnswer

KEY = "sk-very-secret"
PHOTO = np.full((300, 400, 3), 90, np.uint8)
GOOD = {"fits_copy": True, "publishable": True, "reasons": ["A cup of coffee on a table."]}
Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """The requests to the server, and an endpoint that leads to it."""

    port: int
    heads: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def endpoint(self, timeout: float = 5.0, key: str | None = KEY) -> VisionEndpoint:
        secret = None if key is None else SecretStr(key)
        return VisionEndpoint(f"http://127.0.0.1:{self.port}/v1", "llava:7b", secret, timeout)

    async def asked(self, timeout: float = 5.0) -> PhotoAnswer:
        return (await ask(self.endpoint(timeout), b"a jpeg", "Well?", PhotoAnswer)).answer

    async def nonsense(self) -> str:
        return await self._raised(VisionNonsense, 5.0)

    async def away(self, timeout: float = 5.0) -> str:
        return await self._raised(VisionAway, timeout)

    async def _raised(self, kind: type[Exception], timeout: float) -> str:
        with pytest.raises(kind) as caught:
            await self.asked(timeout)
        assert KEY not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        return str(caught.value)


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[Server]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:"))
        state.heads.append(head)
        state.bodies.append(json.loads(await reader.readexactly(length)))
        try:
            await reply(writer)
            await writer.drain()
        except ConnectionError:
            pass  # the client had enough
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    state = Server(server.sockets[0].getsockname()[1])
    async with server:
        yield state


def http(body: bytes, status: str = "200 OK", *headers: str) -> Reply:
    async def reply(writer: asyncio.StreamWriter) -> None:
        lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers)
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return reply


def completion(content: object, **choice: object) -> Reply:
    return http(json.dumps({"choices": [{"message": {"role": "assistant", "content": content}, **choice}]}).encode())


def saying(answer: object) -> Reply:
    return completion(json.dumps(answer))
