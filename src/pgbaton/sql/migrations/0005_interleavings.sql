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

-- As before, but a rewind to the stage that was being called asks for no dispatch beside that one.
CREATE OR REPLACE FUNCTION pgbaton.absorb_job(job_pipeline text, key text, job_tenant text, now_step text, now_status text,
                                   newest timestamptz, entered text[], entered_at timestamptz[])
RETURNS boolean
LANGUAGE plpgsql
AS $fn$
DECLARE
    due boolean := false;
BEGIN
    -- A failure counts once. Where no attempt that was under way then is under way still, a worker has counted it by
    -- the answer and the row, and what is open now is a later attempt's.
    IF now_status IS DISTINCT FROM 'failed'
       OR NOT EXISTS (SELECT FROM pgbaton.dispatches d
                       WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.stage = now_step
                         AND d.state IN ('available', 'running', 'retryable'))
       OR EXISTS (SELECT FROM pgbaton.dispatches d
                    JOIN pgbaton.attempts t ON t.dispatch_id = d.id AND t.attempt = d.attempt
                   WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.stage = now_step AND d.state = 'running'
                     AND t.started_at <= newest)
    THEN
        due := pgbaton.settle_and_create(job_pipeline, key, job_tenant, now_step, now_status);
    END IF;
    -- The row went through an entry state and is beyond it already: the stage was begun by somebody else's call. If
    -- that one dies, only a dispatch brings the job on. But one that was open then, and not at its end, was rewound
    -- and went on, whatever came of it.
    IF now_status IN ('running', 'failed') THEN
        INSERT INTO pgbaton.dispatches (pipeline, job_key, tenant, stage)
        SELECT job_pipeline, key, job_tenant, s.step
          FROM unnest(entered, entered_at) AS e (step, entered_at)
          JOIN pgbaton.stages s
            ON s.pipeline = job_pipeline AND s.after = e.step AND s.step = now_step AND s.routed
         WHERE NOT EXISTS (SELECT FROM pgbaton.dispatches d
                            WHERE d.pipeline = job_pipeline AND d.job_key = key AND d.stage = s.step
                              AND coalesce(d.settled_at, 'infinity') >= e.entered_at
                              AND NOT EXISTS (SELECT FROM unnest(entered, absorb_job.entered_at) AS ended (step, ended_at)
                                               WHERE ended.step = s.step
                                                 AND ended.ended_at BETWEEN d.created_at AND e.entered_at))
         LIMIT 1
        ON CONFLICT (pipeline, job_key) WHERE state IN ('available', 'running', 'retryable') DO NOTHING;
        due := due OR FOUND;
    END IF;
    RETURN due;
END
$fn$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgbaton FROM PUBLIC;
