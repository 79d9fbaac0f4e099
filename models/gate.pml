/* The gate (worker/gate.py, and the advisory lock in trigger.sql): an engine that sleeps says so, and only then a writer
 * notifies.
 *
 * Property 9: when nothing can happen any more, nothing that was committed waits while an engine that could
 * claim it sleeps. No engine polls here, so a wake-up that is lost is lost for good.
 *
 * Writers are transactions of any length that make one job due. An engine claims, asks for the gate when a claim came
 * back short, sleeps until something wakes it, withdraws a request that waited for long and asks again, opens the gate
 * when it has enough to do, and may die anywhere. A claim may look back only so far (claim_window.py), and what lagged
 * behind in its transaction is further back than that. Every step is one statement, or one thing that Postgres does in
 * one go; in between anything may happen.
 */

#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef ENGINES
#define ENGINES 2
#endif
#define ROOM 2        /* what one claim takes at most */
#define HOLDS(n, c) assert(!(CHECKED & (1 << n)) || (c))

byte due;             /* committed, and not claimed yet */
byte late;            /* the same, and too far back for a claim that does not look at everything */
byte sharing;         /* writers that hold the lock together */
byte holder = 255;    /* the engine that holds it alone */
bool asks[ENGINES];   /* ... and those that wait for it */
bool wanted[ENGINES]; /* the engine means to sleep */
bool wake[ENGINES];   /* its flag */
bool dead[ENGINES];
byte deaths = FAULTS;
byte waiting;         /* how many ask */

inline notify_all() {
    i = 0;
    do
    :: i < ENGINES -> wake[i] = true; i++
    :: else -> break
    od
}

proctype Writer() {
    bool shares;
    byte i;
    /* The trigger, in the writer's transaction: try to share the lock. */
    atomic { shares = (holder == 255 && waiting == 0); sharing = sharing + shares }
#ifdef BROKEN_RELEASE
    atomic { sharing = sharing - shares }  /* the lock ends with the statement, and not with the transaction */
#endif
    /* Commit: what it made is there to be claimed, then its notification is delivered, then its locks are let go. */
    if
    :: due++
    :: late++
    fi;
    if
    :: !shares -> atomic { notify_all() }
    :: else
    fi;
#ifndef BROKEN_RELEASE
    atomic { sharing = sharing - shares }
#endif
}

/* The task that tends the gate: its own connection. */
proctype Gate(byte me) {
end_open:
    do
    :: dead[me] -> break
    :: !dead[me] && wanted[me] && !asks[me] && holder != me -> atomic { asks[me] = true; waiting++ }
    :: !dead[me] && asks[me] && sharing == 0 && holder == 255 ->
        atomic {
            if
            :: sharing == 0 && holder == 255 && asks[me] && !dead[me] ->
                asks[me] = false; waiting--; holder = me;
#ifndef BROKEN_ONCE_MORE
                wake[me] = true  /* one more claim */
#endif
            :: else
            fi
        }
    :: !dead[me] && asks[me] && (sharing > 0 || holder != 255) -> atomic {  /* it has waited for long: withdraw */
            if
            :: asks[me] && deaths > 0 -> asks[me] = false; waiting--; deaths--
            :: else
            fi
        }
    :: !dead[me] && holder == me && !wanted[me] -> atomic {
            if
            :: holder == me && !wanted[me] -> holder = 255
            :: else
            fi
        }
    od
}

inline some_day() {  /* it is time to look at everything, or not */
    if
    :: everything = true
    :: everything = false
    fi
}

proctype Engine(byte me) {
    byte claimed, more;
    bool everything = true;
    do
    :: dead[me] -> break
    :: !dead[me] ->
        atomic {  /* the claim */
            claimed = (everything -> (late < ROOM -> late : ROOM) : 0);
            late = late - claimed;
            more = (due < ROOM - claimed -> due : ROOM - claimed);
            due = due - more;
            claimed = claimed + more
        }
        if
        :: claimed == ROOM -> wanted[me] = false; some_day()  /* enough to do; and claim again */
#ifndef BROKEN_REACH
        :: claimed < ROOM && !everything && (claimed == 0 || !wanted[me]) -> everything = true
        :: claimed > 0 && claimed < ROOM && !everything && wanted[me] -> some_day()  /* in a moment */
        :: claimed < ROOM && everything ->
#else
        :: claimed < ROOM ->  /* sleep, whatever was looked at */
#endif
            wanted[me] = true;
end_asleep:
            if
            :: atomic { wake[me] -> wake[me] = false }
            :: dead[me]
            fi;
            some_day()
        fi
    od
}

/* Death: its connections end, and with them its locks and requests. Not the last one: an engine is to be there. */
proctype Death() {
    if
    :: atomic {
            deaths > 0 -> deaths--; dead[0] = true;
            if :: asks[0] -> asks[0] = false; waiting-- :: else fi;
            if :: holder == 0 -> holder = 255 :: else fi
        }
    :: skip
    fi
}

proctype Judge() {
end_judge:
    timeout -> HOLDS(9, due + late == 0)
}

init {
    byte n;
    atomic {
        n = 0;
        do :: n < ENGINES -> run Engine(n); run Gate(n); n++ :: else -> break od;
        n = 0;
        do :: n < WRITERS -> run Writer(); n++ :: else -> break od;
        if :: ENGINES > 1 -> run Death() :: else fi;
        run Judge()
    }
}
