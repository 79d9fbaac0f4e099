"""A browser for the run; a scene, the page on it, and a person at it for each test."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from house import OPERATOR, VIEWER, page_alone
from scene import build

from pgbaton.web.access import Role, Tokens
from support.chromium import ARGUMENTS, CHROMIUM, NO_CHROMIUM
from support.home import forget_home

session = {"loop_scope": "session"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "looks: changes nothing, and may share a database with others that do not")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for all tests here: the browser lives in it."""
    for item in items:
        if (
            Path(__file__).parent in item.path.parents
            and isinstance(item, pytest.Function)
            and item.obj.__code__.co_flags & 0x80
        ):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", **session)
async def browser() -> AsyncIterator[Any]:
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed")
    from playwright.async_api import async_playwright

    async with async_playwright() as tool:
        browser = await tool.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", **session)
async def scene(cluster: Any, template: str) -> AsyncIterator[str]:
    """The name of a database in which everything is the case."""

    async def prepare(dsn: str) -> None:
        await build(dsn, prepared=True, scale=0.5)

    async with cluster.new_database(template) as dsn:
        await prepare(dsn)
        await forget_home(dsn)
        yield urlsplit(dsn).path.removeprefix("/")


@pytest_asyncio.fixture(scope="session", **session)
async def standing(cluster: Any, scene: str) -> AsyncIterator[tuple[str, str]]:
    """A database and the page on it, shared by the tests that only look."""
    async with cluster.new_database(scene) as dsn, page_alone(dsn) as base:
        yield dsn, base


@pytest_asyncio.fixture(**session)
async def place(cluster: Any, scene: str, standing: tuple[str, str], request: Any) -> AsyncIterator[tuple[str, str]]:
    """A database and the page on it, served as `pgbaton web` serves it; this test's own unless it only looks."""
    if request.node.get_closest_marker("looks"):
        yield standing
        return
    async with cluster.new_database(scene) as dsn, page_alone(dsn) as base:
        yield dsn, base


@pytest.fixture
def dsn(place: tuple[str, str]) -> str:
    return place[0]


@pytest.fixture
def base(place: tuple[str, str]) -> str:
    return place[1]


@pytest_asyncio.fixture(**session)
async def db(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(dsn)
    yield conn
    await conn.close()


@dataclass
class Watched:
    """The complaints of a browser, and the hosts that it asked."""

    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


Opener = Callable[..., Awaitable[Any]]


@pytest_asyncio.fixture(**session)
async def person(browser: Any, base: str) -> AsyncIterator[Opener]:
    """Open the page as somebody: ``await person(role, path, **of the browser's context)``. In the end the console
    must be silent (``refused``: but for a 409), and nobody but our own host must have been asked."""
    watched = Watched()
    async with AsyncExitStack() as stack:

        async def open_page(
            role: str | None = "operator", path: str = "/", *, refused: bool = False, **options: Any
        ) -> Any:
            def hear(said: Any) -> None:
                if said.type in ("error", "warning") and not (refused and "409 (Conflict)" in said.text):
                    watched.complaints.append(said.text)

            options = {"locale": "en-GB", "viewport": {"width": 1280, "height": 900}, **options}
            context = await browser.new_context(**options)
            stack.push_async_callback(context.close)
            context.set_default_timeout(20_000)
            page = await context.new_page()
            page.on("console", hear)
            page.on("pageerror", lambda e: watched.complaints.append(str(e)))
            page.on("request", lambda r: watched.hosts.add(urlsplit(r.url).netloc))
            if role is not None:
                session = Tokens(OPERATOR, VIEWER).begin(Role(role))
                await context.add_cookies([{"name": "pgbaton_session", "value": session, "url": f"{base}/"}])
            await page.goto(base + path)
            return page

        yield open_page
    assert watched.complaints == []
    assert watched.hosts <= {urlsplit(base).netloc}
