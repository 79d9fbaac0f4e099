"""One HTTP call to a stage, over real sockets: what is sent, and what is made of every kind of answer and silence."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from line import two_stages
from pgbaton.decision.outcome import Answer, Reply
from pgbaton.model import Dispatch, Row
from pgbaton.worker import stage_client
from pgbaton.worker.stage_client import StageClient, traceparent
from postgres import Cluster
from stage_server import Call, Say, StageServer

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def dispatch(**changes: Any) -> Dispatch:
    whole = {
        "id": 7,
        "job_key": "j-1",
        "stage": "cut",
        "attempt": 2,
        "run": 3,
        "made": 0xABC,
        "row": Row("acme", "made", "done"),
    }
    return Dispatch(**{**whole, **changes})


@asynccontextmanager
async def listening(handle: Handler) -> AsyncIterator[str]:
    """A server that runs `handle` on each connection, once it has the request."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                await reader.readuntil(b'"acme"}')
                await handle(reader, writer)
            finally:
                writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def call(base_url: str, timeout: float = 5, **changes: Any) -> Answer:
    async with StageClient(two_stages(base_url, cut_timeout=timeout)) as client:
        return await client.call(dispatch(**changes))


async def answer_to(handle: Handler, timeout: float = 5) -> Answer:
    """The answer of a call to a server that does so."""
    async with listening(handle) as base_url:
        return await call(base_url, timeout)


def say(*pieces: bytes) -> Handler:
    """Send these bytes and close."""

    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return handle


def drip(first: bytes, drop: bytes) -> Handler:
    """Send something every now and then, for ever."""

    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.02)

    return handle


# -- what is sent ---------------------------------------------------------------------------------


async def test_the_request_is_as_the_contract_says(cluster: Cluster) -> None:
    async def ok(server: StageServer, call: Call) -> Say:
        return Say()

    async with StageServer(cluster.url, {}, ok) as server:
        assert await call(server.base_url) == Answer(Reply.ANSWERED, 200)
        (got,) = server.calls
        assert got.path == "/cut"
        assert got.body == {"job_id": "j-1", "tenant_id": "acme"}
        sent = {k: got.headers[k] for k in ("content-type", "idempotency-key", "x-pgbaton-attempt", "user-agent")}
        assert sent == {
            "content-type": "application/json",
            "idempotency-key": "craft-7-abc",
            "x-pgbaton-attempt": "2",
            "user-agent": "pgbaton",
        }
        version, trace, span, flags = got.headers["traceparent"].split("-")
        assert (version, len(trace), len(span), flags) == ("00", 32, 16, "01")
        assert int(trace, 16)
        assert int(span, 16)
        assert "referer" not in got.headers
        assert "cookie" not in got.headers


async def test_any_key_and_tenant_arrive_as_they_are(cluster: Cluster) -> None:
    async def ok(server: StageServer, call: Call) -> Say:
        return Say()

    async with StageServer(cluster.url, {}, ok) as server:
        hostile = ['"\\\r\n\x00\x1f', "한글 🙂", "x" * 100_000, "", None]
        for key in hostile:
            await call(server.base_url, job_key=key, row=Row(key, "made", "done"))
        sent = [(c.body["job_id"], c.body["tenant_id"]) for c in server.calls]
        assert sent == [(key, key) for key in hostile]


def test_one_trace_for_a_job_and_one_span_for_an_attempt() -> None:
    first = traceparent("craft", dispatch())
    assert traceparent("craft", dispatch()) == first
    again, other_stage, other_job = (
        traceparent("craft", dispatch(**changes))
        for changes in ({"attempt": 3}, {"id": 8, "stage": "glue"}, {"job_key": "j-2"})
    )
    for same_job in (again, other_stage):
        assert same_job[:36] == first[:36]
        assert same_job[36:] != first[36:]
    assert other_job[:36] != first[:36]
    assert traceparent("other", dispatch())[:36] != first[:36]


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await answer_to(say(OK)) == Answer(Reply.ANSWERED, 200)


# -- no answer ------------------------------------------------------------------------------------


async def test_a_closed_port_is_a_refusal() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = await call(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert answer == Answer(Reply.REFUSED, error="no connection to the stage: Connection refused (os error 111)")


async def test_a_host_name_that_does_not_resolve_is_a_refusal() -> None:
    answer = await call("http://no-such-host.invalid")
    assert answer.reply is Reply.REFUSED
    assert "failed to lookup address" in (answer.error or "")


async def test_a_port_that_takes_no_connection_in_time_was_never_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_client, "CONNECT_TIMEOUT", timedelta(seconds=0.3))
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # the server accepts none: the queue is full, and the next one is left without an answer
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        answer = await call(f"http://127.0.0.1:{full.getsockname()[1]}")
    assert answer.reply is Reply.REFUSED
    assert (answer.error or "").startswith("no connection to the stage: ")


async def test_silence_is_a_timeout_at_the_stages_own_limit() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    began = time.monotonic()
    assert await answer_to(silent, timeout=0.3) == Answer(Reply.TIMEOUT, error="no answer within 0.3 s")
    assert 0.25 < time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"x-drip: y\r\n"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
    ids=["status line", "headers", "body", "chunks", "hints"],
)
async def test_an_answer_that_drips_for_ever_ends_in_time(first: bytes, drop: bytes) -> None:
    began = time.monotonic()
    answer = await answer_to(drip(first, drop), timeout=0.3)
    assert time.monotonic() - began < 2
    assert answer.reply in (Reply.TIMEOUT, Reply.GARBLED, Reply.LOST)
    assert answer.status is None


async def test_a_connection_that_closes_before_the_answer_is_lost_and_not_refused() -> None:
    closed = await answer_to(say())
    assert closed == Answer(Reply.LOST, error="the connection broke before the answer was complete")


async def test_a_connection_that_is_reset_is_lost_and_not_refused() -> None:
    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    assert (await answer_to(reset)).reply is Reply.LOST


@pytest.mark.parametrize(
    "cut_short",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhal",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.",
    ],
)
async def test_an_answer_cut_short_is_no_answer(cut_short: bytes) -> None:
    answer = await answer_to(say(cut_short))
    assert answer.reply in (Reply.LOST, Reply.GARBLED)
    assert (answer.status, answer.ok) == (None, False)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\x00\xff\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 2_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/2 200\r\n\r\n",
    ],
    ids=lambda raw: str(raw[:40]),
)
async def test_bytes_that_are_not_http_never_raise_and_never_count_as_an_answer(garbage: bytes) -> None:
    answer = await answer_to(say(garbage))
    assert answer.reply in (Reply.GARBLED, Reply.LOST)
    assert answer.status is None
    assert answer.error
    assert "acme" not in answer.error


# -- an answer ------------------------------------------------------------------------------------


def _told(status: int) -> str | None:
    said = {301: " redirects to /inner, which is not followed", 404: " at POST /cut"}
    said |= {304: said[301], 307: said[301]}
    return None if status < 300 else f"HTTP {status}{said.get(status, '')}"


async def test_where_a_redirect_leads_is_told_without_its_secrets() -> None:
    head = b"HTTP/1.1 302 X\r\nlocation: https://me:secret@sso.example/login?token=secret\r\ncontent-length: 0\r\n\r\n"
    answer = await answer_to(say(head))
    assert (answer.error, answer.down) == (
        "HTTP 302 redirects to https://sso.example/login, which is not followed",
        True,
    )


@pytest.mark.parametrize("status", [200, 201, 202, 204, 301, 304, 307, 400, 404, 409, 422, 425, 429, 500, 503, 599])
async def test_a_status_is_passed_on_and_a_redirect_not_followed(status: int) -> None:
    answer = await answer_to(say(b"HTTP/1.1 %d X\r\nlocation: /inner\r\ncontent-length: 0\r\n\r\n" % status))
    assert answer == Answer(Reply.ANSWERED, status, error=_told(status))


async def test_an_early_hint_is_not_the_answer() -> None:
    assert (await answer_to(say(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK))).status == 200


@pytest.mark.parametrize(("header", "seconds"), [(b"7", 7), (b"soon", None), (b"-1", None), (b"\xff\xfe", None)])
async def test_retry_after_is_read_where_it_makes_sense(header: bytes, seconds: float | None) -> None:
    answer = await answer_to(say(b"HTTP/1.1 503 X\r\nretry-after: " + header + b"\r\ncontent-length: 0\r\n\r\n"))
    assert (answer.status, answer.retry_after) == (503, seconds)


def problem(body: bytes, kind: bytes = b"application/problem+json") -> Handler:
    head = b"HTTP/1.1 422 X\r\ncontent-type: " + kind + b"\r\ncontent-length: %d\r\n\r\n" % len(body)
    return say(head + body)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"title": "No photo", "detail": "there is\\n\\tnothing"}', "HTTP 422 No photo: there is nothing"),
        (b'{"title": "No photo"}', "HTTP 422 No photo"),
        (b'{"detail": "nothing", "title": 7}', "HTTP 422 nothing"),
        (b"{}", "HTTP 422"),
        (b"[]", "HTTP 422"),
        (b"null", "HTTP 422"),
        (b"not json", "HTTP 422"),
        (b"", "HTTP 422"),
        (b"[" * 60_000, "HTTP 422"),
        (b'{"title": "a\\u0000b"}', "HTTP 422 ab"),
        (b'{"title": "a\\ud800b"}', "HTTP 422 a?b"),
        (b'{"title": "\xff"}', "HTTP 422"),
    ],
)
async def test_a_problem_is_told_in_its_own_words_on_one_line_that_postgres_can_keep(body: bytes, error: str) -> None:
    answer = await answer_to(problem(body))
    assert (answer.status, answer.error) == (422, error)
    assert "\x00" not in (answer.error or "")
    (answer.error or "").encode()


async def test_a_problem_of_any_length_is_cut() -> None:
    answer = await answer_to(problem(b'{"title": "' + b"x" * 60_000 + b'"}'))
    assert answer.error
    assert len(answer.error) < 600


async def test_headers_that_are_no_text_are_passed_over() -> None:
    head = b"HTTP/1.1 422 X\r\ncontent-type: \xff\r\nretry-after: \xff\r\n\xc3: x\r\ncontent-length: 2\r\n\r\n{}"
    answer = await answer_to(say(head.replace(b"\xc3: x\r\n", b"")))
    assert answer == Answer(Reply.ANSWERED, 422, error="HTTP 422", body="{}")
    assert (await answer_to(say(head))).reply in (Reply.GARBLED, Reply.LOST)


async def test_a_body_that_is_no_problem_is_not_quoted() -> None:
    assert (await answer_to(problem(b'{"title": "secret"}', b"application/json"))).error == "HTTP 422"
    assert (await answer_to(problem(b"<h1>secret</h1>", b"text/html"))).error == "HTTP 422"


async def test_of_a_body_without_end_only_the_beginning_is_read() -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    sent = 0

    async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(chunk)
            await writer.drain()
            sent += len(chunk)

    began = time.monotonic()
    assert await answer_to(pour, timeout=30) == Answer(Reply.ANSWERED, 200)
    assert time.monotonic() - began < 5
    assert sent < 64 * 1024 * 1024


async def test_a_compressed_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\x00" * 50_000_000)
    head = b"HTTP/1.1 500 X\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    began = time.monotonic()
    assert (await answer_to(say(head + bomb), timeout=30)).status == 500
    assert time.monotonic() - began < 5


async def test_many_calls_share_connections_and_each_gets_its_own_answer(cluster: Cluster) -> None:
    async def echo(server: StageServer, call: Call) -> Say:
        await asyncio.sleep(0.001)
        body = json.dumps({"title": call.job_id}).encode()
        return Say(400, {"content-type": "application/problem+json"}, body)

    async with StageServer(cluster.url, {}, echo) as server, StageClient(two_stages(server.base_url)) as client:
        answers = await asyncio.gather(*(client.call(dispatch(job_key=f"j-{n}")) for n in range(200)))
        assert [a.error for a in answers] == [f"HTTP 400 j-{n}" for n in range(200)]
