"""The broadcast and the shared answers, without a browser: bounded, with any number of viewers, however slow."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from pgbaton import cached
from pgbaton.cached import QUESTIONS, STALE, Cached, CachedEach
from pgbaton.events import EventLog
from pgbaton.web import broadcast, sse
from pgbaton.web.broadcast import Broadcaster
from pgbaton.web.sse import Stream

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/live", "headers": []}


class NoSource:
    """The part of a source that a broadcaster needs."""

    class overview:
        rest = 0.0

    def changed(self) -> None: ...

    async def renew(self) -> None: ...


def a_broadcaster() -> Broadcaster:
    return Broadcaster("postgresql://127.0.0.1:9/none", None, NoSource(), EventLog())  # type: ignore[arg-type]


async def never() -> Any:
    await asyncio.Event().wait()


async def test_a_viewer_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "SLOW", 0.05)
    broadcaster, sent = a_broadcaster(), 0

    async def send(_message: object) -> None:
        nonlocal sent
        sent += 1
        if sent > 2:
            await never()

    streaming = asyncio.create_task(Stream(broadcaster)(SCOPE, never, send))
    while sent < 2:
        await asyncio.sleep(0)
    assert "1 viewer>" in repr(broadcaster)
    for viewer in broadcaster._viewers:
        viewer.wake.set()
    await asyncio.wait_for(streaming, 2)
    assert "0 viewers" in repr(broadcaster)


async def test_a_viewer_who_leaves_is_forgotten() -> None:
    broadcaster, gone = a_broadcaster(), asyncio.Event()

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(_message: object) -> None: ...

    streaming = asyncio.create_task(Stream(broadcaster)(SCOPE, receive, send))
    await asyncio.sleep(0)
    gone.set()
    await asyncio.wait_for(streaming, 2)
    assert "0 viewers" in repr(broadcaster)


async def test_there_are_no_more_viewers_than_places_and_none_once_it_is_closed() -> None:
    broadcaster, statuses = a_broadcaster(), []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    with ExitStack() as stack:
        for _ in range(broadcast.MOST_VIEWERS):
            assert stack.enter_context(broadcaster.viewer()) is not None
        await Stream(broadcaster)(SCOPE, never, send)
    broadcaster.close()
    await Stream(broadcaster)(SCOPE, never, send)
    assert [s for s in statuses if s] == [503, 503]


async def test_many_askers_share_one_computation() -> None:
    computed = 0

    async def compute() -> int:
        nonlocal computed
        computed += 1
        await asyncio.sleep(0.01)
        return computed

    shared = Cached(compute)
    assert await asyncio.gather(*(shared.get() for _ in range(50))) == [1] * 50
    shared.changed()
    assert await shared.get() == 1  # too young to be computed again
    shared.changed(at_once=True)
    assert await shared.get() == 2


async def test_an_error_is_raised_to_all_who_wait_and_the_work_is_tried_again_later() -> None:
    tries = 0

    async def compute() -> int:
        nonlocal tries
        tries += 1
        raise ConnectionError

    shared = Cached(compute)
    failed = await asyncio.gather(*(shared.get() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(f, ConnectionError) for f in failed)
    assert tries == 1
    shared.changed(at_once=True)
    with pytest.raises(ConnectionError):
        await shared.get()
    assert tries == 2


async def test_a_slow_answer_is_not_waited_for_where_there_is_one_that_is_hardly_older() -> None:
    let_go, asked = asyncio.Event(), 0
    let_go.set()

    async def compute() -> int:
        nonlocal asked
        asked += 1
        this = asked
        await let_go.wait()
        return this

    shared = Cached(compute, youngest=0.0)
    assert await shared.get() == 1
    let_go.clear()
    shared.changed()
    assert await asyncio.gather(*(shared.get() for _ in range(20))) == [1] * 20  # the second is under way
    shared.changed(at_once=True)  # somebody acted: neither the first nor the second will do
    waits = asyncio.create_task(shared.get())
    await asyncio.sleep(0)
    let_go.set()
    assert await waits == 3
    assert asked == 3


async def test_an_answer_that_took_long_is_computed_again_before_it_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stood still, or a starved machine: what is wrong must appear, and what is mended must go."""
    clock = [1000.0]
    monkeypatch.setattr(cached, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    async def compute() -> float:
        began = clock[0]
        clock[0] += 30
        return began

    shared = Cached(compute)
    before = await shared.get()
    assert await shared.get() == before + 30
    clock[0] += STALE
    assert shared.rest == 0


async def test_each_question_has_an_answer_of_its_own_and_only_the_latest_asked_are_kept() -> None:
    asked: list[int] = []

    async def compute(question: int) -> int:
        asked.append(question)
        return -question

    shared = CachedEach(compute)
    assert await asyncio.gather(*(shared.get(n % 3) for n in range(30))) == [-(n % 3) for n in range(30)]
    assert sorted(asked) == [0, 1, 2]
    for question in range(10, 10 + QUESTIONS):
        await shared.get(question)
    shared.changed(at_once=True)
    asked.clear()
    assert (await shared.get(0), await shared.get(50)) == (0, -50)
    assert asked == [0, 50]
    assert len(shared._each) == QUESTIONS
