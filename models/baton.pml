/* The protocol of claim, lease, rescue and settle, for Spin. See README.md.
 *
 * Every statement that a worker or a stage sends to the database is one atomic step here, because it is one
 * statement there. Between two steps anything may happen: being slow and being frozen are the same thing.
 * Faults are taken from a small budget. What is only here to judge (ghosts) is marked so.
 */

#ifndef JOBS
#define JOBS 1          /* rows of the user's table */
#endif
#ifndef FAULTS
#define FAULTS 2        /* faults of any kind in one run */
#endif
#ifndef MOVES
#define MOVES 1         /* moves of a row by a person */
#endif
#ifndef SLOTS
#define SLOTS 2         /* calls that can be under way; slot 2, if there is one, is a second hand of worker 0 */
#endif
#ifndef RUNS
#define RUNS 2          /* requests and stage runs that exist at once, forgotten ones included */
#endif
#ifndef LIMIT
#define LIMIT 2         /* attempts = 2: the second failure is the last */
#endif
#ifndef CHECKED
#define CHECKED 511     /* bit n: property n is checked */
#endif
#define WORKERS 2
#ifndef MAX_DISPATCHES
#define MAX_DISPATCHES (2 * (JOBS + MOVES))
#endif
#define MAX_ATTEMPTS 7
#define WORKER(slot) ((slot) % 2)

#define HOLDS(n, c) assert(!(CHECKED & (1 << n)) || (c))

/* The row. A stage s is called at ENTRY(s); DONE(0) is ENTRY(1), DONE(1) is the end. */
#define ENTRY(s) (3 * (s))
#define BEGUN(s) (3 * (s) + 1)
#define FAILED(s) (3 * (s) + 2)
#define DONE(s) (3 * (s) + 3)
#define END DONE(1)
#define PARKED 7
#define ROUTED(r) ((r) == ENTRY(0) || (r) == ENTRY(1))

/* Dispatches. DUE is available or retryable: time is not modelled, a pause may end at any moment. */
#define SETTLED 0
#define DUE 1
#define RUNNING 2
#define NOBODY 3

#define OPEN(x) (D[x].state != SETTLED)

/* One alternative for each dispatch. */
#if MAX_DISPATCHES == 2
#define ANY(f) f(0) :: f(1)
#define SOME(f) (f(0) || f(1))
#elif MAX_DISPATCHES == 4
#define ANY(f) f(0) :: f(1) :: f(2) :: f(3)
#define SOME(f) (f(0) || f(1) || f(2) || f(3))
#else
#define ANY(f) f(0) :: f(1) :: f(2) :: f(3) :: f(4) :: f(5)
#define SOME(f) (f(0) || f(1) || f(2) || f(3) || f(4) || f(5))
#endif
#define IS_DUE(x) (D[x].state == DUE)
#define ANY_DUE SOME(IS_DUE)
#define TAKE(x) IS_DUE(x) -> d = x; verb = 1

typedef Dispatch {
    unsigned state : 2;
    unsigned job : 1;
    unsigned stage : 1;
    unsigned attempt : 3;
    unsigned failures : 2;
    unsigned worker : 2;    /* NOBODY while running: the stage works on, until the deadline */
    unsigned called : 1;    /* ghost: this attempt has made its call */
    unsigned may : 3        /* ghost: calls that may still be made: one, and one for each cause to repeat it */
}

/* Requests under way and stages at work. */
#define FREE 0
#define SENT 1
#define WORKING 2
#define UNHEARD 3           /* whoever called does not listen any more */

typedef Run {
    unsigned state : 2;
    unsigned job : 1;
    unsigned stage : 1;
    unsigned to : 2
}

/* Answers of a call. */
#define SILENCE 0
#define OK 1
#define ACCEPTED 2
#define E409 3
#define E400 4
#define E500 5
#define LOST 6              /* timeout, connection lost, 502, 504 */

/* Verbs of a decision, see outcome.py. */
#define COMPLETE 1
#define CANCEL 2
#define ADVANCE 3
#define WAIT 4
#define FAIL 5
#define KILL 6
#define DEFER 7
#define RELEASE 8

/* Who changes a row (ghost). */
#define BY_STAGE 0
#define BY_PERSON 1
#define BY_ENGINE 2
#define BY_ADVANCE 3
#define BY_ABSORB 4

byte row[JOBS];
Dispatch D[MAX_DISPATCHES];
byte made;                  /* dispatches made so far; the next one's id */
bool lease[WORKERS];
bool dead[WORKERS];
bool claiming[WORKERS];     /* Dispatcher.claiming */
byte hand[SLOTS];           /* id + 1 of the dispatch in this hand */
byte reply[SLOTS];
Run R[RUNS];
byte faults = FAULTS;
byte moves = MOVES;
#ifdef INBOX
#define INBOX_SIZE 4        /* a stage waits while it is full: more changes do not pile up in this model */
typedef Change {
    unsigned entered : 3;   /* the state that the row was put into */
    unsigned attempt : 3;   /* the attempt that was running: what the change's time says */
    unsigned made : 3;      /* dispatches made before it: what its time says too */
    unsigned had : 1        /* its stage had a dispatch that went on: settled later than that time, or never */
}
byte inbox;                 /* changes that wait to be absorbed; with one job only */
Change C[INBOX_SIZE];
#define INBOX_WAITS (inbox > 0)
#define INBOX_ROOM (inbox < INBOX_SIZE)
#ifdef STRICT
#define BY_STRICT(by_) (by_ == BY_STAGE || by_ == BY_PERSON)
#else
#define BY_STRICT(by_) (by_ == BY_STAGE)
#endif
#else
#define INBOX_WAITS false
#define INBOX_ROOM true
#endif
bool uncounted[JOBS];       /* ghost: a stage's failure is in the row and was counted by nobody */
bool credit[JOBS * 2];      /* ghost: the job entered stage's state and no effect was committed since */

byte x_i, x_j, x_n, x_open, x_stage, x_says;    /* scratch: all 0 between two steps */
bool x_counts, x_owed, x_had;

/* ---- migrations: settle_and_create, and the trigger that calls it -------------------------------------------- */

inline close_it(x) {
    D[x].state = SETTLED; D[x].attempt = 0; D[x].failures = 0; D[x].worker = NOBODY; D[x].called = 0
}

inline excuse(x) {
    if :: D[x].may < 7 -> D[x].may++ :: else fi
}

/* The retry rule. Sets x_says: whether the dispatch is dead. */
inline fail_it(x) {
    excuse(x);
    if
    :: D[x].failures + 1 < LIMIT ->
        x_says = 0; D[x].failures++; D[x].state = DUE; D[x].worker = NOBODY; D[x].called = 0
    :: else -> x_says = 1; close_it(x)
    fi
}

/* Sets x_open: the open dispatch of a job, or MAX_DISPATCHES. */
inline find_open(job_) {
    x_open = MAX_DISPATCHES;
    for (x_i : 0 .. MAX_DISPATCHES - 1) {
        if :: OPEN(x_i) && D[x_i].job == job_ -> x_open = x_i :: else fi
    }
}

/* Absorbing: a failure is counted if it is of the attempt that runs, for one that was settled has been counted. And
 * a job that went through a stage's entry state before anybody absorbed that, and is at that stage now, gets the
 * dispatch that it was owed, unless one was made since or was open then, and so only rewound. */
#ifdef INBOX
inline read_inbox(taken_) {
    x_counts = 0; x_owed = 0; x_had = 0;
    find_open(0);
    for (x_i : 0 .. INBOX_SIZE - 1) {
        if
        :: x_i < taken_ ->
            if
            :: x_open < C[x_i].made && D[x_open].state == RUNNING && D[x_open].attempt == C[x_i].attempt -> x_counts = 1
            :: else
            fi;
            if
            :: ROUTED(C[x_i].entered) && (row[0] == C[x_i].entered + 1 || row[0] == C[x_i].entered + 2) ->
                x_had = C[x_i].had;
#ifdef FLAW_INBOX_REVIVES
                x_owed = 1;
#else
                x_owed = !x_had;
#endif
                for (x_n : 0 .. MAX_DISPATCHES - 1) {
                    if
                    :: x_n >= C[x_i].made && x_n < made && D[x_n].stage == C[x_i].entered / 3 -> x_owed = 0
                    :: else
                    fi
                }
            :: else
            fi
        :: else
        fi
    }
#ifdef FLAW_INBOX_COUNTS
    x_counts = 1;
#endif
#ifdef FLAW_INBOX_MISSES
    x_owed = 0;
#endif
}

inline note_change(now_) {
    assert(inbox < INBOX_SIZE);
    find_open(0);
    C[inbox].entered = now_;
    C[inbox].attempt = (x_open < MAX_DISPATCHES -> D[x_open].attempt : 0);
    C[inbox].made = made;
    C[inbox].had = ROUTED(now_) && x_open < MAX_DISPATCHES && D[x_open].stage == now_ / 3;
    for (x_i : 0 .. INBOX_SIZE - 1) {       /* it has ended, though nobody has absorbed that */
        if
        :: x_i < inbox && C[x_i].entered == now_ + 3 && x_open < C[x_i].made -> C[inbox].had = 0
        :: else
        fi
    }
    inbox++
}

inline take_out(taken_) {
    for (x_i : 0 .. INBOX_SIZE - 1) {
        if
        :: x_i + taken_ < INBOX_SIZE ->
            C[x_i].entered = C[x_i + taken_].entered; C[x_i].attempt = C[x_i + taken_].attempt;
            C[x_i].made = C[x_i + taken_].made; C[x_i].had = C[x_i + taken_].had
        :: else -> C[x_i].entered = 0; C[x_i].attempt = 0; C[x_i].made = 0; C[x_i].had = 0
        fi
    }
    inbox = inbox - taken_
}
#endif

inline settle_and_create(job_, by_) {
    find_open(job_);
    if
    :: x_open == MAX_DISPATCHES
    :: else ->
        x_stage = D[x_open].stage;
        if
        :: row[job_] == DONE(x_stage) -> close_it(x_open)
        :: row[job_] == BEGUN(x_stage) || row[job_] == ENTRY(x_stage)
        :: row[job_] == FAILED(x_stage) ->
            if
            :: by_ != BY_ABSORB || x_counts ->
                HOLDS(8, uncounted[job_]);
                uncounted[job_] = 0;
                fail_it(x_open)
            :: else
            fi
        :: else -> close_it(x_open)
        fi
    fi;
    find_open(job_);
    if
    :: (ROUTED(row[job_]) || (by_ == BY_ABSORB && x_owed)) && x_open == MAX_DISPATCHES ->
        HOLDS(7, by_ != BY_ENGINE && (ROUTED(row[job_]) || !x_had));
        assert(made < MAX_DISPATCHES);
        D[made].state = DUE; D[made].job = job_; D[made].stage = row[job_] / 3; D[made].may = 1;
        made++
    :: else
    fi
}

/* An UPDATE of a row's step and status, with its trigger. INBOX: stages' transactions are SERIALIZABLE, so that
 * their changes are only written down, and absorbed later by the row as it is then; STRICT: and people's. */
inline put(job_, now_, by_) {
    if
    :: row[job_] != now_ ->
        row[job_] = now_;
        if :: ROUTED(now_) && by_ != BY_ENGINE -> credit[job_ * 2 + now_ / 3] = 1 :: else fi;
        uncounted[job_] = (now_ == FAILED(0) || now_ == FAILED(1)) && by_ != BY_ENGINE;
#ifdef INBOX
        if
        :: BY_STRICT(by_) ->
            note_change(now_)
        :: else -> settle_and_create(job_, by_)
        fi
#else
        settle_and_create(job_, by_)
#endif
    :: else
    fi
}

/* What must be true between any two statements. */
inline check() {
    for (x_j : 0 .. JOBS - 1) {
        x_n = 0;
        for (x_i : 0 .. MAX_DISPATCHES - 1) {
            if
            :: OPEN(x_i) && D[x_i].job == x_j ->
                x_n++;
                HOLDS(4, INBOX_WAITS || row[x_j] == ENTRY(D[x_i].stage) || row[x_j] == BEGUN(D[x_i].stage)
                         || row[x_j] == FAILED(D[x_i].stage))
            :: else
            fi
        }
        HOLDS(1, x_n <= 1);
        HOLDS(4, INBOX_WAITS || !ROUTED(row[x_j]) || x_n == 1)
    }
    x_n = 0; x_j = 0; x_i = 0; x_open = 0; x_stage = 0; x_says = 0; x_counts = 0; x_owed = 0; x_had = 0
}

/* ---- queries/settle.sql ------------------------------------------------------------------------------------ */

#define MINE(d_, attempt_, worker_) \
    (D[d_].state == RUNNING && D[d_].attempt == attempt_ && D[d_].worker == worker_)

#ifdef BROKEN_FENCE
#define FENCE(d_, attempt_, worker_) (D[d_].state == RUNNING)
#else
#define FENCE(d_, attempt_, worker_) MINE(d_, attempt_, worker_)
#endif
#ifdef BROKEN_ANSWER
#define SEEN(d_, seen_) true
#else
#define SEEN(d_, seen_) (row[D[d_].job] == seen_)
#endif

inline rewind(d_, seen_) {
    if
    :: seen_ == BEGUN(D[d_].stage) -> put(D[d_].job, ENTRY(D[d_].stage), BY_ENGINE)
    :: else
    fi
}

/* late_: the deadline has passed. done_: whether it was settled. */
inline settle(d_, attempt_, worker_, verb_, seen_, late_, done_) {
    done_ = 0;
    if
    :: SEEN(d_, seen_) && FENCE(d_, attempt_, worker_) ->
        done_ = 1;
        HOLDS(2, MINE(d_, attempt_, worker_));
        if
        :: verb_ == COMPLETE || verb_ == CANCEL -> close_it(d_)
        :: verb_ == WAIT -> D[d_].worker = NOBODY
        :: verb_ == FAIL ->
            HOLDS(8, late_ || D[d_].called || uncounted[D[d_].job]);
            uncounted[D[d_].job] = 0;
            fail_it(d_);
            if
            :: x_says -> put(D[d_].job, FAILED(D[d_].stage), BY_ENGINE)
            :: else -> rewind(d_, seen_)
            fi
        :: verb_ == KILL ->
            close_it(d_);
            put(D[d_].job, FAILED(D[d_].stage), BY_ENGINE)
        :: verb_ == DEFER ->
            excuse(d_);
            D[d_].state = DUE; D[d_].worker = NOBODY; D[d_].called = 0;
            rewind(d_, seen_)
        :: verb_ == RELEASE ->
            D[d_].state = DUE; D[d_].worker = NOBODY; D[d_].called = 0;
            rewind(d_, seen_)
        fi
    :: else
    fi;
    check()
}

/* queries/move_own.sql as a worker uses it. FLAW_MOVE: by the row alone, whoever holds the dispatch now. */
#ifdef FLAW_MOVE
#define MOVE_FENCE(d_, attempt_, worker_) true
#else
#define MOVE_FENCE(d_, attempt_, worker_) MINE(d_, attempt_, worker_)
#endif

inline move(d_, attempt_, worker_, from_, to_, by_, done_) {
    done_ = 0;
    if
    :: row[D[d_].job] == from_ && MOVE_FENCE(d_, attempt_, worker_) ->
        done_ = 1;
        HOLDS(2, MINE(d_, attempt_, worker_));
        put(D[d_].job, to_, by_)
    :: else
    fi;
    check()
}

/* ---- outcome.py -------------------------------------------------------------------------------------------- */

#ifdef FLAW_LOST_FAILED
#define LOST_FAILED FAIL
#else
#define LOST_FAILED RELEASE         /* the trigger has counted it, and the claim that was lost called nobody */
#endif

inline decide(stage_, seen_, answer_, verb_) {
    if
    :: seen_ == DONE(stage_) -> verb_ = COMPLETE
    :: seen_ == FAILED(stage_) -> verb_ = FAIL
#ifndef ENGINE
    :: seen_ == BEGUN(stage_) ->
        if
        :: answer_ == E400 -> verb_ = KILL
        :: answer_ == E500 -> verb_ = FAIL
        :: else -> verb_ = WAIT
        fi
    :: seen_ == ENTRY(stage_) ->
#else
    :: seen_ == BEGUN(stage_) || seen_ == ENTRY(stage_) ->
#endif
        if
        :: answer_ == E409 -> verb_ = DEFER
        :: answer_ == ACCEPTED -> verb_ = WAIT
#ifndef ENGINE
        :: answer_ == OK || answer_ == E400 -> verb_ = KILL
#else
        :: answer_ == OK -> verb_ = ADVANCE
        :: answer_ == E400 -> verb_ = KILL
#endif
        :: answer_ == E500 || answer_ == LOST -> verb_ = FAIL
        fi
    :: else -> verb_ = CANCEL
    fi
}

inline decide_lost(stage_, seen_, verb_) {
    if
#ifndef ENGINE
    :: seen_ == BEGUN(stage_) -> verb_ = WAIT
    :: seen_ == ENTRY(stage_) -> verb_ = RELEASE
#else
    :: seen_ == BEGUN(stage_) || seen_ == ENTRY(stage_) -> verb_ = RELEASE
#endif
    :: seen_ == FAILED(stage_) -> verb_ = LOST_FAILED
    :: seen_ == DONE(stage_) -> verb_ = COMPLETE
    :: else -> verb_ = CANCEL
    fi
}

inline decide_overdue(stage_, seen_, verb_) {
    if
    :: seen_ == DONE(stage_) -> verb_ = COMPLETE
    :: seen_ == ENTRY(stage_) || seen_ == BEGUN(stage_) || seen_ == FAILED(stage_) -> verb_ = FAIL
    :: else -> verb_ = CANCEL
    fi
}

/* ---- dispatcher.py: one hand, from a claim to its settlement ------------------------------------------------ */

#define FREE_RUN (R[0].state == FREE || R[RUNS / 2].state == FREE || R[RUNS - 1].state == FREE)

inline unhear(me_) {
    for (x_i : 0 .. RUNS - 1) {
        if :: R[x_i].to == me_ -> R[x_i].to = UNHEARD :: else fi
    }
    x_i = 0
}

inline send(job_, stage_, to_) {
    x_i = 0;
    do :: R[x_i].state == FREE -> break :: else -> x_i++ od;
    R[x_i].state = SENT; R[x_i].job = job_; R[x_i].stage = stage_; R[x_i].to = to_;
    x_i = 0
}

inline let_go() {
    hand[me] = 0; d = 0; attempt = 0; seen = 0; answer = 0; verb = 0; done = 0
}

proctype Hand(byte me) {
    byte d, attempt, seen, answer, verb;
    bit done;
    {
    skip;
end_idle:                                               /* claim.sql */
    atomic { lease[WORKER(me)] && !claiming[WORKER(me)] && ANY_DUE ->
        claiming[WORKER(me)] = 1;
#ifdef STALE
        seen = row[0]                                   /* it reads the row before claim() has its locks */
    };
    atomic {
#endif
        if
        :: lease[WORKER(me)] ->
            if
            :: ANY(TAKE)
            :: !ANY_DUE
            fi
        :: else
        fi;
        if
        :: verb ->
            D[d].state = RUNNING; D[d].worker = WORKER(me); D[d].called = 0;
            D[d].attempt++;
            HOLDS(5, D[d].attempt < MAX_ATTEMPTS);      /* or it would go on for ever */
            attempt = D[d].attempt;
#ifndef STALE
            seen = row[D[d].job];
#endif
            verb = 0;
            d_step { check() };
            printf("worker %d claims dispatch %d, attempt %d\n", WORKER(me), d, attempt)
        :: else -> claiming[WORKER(me)] = 0; let_go(); goto end_idle
        fi
    };
    atomic {                                            /* the reply comes, or not */
        if
        :: hand[me] = d + 1; claiming[WORKER(me)] = 0
        :: faults -> faults--; claiming[WORKER(me)] = 0; let_go();
            printf("worker %d never gets the reply of its claim\n", WORKER(me));
            goto end_idle
        fi;
#ifndef ENGINE
        if :: seen == ENTRY(D[d].stage) -> seen = 0; goto call :: else fi
#endif
    };
prepare:
    atomic {                                            /* look.sql */
        if
        :: !MINE(d, attempt, WORKER(me)) -> let_go(); goto end_idle
        :: else -> seen = row[D[d].job]
        fi;
        if
#ifdef ENGINE
        :: seen == ENTRY(D[d].stage) -> goto begin
#else
        :: seen == ENTRY(D[d].stage) -> seen = 0; goto call
#endif
        :: seen == FAILED(D[d].stage)
        :: seen == BEGUN(D[d].stage) -> verb = WAIT; goto skip_call
        :: seen == DONE(D[d].stage) -> verb = COMPLETE; goto skip_call
        :: else -> verb = CANCEL; goto skip_call
        fi
    };
    atomic {                                            /* move_own.sql: rewind */
        d_step {
            move(d, attempt, WORKER(me), FAILED(D[d].stage), ENTRY(D[d].stage), BY_ENGINE, done);
            printf("worker %d, dispatch %d attempt %d: rewinds: %d\n", WORKER(me), d, attempt, done);
            done = 0; seen = 0
        }
        goto prepare
    };
skip_call:
    atomic {                                            /* settle.sql */
        d_step {
            settle(d, attempt, WORKER(me), verb, seen, 0, done);
            printf("worker %d, dispatch %d attempt %d: does not call, verb %d: %d\n", WORKER(me), d, attempt, verb, done);
            verb = 0; seen = 0
        }
        if :: done -> let_go(); goto end_idle :: else -> goto prepare fi
    };
#ifdef ENGINE
begin:
    atomic {                                            /* move_own.sql: running, on the stage's behalf */
        d_step {
            move(d, attempt, WORKER(me), ENTRY(D[d].stage), BEGUN(D[d].stage), BY_ENGINE, done);
            printf("worker %d, dispatch %d attempt %d: writes running: %d\n", WORKER(me), d, attempt, done);
            seen = 0
        }
        if :: done -> done = 0 :: else -> goto prepare fi
    };
#endif
call:
    atomic { FREE_RUN ->
        d_step {
            printf("worker %d, dispatch %d attempt %d: calls stage %d\n", WORKER(me), d, attempt, D[d].stage);
            HOLDS(6, D[d].may > 0);
            if :: D[d].may > 0 -> D[d].may-- :: else fi;
            if :: MINE(d, attempt, WORKER(me)) -> D[d].called = 1 :: else fi;
            send(D[d].job, D[d].stage, me)
        }
    };
    atomic {
        if
        :: reply[me] != SILENCE -> answer = reply[me]; reply[me] = SILENCE
        :: reply[me] == SILENCE && faults -> faults--; answer = LOST; d_step { unhear(me) };
            printf("worker %d, dispatch %d attempt %d: the call times out\n", WORKER(me), d, attempt)
        fi
    };
answered:
    atomic {                                            /* note.sql, then the decision */
#ifdef BROKEN_ANSWER
        if
        :: answer == OK || answer == ACCEPTED -> verb = COMPLETE
        :: answer == E409 -> verb = DEFER
        :: answer == E400 -> verb = KILL
        :: else -> verb = FAIL
        fi
#else
        if
        :: FENCE(d, attempt, WORKER(me)) -> seen = row[D[d].job]; decide(D[d].stage, seen, answer, verb)
        :: else -> let_go(); goto end_idle
        fi
#endif
    };
    atomic {                                            /* settle.sql, or move_own.sql: done, on the stage's behalf */
        d_step {
            if
#ifdef FLAW_ADVANCE
            :: verb == ADVANCE -> move(d, attempt, WORKER(me), BEGUN(D[d].stage), DONE(D[d].stage), BY_ADVANCE, done)
#else
            :: verb == ADVANCE -> move(d, attempt, WORKER(me), seen, DONE(D[d].stage), BY_ADVANCE, done)
#endif
            :: else -> settle(d, attempt, WORKER(me), verb, seen, 0, done)
            fi;
            printf("worker %d, dispatch %d attempt %d: settles, answer %d, row %d, verb %d: %d\n",
                   WORKER(me), d, attempt, answer, seen, verb, done);
            seen = 0; verb = 0
        }
#ifdef BROKEN_ANSWER
        let_go()
#else
        if :: done -> let_go() :: else -> goto answered fi
#endif
    };
    goto end_idle
    } unless { dead[WORKER(me)] };
    d_step { let_go(); claiming[WORKER(me)] = 0; reply[me] = SILENCE; unhear(me) }
}

/* ---- worker.py: rescue, by orphans.sql and overdue.sql ------------------------------------------------------ */

#if SLOTS == 2
#define HELD(w_, x_) (hand[w_] == (x_) + 1)
#else
#define HELD(w_, x_) (hand[w_] == (x_) + 1 || (w_ == 0 && hand[2] == (x_) + 1))
#endif

/* "Not in my hands" can only be said while no claim is under way. What is read earlier waits until then (EARLY; where it is
   not asked for, nothing is read earlier, which makes for many states less). */
#ifdef BROKEN_UNDERWAY
#define KNOWS_ITS_HANDS(w_) true
#else
#define KNOWS_ITS_HANDS(w_) (!claiming[w_])
#endif
#ifdef BROKEN_KEEP
#define READS_ITS_OWN(w_) false
#elif defined(EARLY)
#define READS_ITS_OWN(w_) true
#else
#define READS_ITS_OWN(w_) KNOWS_ITS_HANDS(w_)
#endif

#define ORPHAN(w_, x_) (D[x_].state == RUNNING && !HELD(w_, x_) && \
    ((D[x_].worker == w_ && READS_ITS_OWN(w_)) || (D[x_].worker == 1 - w_ && !lease[1 - w_])))
#define OVERDUE(x_) (D[x_].state == RUNNING && D[x_].worker == NOBODY)

#define WORKS_FOR(r_, x) (R[r_].state != FREE && R[r_].job == D[x].job)
#define AT_WORK(x) (WORKS_FOR(0, x) || WORKS_FOR(RUNS / 2, x) || WORKS_FOR(RUNS - 1, x))
#define LOOK_FOR(x) ORPHAN(w, x) -> d = x \
    :: OVERDUE(x) && !AT_WORK(x) -> d = x; late = 1 \
    :: OVERDUE(x) && AT_WORK(x) && faults -> faults--; d = x; late = 1

proctype Rescuer(byte w) {
    byte d, attempt, worker, seen, verb;
    bit late, done;
    {
    skip;
end:
    do
    ::  atomic {
            if
            :: ANY(LOOK_FOR)
            fi;
            attempt = D[d].attempt; worker = D[d].worker; seen = row[D[d].job]
        };
        d_step {
            worker != w || KNOWS_ITS_HANDS(w);
            if
            :: worker == w && HELD(w, d) -> skip
            :: else ->
#ifdef BROKEN_RESCUE
                D[d].state = DUE; D[d].worker = NOBODY; D[d].called = 0;
                put(D[d].job, ENTRY(D[d].stage), BY_ENGINE);
                check();
                printf("worker %d rescues dispatch %d without looking\n", w, d)
#else
                if
                :: late -> decide_overdue(D[d].stage, seen, verb)
                :: else -> decide_lost(D[d].stage, seen, verb)
                fi;
                settle(d, attempt, worker, verb, seen, late, done);
                printf("worker %d rescues attempt %d of dispatch %d (late %d), verb %d: %d\n", w, attempt, d, late, verb, done)
#endif
            fi;
            d = 0; attempt = 0; worker = 0; seen = 0; verb = 0; late = 0; done = 0
        }
    od
    } unless { dead[w] };
    d_step { d = 0; attempt = 0; worker = 0; seen = 0; verb = 0; late = 0; done = 0 }
}

#ifdef INBOX
/* absorb.sql, run by whichever worker: what it takes it knows from an older snapshot than the row. */
proctype Absorber() {
    byte taken;
end:
    do
    ::  atomic { inbox > 0 -> taken = inbox };
        d_step {
            read_inbox(taken);
            settle_and_create(0, BY_ABSORB);
            take_out(taken);
            check();
            printf("%d changes are absorbed, row %d\n", taken, row[0]);
            taken = 0
        }
    od
}
#endif

/* ---- The stages ---------------------------------------------------------------------------------------------- */

#define me_job R[r].job
#define me_stage R[r].stage

inline answer_with(a_) {
    if
    :: R[r].to < UNHEARD -> reply[R[r].to] = a_; R[r].to = UNHEARD
    :: else
    fi
}

inline gone() {
    R[r].state = FREE; R[r].job = 0; R[r].stage = 0; R[r].to = UNHEARD
}

#ifdef NO_GUARD
#define GUARD_END true
#else
#define GUARD_END (row[me_job] == BEGUN(me_stage))
#endif

/* A commit that makes the stage's work last. */
inline effect() {
    HOLDS(3, credit[me_job * 2 + me_stage]);
    credit[me_job * 2 + me_stage] = 0;
    printf("stage %d commits its effect\n", me_stage)
}

/* guard_end.sql with done; sets x_says to the answer. */
inline end_with_done() {
    if
    :: GUARD_END ->
        effect();
        put(me_job, DONE(me_stage), BY_STAGE);
        check();
        x_says = OK
    :: else ->
        x_says = E409
    fi
}

proctype Stage(byte r) {
end:
    do
    ::  atomic { R[r].state == SENT && INBOX_ROOM ->
            if
            ::  /* it arrives */
#ifdef ENGINE
                d_step { effect(); answer_with(OK); gone() }
            :: faults -> d_step { faults--; effect(); answer_with(LOST); gone(); printf("the answer is lost\n") }
            :: faults -> d_step { faults--; answer_with(E500); gone(); printf("the endpoint fails\n") }
#else
#ifdef NO_GUARD
                d_step { put(me_job, BEGUN(me_stage), BY_STAGE); check(); R[r].state = WORKING }
#else
                d_step {                                /* guard_begin.sql */
                    if
                    :: row[me_job] == ENTRY(me_stage) ->
                        put(me_job, BEGUN(me_stage), BY_STAGE); check(); R[r].state = WORKING;
                        printf("stage %d begins\n", me_stage)
                    :: else -> printf("stage %d refuses\n", me_stage); answer_with(E409); gone()
                    fi
                }
#endif
            :: faults -> d_step { faults--; answer_with(E500); gone(); printf("a gateway answers 500\n") }
#endif
            :: faults -> d_step { faults--; answer_with(E400); gone(); printf("a 4xx\n") }
            :: faults -> d_step { faults--; answer_with(LOST); gone(); printf("the request is lost\n") }
            :: faults && FREE_RUN -> d_step { faults--; send(me_job, me_stage, UNHEARD);
                                              printf("a request to stage %d is doubled\n", me_stage) }
            fi
        }
#ifndef ENGINE
    ::  atomic { R[r].state == WORKING && INBOX_ROOM ->
            if
            ::  d_step { end_with_done(); answer_with(x_says); gone(); x_says = 0 }
            ::  faults -> d_step { faults--; end_with_done(); answer_with(LOST); gone(); x_says = 0;
                                   printf("the answer is lost\n") }
            ::  faults -> d_step {                      /* an exception: guard_end.sql with failed */
                    faults--;
                    if
                    :: GUARD_END -> put(me_job, FAILED(me_stage), BY_STAGE); check()
                    :: else
                    fi;
                    printf("stage %d fails\n", me_stage);
                    answer_with(E500); gone() }
            ::  faults -> d_step { faults--; answer_with(LOST); gone(); printf("stage %d dies\n", me_stage) }
            ::  faults && R[r].to < UNHEARD -> d_step { faults--; answer_with(ACCEPTED);
                                                       printf("stage %d answers 202\n", me_stage) }
            fi
        }
#endif
    od
}

/* ---- Time, misfortune and people ---------------------------------------------------------------------------- */

inline lapse(w_) {
    lease[w_] = 0;
    for (x_i : 0 .. MAX_DISPATCHES - 1) {
        if :: D[x_i].state == RUNNING && D[x_i].worker == w_ -> excuse(x_i) :: else fi
    }
    x_i = 0;
    printf("the lease of worker %d lapses\n", w_)
}

proctype World() {
end:
    do
    :: d_step { faults && lease[0] && !dead[0] -> faults--; lapse(0) }      /* frozen for too long */
    :: d_step { faults && lease[1] && !dead[1] -> faults--; lapse(1) }
    :: d_step { !lease[0] && !dead[0] -> lease[0] = 1; printf("worker 0 renews\n") }
    :: d_step { !lease[1] && !dead[1] -> lease[1] = 1; printf("worker 1 renews\n") }
    :: d_step { faults && !dead[0] && !dead[1] -> faults--; dead[0] = 1; printf("worker 0 dies\n") }
    :: d_step { lease[0] && dead[0] -> lapse(0) }
    od
}

#if MOVES > 0
proctype Person() {
    byte job;
end:
    do
    :: atomic { moves && INBOX_ROOM ->
        moves--;
#if JOBS > 1
        if :: job = 0 :: job = 1 fi;
#endif
        if
        :: row[job] != ENTRY(0) -> d_step { put(job, ENTRY(0), BY_PERSON); check(); printf("a person: back to the start\n") }
        :: row[job] != ENTRY(1) -> d_step { put(job, ENTRY(1), BY_PERSON); check(); printf("a person: to the second stage\n") }
        :: row[job] != PARKED -> d_step { put(job, PARKED, BY_PERSON); check(); printf("a person: parked\n") }
        fi;
        job = 0 }
    od
}
#endif

/* When nothing can happen any more, every job is at its end or visibly stopped. */
proctype Judge() {
    byte at;
end:
    atomic { timeout ->
        for (at : 0 .. JOBS - 1) {
            HOLDS(5, row[at] == END || row[at] == FAILED(0) || row[at] == FAILED(1) || row[at] == PARKED)
        }
        for (at : 0 .. MAX_DISPATCHES - 1) { HOLDS(5, !OPEN(at)) };
        HOLDS(5, !INBOX_WAITS)
    }
}

init {
    atomic {
        for (x_i : 0 .. MAX_DISPATCHES - 1) { D[x_i].worker = NOBODY }
        for (x_i : 0 .. RUNS - 1) { R[x_i].to = UNHEARD }
        for (x_j : 0 .. JOBS - 1) { row[x_j] = PARKED }
        lease[0] = 1; lease[1] = 1;
        put(0, ENTRY(0), BY_STAGE);
#if JOBS > 1
        put(1, ENTRY(0), BY_STAGE);
#endif
        check();
        for (x_i : 0 .. SLOTS - 1) { run Hand(x_i) }
        run Rescuer(0); run Rescuer(1);
        for (x_i : 0 .. RUNS - 1) { run Stage(x_i) }
        run World();
#ifdef INBOX
        run Absorber();
#endif
#if MOVES > 0
        run Person();
#endif
        run Judge();
        x_i = 0
    }
}
