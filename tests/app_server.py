"""A FastAPI application on a real port, and the requests that tests send to it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI
from pyreqwest.client import Client, ClientBuilder


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    kind: str
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Site:
    """A served application; ``base_url`` is where."""

    def __init__(self, base_url: str, client: Client) -> None:
        self.base_url, self._client = base_url, client

    async def get(self, path: str) -> Reply:
        return await self._send(self._client.get(self.base_url + path))

    async def post(self, path: str, body: Any, kind: str = "application/json") -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self._send(self._client.post(self.base_url + path).header("content-type", kind).body_bytes(data))

    async def _send(self, request: Any) -> Reply:
        answer = await request.build().send()
        return Reply(answer.status, answer.get_header("content-type") or "", await answer.text())


def free_socket() -> socket.socket:
    """A listening socket, so that the address is known before the application is made."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    return listening


@asynccontextmanager
async def served(app: FastAPI, listening: socket.socket | None = None) -> AsyncIterator[Site]:
    """The application, from its lifespan's beginning to its end."""
    listening = listening or free_socket()
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", lifespan="on", timeout_graceful_shutdown=5, timeout_keep_alive=60)
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            assert not serving.done(), "the application did not start"
            await asyncio.sleep(0.005)
        async with ClientBuilder().no_proxy().build() as client:
            yield Site(f"http://127.0.0.1:{listening.getsockname()[1]}", client)
    finally:
        server.should_exit = True
        await serving
        listening.close()
