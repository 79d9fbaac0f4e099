"""Stage answers on the wire: whatever a stage sends, a call ends in time with an Answer, having read a bounded part."""

from __future__ import annotations

import asyncio
import gzip
import math
import resource
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from line import two_stages
from pgbaton.decision.outcome import Answer, Reply, Verb, decide
from pgbaton.model import Dispatch, Row
from pgbaton.worker.stage_client import StageClient
from postgres import Cluster
from stage_server import Call, Say, StageServer

TIMEOUT = 1.0
DISPATCH = Dispatch(7, "job-1", "cut", 1, 3, Row("acme", "made", "done"))
GOOD = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n"
    b'Content-Length: 50\r\n\r\n{"title": "Stage failed", "detail": "no photo", 1}'
)

Ask = Callable[[bytes], Answer]


@dataclass
class Slow:
    """An answer in parts with pauses, then silence; ``sent`` counts bytes that went out."""

    parts: list[bytes]
    pause: float = 0.0
    forever: bool = False
    sent: int = 0
    _serving: asyncio.Task[None] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving = asyncio.current_task()
        try:
            await reader.readuntil(b"\r\n\r\n")
            for part in self.parts:
                await self.send(writer, part)
            while self.forever:
                await self.send(writer, self.parts[-1])
            await reader.read()  # until the caller has had enough
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def ended(self) -> None:
        if self._serving:
            await asyncio.wait([self._serving], timeout=5)

    async def send(self, writer: asyncio.StreamWriter, part: bytes) -> None:
        writer.write(part)
        await writer.drain()
        self.sent += len(part)
        await asyncio.sleep(self.pause)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def ask(runner: asyncio.Runner, cluster: Cluster) -> Iterator[Ask]:
    """One call to a stage that answers with these very bytes, and closes."""
    said = b""

    async def raw(_server: StageServer, _call: Call) -> Say:
        return Say(raw=said)

    server = StageServer(cluster.url, {"/cut": "cut"}, raw)
    client = StageClient(two_stages(runner.run(server.__aenter__()).base_url, cut_timeout=TIMEOUT))
    runner.run(client.__aenter__())

    def answered(content: bytes) -> Answer:
        nonlocal said
        said = content
        return runner.run(checked(client))

    yield answered
    runner.run(client.__aexit__(None, None, None))
    runner.run(server.__aexit__(None, None, None))


async def checked(client: StageClient) -> Answer:
    """The answer, which must be one that can be decided about, stored and logged."""
    began = time.monotonic()
    answer = await client.call(DISPATCH)
    assert time.monotonic() - began < TIMEOUT + 2
    assert isinstance(answer, Answer)
    assert (answer.status is not None) == (answer.reply is Reply.ANSWERED)
    assert answer.status is None or 100 <= answer.status <= 999
    assert answer.retry_after is None or (math.isfinite(answer.retry_after) and answer.retry_after >= 0)
    assert decide(two_stages().stage("cut"), DISPATCH.row, answer).verb in Verb
    if answer.error is not None:
        assert len(answer.error) < 600
        assert len(answer.error.splitlines()) == 1
        assert "\0" not in answer.error
        answer.error.encode()
    return answer


async def slowly(slow: Slow) -> Answer:
    server = await asyncio.start_server(slow.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, StageClient(two_stages(f"http://127.0.0.1:{port}", cut_timeout=TIMEOUT)) as client:
        answer = await checked(client)
    await slow.ended()
    return answer


fuzz = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

TOKENS = [
    *(b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/2 ", b"200", b"202 OK", b"500 X", b"HTTP/1.1 100 Continue\r\n\r\n"),
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b": ",
        b"\0",
        b"{",
        b"-1",
        b"9" * 30,
        b"\xff" * 9,
        b"0\r\n\r\n",
        b"fffffffffffffff\r\n",
    ),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Retry-After: "),
    *(
        b"Location: /\r\n",
        b"Content-Type: application/problem+json\r\n",
        b"Connection: upgrade\r\n",
        b"Upgrade: h2c\r\n",
    ),
    *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"),
]
tokens = st.sampled_from(TOKENS)


@settings(fuzz, max_examples=150)
@given(st.binary(max_size=300) | st.lists(tokens | st.binary(max_size=4), max_size=12).map(b"".join))
def test_any_bytes_are_an_answer_of_some_kind(ask: Ask, content: bytes) -> None:
    ask(content)


@settings(fuzz, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 9), tokens | st.binary(max_size=4)), max_size=3))
@example([])
def test_a_good_answer_with_something_cut_out_and_pasted_in_is_an_answer_of_some_kind(
    ask: Ask, edits: list[tuple[int, int, bytes]]
) -> None:
    content = GOOD
    for place, length, paste in edits:
        content = content[:place] + paste + content[place + length :]
    answer = ask(content)
    if content == GOOD:
        assert (answer.reply, answer.status, answer.retry_after) == (Reply.ANSWERED, 500, 5)


header_values = st.binary(max_size=60).map(lambda b: b.replace(b"\r", b"").replace(b"\n", b""))


@settings(fuzz, max_examples=150)
@given(
    st.integers(0, 1999),
    st.lists(
        st.tuples(st.sampled_from([b"Retry-After", b"Content-Type", b"Location", b"X"]), header_values), max_size=4
    ),
    st.binary(max_size=200) | st.text().map(lambda t: ('{"title": ' + repr(t) + "}").encode("utf-8", "replace")),
)
@example(503, [(b"Retry-After", "다섯".encode())], b"")
@example(500, [(b"Content-Type", b"application/problem+json")], b'{"title": "a\\u0000b\\ud800", "detail": "c\\nd"}')
@example(500, [(b"Content-Type", b"application/problem+json")], b"[" * 60_000)
@example(200, [(b"X", b"y" * 500_000)], b"")
@example(200, [(b"X", b"y")] * 5000, b"")
def test_hostile_headers_and_bodies_are_answered_for(
    ask: Ask, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    lines = [b"HTTP/1.1 %03d X" % status, b"Content-Length: %d" % len(body), *(b": ".join(h) for h in headers)]
    ask(b"\r\n".join(lines) + b"\r\n\r\n" + body)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut short",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ],
    ids=["nothing", "short", "short chunk", "two lengths", "no gzip", "continue", "upgrade"],
)
def test_a_broken_answer_is_no_success(ask: Ask, content: bytes) -> None:
    answer = ask(content)
    assert answer.reply is not Reply.REFUSED, "the stage may have worked"
    assert not answer.ok or answer.status is None


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_an_endless_body_is_not_read_to_its_end(runner: asyncio.Runner) -> None:
    endless = Slow([HEAD, b"10000\r\n" + b"x" * 0x10000 + b"\r\n"], forever=True)
    assert runner.run(slowly(endless)).status == 200
    assert endless.sent < 32 * 1024 * 1024


def test_a_small_body_that_unpacks_to_a_huge_one_is_not_unpacked_whole(runner: asyncio.Runner) -> None:
    bomb = gzip.compress(b"\0" * 2**27, 1)
    head = b"HTTP/1.1 500 X\r\nContent-Encoding: gzip\r\nContent-Type: application/problem+json\r\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = runner.run(slowly(Slow([head + b"Content-Length: %d\r\n\r\n" % len(bomb) + bomb])))
    assert answer.error == "HTTP 500"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


@settings(fuzz, max_examples=4)
@given(st.integers(0, len(GOOD) - 1))
def test_a_stage_that_falls_silent_is_given_up_in_time(runner: asyncio.Runner, after: int) -> None:
    assert runner.run(slowly(Slow([GOOD[:after]]))).reply is Reply.TIMEOUT


def test_a_stage_that_trickles_is_given_up_in_time(runner: asyncio.Runner) -> None:
    bytes_one_by_one = [struct.pack("B", byte) for byte in HEAD] + [b"1\r\nx\r\n"] * 1000
    assert runner.run(slowly(Slow(bytes_one_by_one, pause=0.02))).reply is Reply.TIMEOUT
