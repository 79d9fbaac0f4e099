"""One HTTP call to a stage; the only user of the HTTP client. No act of a stage makes it raise; a file
descriptor that this machine does not have does (``OSError``)."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import Literal, Self

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    ConnectError,
    NetworkError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.response import Response

from pgbaton.backoff import retry_after_seconds
from pgbaton.decision.outcome import Answer, Reply
from pgbaton.key import Key
from pgbaton.model import Dispatch, Pipeline
from pgbaton.request import batch_of, body_of, headers_of
from pgbaton.shard import DATABASE
from pgbaton.worker.descriptors import refused_by_own_limit
from pgbaton.worker.tracing import traceparent

CONNECT_TIMEOUT = timedelta(seconds=10)
"""How long a connection to a stage may take; the stage's own timeout, where it is shorter, ends it before."""
BODY_READ = 64 * 1024
"""Bytes of an answer that are read at most: the engine needs the status, the headers and the beginning of the body."""


BODY_KEPT = 2000
"""Characters of an answer that are kept for operators at most."""

Kept = Literal["none", "failures", "all"]


class StageClient:
    """Calls the stages of one pipeline. Use as an async context manager.

    ``keep_answers``: the answers whose beginning is handed on, for operators to read.
    """

    def __init__(self, pipeline: Pipeline, keep_answers: Kept = "failures") -> None:
        self._pipeline = pipeline
        self._key = Key(pipeline.keys)
        self._keep_answers = keep_answers
        self._client: Client

    async def __aenter__(self) -> Self:
        self._client = (
            ClientBuilder()
            .follow_redirects(False)  # a stage must not send us to an address that no operator chose
            .no_proxy()
            .referer(False)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent("pgbaton")
            .default_headers({"content-type": "application/json"})
            .build()
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def call(self, dispatch: Dispatch, trace: str | None = None) -> Answer:
        """POST the job to its stage and wait for the answer, at most the stage's timeout in seconds.

        ``trace``: the ``traceparent`` to send; ``None``: the attempt's own.
        """
        return await self._post(dispatch, body_of(dispatch, self._key), trace)

    async def call_batch(self, dispatches: Sequence[Dispatch]) -> Answer:
        """As :meth:`call`, with all these jobs of one stage in one request; the headers are the first one's."""
        body = batch_of(self._pipeline.name, dispatches, self._key)
        answer = await self._post(dispatches[0], body, None)
        return replace(answer, jobs=len(dispatches))

    async def _post(self, dispatch: Dispatch, body: bytes, trace: str | None) -> Answer:
        stage = self._pipeline.stage(dispatch.stage)
        request = (
            self._client.post(self._pipeline.base_url + stage.path)
            .timeout(timedelta(seconds=stage.timeout))
            .headers(
                headers_of(self._pipeline.name, dispatch, DATABASE.get())
                | {"traceparent": trace or traceparent(self._pipeline.name, dispatch)}
            )
            .body_bytes(body)
            .build_streamed()
        )
        status = None
        try:
            async with request as response:
                status = response.status
                said = await _bounded_body(response)
            return Answer(
                Reply.ANSWERED,
                status,
                retry_after_seconds(_header(response, "retry-after"), time.time()),
                None if 200 <= status < 300 else _reason(status, response, said, stage.path),
                self._kept(status, said),
            )
        except RequestTimeoutError as error:
            if _never_connected(error):
                return _refused(error)
            return Answer(Reply.TIMEOUT, error=f"no answer within {stage.timeout:g} s")
        except ConnectError as error:
            if _never_connected(error):
                return _refused(error)
            return Answer(Reply.LOST, error="the connection broke before the answer was complete")
        except NetworkError:
            return Answer(Reply.LOST, error="the connection broke before the answer was complete")
        except PyreqwestError as error:
            # The client's message may name the address, never the body that was sent.
            reply = Reply.GARBLED if status is None else Reply.LOST
            return Answer(reply, error=f"the stage's answer was not readable ({type(error).__name__})")

    def _kept(self, status: int, body: bytes) -> str | None:
        if self._keep_answers == "none" or (self._keep_answers == "failures" and 200 <= status < 300) or not body:
            return None
        return _storable(body.decode("utf-8", "replace")[:BODY_KEPT])


def _storable(text: str) -> str:
    """The text without the signs that Postgres cannot store (NUL, lone surrogates), so that the outcome is stored."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _never_connected(error: RequestTimeoutError | ConnectError) -> bool:
    """Whether nothing was sent. The client calls it a connect error, too, when a connection closes before the
    answer or when an answer does not come in time: only the cause tells them apart, and a stage that may have
    worked must not count as one that was never reached."""
    causes = error.details["causes"] or []
    return any(cause["message"] == "client error (Connect)" for cause in causes)


def _refused(error: RequestTimeoutError | ConnectError) -> Answer:
    """Raises ``OSError`` where this machine had no file descriptor: no stage was called, nothing is decided."""
    why = _why(error)
    if refused_by_own_limit(why):
        raise OSError(errno.EMFILE, why) from None
    return Answer(Reply.REFUSED, error=f"no connection to the stage: {why}")


def _why(error: RequestTimeoutError | ConnectError) -> str:
    """The innermost cause: refused, a name that is not found, a certificate. It may name the host, never the body that
    was sent."""
    causes = error.details["causes"] or []
    said = str(causes[-1]["message"]) if causes else "no answer in time"
    return " ".join(said.partition(": verification time")[0].split())[:120]


def _header(response: Response, name: str) -> str | None:
    """A header's value; none where it is not ASCII, which the client raises for."""
    try:
        return response.get_header(name)
    except ValueError:
        return None


async def _bounded_body(response: Response) -> bytes:
    parts: list[bytes] = []
    size, length = 0, _length(response)
    while size < length and (chunk := await response.body_reader.read_chunk()) is not None:
        parts.append(bytes(chunk))
        size += len(chunk)
    return b"".join(parts)[:BODY_READ]


def _length(response: Response) -> int:
    """Bytes to read: where the answer tells its length, no read is needed to find its end."""
    told = _header(response, "content-length") or ""
    return min(BODY_READ, int(told)) if told.isdecimal() and len(told) < 10 else BODY_READ


def _place(url: str) -> str:
    """An address without user, password and query, which may be secrets."""
    plain = url.partition("?")[0].partition("#")[0]
    scheme, mark, rest = plain.rpartition("//")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}" if mark else plain


def _reason(status: int, response: Response, body: bytes, path: str) -> str:
    """A refusal's own words: title and detail of a problem (RFC 9457); where a redirect leads; which path
    there is not; otherwise the status alone."""
    said = ""
    if 300 <= status < 400 and (to := _header(response, "location")):
        said = f"redirects to {_place(to)}, which is not followed"
    elif status in (404, 405):
        said = f"at POST {path}"
    if (_header(response, "content-type") or "").startswith("application/problem+json"):
        try:
            problem = json.loads(body)
            said = said and f"{said} "
            said += ": ".join(str(problem[k]) for k in ("title", "detail") if isinstance(problem.get(k), str))
        except (ValueError, AttributeError, RecursionError):
            pass
    line = _storable(" ".join(said.split())[:500])
    return f"HTTP {status} {line}".rstrip()
