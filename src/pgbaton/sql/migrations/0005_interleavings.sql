-- What statements that meet each other may not leave behind: attempts that stay open, jobs with no dispatch, dead jobs
-- that live again.

-- Cancel what is open for jobs. In two statements: the first may wait for a claim, whose attempt only a snapshot that
-- is taken after the wait can see.
CREATE OR REPLACE FUNCTION pgbaton.cancel_open(job_pipeline text, keys text[]) RETURNS void
LANGUAGE plpgsql
AS $fn$
DECLARE
    ids bigint[];
BEGIN
    WITH cancelled AS (
        UPDATE pgbaton.dispatches d
           SET state = 'cancelled', worker = NULL, deadline = NULL, settled_at = clock_timestamp()
         WHERE d.pipeline = job_pipeline AND d.job_key = ANY (keys)
           AND d.state IN ('available', 'running', 'retryable')
        RETURNING d.id
    )
    SELECT array_agg(c.id) INTO ids FROM cancelled c;
    UPDATE pgbaton.attempts t
       SET finished_at = clock_timestamp(), outcome = 'superseded'
     WHERE t.dispatch_id = ANY (ids) AND t.finished_at IS NULL;
END
$fn$;
