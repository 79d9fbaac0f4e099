BEGIN;
SELECT pg_catalog.pg_advisory_xact_lock({lock});
DO $pgbaton$
BEGIN
    IF to_regnamespace('pgbaton') IS NULL THEN
        CREATE SCHEMA pgbaton;
        CREATE TABLE pgbaton.migrations (
            version    integer PRIMARY KEY,
            name       text NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now()
        );
    END IF;
END
$pgbaton$;
{migrations}COMMIT;
