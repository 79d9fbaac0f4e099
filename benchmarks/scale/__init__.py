"""pgbaton alone, when there is much: waiting jobs, dead tuples, workers, rows in one statement."""
