-- Searching by error reads the calls that failed, the newest first, and not all that were ever made. Building it takes
-- less than a second for each million attempts that are kept.
CREATE INDEX attempts_failed ON pgbaton.attempts (dispatch_id, attempt) WHERE error IS NOT NULL;
