BEGIN;
SET LOCAL lock_timeout = '{lock_timeout}';
SELECT pg_catalog.pg_advisory_xact_lock({lock});
DO $pgbaton{tag}$
BEGIN
    IF to_regclass({table_literal}) IS NOT NULL THEN
        DROP TRIGGER IF EXISTS job_state_change_trigger ON {table};
        DROP TRIGGER IF EXISTS job_state_truncate_trigger ON {table};
    END IF;
END
$pgbaton{tag}$;
DROP FUNCTION IF EXISTS {function}();
SELECT pgbaton.jobs_truncated({pipeline});
DELETE FROM pgbaton.pipelines WHERE name = {pipeline};
COMMIT;
