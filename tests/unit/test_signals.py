"""The signals: metrics under the names that dashboards use, logs that programs can read, traces that join."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from pgbaton.decision.outcome import Answer, Reply
from pgbaton.events import Event, EventLog, JsonLines
from pgbaton.model import Dispatch, Row
from pgbaton.worker import telemetry, tracing

OPS = Path(__file__).parents[2] / "ops"


def _names() -> set[str]:
    """Every series that this process can report."""
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    families = [m for m in REGISTRY.collect() if m.name.startswith("pgbaton_")]
    return {m.name + suffix for m in families for suffix in suffixes[m.type]}


@pytest.mark.parametrize("file", ["alerts.yml", "grafana-dashboard.json"])
def test_every_metric_that_is_named_exists(file: str) -> None:
    named = set(re.findall(r"pgbaton_[a-z_]+", (OPS / file).read_text()))
    assert len(named) > 5
    assert named - _names() == set()


def test_every_metric_has_a_place_on_the_dashboard() -> None:
    shown = (OPS / "grafana-dashboard.json").read_text()
    only_by_choice = {"pgbaton_tenant_attempts"}
    missing = {m.name for m in REGISTRY.collect() if m.name.startswith("pgbaton_") and m.name not in shown}
    assert missing == only_by_choice


def test_the_dashboard_is_json_and_each_panel_asks_something() -> None:
    panels = json.loads((OPS / "grafana-dashboard.json").read_text())["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    assert all(t["expr"] for p in panels for t in p["targets"])


def test_histograms_reach_as_far_as_a_stage_may_take() -> None:
    assert telemetry.SECONDS[-1] == 900


def test_only_the_metric_that_is_asked_for_has_tenants() -> None:
    for name, metric in vars(telemetry).items():
        labels = getattr(metric, "_labelnames", ())
        assert "job" not in labels
        assert ("tenant" in labels) == (name == "ATTEMPTS_OF_TENANT")


# -- logs ------------------------------------------------------------------------------------------------


def _logged(**fields: object) -> dict[str, Any]:
    stream = io.StringIO()
    logger = logging.Logger("pgbaton.test")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    EventLog("ko", logger).warning(Event.STAGE_FAILED, **fields)
    (line,) = stream.getvalue().splitlines()
    return json.loads(line)


def test_a_json_line_has_the_event_the_job_the_tenant_the_stage_and_the_attempt() -> None:
    line = _logged(job_id="j", tenant_id="acme", stage="cut", attempt=2, error=None)
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "pgbaton.test",
        "event": "stage_failed",
        "message": "파이프라인 단계 실행 실패",
        "job": "j",
        "tenant": "acme",
        "stage": "cut",
        "attempt": 2,
    }


def test_hostile_fields_stay_within_their_line_and_cannot_pose_as_the_event() -> None:
    line = _logged(job_id='"}\n{"event": "x"', event_name="y", level="debug", error="\ud800\x00\u2028\x85")
    assert (line["event"], line["level"]) == ("stage_failed", "warning")
    assert line["job"] == '"}\n{"event": "x"'


def test_a_traceback_is_part_of_its_line() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("other", logging.ERROR, "", 0, "said %s", ("so",), sys.exc_info())
    line = json.loads(JsonLines().format(record))
    assert line["message"] == "said so"
    assert "ValueError: no" in line["traceback"]


# -- traces ----------------------------------------------------------------------------------------------


def _dispatch(attempt: int = 1, **other: Any) -> Dispatch:
    values = {"id": 7, "job_key": "j", "stage": "cut", "run": 3, "row": Row("t", "made", "done")}
    return Dispatch(**{**values, "attempt": attempt, **other})


def test_all_attempts_of_a_run_send_one_trace_each_with_a_span_of_its_own() -> None:
    hops = [_dispatch(1), _dispatch(2), _dispatch(1, id=8, stage="glue")]
    said = [tracing.traceparent("craft", dispatch) for dispatch in hops]
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", text) for text in said)
    assert {text.split("-")[1] for text in said} == {tracing.trace_id("craft", "j", 3)}
    assert len({text.split("-")[2] for text in said}) == 3
    assert tracing.traceparent("craft", _dispatch(1)) == said[0]


def test_another_run_another_job_and_another_pipeline_have_traces_of_their_own() -> None:
    traces = [
        tracing.trace_id(*of) for of in (("craft", "j", 3), ("craft", "j", 4), ("craft", "k", 3), ("other", "j", 3))
    ]
    assert len(set(traces)) == 4


@pytest.mark.parametrize("installed", [True, False])
def test_where_no_application_records_spans_the_stage_is_sent_the_plain_trace(
    installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed:
        monkeypatch.setattr(tracing, "_api", None)
    with tracing.calling("craft", _dispatch()) as call:
        assert call.traceparent == tracing.traceparent("craft", _dispatch())
        call.answered(Answer(Reply.ANSWERED, 500, error="HTTP 500"))
    tracing.claimed("craft", [_dispatch()], 0)


def test_with_a_recorder_claims_and_calls_are_spans_of_the_dispatchs_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    api = pytest.importorskip("opentelemetry.trace")
    spans: list[Any] = []

    class Recording(api.NonRecordingSpan):
        def __init__(self, name: str, context: Any) -> None:
            parent = api.get_current_span(context).get_span_context()
            self.name, self.parent, self.seen = name, parent.span_id, {}
            own = api.SpanContext(parent.trace_id, 0xABC + len(spans), False, api.TraceFlags(1))
            super().__init__(own)
            spans.append(self)

        def is_recording(self) -> bool:
            return True

        def set_attribute(self, key: str, value: Any) -> None:
            self.seen[key] = value

        def set_status(self, status: Any, description: str | None = None) -> None:
            self.seen["status"] = status

    class Tracer:
        def start_span(self, name: str, context: Any = None, **_: Any) -> Any:
            return Recording(name, context)

        @contextmanager
        def start_as_current_span(self, name: str, context: Any = None, **_: Any) -> Iterator[Any]:
            span = Recording(name, context)
            with api.use_span(span):
                yield span

    monkeypatch.setattr(tracing, "_tracer", Tracer)
    monkeypatch.setattr(tracing, "_is_off", lambda: False)
    tracing.claimed("craft", [_dispatch()], 1)
    with tracing.calling("craft", _dispatch()) as call:
        call.answered(Answer(Reply.ANSWERED, 503, error="HTTP 503"))
    assert [s.name for s in spans] == ["claim cut", "call cut"]
    _, trace, parent, _ = tracing.traceparent("craft", _dispatch()).split("-")
    assert {s.parent for s in spans} == {int(parent, 16)}
    assert call.traceparent == f"00-{trace}-{0xABD:016x}-01"
    assert spans[1].seen["http.response.status_code"] == 503
    assert spans[1].seen["status"] is api.StatusCode.ERROR
