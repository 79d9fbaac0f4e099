"""A row as it was read, and the duty to call a stage for it. Frozen; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class Row:
    """The user's row as it was read: where the job is now. ``status``: its meaning to the engine; ``word``: as the
    table has it, for people, where that is known."""

    tenant: str | None
    step: str | None
    status: str | None
    word: str | None = None

    @property
    def at(self) -> tuple[str | None, str | None]:
        return self.step, self.status

    @property
    def shown(self) -> tuple[str | None, str | None]:
        """``at``, in the table's own words."""
        return self.step, self.status if self.word is None else self.word


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One duty to call one stage for one job, as it was claimed, with the job's row beside it.

    ``attempt`` names the call that may settle it. ``run``: the first dispatch of this run of the job. ``made``: when it
    was made, in microseconds since 1970 by the database's clock. ``probing``: it
    was claimed to find out whether its stage, which was down, is back. ``waited``: seconds between due and claimed.
    ``account``: the provider's account that it is called with, where the stage names a column for it.
    """

    id: int
    job_key: str
    stage: str
    attempt: int
    run: int
    row: Row
    made: int = 0
    probing: bool = False
    waited: float = 0.0
    account: str | None = None

    @property
    def name(self) -> tuple[int, int]:
        """The name of this attempt: dispatch id and attempt."""
        return self.id, self.attempt

    def idempotency_key(self, pipeline: str) -> str:
        """The same for every attempt of this dispatch, and for no other.

        An id alone repeats after a restore, and in another installation; together with the time it does not."""
        return f"{pipeline}-{self.id}-{self.made:x}"


def trace_id(pipeline: str, job_key: str, run: int) -> str:
    """The trace of a run of a job through the pipeline, in hexadecimal. Derived, so that nothing is stored for it."""
    return blake2b(f"{pipeline}:{job_key}:{run}".encode(), digest_size=16).hexdigest()
