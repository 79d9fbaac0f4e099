"""The rules of the protocol once more, as small as they can be: what the database must hold after every step.

Written from docs/state-machine.md and the comments of protocol.sql and outcome.py, not from their code. It has the
journal (duties and looks, the one call of a job, what has ended) because the views are defined by it; nothing is shared
with the engine but the words of its columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Place = tuple[str | None, str | None]

ROUTES = {"made": "cut", "cut": "glue"}
ENTRY: dict[str, Place] = {stage: (after, "done") for after, stage in ROUTES.items()}
ATTEMPTS = {"cut": 2, "glue": 3}
LIMIT = {"glue": 1}
LAST_FIRST = ("glue", "cut")
OPEN = ("available", "running", "retryable")

# The outcome table: what is done, and what the attempt is called.
UNMOVED = {
    "200": "kill breach",
    "202": "wait accepted",
    "409": "defer deferred",
    "422": "kill rejected",
    "500": "fail failed",
    "502": "defer deferred",
    "503": "defer deferred",
    "timeout": "fail failed",
    "refused": "defer deferred",
    "lost": "fail failed",
    "garbled": "fail failed",
}
BEGUN = {
    "200": "wait accepted",
    "202": "wait accepted",
    "409": "wait unknown",
    "422": "kill rejected",
    "500": "fail failed",
    "502": "wait unknown",
    "503": "fail failed",
    "timeout": "wait unknown",
    "refused": "wait unknown",
    "lost": "wait unknown",
    "garbled": "wait unknown",
}
ANSWERS = tuple(UNMOVED)
DOWN = ("502", "503", "refused")


def at_its_stage(stage: str, row: Place | None) -> bool:
    """The row is where the stage may be called, works, or has failed."""
    return row in (ENTRY[stage], (stage, "running"), (stage, "failed"))


def after_call(stage: str, row: Place | None, answer: str, *, keeps_state: bool) -> str:
    """``keeps_state``: the stage writes its row itself; otherwise the engine does, and running is unmoved."""
    if row == (stage, "failed"):
        return "fail failed"
    if row == (stage, "running") and keeps_state:
        return BEGUN[answer]
    return "advance completed" if answer == "200" and not keeps_state else UNMOVED[answer]


def before_call(stage: str, row: Place | None) -> str:
    """The first act of a worker that has claimed a call."""
    if row == ENTRY[stage]:
        return "call"
    return "rewind" if row == (stage, "failed") else "give back"


def leaves_a_look(old: Place | None, new: Place) -> bool:
    """A row left a state in which a dispatch may be open. That its stage has begun, or begins again, is no look."""
    may_be_open = any(at_its_stage(stage, old) for stage in ENTRY)
    begins = any(new == (stage, "running") and at_its_stage(stage, old) for stage in ENTRY)
    return may_be_open and not begins


@dataclass
class Attempt:
    """``ended``: it is in the history, for good. ``final``: what its dispatch became by that."""

    outcome: str | None = None
    ended: bool = False
    final: str | None = None

    def __str__(self) -> str:
        return f"{self.outcome or ''}{'.' if self.ended else '…'}"


@dataclass(eq=False)
class Dispatch:
    """``id`` is the database's to choose; ``state`` is set once it has ended."""

    stage: str
    id: int | None = None
    state: str | None = None
    failures: int = 0
    old: bool = False
    attempts: list[Attempt] = field(default_factory=list)


@dataclass(eq=False)
class Note:
    """A duty or (without a dispatch) a look: what the trigger left when the row entered a state."""

    entered: Place
    dispatch: Dispatch | None = None
    id: int | None = None


@dataclass(eq=False)
class Call:
    """The call that a job is in. ``standing``: ``held``, ``left`` or ``waiting``. ``taken``: the newest note that was
    taken away while it stood. ``kept``: a duty that came while it was under way. ``tenant``: for which it is parked.
    ``order``: the database's, of those due."""

    dispatch: Dispatch
    standing: str
    worker: int | None = None
    due: bool = False
    parked: bool = False
    tenant: str = ""
    overdue: bool = False
    order: object = None
    taken: int | None = None
    kept: Dispatch | None = None

    @property
    def stage(self) -> str:
        return self.dispatch.stage

    @property
    def name(self) -> tuple[int | None, int]:
        return self.dispatch.id, len(self.dispatch.attempts)

    @property
    def as_it_stands(self) -> tuple[object, ...]:
        """The facts that a decision about it relies on."""
        return (*self.name, self.worker, self.standing, self.taken)


@dataclass
class Job:
    row: Place | None = None
    tenant: str = "acme"
    notes: list[Note] = field(default_factory=list)
    call: Call | None = None
    past: list[Dispatch] = field(default_factory=list)

    @property
    def duties(self) -> list[Dispatch]:
        """Those that wait for a call, in the order in which they came."""
        kept = [self.call.kept] if self.call and self.call.kept else []
        return kept + [note.dispatch for note in self.notes if note.dispatch]

    @property
    def dispatches(self) -> list[Dispatch]:
        mine = [*self.past, *([self.call.dispatch] if self.call else []), *self.duties]
        return sorted(mine, key=lambda d: (d.id is None, d.id or 0))

    def passed(self, dispatch: Dispatch) -> bool:
        """A note that came later than the dispatch says that the row has been at (stage, done)."""
        return any(
            note.entered == (dispatch.stage, "done")
            and note.dispatch is not dispatch
            and (note.id is None or dispatch.id is None or note.id > dispatch.id)
            for note in self.notes
        )

    def state(self, dispatch: Dispatch) -> str:
        """As a reader sees it."""
        if dispatch.state:
            return dispatch.state
        if self.call and dispatch is self.call.kept:
            return "available"
        if self.passed(dispatch):
            return "completed"
        if not self.call or dispatch is not self.call.dispatch:
            return "available"
        if self.call.standing != "waiting":
            return "running"
        last = dispatch.attempts[-1].outcome if dispatch.attempts else None
        return "available" if last in (None, "lost", "released") else "retryable"

    def shown(self, dispatch: Dispatch) -> str:
        call = self.call if self.call and self.call.dispatch is dispatch else None
        state = self.state(dispatch)
        when = ""
        if call and state in OPEN:
            when = {"held": f" by {call.worker}", "left": " overdue" if call.overdue else " left"}.get(
                call.standing, ""
            )
            if call.standing == "waiting":
                when = " parked" if call.parked else " due" if call.due else " later"
        attempts = [str(a) for a in dispatch.attempts]
        if call and state == "completed" and call.standing != "waiting":
            attempts[-1] = "completed."
        return f"{dispatch.stage} {state}{when} failures={dispatch.failures} attempts=[{','.join(attempts)}]"


@dataclass
class Circuit:
    strikes: int = 0
    at: str = "closed"
    """``closed``, ``open``, or ``past``: open until a moment that has passed."""


@dataclass(frozen=True)
class Seen:
    """A job as a worker read it; a decision is made of that, and written if it still holds."""

    job: int
    row: Place | None
    notes: tuple[int | None, ...]
    call: tuple[object, ...] | None
    alive: bool
    overdue: bool
    paused: bool


@dataclass
class Plan:
    """The decision about a job. ``outcome``: of its attempt; none: it has no end here. ``end``: its dispatch's.
    ``next``: the duty that is kept in the call, or is the next call (``as_``: ``note``, ``left`` or ``waiting``)."""

    outcome: str | None = None
    end: str | None = None
    stands: str | None = None
    counts: bool = False
    later: bool = False
    parked: bool = False
    target: Place | None = None
    loud: bool = False
    next: Dispatch | None = None
    as_: str | None = None


@dataclass
class Turn:
    """The result of a worker's turn: attempts as (job, dispatch, probing), dispatches that were completed, jobs to look at."""

    claimed: list[tuple[int, Dispatch, bool]] = field(default_factory=list)
    completed: list[Dispatch] = field(default_factory=list)
    others: set[int] = field(default_factory=set)


class Model:
    """The rows that must be in the database."""

    def __init__(self, jobs: int, keeps_state: dict[str, bool]) -> None:
        self.jobs = [Job() for _ in range(jobs)]
        self.alive: dict[int, bool] = {}
        self.circuits = {stage: Circuit() for stage in ENTRY}
        self.paused: dict[str, bool] = {}
        """Tenants that are paused; False: resumed, and not all that was parked is due again yet."""
        self.keeps_state = keeps_state

    # -- the user's rows

    def change(self, number: int, row: Place | None, *, quiet: bool = False) -> None:
        """The row was put there (None: deleted). ``quiet``: by a worker for the call that it decides."""
        job = self.jobs[number]
        old, job.row = job.row, row
        if row is None or row == old or quiet:
            return
        if stage := self.routed(number):
            job.notes.append(Note(row, Dispatch(stage)))
        elif old is not None and leaves_a_look(old, row):
            job.notes.append(Note(row))

    def routed(self, number: int) -> str | None:
        """The stage that the row asks for."""
        return next((stage for stage, entry in ENTRY.items() if entry == self.jobs[number].row), None)

    # -- claims

    def turn(self, worker: int, most: int, *, calling: bool) -> Turn:
        found = Turn()
        taken = [(n, note, False) for n, job in enumerate(self.jobs) for note in job.notes if not note.dispatch]
        duties: list[tuple[int, Note, bool]] = []
        for stage in LAST_FIRST:
            of_stage = [(n, note) for n, j in enumerate(self.jobs) for note in j.notes if is_duty(note, stage)]
            of_stage.sort(key=lambda found: found[1].id or 0)
            duties += [(n, note, self.struck(stage)) for n, note in of_stage[: self.room(stage, most)]]
        for number, note, probing in taken + duties[:most]:
            job, call = self.jobs[number], self.jobs[number].call
            ends = call is not None and note.entered == (call.stage, "done") and call.taken is None
            everyday = job.row == note.entered and (call is None or ends)
            if note.dispatch:
                everyday = everyday and calling and not self.paused.get(job.tenant)
            else:
                everyday = everyday or call is None
            if job.notes != [note] or not everyday:
                found.others.add(number)
                continue
            job.notes = []
            if call:
                self.end_call(job, "completed", "completed")
                found.completed.append(call.dispatch)
            if note.dispatch:
                job.call = Call(note.dispatch, "held", worker)
                self.begin_attempt(number, probing, found)
        return found

    def claim_waiting(self, worker: int, most: int) -> Turn:
        found = Turn()
        due: list[tuple[int, Call, bool]] = []
        for stage in LAST_FIRST:
            of_stage = [(n, j.call) for n, j in enumerate(self.jobs) if j.call and j.call.due and j.call.stage == stage]
            of_stage.sort(key=lambda found: str(found[1].order))
            due += [(n, call, self.struck(stage)) for n, call in of_stage[: self.room(stage, most)]]
        for number, call, probing in due[:most]:
            job = self.jobs[number]
            ready = job.row in (ENTRY[call.stage], (call.stage, "failed"))
            if not ready or job.notes or self.paused.get(job.tenant):
                found.others.add(number)
                continue
            call.standing, call.worker, call.due, call.taken = "held", worker, False, None
            self.begin_attempt(number, probing, found)
        return found

    def begin_attempt(self, number: int, probing: bool, found: Turn) -> None:
        call = self.jobs[number].call
        assert call
        call.dispatch.attempts.append(Attempt())
        found.claimed.append((number, call.dispatch, probing))
        if probing:
            self.circuits[call.stage].at = "open"

    def struck(self, stage: str) -> bool:
        return self.circuits[stage].strikes > 0

    def room(self, stage: str, most: int) -> int:
        """How many calls of a stage may be claimed."""
        if self.circuits[stage].at == "open":
            return 0
        room = min(most, 1) if self.struck(stage) else most
        if stage in LIMIT:
            under_way = [j.call for j in self.jobs if j.call and j.call.stage == stage and j.call.standing != "waiting"]
            room = min(room, LIMIT[stage] - len(under_way))
        return max(0, room)

    # -- look, decide, settle

    def look(self, number: int) -> Seen:
        job, call = self.jobs[number], self.jobs[number].call
        return Seen(
            number,
            job.row,
            tuple(note.id for note in job.notes),
            call.as_it_stands if call else None,
            call is not None and self.alive.get(call.worker or 0, False),
            call is not None and call.overdue,
            bool(self.paused.get(job.tenant)) and job.row is not None,
        )

    def settle(self, seen: Seen, held: set[int], answer: str | None = None, *, given_back: bool = False) -> bool:
        """Whether a decision about the job as it was seen is written: its notes and its call are as they were and,
        where the row is to be written, that is, too, and no transaction of the user's (``held``) has it."""
        job = self.jobs[seen.job]
        now = self.look(seen.job)
        if (now.notes, now.call) != (seen.notes, seen.call):
            return False
        plan = self.plan(job, seen, answer, given_back)
        if plan.target and (seen.job in held or job.row != seen.row):
            return False
        self.carry_out(seen, plan)
        return True

    def plan(self, job: Job, seen: Seen, answer: str | None, given_back: bool) -> Plan:
        newest = self.newest(job, seen.row)
        if job.call is None:
            return self.take_up(Plan(), job, seen, newest)
        stage = job.call.stage
        verb, outcome = self.of_call(job, job.call, seen, answer, given_back).split()
        if verb in ("complete", "cancel"):
            return self.take_up(Plan(outcome, f"{verb}d" if verb == "complete" else "cancelled"), job, seen, newest)
        if verb == "advance":
            return Plan(outcome, "completed", target=(stage, "done"), loud=True)
        if newest and job.call.standing == "waiting":
            return self.take_up(Plan("superseded", "cancelled"), job, seen, newest)
        if newest and outcome == "breach":  # the row was put back meanwhile: it is called again
            verb = "fail"
        begun = seen.row == (stage, "running")
        back = ENTRY[stage] if begun else None
        failures = job.call.dispatch.failures
        match verb:
            case "keep":
                return Plan(stands=job.call.standing, next=newest)
            case "wait":
                return Plan(outcome, stands="left", next=newest)
            case "park":
                return Plan(stands="waiting", parked=True)
            case "release":
                return Plan(outcome, stands="waiting", target=back)
            case "defer":
                return Plan(outcome, stands="waiting", later=True, target=back)
            case "fail" if failures + 1 < ATTEMPTS[stage]:
                return Plan(outcome, stands="waiting", counts=True, later=True, target=back)
        target = None if seen.row == (stage, "failed") else (stage, "failed")
        return Plan(outcome, "dead", counts=verb == "fail", target=target)

    def of_call(self, job: Job, call: Call, seen: Seen, answer: str | None, given_back: bool) -> str:
        """The decision about the call, were there no other duty: by the row, and by the answer where the row says
        nothing."""
        stage, row, keeps_state = call.stage, seen.row, self.keeps_state[call.stage]
        begun = row == (stage, "running")
        if row == (stage, "done") or job.passed(call.dispatch):
            return "complete completed"
        if not at_its_stage(stage, row):
            return "cancel superseded"
        if call.standing == "waiting":
            if begun:
                return "wait unknown" if keeps_state else "release lost"
            return "park -" if seen.paused and not call.parked else "keep -"
        if call.standing == "left":
            if row == (stage, "failed"):
                return "fail failed"
            return "fail timeout" if seen.overdue else "keep -"
        if answer:
            said = after_call(stage, row, answer, keeps_state=keeps_state)
            return "fail failed" if said.startswith("defer") and call.dispatch.old else said
        if given_back or not seen.alive:
            if row == (stage, "failed") and (call.taken or any(note.entered == row for note in job.notes)):
                return "fail failed"  # in this attempt: one that failed before it is counted already
            if begun and keeps_state:
                return "wait unknown"
            return "release released" if given_back else "release lost"
        return "keep -"

    def newest(self, job: Job, row: Place | None) -> Dispatch | None:
        """The duty that is due still: the row is where it was when the duty came, or its stage has begun since."""
        since = job.call.dispatch.id or 0 if job.call else 0
        due = [d for d in job.duties if at_its_stage(d.stage, row) and (d.id or 0) > since]
        return due[-1] if due else None

    def take_up(self, plan: Plan, job: Job, seen: Seen, newest: Dispatch | None) -> Plan:
        """The duty is the job's next call: left for a turn to claim, or as its row asks."""
        if newest is None:
            return plan
        begun = seen.row == (newest.stage, "running")
        plan.next, plan.as_, plan.parked = newest, "waiting", seen.paused
        if begun and self.keeps_state[newest.stage]:
            plan.as_, plan.parked = "left", False
        elif seen.row == ENTRY[newest.stage] and not seen.paused and not (job.call and newest is job.call.kept):
            plan.as_, plan.parked = "note", False
        elif begun:
            plan.target = ENTRY[newest.stage]
        return plan

    def carry_out(self, seen: Seen, plan: Plan) -> None:
        job, call = self.jobs[seen.job], self.jobs[seen.job].call
        stays = [note for note in job.notes if plan.as_ == "note" and note.dispatch is plan.next]
        taken = max((note.id or 0 for note in job.notes if note not in stays), default=None)
        self.end_void_duties(job, seen.row, plan)
        job.notes = stays
        if call:
            taken = taken or call.taken
        if call and plan.end:
            call.dispatch.failures += plan.counts
            self.end_call(job, plan.outcome or "", plan.end)
        elif call:
            self.let_stand(call, plan, taken)
            call.tenant = job.tenant if plan.parked else call.tenant
        if plan.next and plan.as_ in ("left", "waiting"):
            left = plan.as_ == "left"
            job.call = Call(plan.next, plan.as_, due=not left and not plan.parked, parked=plan.parked)
            job.call.taken, job.call.tenant = taken if call else None, job.tenant
            if left:
                plan.next.attempts.append(Attempt("unknown"))
        if plan.target:
            self.change(seen.job, plan.target, quiet=not plan.loud)

    def let_stand(self, call: Call, plan: Plan, taken: int | None) -> None:
        waited = call.standing == "waiting"
        call.kept, call.taken = plan.next, taken
        call.dispatch.failures += plan.counts
        if plan.stands == "left":
            if waited:  # its stage was begun by another caller: that is an attempt, too
                call.dispatch.attempts.append(Attempt())
            if plan.outcome:
                call.dispatch.attempts[-1].outcome = plan.outcome
            call.overdue = call.overdue and not waited
        elif plan.stands == "waiting" and not waited:
            call.dispatch.attempts[-1] = Attempt(plan.outcome, ended=True)
            call.overdue = False
        if plan.stands == "waiting":
            call.due = (call.due if waited else not plan.later) and not plan.parked
            call.parked = plan.parked or (waited and call.parked)
        else:
            call.due = call.parked = False
        call.standing = plan.stands or call.standing

    def end_void_duties(self, job: Job, row: Place | None, plan: Plan) -> None:
        for duty in job.duties:
            if duty is not plan.next:
                here = row == (duty.stage, "done") or plan.target == (duty.stage, "done")
                duty.state = "completed" if here or job.passed(duty) else "cancelled"
                job.past.append(duty)

    def end_call(self, job: Job, outcome: str, state: str) -> None:
        call = job.call
        assert call
        if call.standing != "waiting":
            call.dispatch.attempts[-1] = Attempt(outcome, ended=True, final=state)
        call.dispatch.state = state
        job.past.append(call.dispatch)
        job.call = None

    def lost(self) -> list[int]:
        """Jobs whose call is held by a lost worker, or left to a stage beyond its time."""
        return [
            n
            for n, job in enumerate(self.jobs)
            if job.call and (self.is_lost(job.call) if job.call.standing == "held" else job.call.overdue)
        ]

    def is_lost(self, call: Call) -> bool:
        return not self.alive.get(call.worker or 0, False)

    def holds(self, number: int, name: tuple[int, int], worker: int) -> bool:
        """The attempt is this worker's to settle."""
        call = self.jobs[number].call
        return call is not None and (call.name, call.worker, call.standing) == (name, worker, "held")

    def ended(self, name: tuple[int, int]) -> tuple[str | None, str | None] | None:
        """The end of an attempt that is in the history: its outcome, and the state of its dispatch after it."""
        for job in self.jobs:
            for dispatch in job.dispatches:
                if dispatch.id == name[0] and len(dispatch.attempts) >= name[1]:
                    attempt = dispatch.attempts[name[1] - 1]
                    return (attempt.outcome, attempt.final) if attempt.ended else None
        return None

    def something_waits(self) -> bool:
        """For a retry, or for a circuit."""
        for job in self.jobs:
            if job.call and job.call.standing == "waiting" and not job.call.due and not job.call.parked:
                return True
        return any(
            circuit.at == "open"
            and any(
                (job.call and job.call.due and job.call.stage == stage)
                or any(is_duty(note, stage) for note in job.notes)
                for job in self.jobs
            )
            for stage, circuit in self.circuits.items()
        )

    # -- circuits, tenants

    def strike(self, stage: str, *, probed: bool) -> None:
        circuit = self.circuits[stage]
        if circuit.at != "open" or probed:
            circuit.strikes, circuit.at = min(circuit.strikes + 1, 20), "open"

    def close(self, stage: str) -> None:
        if self.circuits[stage].strikes:
            self.circuits[stage] = Circuit()

    def unpark(self) -> int:
        resumed = [tenant for tenant, paused in self.paused.items() if not paused]
        parked = [job.call for job in self.jobs if job.call and job.call.parked and job.call.tenant in resumed]
        for call in parked:
            call.due, call.parked = True, False
        tenants = {call.tenant for call in parked}
        self.paused = {tenant: paused for tenant, paused in self.paused.items() if paused or tenant in tenants}
        return len(parked)

    def __str__(self) -> str:
        lines = [
            f"job {number} at {job.row}, {len(job.notes)} notes: {'; '.join(map(job.shown, job.dispatches))}"
            for number, job in enumerate(self.jobs)
        ]
        lines += [f"stage {name} strikes={c.strikes} {c.at}" for name, c in self.circuits.items()]
        return "\n".join(lines)


def is_duty(note: Note, stage: str) -> bool:
    return note.dispatch is not None and note.dispatch.stage == stage
