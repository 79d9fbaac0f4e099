"""The log and the metrics of calls. A stage's metrics are looked up by their labels once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

from pgbaton.decision.outcome import Answer, Decision, Verb
from pgbaton.decision.verdict import Call, Job, Verdict
from pgbaton.events import Event, EventLog
from pgbaton.model import PASSED, Dispatch, Outcome, State
from pgbaton.worker import telemetry


class Reports:
    """The log and the metrics of one dispatcher. ``count_tenants``: attempts by tenant, too."""

    def __init__(self, pipeline: str, log: EventLog, *, count_tenants: bool) -> None:
        self._pipeline = pipeline
        self._log = log
        self._count_tenants = count_tenants
        self._answered: Counter[tuple[str, str | None]] = Counter()
        self._waited = cache(lambda stage: telemetry.WAIT_SECONDS.labels(pipeline, stage).observe)
        self._started = cache(lambda stage: telemetry.CALLS_STARTED.labels(pipeline, stage).inc)
        self._took = cache(lambda stage: telemetry.CALL_SECONDS.labels(pipeline, stage).observe)
        self._succeeded = cache(lambda stage: telemetry.CALLS_SUCCEEDED.labels(pipeline, stage).inc)
        self._attempts = cache(lambda stage, outcome: telemetry.ATTEMPTS.labels(pipeline, stage, outcome.value).inc)

    def claimed(self, dispatch: Dispatch) -> None:
        self._waited(dispatch.stage)(dispatch.waited)

    def calling(self, dispatch: Dispatch) -> None:
        self._log.info(Event.STAGE_TRIGGERED, **fields_of(dispatch))
        self._started(dispatch.stage)()
        if dispatch.attempt > 1:
            telemetry.REPEATED.labels(self._pipeline, dispatch.stage).inc()

    def called(self, dispatch: Dispatch, seconds: float) -> None:
        self._took(dispatch.stage)(seconds)

    def settled(
        self, dispatch: Dispatch, answer: Answer, outcome: Outcome, state: State | None, error: str | None
    ) -> None:
        """A call of this worker ended; ``state``: of its dispatch, where it is known."""
        said = {"http_status": answer.status, "outcome": outcome.value}
        self._count(dispatch.stage, dispatch.row.tenant, outcome, state)
        if outcome is Outcome.COMPLETED:
            self._succeeded(dispatch.stage)()
            self._answered[dispatch.stage, dispatch.account] += 1
            self._log.info(Event.STAGE_SUCCEEDED, **fields_of(dispatch), **said)
        elif outcome in PASSED:
            self._log.info(Event.JOB_PASSED, **fields_of(dispatch), outcome=outcome.value)
        elif outcome is Outcome.ACCEPTED:
            self._log.info(Event.STAGE_ACCEPTED, **fields_of(dispatch), **said)
        else:
            telemetry.CALLS_FAILED.labels(self._pipeline, dispatch.stage, outcome.value).inc()
            self._log.warning(Event.STAGE_FAILED, state=state, error=error, **fields_of(dispatch), **said)

    def held_back(self, stage: str, account: str | None, ceiling: int, seconds: float | None) -> None:
        """A stage answered 429: it is called less, with that account where it has accounts."""
        telemetry.REFUSED_MORE.labels(self._pipeline, stage).inc()
        self._log.warning(Event.STAGE_HELD_BACK, stage=stage, account=account, at_once=ceiling, held_for=seconds)

    def kept_back(self, stages: Iterable[str]) -> None:
        """A claim left jobs waiting for these stages: a limit had no place for them."""
        for stage in stages:
            telemetry.KEPT_BACK.labels(self._pipeline, stage).inc()

    def take_answered(self) -> Counter[tuple[str, str | None]]:
        """Calls that were completed since this was last asked, by stage and account."""
        answered, self._answered = self._answered, Counter()
        return answered

    def resolved(self, job: Job, call: Call, decision: Decision, state: State, *, rescued: bool) -> None:
        """A call that was not in this worker's hands was decided; ``rescued``: its worker was lost."""
        tenant = job.row.tenant if job.row else None
        fields = {
            "job_id": job.key,
            "tenant_id": tenant,
            "stage": call.stage,
            "attempt": call.attempt,
            "dispatch": call.id,
        }
        if rescued:
            telemetry.RESCUED.labels(self._pipeline).inc()
            self._log.warning(Event.DISPATCH_RESCUED, worker=call.worker, outcome=decision.outcome.value, **fields)
        elif decision.verb is not Verb.PARK:
            self._count(call.stage, tenant, decision.outcome, state)
            failed = decision.verb in (Verb.FAIL, Verb.KILL)
            if failed:
                self._log.warning(
                    Event.STAGE_FAILED, state=state, error=decision.error, outcome=decision.outcome.value, **fields
                )

    def refused(self, verdict: Verdict) -> None:
        """The user's table refused a row."""
        call, decision = verdict.job.call, verdict.decision
        self._log.error(
            Event.ROW_REFUSED,
            job_id=verdict.job.key,
            stage=call.stage if call else None,
            dispatch=call.id if call else None,
            error=decision.error if decision else None,
        )

    def _count(self, stage: str, tenant: str | None, outcome: Outcome, state: State | None) -> None:
        self._attempts(stage, outcome)()
        if self._count_tenants:
            telemetry.ATTEMPTS_OF_TENANT.labels(self._pipeline, stage, tenant or "", outcome.value).inc()
        if state is State.DEAD:
            telemetry.DEAD.labels(self._pipeline, stage).inc()


def fields_of(dispatch: Dispatch) -> dict[str, object]:
    """A dispatch in the log."""
    return {
        "job_id": dispatch.job_key,
        "tenant_id": dispatch.row.tenant,
        "stage": dispatch.stage,
        "attempt": dispatch.attempt,
        "dispatch": dispatch.id,
    }
