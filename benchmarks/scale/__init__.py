"""What happens when there is much: waiting, dead tuples, workers, rows in one statement. pgbaton alone."""
