"""The model: pipelines, their stages, passages and routes, dispatches and their attempts. Frozen; no I/O."""

from pgbaton.model.dispatch import Dispatch, Row, trace_id
from pgbaton.model.fields import FOR_EVER, At
from pgbaton.model.limits import Pool
from pgbaton.model.pipeline import Passage, Pipeline, Stage, as_graph
from pgbaton.model.routes import Gather, Parent, Route, Wait
from pgbaton.model.states import (
    CANCELLED,
    DONE,
    DUE,
    FAILED,
    OPEN,
    PASSED,
    QUARANTINED,
    RUNNING,
    WAKE_CHANNEL,
    Advance,
    Kind,
    Outcome,
    State,
)
from pgbaton.model.statuses import Statuses

__all__ = [
    "CANCELLED",
    "DONE",
    "DUE",
    "FAILED",
    "FOR_EVER",
    "OPEN",
    "PASSED",
    "QUARANTINED",
    "RUNNING",
    "WAKE_CHANNEL",
    "Advance",
    "At",
    "Dispatch",
    "Gather",
    "Kind",
    "Outcome",
    "Parent",
    "Passage",
    "Pipeline",
    "Pool",
    "Route",
    "Row",
    "Stage",
    "State",
    "Statuses",
    "Wait",
    "as_graph",
    "trace_id",
]
