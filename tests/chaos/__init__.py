"""The fault suite: real workers, real stages and a real Postgres under attack, judged by what the stages saw.

    make chaos                                   every fault, about ten minutes on two cores
    make chaos SEED=7 FAULTS=worker_killed       one fault, with the dice of an earlier run

A *scene* is a database, a table of jobs, worker processes and stage processes. A *fault* attacks the scene while
jobs are fed into it, then stops; the *oracle* decides from the stages' journals and the rows alone.
"""
