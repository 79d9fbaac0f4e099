/* The journal, for Spin: duties, the one call of a job, leases, rescue. See README.md.
 *
 * Every statement that a worker or a stage sends to the database is one atomic step, because it is one statement there;
 * with GAP a claim is two: its snapshot, then its locks. Between two steps anything may happen: being slow and being
 * frozen are the same thing. Faults are taken from a small budget. What is only here to judge (ghosts) is marked so.
 */

#ifndef FAULTS
#define FAULTS 2        /* faults of any kind in one run */
#endif
#ifndef MOVES
#define MOVES 1         /* moves of the row by a user */
#endif
#ifndef LIMIT
#define LIMIT 2         /* attempts = 2: the second failure is the last */
#endif
#ifndef CHECKED
#define CHECKED 2047    /* bit n: property n is checked */
#endif
#define WORKERS 2
#define RUNS 2          /* requests and stage runs that exist at once, forgotten ones included */
#define NOTES 4         /* duties and looks that wait at once; a writer that would leave one more waits in this model */
#define LEASES 10
#define MAX_ATTEMPTS 7

#define HOLDS(n, c) assert(!(CHECKED & (1 << n)) || (c))

/* The row. A stage s is called at ENTRY(s); DONE(0) is ENTRY(1), DONE(1) is the end. */
#define ENTRY(s) (3 * (s))
#define BEGUN(s) (3 * (s) + 1)
#define FAILED(s) (3 * (s) + 2)
#define DONE(s) (3 * (s) + 3)
#define END DONE(1)
#define PARKED 7
#define GONE 8
#define ROUTED(r) ((r) == ENTRY(0) || (r) == ENTRY(1))
#define AT(s, r) ((r) == ENTRY(s) || (r) == BEGUN(s) || (r) == FAILED(s))

/* Standings of the call. Time is not modelled: one that waits may be due at any moment. */
#define NONE 0
#define HELD 1
#define LEFT 2
#define WAITING 3

/* Ends of a dispatch. */
#define COMPLETED 1
#define CANCELLED 2
#define DEAD 3

/* Runs of a stage, and answers. */
#define FREE 0
#define SENT 1
#define WORKING 2
#define UNHEARD 2           /* a run whose answer reaches no worker */
#define SILENCE 0
#define OK 1
#define ACCEPTED 2
#define E409 3
#define E400 4
#define E500 5
#define LOST 6              /* timeout, connection lost, 502, 504 */
#define GIVEN_BACK 7        /* no answer: the worker that holds the call does not make it */

/* Verbs of a decision, see outcome.py. */
#define KEEP 0
#define COMPLETE 1
#define CANCEL 2
#define ADVANCE 3
#define WAIT 4
#define FAIL 5
#define KILL 6
#define DEFER 7
#define RELEASE 8
#define NO_CALL 9           /* duties only */
#define BREACH 10           /* KILL, but where the row was put back meanwhile */

/* The writer of a row (ghost). */
#define BY_STAGE 0
#define BY_USER 1
#define BY_ENGINE 2
#define BY_ADVANCE 3

byte row;
byte notes;                 /* pgbaton.due: how many, each with its id and the state that the row entered; oldest first */
byte note_id[NOTES];
byte note_at[NOTES];
byte made;                  /* the newest id */

byte c_id, c_stage, c_attempt, c_failures, c_standing, c_worker, c_seen, c_next;    /* pgbaton.calls: 0: there is none */

byte leases;                /* leases taken so far; 1 is the first */
bool alive[LEASES];
byte name[WORKERS];         /* the lease under which a worker claims */
bool doubt[WORKERS];        /* it takes a new one before its next turn */
bool dead[WORKERS];

byte h_id[WORKERS];         /* what is in a worker's hand: dispatch and attempt */
byte h_attempt[WORKERS];
byte reply[WORKERS];

typedef Run { unsigned state : 2; unsigned stage : 1; unsigned to : 2 }
Run R[RUNS];
byte faults = FAULTS;
byte moves = MOVES;
#ifdef CASCADE
bool cascades = 1;          /* a trigger of the user's, once: a job that failed at the second stage starts over */
#endif

byte allowed[2];            /* ghost: calls of each stage that have a cause and were not made */
short passed;               /* ghost: bit n: the row was at (stage, done) while dispatch n was open */
bool owed;                  /* ghost: the row entered a routed state, and no call has begun since */
bool called;                /* ghost: the stage was sent the call in this attempt */
bool uncounted;             /* ghost: a stage's failure is in the row and was counted by no worker */
bool credit[2];             /* ghost: the job entered the stage's state and no effect was committed since */

byte x_i, x_n, x_at, x_verb, x_back, x_new, x_mark, x_stage, x_end, x_how, x_put;     /* scratch: all 0 between two steps */

#define PASSED(id_) ((passed >> (id_)) & 1)
#define ROOM_FOR_NOTES (notes < NOTES)

inline scratch() {
    x_i = 0; x_n = 0; x_at = 0; x_verb = 0; x_back = 0; x_new = 0; x_mark = 0; x_stage = 0;
    x_end = 0; x_how = 0; x_put = 0
}

/* ---- trigger.sql ---------------------------------------------------------------------------------------------- */

inline excuse(s_) {
    if :: allowed[s_] < 9 -> allowed[s_]++ :: else fi
}

inline mark_passed(s_) {
    if :: c_standing != NONE && c_stage == s_ -> passed = passed | (1 << c_id) :: else fi;
    if :: c_next && c_stage == s_ -> passed = passed | (1 << c_next) :: else fi;
    for (x_i : 0 .. NOTES - 1) {
        if :: x_i < notes && note_at[x_i] == ENTRY(s_) -> passed = passed | (1 << note_id[x_i]) :: else fi
    }
}

inline leave_note(now_) {
    assert(notes < NOTES && made < 15);
    made++;
    note_id[notes] = made; note_at[notes] = now_;
    notes++
}

#ifdef BROKEN_QUIET
#define QUIET(by_) false
#else
#define QUIET(by_) (by_ == BY_ENGINE)
#endif

/* An UPDATE of the row with its trigger, which inserts a duty or a look; GONE: a DELETE, and from there an INSERT. */
inline write(now_, by_) {
    x_at = row;
    if
    :: x_at != now_ ->
        row = now_;
        if :: now_ == DONE(0) -> mark_passed(0) :: now_ == END -> mark_passed(1) :: else fi;
        if
        :: by_ != BY_ENGINE ->
            owed = ROUTED(now_);
            if :: ROUTED(now_) -> credit[now_ / 3] = 1; excuse(now_ / 3) :: else fi;
            if :: now_ == FAILED(0) || now_ == FAILED(1) -> uncounted = 1 :: else fi
        :: else -> uncounted = 0
        fi;
        if
        :: QUIET(by_) || now_ == GONE
        :: else ->
            if
            :: ROUTED(now_) -> HOLDS(7, by_ != BY_ENGINE); leave_note(now_)
            :: else ->
                if  /* a dispatch may be open there, and it is more than that its stage begins, or begins again */
                :: x_at < END && !(now_ < PARKED && now_ == BEGUN(x_at / 3)) -> leave_note(now_)
                :: else
                fi
            fi
        fi
    :: else
    fi
}

/* ---- settle.sql, turn.sql: ends of dispatches ------------------------------------------------------------------ */

inline end_dispatch(id_, how_) {
    HOLDS(9, PASSED(id_) == (how_ == COMPLETED))
}

/* A duty that came to nothing: completed, where the row has passed its stage. */
inline end_void(id_, stage_, at_) {
    HOLDS(9, PASSED(id_) == (x_n || at_ == DONE(stage_)))
}

inline no_call() {
    c_id = 0; c_stage = 0; c_attempt = 0; c_failures = 0; c_standing = NONE; c_worker = 0; c_seen = 0; c_next = 0; called = 0
}

/* Sets x_n: a note that is newer says that the row has been at (stage, done). */
inline evidence(stage_, id_) {
    x_n = 0;
#ifndef BROKEN_ANSWER
    for (x_i : 0 .. NOTES - 1) {
        if :: x_i < notes && note_id[x_i] > id_ && note_at[x_i] == DONE(stage_) -> x_n = 1 :: else fi
    }
#endif
}

/* ---- outcome.py, verdict.py -------------------------------------------------------------------------------------------------- */

inline of_answer(at_, answer_) {
    if
    :: at_ == FAILED(c_stage) -> x_verb = FAIL
#ifndef ENGINE
    :: at_ == BEGUN(c_stage) ->
        if
        :: answer_ == E400 -> x_verb = KILL
        :: answer_ == E500 -> x_verb = FAIL
        :: else -> x_verb = WAIT
        fi
#endif
    :: else ->
        if
        :: answer_ == E409 -> x_verb = DEFER
        :: answer_ == ACCEPTED -> x_verb = WAIT
#ifdef ENGINE
        :: answer_ == OK -> x_verb = ADVANCE
#else
        :: answer_ == OK -> x_verb = BREACH
#endif
        :: answer_ == E400 -> x_verb = KILL
        :: answer_ == E500 || answer_ == LOST -> x_verb = FAIL
        fi
    fi
}

/* Sets x_n: the row came to (stage, failed) in this attempt; a failure from before it is counted already. */
inline failed_meanwhile() {
    x_n = (c_seen != 0);
    for (x_i : 0 .. NOTES - 1) {
        if :: x_i < notes && note_at[x_i] == FAILED(c_stage) -> x_n = 1 :: else fi
    }
#ifdef FLAW_LOST
    x_n = 1
#endif
}

/* Sets x_verb. at_: the row as it was read; live_: its worker has its lease; late_: beyond its deadline. */
inline of_call(at_, live_, late_, answer_) {
    evidence(c_stage, c_id);
    if
    :: x_n || at_ == DONE(c_stage) -> x_verb = COMPLETE
    :: else ->
        if
        :: !AT(c_stage, at_) -> x_verb = CANCEL
        :: else ->
            if
            :: c_standing == WAITING ->
#ifdef ENGINE
#ifdef FLAW_WAITS
                x_verb = KEEP
#else
                if :: at_ == BEGUN(c_stage) -> x_verb = RELEASE :: else -> x_verb = KEEP fi
#endif
#else
                if :: at_ == BEGUN(c_stage) -> x_verb = WAIT :: else -> x_verb = KEEP fi
#endif
            :: c_standing == LEFT ->
                if :: late_ || at_ == FAILED(c_stage) -> x_verb = FAIL :: else -> x_verb = KEEP fi
            :: else ->
                if
                :: answer_ == SILENCE && live_ -> x_verb = KEEP
                :: answer_ == GIVEN_BACK || (answer_ == SILENCE && !live_) ->
                    failed_meanwhile();
                    if
                    :: at_ == FAILED(c_stage) && x_n -> x_verb = FAIL
#ifndef ENGINE
                    :: at_ == BEGUN(c_stage) -> x_verb = WAIT
#endif
                    :: else -> x_verb = RELEASE
                    fi
                :: else -> of_answer(at_, answer_)
                fi
            fi
        fi
    fi
}

/* Sets x_new: the id of the duty that is due still, and x_stage: its stage. */
inline find_newest(at_) {
    x_new = 0; x_stage = 0;
    if :: c_next && AT(c_stage, at_) -> x_new = c_next; x_stage = c_stage :: else fi;
    for (x_i : 0 .. NOTES - 1) {
        if
        :: x_i < notes && ROUTED(note_at[x_i]) && note_id[x_i] > c_id && AT(note_at[x_i] / 3, at_) ->
            x_new = note_id[x_i]; x_stage = note_at[x_i] / 3
        :: else
        fi
    }
}

/* All duties but x_new come to nothing; of the notes it alone stays, if stays_. Sets x_mark: the newest taken. */
inline take_notes(at_, stays_) {
    if
    :: c_next && c_next != x_new ->
        evidence(c_stage, c_next);
        end_void(c_next, c_stage, at_)
    :: else
    fi;
    x_mark = 0; x_back = 0;
    do
    :: x_back < notes ->
        if
        :: note_id[x_back] != x_new && ROUTED(note_at[x_back]) ->
            evidence(note_at[x_back] / 3, note_id[x_back]);
            end_void(note_id[x_back], note_at[x_back] / 3, at_)
        :: else
        fi;
        if :: !(stays_ && note_id[x_back] == x_new) -> x_mark = note_id[x_back] :: else fi;
        x_back++
    :: else -> break
    od;
    for (x_i : 0 .. NOTES - 1) { note_id[x_i] = 0; note_at[x_i] = 0 }
    notes = 0;
    if :: stays_ -> note_id[0] = x_new; note_at[0] = ENTRY(x_stage); notes = 1 :: else fi;
    x_back = 0; x_n = 0
}

#ifdef BROKEN_DROP
#define DROP x_new = 0
#else
#define DROP skip
#endif

/* settle.sql: the job becomes what x_verb and x_new say of the row as it was read. x_end: the end of the call's dispatch;
 * x_how: what becomes of x_new: 1 the stage that works for it is waited for, 2 it is left for a turn, 3 it waits. */
inline settle(at_, late_) {
    if
    :: x_verb == NO_CALL -> skip
    :: x_verb == COMPLETE -> x_end = COMPLETED
    :: x_verb == CANCEL -> x_end = CANCELLED
    :: x_verb == ADVANCE -> x_end = COMPLETED; x_new = 0; mark_passed(c_stage)
    :: else ->
        if
        :: x_verb == BREACH && x_new && c_standing != WAITING -> x_verb = FAIL      /* it is called again */
        :: x_verb == BREACH && !(x_new && c_standing != WAITING) -> x_verb = KILL
        :: x_verb == KILL -> owed = 0           /* a rejection stands, though the row was put back meanwhile */
        :: else
        fi;
        if
        :: x_verb == FAIL ->
            HOLDS(8, late_ || called || uncounted);
            uncounted = 0; excuse(c_stage)
        :: x_verb == DEFER -> excuse(c_stage)
        :: else
        fi;
        if
        :: x_new && c_standing == WAITING -> x_end = CANCELLED
        :: else ->
            if :: x_verb == KEEP || x_verb == WAIT -> DROP :: else -> x_new = 0 fi;
            if :: x_verb == KILL || (x_verb == FAIL && c_failures + 1 >= LIMIT) -> x_end = DEAD :: else fi
        fi
    fi;
    if
    :: (x_end || x_verb == NO_CALL) && x_new ->
        if
#ifndef ENGINE
        :: at_ == BEGUN(x_stage) -> x_how = 1
#endif
        :: at_ == ENTRY(x_stage) && x_new != c_next -> x_how = 2
        :: else -> x_how = 3; if :: at_ == BEGUN(x_stage) -> x_put = ENTRY(x_stage) + 1 :: else fi
        fi
    :: else
    fi;
    x_at = at_;
    if :: x_verb == ADVANCE -> x_at = DONE(c_stage) :: else fi;
    take_notes(x_at, x_how == 2);
    if
    :: x_end ->
        end_dispatch(c_id, x_end);
        if :: x_end == DEAD && x_verb == FAIL -> owed = 0 :: else fi;   /* its attempts are used up */
        if
        :: x_verb == ADVANCE -> x_put = DONE(c_stage) + 1
        :: x_end == DEAD && at_ != FAILED(c_stage) -> x_put = FAILED(c_stage) + 1
        :: else
        fi
    :: else
    fi;
    if
    :: x_end || x_verb == NO_CALL ->
        no_call();
        if
        :: x_how == 1 -> c_id = x_new; c_stage = x_stage; c_attempt = 1; c_standing = LEFT
        :: x_how == 3 -> c_id = x_new; c_stage = x_stage; c_standing = WAITING
        :: else
        fi
    :: else ->
        if :: x_mark -> c_seen = x_mark :: else fi;
        c_next = x_new;
        if
        :: x_verb == KEEP
        :: x_verb == WAIT ->
            if :: c_standing == WAITING -> c_attempt++; called = 0 :: else fi;
            c_standing = LEFT
        :: else ->
            if :: x_verb == FAIL -> c_failures++ :: else fi;
            c_standing = WAITING; called = 0;
            if :: at_ == BEGUN(c_stage) -> x_put = ENTRY(c_stage) + 1 :: else fi
        fi
#ifdef FLAW_FORGETS
        ;
        if :: c_standing == WAITING -> c_seen = 0 :: else fi
#endif
    fi;
    if
    :: x_put && x_verb == ADVANCE -> x_put--; write(x_put, BY_ADVANCE)
    :: x_put && x_verb != ADVANCE -> x_put--; write(x_put, BY_ENGINE)
    :: else
    fi;
#ifdef CASCADE
    if
    :: x_put == FAILED(1) && row == FAILED(1) && cascades ->    /* in the same statement, after the worker's own write */
        cascades = 0;
#ifdef BROKEN_QUIET_GLOBAL
        row = ENTRY(0); owed = 1; credit[0] = 1; excuse(0)
#else
        leave_note(ENTRY(0)); row = ENTRY(0); owed = 1; credit[0] = 1; excuse(0)
#endif
    :: else
    fi
#endif
}

/* What must be true between any two statements. */
inline check() {
    HOLDS(4, notes || c_standing == NONE || AT(c_stage, row) || row == GONE);
    HOLDS(4, notes || !ROUTED(row) || (c_standing != NONE && c_stage == row / 3));
    HOLDS(10, notes || c_standing != LEFT || row != FAILED(c_stage));
    scratch()
}

/* ---- what a worker has read ------------------------------------------------------------------------------------- */

typedef Seen { byte at, notes, newest, id, attempt, standing, worker, seen; bool live, late }

#define NEWEST_NOTE (notes -> note_id[notes - 1] : 0)
#define CALL_IS(s_) (c_id == s_.id && c_attempt == s_.attempt && c_worker == s_.worker \
                     && SAME_STANDING(s_) && SAME_SEEN(s_))
#ifdef FLAW_STANDING
#define SAME_STANDING(s_) ((c_standing == WAITING) == (s_.standing == WAITING) && (c_standing == NONE) == (s_.standing == NONE))
#else
#define SAME_STANDING(s_) (c_standing == s_.standing)
#endif
#ifdef BROKEN_SEEN
#define SAME_SEEN(s_) true
#else
#define SAME_SEEN(s_) (c_seen == s_.seen)
#endif

inline read_job(s_) {
    s_.at = row; s_.notes = notes; s_.newest = NEWEST_NOTE;
    s_.id = c_id; s_.attempt = c_attempt; s_.standing = c_standing; s_.worker = c_worker; s_.seen = c_seen;
    s_.live = alive[c_worker]
}

inline forget(s_) {
    s_.at = 0; s_.notes = 0; s_.newest = 0; s_.id = 0; s_.attempt = 0; s_.standing = 0; s_.worker = 0; s_.seen = 0;
    s_.live = 0; s_.late = 0
}

/* A duty whose row is at running though no stage works there. */
#ifdef ENGINE
#define TAKES_BACK true
#else
#define TAKES_BACK false
#endif

/* settle.sql: written only if all is as it was read and, where the row is to be written, that is, too. done_: whether. */
inline settle_as_read(s_, answer_, done_) {
    done_ = 0;
    if
    :: notes == s_.notes && NEWEST_NOTE == s_.newest && CALL_IS(s_) ->
        HOLDS(2, answer_ == SILENCE || c_standing == HELD);
        find_newest(s_.at);
        if
        :: c_standing == NONE -> x_verb = NO_CALL; x_back = TAKES_BACK && x_new && s_.at == BEGUN(x_stage)
        :: else ->
            of_call(s_.at, s_.live, s_.late, answer_);
            x_back = (x_verb == ADVANCE || (x_verb > WAIT && s_.at == BEGUN(c_stage))
                      || ((x_verb == KILL || x_verb == BREACH && !x_new) && s_.at != FAILED(c_stage))
                      || ((x_verb == KILL || x_verb == BREACH || x_verb == FAIL) && c_failures + 1 >= LIMIT && s_.at != FAILED(c_stage))
                      || (TAKES_BACK && x_new && s_.at == BEGUN(x_stage)
                          && (c_standing == WAITING || x_verb == CANCEL || x_verb == COMPLETE)))
        fi;
        if
        :: !x_back || row == s_.at ->
            x_n = 0; x_back = 0; settle(s_.at, s_.late); done_ = 1
        :: else
        fi
    :: else
    fi;
    check()
}

/* ---- turn.sql, claim_waiting.sql ----------------------------------------------------------------------------------- */

/* One note, the row where it says, no call or the one that the note ends. */
#define ENDS_CALL(i_) (note_at[i_] == DONE(c_stage) && c_id < note_id[i_] && c_seen == 0)
#define EVERYDAY(i_) (row == note_at[i_] && (c_standing == NONE || ENDS_CALL(i_)))
#ifdef BROKEN_NEWER
#define TAKEN (notes - 1)
#define TURN_TAKES (notes && (EVERYDAY((notes - 1)) || (notes == 1 && !ROUTED(note_at[0]) && c_standing == NONE)))
#else
#define TAKEN 0
#define TURN_TAKES (notes == 1 && (EVERYDAY(0) || (!ROUTED(note_at[0]) && c_standing == NONE)))
#endif
#define CLAIMABLE (c_standing == WAITING && notes == 0 && (row == ENTRY(c_stage) || row == FAILED(c_stage)))
#define SNAPSHOT_TAKES(s_) ((s_.at == note_at[0] && (c_standing == NONE || ENDS_CALL(0))) \
                            || (!ROUTED(note_at[0]) && c_standing == NONE))
#ifdef BROKEN_LATE_TURN
#define MAY_CLAIM(w_) true
#else
#define MAY_CLAIM(w_) alive[name[w_]]
#endif

inline begin_attempt(w_) {
    c_standing = HELD; c_worker = name[w_]; c_attempt++; called = 0; owed = 0;
    HOLDS(5, c_attempt < MAX_ATTEMPTS)      /* or it would go on for ever */
}

/* Takes the note at_i, ends the call that it ends, and makes it the job's call. */
inline take_turn(w_) {
    x_i = TAKEN;
    x_new = note_id[x_i]; x_at = note_at[x_i];
    if :: c_standing != NONE -> end_dispatch(c_id, COMPLETED); HOLDS(1, PASSED(c_id)) :: else fi;
    no_call();
    do
    :: x_i + 1 < NOTES -> note_id[x_i] = note_id[x_i + 1]; note_at[x_i] = note_at[x_i + 1]; x_i++
    :: else -> break
    od;
    note_id[NOTES - 1] = 0; note_at[NOTES - 1] = 0; x_i = 0;
    notes--;
    if :: ROUTED(x_at) -> c_id = x_new; c_stage = x_at / 3; begin_attempt(w_) :: else -> x_new = 0 fi
}

/* What no turn does by itself. A call that nothing can end is looked at again and again, as claims do that find it. */
#define TO_LOOK_AT(w_) ((notes && !TURN_TAKES) || (c_standing == HELD && !alive[c_worker]) \
                        || (c_standing == WAITING && notes == 0 && !CLAIMABLE))

#define WORKS(r_) (R[r_].state != FREE)
#define AT_WORK (WORKS(0) || WORKS(1))

/* ---- dispatcher.py: a worker, from a claim to its settlement --------------------------------------------------------- */

#define FREE_RUN (R[0].state == FREE || R[1].state == FREE)
#define IN_HAND(w_) (c_standing != NONE && c_id == h_id[w_] && c_attempt == h_attempt[w_])
#define MINE(w_) (IN_HAND(w_) && c_standing == HELD && c_worker == name[w_])
#ifdef FLAW_PREPARE
#define MAY_PREPARE(w_) (IN_HAND(w_) && c_worker == name[w_])
#else
#define MAY_PREPARE(w_) MINE(w_)
#endif

inline unhear(me_) {
    for (x_i : 0 .. RUNS - 1) {
        if :: R[x_i].to == me_ -> R[x_i].to = UNHEARD :: else fi
    }
    x_i = 0
}

inline let_go() { h_id[me] = 0; h_attempt[me] = 0; answer = 0; at = 0; stage = 0; done = 0; forget(s) }

inline prepare(from_, to_) {
    done = 0;
    if
    :: MAY_PREPARE(me) && row == from_ ->
        HOLDS(2, MINE(me));
        write(to_, BY_ENGINE);
        done = 1
    :: else
    fi;
    check()
}

proctype Worker(byte me) {
    byte answer, at, stage;
    bit done;
    Seen s;
    {
    skip;
end_idle:
    atomic { !doubt[me] && MAY_CLAIM(me) && (TURN_TAKES || CLAIMABLE) ->
#ifdef GAP
        d_step { read_job(s) }                          /* the statement's snapshot */
    };
    atomic {                                            /* its locks: what has changed since is not taken */
        if
        :: MAY_CLAIM(me) && notes && s.notes == 1 && note_id[0] == s.newest && CALL_IS(s) && SNAPSHOT_TAKES(s) ->
            at = s.at; d_step { take_turn(me) }
        :: (MAY_CLAIM(me) && s.notes == 0 && CALL_IS(s) && c_standing == WAITING
            && (s.at == ENTRY(c_stage) || s.at == FAILED(c_stage))) ->
            at = s.at; d_step { c_seen = 0; begin_attempt(me); x_new = c_id }
        :: else -> let_go(); goto end_idle
        fi;
#else
        at = row;
        d_step {
            if
            :: TURN_TAKES -> take_turn(me)
            :: else -> c_seen = 0; begin_attempt(me); x_new = c_id
            fi
        };
#endif
        if
        :: x_new -> h_id[me] = c_id; h_attempt[me] = c_attempt; stage = c_stage
        :: else -> d_step { printf("worker %d takes a look away\n", me); check() }; let_go(); goto end_idle
        fi;
        d_step {
            printf("worker %d claims dispatch %d, attempt %d, at %d\n", me, h_id[me], h_attempt[me], at);
            check(); forget(s)
        }
    };
    atomic {                                            /* the reply comes, or not */
        if
        :: true
        :: faults -> faults--; doubt[me] = 1;
            printf("worker %d never gets the reply of its claim\n", me);
            let_go(); goto end_idle
        fi
    };
ready:
    if
    :: atomic { at == FAILED(stage) ->                  /* prepare.sql: rewind */
            d_step {
                prepare(FAILED(stage), ENTRY(stage));
                printf("worker %d, dispatch %d attempt %d: rewinds: %d\n", me, h_id[me], h_attempt[me], done)
            }
            if :: done -> at = ENTRY(stage); done = 0; goto ready :: else -> goto again fi
       }
#ifdef ENGINE
    :: atomic { at == ENTRY(stage) ->                   /* prepare.sql: running, on the stage's behalf */
            d_step {
                prepare(ENTRY(stage), BEGUN(stage));
                printf("worker %d, dispatch %d attempt %d: writes running: %d\n", me, h_id[me], h_attempt[me], done)
            }
            if :: done -> done = 0; goto call :: else -> goto again fi
       }
#else
    :: atomic { at == ENTRY(stage) -> goto call }
#endif
    :: atomic { at != FAILED(stage) && at != ENTRY(stage) -> answer = GIVEN_BACK; goto answered }
    fi;
again:
    atomic {                                            /* look.sql */
        if
        :: MINE(me) -> at = row; goto ready
        :: else -> let_go(); goto end_idle
        fi
    };
call:
    atomic { FREE_RUN ->
        d_step {
            printf("worker %d, dispatch %d attempt %d: calls stage %d\n", me, h_id[me], h_attempt[me], stage);
            HOLDS(6, allowed[stage] > 0);
            if :: allowed[stage] > 0 -> allowed[stage]-- :: else fi;
            if :: MINE(me) -> called = 1 :: else fi;
            x_i = 0;
            do :: R[x_i].state == FREE -> break :: else -> x_i++ od;
            R[x_i].state = SENT; R[x_i].stage = stage; R[x_i].to = me;
            x_i = 0; at = 0
        }
    };
    atomic {
        if
        :: reply[me] != SILENCE -> answer = reply[me]; reply[me] = SILENCE
        :: reply[me] == SILENCE && faults -> faults--; answer = LOST; d_step { unhear(me) };
            printf("worker %d, dispatch %d attempt %d: the call times out\n", me, h_id[me], h_attempt[me])
        fi
    };
answered:
    atomic {                                            /* note.sql, look.sql, and the decision */
        if
        :: MINE(me) -> d_step { read_job(s); s.live = 1 }
        :: else -> let_go(); goto end_idle
        fi
    };
    atomic {                                            /* settle.sql */
        d_step {
            settle_as_read(s, answer, done);
            printf("worker %d, dispatch %d attempt %d: settles, answer %d, row %d: %d\n",
                   me, h_id[me], h_attempt[me], answer, s.at, done);
            forget(s)
        }
        if :: done -> let_go() :: else -> goto answered fi
    };
    goto end_idle
    } unless { dead[me] };
    d_step { h_id[me] = 0; h_attempt[me] = 0; reply[me] = SILENCE; unhear(me) }
}

/* ---- resolver.py: looks of any worker, and rescue --------------------------------------------------------------------- */

proctype Resolver(byte w) {
    Seen s;
    bit done;
    {
    skip;
end:
    do
    ::  atomic {
            if
            :: TO_LOOK_AT(w)
            :: c_standing == LEFT && !AT_WORK -> s.late = 1
            :: c_standing == LEFT && AT_WORK && faults -> faults--; s.late = 1
            fi;
            d_step { read_job(s) }
        };
        d_step {
            settle_as_read(s, SILENCE, done);
            printf("worker %d resolves dispatch %d attempt %d standing %d (late %d) at row %d: %d\n",
                   w, s.id, s.attempt, s.standing, s.late, s.at, done);
            done = 0; forget(s)
        }
    od
    } unless { dead[w] };
    d_step { done = 0; forget(s) }
}

/* ---- The stages ---------------------------------------------------------------------------------------------------- */

#define me_stage R[r].stage

inline answer_with(a_) {
    if :: R[r].to < UNHEARD -> reply[R[r].to] = a_; R[r].to = UNHEARD :: else fi
}

inline gone() { R[r].state = FREE; R[r].stage = 0; R[r].to = UNHEARD }

/* A commit that makes the stage's work last. */
inline effect() {
    HOLDS(3, credit[me_stage]);
    credit[me_stage] = 0;
    printf("stage %d commits its effect\n", me_stage)
}

/* guard/end.sql with done; sets says to the answer. */
inline end_with_done() {
    if
    :: row == BEGUN(me_stage) -> effect(); write(DONE(me_stage), BY_STAGE); check(); says = OK
    :: else -> says = E409
    fi
}

proctype Stage(byte r) {
    byte says;
end:
    do
    ::  atomic { R[r].state == SENT ->
            if
#ifdef ENGINE
            ::  true -> d_step { effect(); answer_with(OK); gone() }
            ::  faults -> d_step { faults--; effect(); answer_with(LOST); gone(); printf("the answer is lost\n") }
            ::  faults -> d_step { faults--; answer_with(E500); gone(); printf("stage %d fails\n", me_stage) }
#else
            ::  row == ENTRY(me_stage) ->               /* guard/begin.sql */
                d_step { write(BEGUN(me_stage), BY_STAGE); check(); R[r].state = WORKING;
                         printf("stage %d begins\n", me_stage) }
            ::  row != ENTRY(me_stage) -> d_step { answer_with(E409); gone() }
#endif
            ::  faults -> d_step { faults--; answer_with(LOST); gone(); printf("a request is lost\n") }
            ::  faults -> d_step { faults--; answer_with(E500); gone(); printf("a gateway answers 500\n") }
            ::  faults -> d_step { faults--; answer_with(E400); gone(); printf("a 4xx\n") }
            fi
        }
#ifndef ENGINE
    ::  atomic { R[r].state == WORKING && ROOM_FOR_NOTES ->
            if
            ::  true -> d_step { end_with_done(); answer_with(says); gone(); says = 0 }
            ::  faults -> d_step { faults--; end_with_done(); answer_with(LOST); gone(); says = 0;
                                   printf("the answer is lost\n") }
            ::  faults && R[r].to < UNHEARD ->          /* it answers before it commits */
                d_step { faults--; answer_with(OK); printf("stage %d answers before it commits\n", me_stage) }
            ::  faults -> d_step {                      /* an exception: guard/end.sql with failed */
                    faults--;
                    if :: row == BEGUN(me_stage) -> write(FAILED(me_stage), BY_STAGE); check() :: else fi;
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

/* ---- Time, misfortune and people ----------------------------------------------------------------------------------- */

inline lapse(w_) {
    if :: alive[name[w_]] && c_standing == HELD && c_worker == name[w_] -> excuse(c_stage) :: else fi;
    alive[name[w_]] = 0;
    printf("the lease of worker %d lapses\n", w_)
}

#ifdef FLAW_KEEPS
#define KEPT_STANDING (c_standing != NONE)
#else
#define KEPT_STANDING (c_standing == HELD)
#endif

/* take_lease: a new lease in place of the old one; what is in the worker's hand is kept, where that is its own still. */
inline take_lease(w_) {
    leases++;
    if
    :: IN_HAND(w_) && c_worker == name[w_] && KEPT_STANDING ->
        HOLDS(2, c_standing == HELD);
        c_worker = leases
    :: else ->
        if :: alive[name[w_]] && c_standing == HELD && c_worker == name[w_] -> excuse(c_stage) :: else fi
    fi;
    alive[name[w_]] = 0;
    name[w_] = leases; alive[leases] = 1; doubt[w_] = 0;
    printf("worker %d takes lease %d\n", w_, leases)
}

proctype World() {
end:
    do
    :: d_step { faults && alive[name[0]] && !dead[0] -> faults--; lapse(0) }        /* frozen for too long */
    :: d_step { faults && alive[name[1]] && !dead[1] -> faults--; lapse(1) }
    :: d_step { !dead[0] && (doubt[0] || !alive[name[0]]) -> take_lease(0) }
    :: d_step { !dead[1] && (doubt[1] || !alive[name[1]]) -> take_lease(1) }
    :: d_step { faults && !dead[0] && !dead[1] -> faults--; dead[0] = 1; printf("worker 0 dies\n") }
    :: d_step { dead[0] && alive[name[0]] -> lapse(0) }
    od
}

proctype User() {
end:
    do
    :: atomic { moves && ROOM_FOR_NOTES ->
        moves--;
        if
        :: row != ENTRY(0) -> d_step { write(ENTRY(0), BY_USER); check(); printf("a user: to the start\n") }
        :: row != ENTRY(1) && row != GONE -> d_step { write(ENTRY(1), BY_USER); check(); printf("a user: to the second stage\n") }
        :: row != PARKED && row != GONE -> d_step { write(PARKED, BY_USER); check(); printf("a user: aside\n") }
        :: row < END && row != BEGUN(row / 3) ->        /* another caller begins the stage, and fails */
            d_step { write(BEGUN(row / 3), BY_USER); check(); printf("a user: running\n") }
        :: row != GONE -> d_step { write(GONE, BY_USER); check(); printf("a user: deleted\n") }
        fi }
    od
}

/* When nothing can happen any more, the job is at its end or visibly stopped, and no call or duty waits. */
proctype Judge() {
end:
    atomic { timeout ->
        HOLDS(5, row >= END || row == FAILED(0) || row == FAILED(1) || (MOVES && moves < MOVES && (row == BEGUN(0) || row == BEGUN(1))));
        HOLDS(5, c_standing == NONE && notes == 0);
        HOLDS(5, !owed)
    }
}

init {
    atomic {
        for (x_i : 0 .. RUNS - 1) { R[x_i].to = UNHEARD }
        x_i = 0;
        row = GONE;
        leases = 2; name[0] = 1; name[1] = 2; alive[1] = 1; alive[2] = 1;
        write(ENTRY(0), BY_STAGE);
        check();
        run Worker(0); run Worker(1);
        run Resolver(0); run Resolver(1);
        run Stage(0); run Stage(1);
        run World();
#if MOVES > 0
        run User();
#endif
        run Judge()
    }
}
