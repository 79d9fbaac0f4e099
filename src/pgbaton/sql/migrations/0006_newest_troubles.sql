-- What operators look for is among what failed, the newest first: not all that was ever called is read for it, and nothing
-- is sorted. Building the two takes about a second for each million attempts that are kept; calls that go well are in
-- neither.
CREATE INDEX attempts_failed ON pgbaton.attempts (dispatch_id, attempt) WHERE error IS NOT NULL;
CREATE INDEX dispatches_troubled_newest ON pgbaton.dispatches (pipeline, id, state)
    WHERE state IN ('retryable', 'dead', 'cancelled');
