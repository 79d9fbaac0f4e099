BEGIN;
SET LOCAL lock_timeout = '{lock_timeout}';
SELECT pg_catalog.pg_advisory_xact_lock({lock});
DO $pgbaton{tag}$
BEGIN
    IF to_regclass({table_literal}) IS NOT NULL THEN
        DROP TRIGGER IF EXISTS job_state_change_trigger ON {table};
        DROP TRIGGER IF EXISTS job_state_insert_trigger ON {table};
    END IF;
END
$pgbaton{tag}$;
DROP FUNCTION IF EXISTS {function}();
-- Open dispatches end as cancelled: no worker comes to them any more.
WITH due AS (
    DELETE FROM pgbaton.due WHERE pipeline = {pipeline} RETURNING *
), calls AS (
    DELETE FROM pgbaton.calls WHERE pipeline = {pipeline} RETURNING *
)
INSERT INTO pgbaton.history (id, attempt, called, pipeline, job_key, tenant, stage, run, failures, worker, outcome, state,
                             http_status, error, created_at, started_at)
SELECT id, attempt, due_at IS NULL, pipeline, job_key, tenant, stage, run, failures, worker, 'superseded', 'cancelled',
       http_status, error, created_at, started_at
  FROM calls
UNION ALL
SELECT next_id, 0, false, pipeline, job_key, tenant, stage, next_id, 0, NULL, 'superseded', 'cancelled', NULL, NULL, next_at, NULL
  FROM calls WHERE next_id IS NOT NULL
UNION ALL
SELECT id, 0, false, pipeline, job_key, tenant, stage, id, 0, NULL, 'superseded', 'cancelled', NULL, NULL, created_at, NULL
  FROM due WHERE stage <> '';
DELETE FROM pgbaton.pipelines WHERE name = {pipeline};
COMMIT;
