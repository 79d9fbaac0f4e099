"""Prometheus metrics of this process. No job is among the labels, and no tenant unless ``metrics_by_tenant`` asks.

Counters and histograms are of what this process did; the gauges of dispatches and circuits are of the whole pipeline,
refreshed by each worker every ``metrics_every`` seconds (capped at 10,001, so take their max over workers, not a sum).
"""

from __future__ import annotations

from typing import Any

import prometheus_client

from pgbaton.shard import DATABASE


class _OfDatabase:
    """The first label is the database that the task works in; no caller gives it. Where that has no name the label is
    empty, and that is to Prometheus as if there were none."""

    def labels(self, *values: object) -> Any:
        return super().labels(DATABASE.get(), *values)  # type: ignore[misc]


class Counter(_OfDatabase, prometheus_client.Counter):  # type: ignore[misc]
    """A counter for each database."""


class Gauge(_OfDatabase, prometheus_client.Gauge):  # type: ignore[misc]
    """A gauge for each database."""


class Histogram(_OfDatabase, prometheus_client.Histogram):  # type: ignore[misc]
    """A histogram for each database."""


SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900)
"""Upper bounds of the classes of durations: from a fast stage to the longest usual timeout."""

EVENTS = Counter("pgbaton_events_received_total", "Notifications of a job's change received", ["database", "pipeline"])
CALLS_STARTED = Counter("pgbaton_stage_calls_started_total", "Stage calls begun", ["database", "pipeline", "stage"])
CALLS_SUCCEEDED = Counter(
    "pgbaton_stage_calls_succeeded_total",
    "Stage calls after which the job had advanced",
    ["database", "pipeline", "stage"],
)
CALLS_FAILED = Counter(
    "pgbaton_stage_calls_failed_total",
    "Stage calls that ended otherwise, by outcome",
    ["database", "pipeline", "stage", "outcome"],
)
CALL_SECONDS = Histogram(
    "pgbaton_stage_call_seconds", "Duration of a stage call", ["database", "pipeline", "stage"], buckets=SECONDS
)
WAIT_SECONDS = Histogram(
    "pgbaton_dispatch_wait_seconds",
    "For how long a dispatch had been due when it was claimed",
    ["database", "pipeline", "stage"],
    buckets=SECONDS,
)
ATTEMPTS = Counter(
    "pgbaton_attempts_total", "Attempts that ended, by outcome", ["database", "pipeline", "stage", "outcome"]
)
ATTEMPTS_OF_TENANT = Counter(
    "pgbaton_tenant_attempts_total",
    "Attempts that ended, by tenant and outcome; only where metrics_by_tenant is set",
    ["database", "pipeline", "stage", "tenant", "outcome"],
)
REPEATED = Counter(
    "pgbaton_repeated_calls_total", "Calls that were not a dispatch's first", ["database", "pipeline", "stage"]
)
DEAD = Counter("pgbaton_dead_letters_total", "Dispatches that were given up", ["database", "pipeline", "stage"])
LEASES_LOST = Counter(
    "pgbaton_lease_losses_total", "Times this worker found its lease lapsed", ["database", "pipeline"]
)
RESCUED = Counter("pgbaton_dispatches_rescued_total", "Dispatches taken from a lost worker", ["database", "pipeline"])
RECONNECTS = Counter(
    "pgbaton_listener_reconnects_total", "Times the listener had to connect again", ["database", "pipeline"]
)
CONNECTED = Gauge("pgbaton_listener_connected", "1 while the listener's connection is alive", ["database", "pipeline"])
REFUSED_MORE = Counter(
    "pgbaton_stage_refusals_total",
    "Times that answers 429 cut how many calls at once a stage gets",
    ["database", "pipeline", "stage"],
)
KEPT_BACK = Counter(
    "pgbaton_limit_kept_back_total",
    "Claims that left jobs waiting for a stage, because a limit had no place left or not enough",
    ["database", "pipeline", "stage"],
)
IN_FLIGHT = Gauge("pgbaton_calls_in_flight", "Stage calls under way in this process", ["database", "pipeline"])

DISPATCHES = Gauge(
    "pgbaton_dispatches", "Open and dead dispatches, counted up to 10,001", ["database", "pipeline", "stage", "state"]
)
OLDEST_READY = Gauge(
    "pgbaton_oldest_ready_seconds",
    "For how long the oldest dispatch has been due; 0: none is",
    ["database", "pipeline", "stage"],
)
LIMIT_SIZE = Gauge(
    "pgbaton_limit_size", "Calls, or places of a pool, that a limit allows at once", ["database", "pipeline", "limit"]
)
LIMIT_USED = Gauge(
    "pgbaton_limit_used", "Calls, or places of a pool, that count against a limit", ["database", "pipeline", "limit"]
)
CIRCUIT = Gauge(
    "pgbaton_circuit_state", "0 closed, 1 half open (one probe at a time), 2 open", ["database", "pipeline", "stage"]
)
PAUSED = Gauge("pgbaton_stage_paused", "1 while the stage is paused", ["database", "pipeline", "stage"])

CALLS_WANTED = Gauge(
    "pgbaton_calls_wanted",
    "Calls that should be under way, so that what waits begins within a minute; divided by capacity: workers wanted",
    ["database", "pipeline", "stage"],
)

FINDINGS = Gauge(
    "pgbaton_findings",
    "What is wrong now, as the page says it; of the worker that looked last, so take the max",
    ["database", "pipeline", "code", "level"],
)

AT_WORK = Gauge("pgbaton_database_at_work", "1 while this process has its workers in the database", ["database"])
