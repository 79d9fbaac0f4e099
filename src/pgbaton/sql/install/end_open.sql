BEGIN;
SET LOCAL lock_timeout = '{lock_timeout}';
SET LOCAL search_path = pg_catalog, pg_temp;
{lock};
-- Open dispatches end: no worker comes to them any more. Those whose row has passed (stage, done) are completed, as the view
-- shows them; the rest is cancelled.
WITH due AS (
    DELETE FROM pgbaton.due WHERE pipeline = {pipeline} RETURNING *
), calls AS (
    DELETE FROM pgbaton.calls WHERE pipeline = {pipeline} RETURNING *
), passed AS (
    SELECT job_key, step AS stage, max(id) AS id FROM due WHERE status = 'done' GROUP BY job_key, step
), open AS (
    SELECT id, attempt, due_at IS NULL AS called, job_key, tenant, stage, run, failures, worker, http_status, error, created_at,
           started_at
      FROM calls
    UNION ALL
    SELECT next_id, 0, false, job_key, tenant, stage, next_id, 0, NULL, NULL, NULL, next_at, NULL FROM calls
     WHERE next_id IS NOT NULL
    UNION ALL
    SELECT id, 0, false, job_key, tenant, stage, id, 0, NULL, NULL, NULL, created_at, NULL FROM due WHERE stage <> ''
)
INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, failures, worker, outcome, state,
                             http_status, error, created_at, started_at)
SELECT o.id, o.attempt, o.called, {pipeline}, o.job_key, o.tenant, o.stage, o.run, o.failures, o.worker,
       CASE WHEN p.id > o.id THEN 'completed' ELSE 'superseded' END, CASE WHEN p.id > o.id THEN 'completed' ELSE 'cancelled' END,
       o.http_status, o.error, o.created_at, o.started_at
  FROM open AS o
  LEFT JOIN passed AS p ON p.job_key = o.job_key AND p.stage = o.stage;
DELETE FROM pgbaton.adoptions WHERE pipeline = {pipeline};
DELETE FROM pgbaton.past WHERE pipeline = {pipeline};
DELETE FROM pgbaton.shadow WHERE pipeline = {pipeline};
DELETE FROM pgbaton.pipelines WHERE name = {pipeline};
COMMIT;
