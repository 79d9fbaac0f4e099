"""OpenTelemetry, where its API is installed (the extra ``telemetry``): one trace for a run of a job through every hop.

The trace's id is derived from the run, whether spans are recorded or not; without an SDK the stage is sent the same
trace with a span id that is derived from the attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import blake2b
from typing import Any, Self

from pgbaton.decision.outcome import Answer
from pgbaton.model import Dispatch, trace_id

try:
    from opentelemetry import trace as _api
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    _w3c = TraceContextTextMapPropagator()
except ImportError:  # the API is optional
    _api = None  # type: ignore[assignment]


def traceparent(pipeline: str, dispatch: Dispatch) -> str:
    """The W3C trace context of an attempt: the trace of its run, and a span id that the same attempt always has."""
    span = blake2b(f"{pipeline}:{dispatch.id}:{dispatch.attempt}".encode(), digest_size=8).hexdigest()
    return f"00-{trace_id(pipeline, dispatch.job_key, dispatch.run)}-{span}-01"


def _is_off() -> bool:
    """Whether OpenTelemetry is missing, or no application has set it up: then there are no spans to make."""
    return _api is None or isinstance(_api.get_tracer_provider(), _api.ProxyTracerProvider)


class Call:
    """A call that is being traced: send ``traceparent``, and tell it the answer. As a context manager: a call without a
    span."""

    def __init__(self, traceparent: str, span: Any = None) -> None:
        self.traceparent = traceparent
        self._span = span

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def answered(self, answer: Answer) -> None:
        """Put the answer on the span; an answer that is no success marks it as an error."""
        if self._span is None:
            return
        if answer.status is not None:
            self._span.set_attribute("http.response.status_code", answer.status)
        if not answer.ok:
            self._span.set_attribute("error.type", str(answer.status or answer.reply))
            self._span.set_status(_api.StatusCode.ERROR, answer.error)


def calling(pipeline: str, dispatch: Dispatch) -> AbstractContextManager[Call]:
    """A client span around one stage call, a child of its dispatch's."""
    plain = traceparent(pipeline, dispatch)
    return Call(plain) if _is_off() else _span(pipeline, dispatch, plain)


@contextmanager
def _span(pipeline: str, dispatch: Dispatch, plain: str) -> Iterator[Call]:
    with _tracer().start_as_current_span(
        f"call {dispatch.stage}",
        context=_context(plain),
        kind=_api.SpanKind.CLIENT,
        attributes=_attributes(pipeline, dispatch),
    ) as span:
        if not span.is_recording():
            yield Call(plain)
            return
        carrier: dict[str, str] = {}
        _w3c.inject(carrier)
        yield Call(carrier.get("traceparent", plain), span)


def claimed(pipeline: str, dispatches: Iterable[Dispatch], began_ns: int) -> None:
    """A span for each dispatch of a claim that began at ``began_ns`` (Unix time) and ends now."""
    if _is_off():
        return
    for dispatch in dispatches:
        context = _context(traceparent(pipeline, dispatch))
        span = _tracer().start_span(
            f"claim {dispatch.stage}",
            context=context,
            kind=_api.SpanKind.CONSUMER,
            attributes=_attributes(pipeline, dispatch),
            start_time=began_ns,
        )
        if not span.is_recording():
            return  # spans are not recorded: none of the others either
        span.end()


def _tracer() -> Any:
    return _api.get_tracer("pgbaton")


def _context(plain: str) -> Any:
    return _w3c.extract({"traceparent": plain})


def _attributes(pipeline: str, dispatch: Dispatch) -> dict[str, str | int]:
    return {
        "pgbaton.pipeline": pipeline,
        "pgbaton.decision.job": dispatch.job_key,
        "pgbaton.stage": dispatch.stage,
        "pgbaton.attempt": dispatch.attempt,
        "pgbaton.model.dispatch": dispatch.id,
    }
