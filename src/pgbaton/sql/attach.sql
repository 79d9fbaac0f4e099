-- Attach pipeline {pipeline}: its routes as rows, and its trigger on {table}.
-- Safe to run again: each part changes only what differs.
BEGIN;
SET LOCAL lock_timeout = '{lock_timeout}';
SELECT pg_catalog.pg_advisory_xact_lock({lock});

INSERT INTO pgbaton.pipelines AS p (name, job_table, key_column, tenant_column, step_column, status_column, channel)
VALUES ({pipeline}, {table_literal}::regclass, {key_literal}, {tenant_literal}, {step_literal}, {status_literal}, {channel})
ON CONFLICT (name) DO UPDATE
   SET job_table = EXCLUDED.job_table, key_column = EXCLUDED.key_column, tenant_column = EXCLUDED.tenant_column,
       step_column = EXCLUDED.step_column, status_column = EXCLUDED.status_column, channel = EXCLUDED.channel,
       attached_at = now()
 WHERE (p.job_table, p.key_column, p.tenant_column, p.step_column, p.status_column, p.channel)
       IS DISTINCT FROM (EXCLUDED.job_table, EXCLUDED.key_column, EXCLUDED.tenant_column, EXCLUDED.step_column,
                         EXCLUDED.status_column, EXCLUDED.channel);

-- Routes that go or change step aside first: one state has one route at any moment.
UPDATE pgbaton.stages SET routed = false
 WHERE pipeline = {pipeline} AND routed
   AND (step, after) NOT IN (VALUES {routes});
INSERT INTO pgbaton.stages AS s (pipeline, step, after, position, timeout, attempts, concurrency)
VALUES {stages}
ON CONFLICT (pipeline, step) DO UPDATE
   SET after = EXCLUDED.after, position = EXCLUDED.position, timeout = EXCLUDED.timeout,
       attempts = EXCLUDED.attempts, concurrency = EXCLUDED.concurrency, routed = true
 WHERE (s.after, s.position, s.timeout, s.attempts, s.concurrency, s.routed)
       IS DISTINCT FROM (EXCLUDED.after, EXCLUDED.position, EXCLUDED.timeout, EXCLUDED.attempts,
                         EXCLUDED.concurrency, true);

DO $pgbaton{tag}$
DECLARE
    -- The engine's functions run with their owner's rights, so that a role which may update its jobs
    -- needs no right on the schema pgbaton.
    ours constant oid := to_regprocedure({function_literal});
    job_table constant regclass := {table_literal};
    -- updated_at is published where the column exists; its name is handed to the trigger as an argument.
    touch constant text := (
        SELECT attname FROM pg_attribute
         WHERE attrelid = job_table AND attname = 'updated_at' AND NOT attisdropped
           AND atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype));
BEGIN
    IF NOT has_function_privilege('pgbaton.job_changed(text, text, text, text, text, text, timestamptz)', 'EXECUTE') THEN
        RAISE insufficient_privilege USING MESSAGE =
            format('the role %s may not execute the functions of pgbaton, and the trigger runs with its rights', current_user);
    END IF;
    -- Plans are made once a session, perhaps while our tables are empty: they must be those for full ones.
    IF (SELECT md5(prosrc) = '{body_md5}' AND prosecdef
               AND proconfig = ARRAY['search_path=pg_catalog, pg_temp', 'enable_seqscan=off', 'plan_cache_mode=force_generic_plan']
          FROM pg_proc WHERE oid = ours) IS NOT TRUE THEN
        EXECUTE $ddl{tag}$
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $fn{tag}${body}$fn{tag}$
        $ddl{tag}$;
        REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;
    END IF;

    IF NOT EXISTS (
        SELECT FROM pg_trigger
         WHERE tgrelid = job_table AND tgname = 'job_state_change_trigger' AND tgfoid = {function_literal}::regprocedure
           AND tgtype = 29  -- after insert, update, delete, for each row
           AND tgenabled IN ('O', 'A') AND tgqual IS NULL AND tgattr = ''
           AND tgargs = coalesce(convert_to(touch, 'UTF8') || E'\\x00', ''))
    THEN
        EXECUTE format('CREATE OR REPLACE TRIGGER job_state_change_trigger AFTER INSERT OR UPDATE OR DELETE ON %s
                        FOR EACH ROW EXECUTE FUNCTION %s(%s)', {table_literal}, {function_name}, coalesce(quote_literal(touch), ''));
        ALTER TABLE {table} ENABLE TRIGGER job_state_change_trigger;
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_trigger
         WHERE tgrelid = job_table AND tgname = 'job_state_truncate_trigger' AND tgfoid = {function_literal}::regprocedure
           AND tgtype = 32  -- after truncate, for each statement
           AND tgenabled IN ('O', 'A'))
    THEN
        CREATE OR REPLACE TRIGGER job_state_truncate_trigger AFTER TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION {function}();
        ALTER TABLE {table} ENABLE TRIGGER job_state_truncate_trigger;
    END IF;
END
$pgbaton{tag}$;
COMMIT;
