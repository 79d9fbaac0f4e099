"""A real browser, and the page served to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from pgbaton import Settings
from pgbaton.web.app import WebSettings, create_app

OPERATOR, VIEWER = "operator-token-of-the-tests", "viewer-token-of-the-tests"


@asynccontextmanager
async def serving(app: FastAPI, root_path: str = "") -> AsyncIterator[str]:
    """The address of ``app``, served in this loop. ``root_path``: as behind a proxy that strips it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, root_path=root_path, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def page_alone(dsn: str) -> AsyncIterator[str]:
    """The address of the page for a database, as ``pgbaton web`` serves it."""
    app, admin = create_app(
        Settings(database_url=SecretStr(dsn)), WebSettings(token=SecretStr(OPERATOR), viewer_token=SecretStr(VIEWER))
    )
    async with serving(app) as address:
        try:
            yield f"{address}/pgbaton"
        finally:
            admin.close()


async def sign_in(page: object, base: str, token: str = OPERATOR) -> None:
    """Type the token, as a person does."""
    await page.goto(f"{base}/login")  # type: ignore[attr-defined]
    await page.fill("#token", token)  # type: ignore[attr-defined]
    await page.click("#sign-in")  # type: ignore[attr-defined]
    await page.wait_for_selector("nav.nav")  # type: ignore[attr-defined]


def expect(that: Any) -> Any:
    """Playwright's assertions, which wait until they are true. A value that is read once, straight after an act, may be
    the one before: assert that one with these."""
    from playwright.async_api import expect as assertion  # some tests beside these need no browser

    return assertion(that)
