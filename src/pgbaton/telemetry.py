"""Prometheus metrics of this process; no tenant and no job among the labels."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("pgbaton_events_received_total", "Notifications of a job's change received", ["pipeline"])
CALLS_STARTED = Counter("pgbaton_stage_calls_started_total", "Stage calls begun", ["pipeline", "stage"])
CALLS_SUCCEEDED = Counter(
    "pgbaton_stage_calls_succeeded_total",
    "Stage calls after which the job had advanced",
    ["pipeline", "stage"],
)
CALLS_FAILED = Counter(
    "pgbaton_stage_calls_failed_total",
    "Stage calls that ended otherwise, by outcome",
    ["pipeline", "stage", "outcome"],
)
CALL_SECONDS = Histogram(
    "pgbaton_stage_call_seconds",
    "Duration of a stage call",
    ["pipeline", "stage"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900),
)
RESCUED = Counter("pgbaton_dispatches_rescued_total", "Dispatches taken from a lost worker", ["pipeline"])
RECONNECTS = Counter("pgbaton_listener_reconnects_total", "Times the listener had to connect again", ["pipeline"])
CONNECTED = Gauge("pgbaton_listener_connected", "1 while the listener's connection is alive", ["pipeline"])
IN_FLIGHT = Gauge("pgbaton_calls_in_flight", "Stage calls under way in this process", ["pipeline"])
