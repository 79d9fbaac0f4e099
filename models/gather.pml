/* A parent that gathers its children, for Spin: what their commits leave, counts, workers, a person. See README.md.
 *
 * Every statement is one atomic step. A worker that looks at a parent reads its job (row, call, notes) in one snapshot,
 * counts the children in a later one, and writes what it decided as a compare-and-set. Anything may happen in between.
 * A look that a child leaves and a note that the parent's own trigger leaves are told apart by the table, and here.
 *
 * Property 11: the parent moves only from where it waits, once for each time it came there, and only if since it came there
 * was a moment in which no child was missing. 12: when nothing can happen any more, it does not wait, and nothing of it is
 * left in the journal.
 */

#ifndef MOVES
#define MOVES 2         /* acts of a person: parent moved, child deleted, added or run again */
#endif
#ifndef KIDS
#define KIDS 2
#endif
#define HOLDS(n, c) assert(!(CHECKED & (1 << n)) || (c))

mtype = { AWAY, WAIT, MOVED, RUN, DONE, GONE, NONE, HELD, LEFT, DUE };

mtype row = AWAY;
mtype kid[KIDS];
byte looks, looks_taken;        /* left by children, and taken, in their order */
byte notes, notes_taken;        /* left by the parent's own trigger */
byte entry;                     /* the note of these that is the newest entry and not taken; 0: none */
mtype call = NONE;
byte c_entry, c_attempt, c_seen, c_missing;
bit c_lost, c_counted;          /* its worker has no lease any more; its children were counted */
bit deleted;                    /* a child was: nothing says so but ticks, which come again and again */
byte running;                   /* children that have not ended */
byte faults = FAULTS, moves = MOVES;
bit fair;                       /* ghost: since the parent came here, no child was missing once */
byte x_n;

inline still(n_) {
    n_ = 0;
    for (x_n : 0 .. KIDS - 1) { if :: kid[x_n] == RUN -> n_++ :: else fi }
    x_n = 0
}

/* After every change of a child or the row. */
inline witness() {
    still(running);
    if :: row == WAIT && running == 0 -> fair = 1 :: else fi
}

/* The parent's row, with its trigger. */
inline put(to_) {
    row = to_;
    notes++;
    if :: row == WAIT -> entry = notes; fair = 0 :: else fi;
    witness()
}

typedef Seen {
    mtype row, call; byte looks, taken, notes, notes_taken, entry, c_entry, c_attempt, c_seen, c_missing; bit lost, counted
};

inline forget(s_) {
    s_.row = 0; s_.call = 0; s_.looks = 0; s_.taken = 0; s_.notes = 0; s_.notes_taken = 0; s_.entry = 0; s_.c_entry = 0;
    s_.c_attempt = 0; s_.c_seen = 0; s_.c_missing = 0; s_.lost = 0; s_.counted = 0
}

inline read_job(s_) {           /* worker/look.sql */
    s_.row = row; s_.call = call; s_.looks = looks; s_.taken = looks_taken; s_.notes = notes; s_.notes_taken = notes_taken;
    s_.entry = entry; s_.c_entry = c_entry; s_.c_attempt = c_attempt; s_.c_seen = c_seen; s_.c_missing = c_missing;
    s_.lost = c_lost; s_.counted = c_counted
}

#define NEW_LOOKS (s.looks - s.taken)
#define MINE (hand && s.call == HELD && s.c_entry == h_entry && s.c_attempt == h_attempt)
/* verdict.wants_count */
#define WANTS_COUNT (s.row == WAIT && (MINE || (s.call == LEFT && (ticks || !s.counted || NEW_LOOKS >= s.c_missing))))
#define NEWEST (s.row == WAIT && s.entry > s.c_entry)

/* What settle.sql compares. */
#ifdef BROKEN_SEEN
#define SAME_SEEN true
#else
#define SAME_SEEN (c_seen == s.c_seen)
#endif
#define SAME_CALL (call == s.call && (call == NONE || (c_entry == s.c_entry && c_attempt == s.c_attempt && SAME_SEEN)))
/* The notes that were seen are there still; and no newer ones of the row's own, or none at all. */
#define SAME_NOTES ((s.looks == s.taken || looks_taken == s.taken) && (s.notes == s.notes_taken || notes_taken == s.notes_taken))
#define NO_NEW_NOTES (notes == s.notes || notes == notes_taken)
#define NONE_NEW (NO_NEW_NOTES && (looks == s.looks || looks == looks_taken))
#ifdef FLAW_OLD_COUNT
#define MAY_GATHER true         /* whatever came since: also that the parent was put away, and back */
#else
#define MAY_GATHER NO_NEW_NOTES
#endif
#ifdef BROKEN_ROW
#define SAME_ROW true
#else
#define SAME_ROW (row == s.row)
#endif

inline no_call() { call = NONE; c_entry = 0; c_attempt = 0; c_seen = 0; c_missing = 0; c_lost = 0; c_counted = 0 }

inline take(keep_) {            /* the notes that were seen; keep_: but the newest entry */
    if :: call != NONE && (s.taken < s.looks || s.notes_taken < s.notes) -> c_seen++ :: else fi;
    if :: s.taken < s.looks -> looks_taken = s.looks :: else fi;
    if
    :: keep_ -> if :: notes_taken < s.entry - 1 -> notes_taken = s.entry - 1 :: else fi
    :: !keep_ && s.notes_taken < s.notes -> notes_taken = s.notes; if :: entry <= s.notes -> entry = 0 :: else fi
    :: else
    fi
}

/* verdict.resolve, and its write. */
inline decide_and_settle() {
    ok = 0;
    if
    :: s.call == NONE ->
        if :: SAME_CALL && SAME_NOTES && NONE_NEW -> take(NEWEST); ok = 1 :: else fi
    :: s.call != NONE && s.row != WAIT ->
        if :: SAME_CALL && SAME_NOTES && NONE_NEW -> no_call(); take(0); ok = 1 :: else fi
    :: s.call != NONE && s.row == WAIT && counted && missing == 0 ->
        if
        :: SAME_CALL && SAME_NOTES && MAY_GATHER && SAME_ROW ->
            HOLDS(11, row == WAIT && fair);
            no_call(); take(0); put(MOVED); ok = 1; printf("worker %d moves the parent\n", me)
        :: else
        fi
    :: s.call != NONE && s.row == WAIT && !(counted && missing == 0) && NEWEST ->
        if :: SAME_CALL && SAME_NOTES && NONE_NEW -> no_call(); take(1); ok = 1 :: else fi
    :: s.call != NONE && s.row == WAIT && counted && missing > 0 && !NEWEST ->
        if
        :: SAME_CALL && SAME_NOTES && MAY_GATHER ->
            take(0); call = LEFT; c_missing = missing; c_counted = 1; c_lost = 0; ok = 1;
            printf("worker %d leaves it to wait for %d\n", me, missing)
        :: else
        fi
    :: s.call == HELD && s.row == WAIT && !counted && s.lost && !NEWEST ->
        if :: SAME_CALL && SAME_NOTES && NONE_NEW -> take(0); call = DUE; c_lost = 0; ok = 1 :: else fi
    :: s.call != NONE && s.row == WAIT && !counted && !(s.call == HELD && s.lost) && !NEWEST ->
        if
        :: SAME_CALL && SAME_NOTES && MAY_GATHER ->
            if :: s.c_missing > NEW_LOOKS -> c_missing = s.c_missing - NEW_LOOKS :: else -> c_missing = 0 fi;
            take(0); ok = 1
        :: else
        fi
    fi
}

/* A turn takes an entry that is alone, or a call that is due. */
#define ALONE (looks == looks_taken && notes == notes_taken + 1 && entry == notes)
#define NO_NOTES (looks == looks_taken && notes == notes_taken)
#define CLAIMABLE (!hand && row == WAIT && ((call == NONE && ALONE) || (call == DUE && NO_NOTES)))
#define TO_LOOK_AT ((!NO_NOTES && !(call == NONE && row == WAIT && ALONE)) || (call == HELD && c_lost) \
                    || (call == DUE && row != WAIT && NO_NOTES))
#ifdef BROKEN_TICK
#define TICK false
#else
#define TICK (call == LEFT && deleted && NO_NOTES && (running == 0 || running < c_missing))  /* one that matters */
#endif

proctype Worker(byte me) {
    bit hand, ok, counted, ticks;
    byte h_entry, h_attempt, missing;
    Seen s;
end:
    do
    :: atomic { CLAIMABLE ->
        d_step {
            if
            :: call == NONE -> notes_taken = notes; c_entry = entry; entry = 0; c_seen = 0; c_missing = 0; c_counted = 0
            :: else
            fi;
            call = HELD; c_attempt++; c_lost = 0; hand = 1; h_entry = c_entry; h_attempt = c_attempt;
            printf("worker %d claims\n", me)
        } }
    :: atomic { (hand || TO_LOOK_AT || TICK) ->
        d_step {
            ticks = 0;
            if :: !hand && !TO_LOOK_AT -> ticks = 1 :: else fi;
            counted = 0; missing = 0;
#ifdef BROKEN_COUNTS_FIRST
            still(missing)
#else
            read_job(s)
#endif
        } };
        d_step {
#ifdef BROKEN_COUNTS_FIRST
            read_job(s);
            if :: WANTS_COUNT -> counted = 1 :: else -> missing = 0 fi
#else
            if :: WANTS_COUNT -> still(missing); counted = 1 :: else fi
#endif
        };
        d_step {
            if
            :: hand && !MINE -> hand = 0; h_entry = 0; h_attempt = 0     /* another's by now: what was read is dropped */
            :: else ->
                decide_and_settle();
                if :: hand && ok -> hand = 0; h_entry = 0; h_attempt = 0 :: else fi
            fi;
            ok = 0; counted = 0; missing = 0; ticks = 0; forget(s)
        }
    :: d_step { hand && faults -> faults--;                 /* it dies, and another takes its place */
        if :: call == HELD && c_entry == h_entry && c_attempt == h_attempt -> c_lost = 1 :: else fi;
        hand = 0; h_entry = 0; h_attempt = 0; printf("worker %d dies\n", me) }
    :: d_step { hand && faults && call == HELD && c_entry == h_entry && c_attempt == h_attempt && !c_lost ->
        faults--; c_lost = 1; printf("worker %d freezes, and its lease lapses\n", me) }
    od
}

/* Children: each ends in a transaction of its own. Its trigger leaves a look, and reads no sibling. */
proctype Kid(byte k) {
    bit others;
    byte missing_now;
end:
    do
#ifdef BROKEN_COUNTING_TRIGGER
    :: d_step { kid[k] == RUN -> still(missing_now); others = (missing_now > 1); missing_now = 0 };
       d_step { if :: kid[k] == RUN -> kid[k] = DONE; if :: !others -> looks++ :: else fi; others = 0; witness() :: else fi }
#else
    :: d_step { kid[k] == RUN -> kid[k] = DONE; looks++; witness(); printf("the child %d ends\n", k) }
#endif
    od
}

proctype Person() {
end:
    do
    :: d_step { moves && row == WAIT -> moves--; put(AWAY); printf("a user: the parent away\n") }
    :: d_step { moves && row != WAIT -> moves--; put(WAIT); printf("a user: the parent back\n") }
    :: d_step { moves && kid[0] != GONE -> moves--; kid[0] = GONE; deleted = 1; witness(); printf("a user: a child deleted\n") }
    :: d_step { moves && kid[0] != RUN -> moves--; kid[0] = RUN; witness(); printf("a user: a child added, or run again\n") }
    od
}

proctype Judge() {
end:
    atomic { timeout ->
        HOLDS(12, row != WAIT);
        HOLDS(12, call == NONE && NO_NOTES)
    }
}

init {
    atomic {
        for (x_n : 0 .. KIDS - 1) { kid[x_n] = RUN }
        x_n = 0;
        put(WAIT);
        run Worker(0); run Worker(1);
        for (x_n : 0 .. KIDS - 1) { run Kid(x_n) }
        x_n = 0;
        run Person(); run Judge()
    }
}
