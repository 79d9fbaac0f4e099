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

-- Cancel what is open for jobs that are gone; returns those for which something was. Whoever is inserting a job again
-- has locked the dispatch that it found open, or is kept waiting by us: so, once we have the lock, a statement that
-- begins after it knows for certain whether the row is there. Nothing is waited for.
CREATE FUNCTION pgbaton.forget(job_pipeline text, keys text[]) RETURNS text[]
LANGUAGE plpgsql
AS $fn$
DECLARE
    held constant text[] := ARRAY(
        SELECT d.job_key FROM pgbaton.dispatches d
         WHERE d.pipeline = job_pipeline AND d.job_key = ANY (keys) AND d.state IN ('available', 'running', 'retryable')
           FOR NO KEY UPDATE SKIP LOCKED);
    absent constant text := (
        SELECT format('SELECT array_agg(k) FROM unnest($1) AS k WHERE NOT EXISTS (SELECT FROM %s AS j WHERE j.%I = k::%s)',
                      p.job_table, p.key_column, format_type(a.atttypid, a.atttypmod))
          FROM pgbaton.pipelines p
          JOIN pg_attribute a ON a.attrelid = p.job_table AND a.attname = p.key_column
         WHERE p.name = job_pipeline);
    gone text[];
BEGIN
    EXECUTE absent INTO gone USING held;
    PERFORM pgbaton.cancel_open(job_pipeline, gone);
    RETURN gone;
END
$fn$;
