/* Who may be called next, for Spin: claims that lock, count and grant; stages at work; workers that die. See README.md.
 *
 * Two stages share a pool of SIZE places: a cheap one (1 place a call, LIMIT calls at once, PER_TENANT of one tenant), and a dear
 * one (2 places). One worker takes both stages, the other the cheap one alone. A claim is several steps, as pgbaton.admit() is
 * several statements, each with a snapshot of its own: it locks the pool, then its stages from the last to the first, counts
 * behind each lock, and commits all that it granted with its locks. Anything may happen in between.
 *
 * Property 13: the calls that the stages themselves are at work on never exceed a limit. 14: when nothing can happen any more,
 * every job has ended. 15: nothing is passed over: a tenant gets a call after one of the other's, and once the pool was found too full
 * for the dear call, no cheap one begins before it.
 */

#ifndef MOVES
#define MOVES 0
#endif
#ifndef LIMIT
#define LIMIT 2
#endif
#ifndef PER_TENANT
#define PER_TENANT 1
#endif
#ifndef SIZE
#define SIZE 3
#endif
#define JOBS 5
#define DEAR 4                  /* the job of the dear stage; the others are cheap: 0, 2 and 3 of tenant 0, 1 of tenant 1 */
#define TENANT(j) ((j) == 1)
#define COST(j) ((j) == DEAR -> 2 : 1)
#define HOLDS(n, c) assert(!(CHECKED & (1 << n)) || (c))

mtype = { WAITS, CALLED, ENDED };

mtype job[JOBS];
bit works[JOBS];                /* its stage is at work */
bit lost[JOBS];                 /* its worker has no lease any more */
byte pool, cheap, dear;         /* the locks: who has them; 0: nobody */
bit kept;                       /* the pool is kept for the dear call */
bit turn;                       /* the tenant that begins */
bit crowded;                       /* ghost: a committed claim has found the pool too full for the dear call */
byte passed;                    /* ghost: calls of tenant 0 that began while tenant 1's job waited */
byte faults = FAULTS;
byte x_j, x_all, x_one, x_used; /* scratch of steps that are one */

#ifdef BROKEN_FORGETS_LOST
#define COUNTS(j) (job[j] == CALLED && !lost[j])
#else
#define COUNTS(j) (job[j] == CALLED)
#endif

/* Calls of the cheap stage, of each tenant there, and places of the pool, by what is committed. */
inline count(all_, of0_, of1_, used_) {
    all_ = 0; of0_ = 0; of1_ = 0; used_ = 0;
    for (x_j : 0 .. JOBS - 1) {
        if
        :: COUNTS(x_j) ->
            used_ = used_ + COST(x_j);
            if
            :: x_j != DEAR && TENANT(x_j) -> all_++; of1_++
            :: x_j != DEAR && !TENANT(x_j) -> all_++; of0_++
            :: else
            fi
        :: else
        fi
    }
    x_j = 0
}

/* What the stages see. */
inline witness() {
    x_all = 0; x_one = 0; x_used = 0;
    for (x_j : 0 .. JOBS - 1) {
        if
        :: works[x_j] ->
            x_used = x_used + COST(x_j);
            if :: x_j != DEAR -> x_all++ :: else fi;
            if :: x_j != DEAR && !TENANT(x_j) -> x_one++ :: else fi
        :: else
        fi
    }
    HOLDS(13, x_all <= LIMIT && x_one <= PER_TENANT && x_used <= SIZE);
    x_j = 0; x_all = 0; x_one = 0; x_used = 0
}

/* A waiting job of the tenant, that this claim has not granted yet: JOBS if there is none. */
inline next_of(t_, j_) {
    j_ = JOBS;
    for (x_j : 0 .. JOBS - 2) {
        if :: j_ == JOBS && job[x_j] == WAITS && TENANT(x_j) == t_ && !(mine & (1 << x_j)) -> j_ = x_j :: else fi
    }
    x_j = 0
}

inline grant_cheap() {
    free = (LIMIT > all -> LIMIT - all : 0);
    free = (SIZE > used + grants_dear -> (free < SIZE - used - grants_dear -> free : SIZE - used - grants_dear) : 0);
    if :: (kept || keeps) && !grants_dear -> free = 0 :: else fi;
#ifdef BROKEN_TURN
    next = 0;
#else
    next = turn;
#endif
    do
    :: free == 0 -> break
    :: else ->
        next_of(next, j);
        if
        :: j < JOBS && (next -> of1 : of0) < PER_TENANT -> skip
        :: else -> next = 1 - next; next_of(next, j)
        fi;
        if
        :: j < JOBS && (next -> of1 : of0) < PER_TENANT ->
            mine = mine | (1 << j); free--;
            if :: next -> of1++ :: else -> of0++ fi;
            next = 1 - next
        :: else -> break
        fi
    od;
    j = 0
}

inline commit() {
    for (x_j : 0 .. JOBS - 1) {
        if
        :: mine & (1 << x_j) ->
            if :: x_j != DEAR -> HOLDS(15, !crowded || grants_dear) :: else fi;
            if :: x_j != DEAR && !TENANT(x_j) && job[1] == WAITS && !(mine & 2) -> passed++; HOLDS(15, passed <= 1) :: else fi;
            if :: x_j == 1 -> passed = 0 :: else fi;
            job[x_j] = CALLED; works[x_j] = 1; printf("worker %d calls %d\n", me, x_j)
        :: else
        fi
    }
    x_j = 0;
    if :: grants_dear -> kept = 0; crowded = 0 :: else fi;
    if :: keeps -> crowded = 1 :: else fi;
#ifndef BROKEN_KEPT
    if :: keeps -> kept = 1 :: else fi;
#endif
    if :: mine & 15 -> turn = next :: else fi;
    let_go();
    witness()
}

inline let_go() {
    if :: pool == me -> pool = 0 :: else fi;
    if :: cheap == me -> cheap = 0 :: else fi;
    if :: dear == me -> dear = 0 :: else fi;
    mine = 0; grants_dear = 0; keeps = 0; all = 0; of0 = 0; of1 = 0; used = 0; free = 0; next = 0
}

#define CHEAP_WAITS (job[0] == WAITS || job[1] == WAITS || job[2] == WAITS || job[3] == WAITS)
#define SOMETHING_WAITS (CHEAP_WAITS || (both && job[DEAR] == WAITS))

proctype Worker(byte me; bit both) {
    byte mine, grants_dear, all, of0, of1, used, free, j;
#ifdef BROKEN_COUNTS_FIRST
    byte old_all, old_of0, old_of1, old_used;
#endif
    bit keeps, next;
end:
    do
    :: SOMETHING_WAITS ->
#ifdef BROKEN_ORDER
        if
        :: !both -> atomic { cheap == 0 -> cheap = me }
        :: else
        fi;
#endif
#ifdef BROKEN_COUNTS_FIRST
        d_step { count(old_all, old_of0, old_of1, old_used) };
#endif
#ifndef BROKEN_NO_POOL_LOCK
        atomic { pool == 0 -> pool = me };
#endif
        if
        :: both && job[DEAR] == WAITS ->
            atomic { dear == 0 -> dear = me };
            d_step {
                count(all, of0, of1, used);
                if
                :: job[DEAR] == WAITS && used + 2 <= SIZE -> mine = 1 << DEAR; grants_dear = 2
                :: job[DEAR] == WAITS && used + 2 > SIZE -> keeps = 1
                :: else
                fi;
                all = 0; of0 = 0; of1 = 0; used = 0
            }
        :: else
        fi;
        atomic { (cheap == 0 || cheap == me) -> cheap = me };
#ifdef BROKEN_COUNTS_FIRST
        d_step { all = old_all; of0 = old_of0; of1 = old_of1; used = old_used; old_all = 0; old_of0 = 0; old_of1 = 0; old_used = 0 };
#else
        d_step { count(all, of0, of1, used) };
#endif
        d_step { grant_cheap() };
        if
        :: d_step { commit() }
        :: d_step { faults -> faults--; let_go(); printf("worker %d dies before its commit\n", me) }
        fi
    od
}

/* Stages, and what becomes of calls whose worker dies or loses its lease. */
#define OF_JOB(j) \
    :: d_step { works[j] -> works[j] = 0; lost[j] = 0; job[j] = ENDED; printf("stage ends %d\n", j) } \
    :: d_step { job[j] == CALLED && !lost[j] && faults -> faults--; lost[j] = 1; printf("worker of %d is lost\n", j) } \
    :: d_step { works[j] && !lost[j] && faults -> faults--; lost[j] = 1; works[j] = 0; printf("worker dies before it calls %d\n", j) } \
    :: d_step { job[j] == CALLED && lost[j] && !works[j] -> \
        job[j] = WAITS; lost[j] = 0; if :: j == 1 -> passed = 0 :: else fi; printf("worker gives %d back\n", j) }

proctype Rest() {
end:
    do
    OF_JOB(0)
    OF_JOB(1)
    OF_JOB(2)
    OF_JOB(3)
    OF_JOB(DEAR)
    od
}

proctype Judge() {
end:
    atomic { timeout ->
        for (x_j : 0 .. JOBS - 1) { HOLDS(14, job[x_j] == ENDED) }
    }
}

init {
    atomic {
        for (x_j : 0 .. JOBS - 1) { job[x_j] = WAITS }
        x_j = 0;
        run Worker(1, 1); run Worker(2, 0); run Rest(); run Judge()
    }
}
