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
DO $pgbaton$
DECLARE
    -- Users' transactions reach our tables in any order, so an upgrade that took its locks one by one could meet one in
    -- a deadlock, and the database might choose theirs to abort. All locks are had at once or given back, sooner than
    -- anybody looks for deadlocks.
    ours constant text := (
        SELECT string_agg(format('pgbaton.%I', relname), ', ' ORDER BY relname)
          FROM pg_class
         WHERE relnamespace = 'pgbaton'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'migrations');
    patience constant text := (
        SELECT greatest(5, setting::integer / 20)::text FROM pg_settings WHERE name = 'deadlock_timeout');
    deadline constant timestamptz := clock_timestamp() + interval '30 s';
BEGIN
    IF ours IS NULL OR EXISTS (SELECT FROM pgbaton.migrations WHERE version >= {newest}) THEN
        RETURN;
    END IF;
    LOOP
        BEGIN
            PERFORM set_config('lock_timeout', patience, true);
            EXECUTE 'LOCK TABLE ' || ours;
            PERFORM set_config('lock_timeout', '0', true);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            IF clock_timestamp() > deadline THEN
                RAISE lock_not_available USING MESSAGE = 'the tables of pgbaton were busy for 30 s';
            END IF;
        END;
        PERFORM pg_sleep(0.3 * random());
    END LOOP;
END
$pgbaton$;
{migrations}COMMIT;
