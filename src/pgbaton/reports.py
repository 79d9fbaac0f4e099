"""What is logged and counted of calls. A stage's metrics are looked up by their labels once."""

from __future__ import annotations

from functools import cache

from pgbaton import telemetry
from pgbaton.events import Event, EventLog
from pgbaton.model import Dispatch, Outcome, State
from pgbaton.outcome import Answer, Decision


class Reports:
    """The log and the metrics of one dispatcher. ``count_tenants``: attempts by tenant, too."""

    def __init__(self, pipeline: str, log: EventLog, *, count_tenants: bool) -> None:
        self._pipeline = pipeline
        self._log = log
        self._count_tenants = count_tenants
        self._waited = cache(lambda stage: telemetry.WAIT_SECONDS.labels(pipeline, stage).observe)
        self._started = cache(lambda stage: telemetry.CALLS_STARTED.labels(pipeline, stage).inc)
        self._took = cache(lambda stage: telemetry.CALL_SECONDS.labels(pipeline, stage).observe)
        self._succeeded = cache(lambda stage: telemetry.CALLS_SUCCEEDED.labels(pipeline, stage).inc)
        self._attempts = cache(lambda stage, outcome: telemetry.ATTEMPTS.labels(pipeline, stage, outcome.value).inc)

    def claimed(self, dispatch: Dispatch) -> None:
        self._waited(dispatch.stage)(max(0.0, dispatch.waited or 0.0))

    def calling(self, dispatch: Dispatch) -> None:
        self._log.info(Event.STAGE_TRIGGERED, **fields_of(dispatch))
        self._started(dispatch.stage)()
        if dispatch.attempt > 1:
            telemetry.REPEATED.labels(self._pipeline, dispatch.stage).inc()

    def called(self, dispatch: Dispatch, seconds: float) -> None:
        self._took(dispatch.stage)(seconds)

    def settled(self, dispatch: Dispatch, answer: Answer, state: State | None, decision: Decision | None) -> None:
        """What came of a call; without a decision the trigger (or a rescue) has settled it."""
        outcome = decision.outcome if decision else _OUTCOME_OF_STATE.get(state, Outcome.SUPERSEDED)
        stage = dispatch.stage
        self._attempts(stage, outcome)()
        if self._count_tenants:
            tenant = (dispatch.row and dispatch.row.tenant) or ""
            telemetry.ATTEMPTS_OF_TENANT.labels(self._pipeline, stage, tenant, outcome.value).inc()
        if state is State.DEAD:
            telemetry.DEAD.labels(self._pipeline, stage).inc()
        said = {"http_status": answer.status, "outcome": outcome.value}
        if outcome is Outcome.COMPLETED:
            self._succeeded(stage)()
            self._log.info(Event.STAGE_SUCCEEDED, **fields_of(dispatch), **said)
        elif outcome is Outcome.ACCEPTED:
            self._log.info(Event.STAGE_ACCEPTED, **fields_of(dispatch), **said)
        else:
            telemetry.CALLS_FAILED.labels(self._pipeline, stage, outcome.value).inc()
            error = decision.error if decision else answer.error
            self._log.warning(Event.STAGE_FAILED, state=state, error=error, **fields_of(dispatch), **said)


_OUTCOME_OF_STATE: dict[State | None, Outcome] = {
    State.COMPLETED: Outcome.COMPLETED,
    State.RETRYABLE: Outcome.FAILED,
    State.DEAD: Outcome.FAILED,
}


def fields_of(dispatch: Dispatch) -> dict[str, object]:
    """A dispatch in the log."""
    return {
        "job_id": dispatch.job_key,
        "tenant_id": dispatch.row.tenant if dispatch.row else None,
        "stage": dispatch.stage,
        "attempt": dispatch.attempt,
        "dispatch": dispatch.id,
    }
