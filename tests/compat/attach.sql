-- What attach ran up to version 3 of the schema, for the pipeline of the tests.
-- Attach pipeline 'craft': its routes as rows, and its trigger on "public"."jobs".
-- Safe to run again: each part changes only what differs.
BEGIN;
SET LOCAL lock_timeout = '3s';
SELECT pg_catalog.pg_advisory_xact_lock(7239450211);

INSERT INTO pgbaton.pipelines AS p (name, job_table, key_column, tenant_column, step_column, status_column, channel)
VALUES ('craft', '"public"."jobs"'::regclass, 'job_id', 'tenant_id', 'current_step', 'status', 'job_state_changed')
ON CONFLICT (name) DO UPDATE
   SET job_table = EXCLUDED.job_table, key_column = EXCLUDED.key_column, tenant_column = EXCLUDED.tenant_column,
       step_column = EXCLUDED.step_column, status_column = EXCLUDED.status_column, channel = EXCLUDED.channel,
       attached_at = now()
 WHERE (p.job_table, p.key_column, p.tenant_column, p.step_column, p.status_column, p.channel)
       IS DISTINCT FROM (EXCLUDED.job_table, EXCLUDED.key_column, EXCLUDED.tenant_column, EXCLUDED.step_column,
                         EXCLUDED.status_column, EXCLUDED.channel);

-- Routes that go or change step aside first: one state has one route at any moment.
UPDATE pgbaton.stages SET routed = false
 WHERE pipeline = 'craft' AND routed
   AND (step, after) NOT IN (VALUES ('cut', 'made'), ('glue', 'cut'));
INSERT INTO pgbaton.stages AS s (pipeline, step, after, position, timeout, attempts, concurrency)
VALUES ('craft', 'cut', 'made', 1, interval '600.000000 s', 5, NULL),
       ('craft', 'glue', 'cut', 2, interval '600.000000 s', 5, NULL)
ON CONFLICT (pipeline, step) DO UPDATE
   SET after = EXCLUDED.after, position = EXCLUDED.position, timeout = EXCLUDED.timeout,
       attempts = EXCLUDED.attempts, concurrency = EXCLUDED.concurrency, routed = true
 WHERE (s.after, s.position, s.timeout, s.attempts, s.concurrency, s.routed)
       IS DISTINCT FROM (EXCLUDED.after, EXCLUDED.position, EXCLUDED.timeout, EXCLUDED.attempts,
                         EXCLUDED.concurrency, true);

DO $pgbaton$
DECLARE
    -- The engine's functions run with their owner's rights, so that a role which may update its jobs
    -- needs no right on the schema pgbaton.
    ours constant oid := to_regprocedure('"public"."notify_job_state_change"()');
    job_table constant regclass := '"public"."jobs"';
    -- updated_at is published where the column exists; its name is handed to the trigger as an argument.
    touch constant text := (
        SELECT attname FROM pg_attribute
         WHERE attrelid = job_table AND attname = 'updated_at' AND NOT attisdropped
           AND atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype));
BEGIN
    IF NOT has_function_privilege('pgbaton.job_changed(text, text, text, text, text, timestamptz)', 'EXECUTE') THEN
        RAISE insufficient_privilege USING MESSAGE =
            format('the role %s may not execute the functions of pgbaton, and the trigger runs with its rights', current_user);
    END IF;
    IF (SELECT md5(prosrc) = 'b05a42af2ccf761c48f6aac25ab6ef83' AND prosecdef AND proconfig = ARRAY['search_path=pg_catalog, pg_temp']
          FROM pg_proc WHERE oid = ours) IS NOT TRUE THEN
        EXECUTE $ddl$
CREATE OR REPLACE FUNCTION "public"."notify_job_state_change"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $fn$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pgbaton.jobs_truncated('craft');
        RETURN NULL;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM pgbaton.jobs_gone('craft', ARRAY[OLD."job_id"::text]);
        RETURN NULL;
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW."job_id" IS DISTINCT FROM OLD."job_id" THEN
            PERFORM pgbaton.jobs_gone('craft', ARRAY[OLD."job_id"::text]);
        ELSIF NEW."current_step" IS NOT DISTINCT FROM OLD."current_step" AND NEW."status" IS NOT DISTINCT FROM OLD."status" THEN
            RETURN NULL;
        END IF;
    END IF;
    IF NEW."job_id" IS NULL THEN
        RETURN NULL;
    ELSIF TG_NARGS = 0 THEN
        PERFORM pgbaton.job_changed('craft', NEW."job_id"::text, NEW."tenant_id"::text, NEW."current_step"::text, NEW."status"::text, NULL);
    ELSE
        PERFORM pgbaton.job_changed('craft', NEW."job_id"::text, NEW."tenant_id"::text, NEW."current_step"::text, NEW."status"::text, NEW.updated_at);
    END IF;
    RETURN NULL;
END
$fn$
        $ddl$;
        REVOKE ALL ON FUNCTION "public"."notify_job_state_change"() FROM PUBLIC;
    END IF;

    IF NOT EXISTS (
        SELECT FROM pg_trigger
         WHERE tgrelid = job_table AND tgname = 'job_state_change_trigger' AND tgfoid = '"public"."notify_job_state_change"()'::regprocedure
           AND tgtype = 29  -- after insert, update, delete, for each row
           AND tgenabled IN ('O', 'A') AND tgqual IS NULL AND tgattr = ''
           AND tgargs = coalesce(convert_to(touch, 'UTF8') || E'\\x00', ''))
    THEN
        EXECUTE format('CREATE OR REPLACE TRIGGER job_state_change_trigger AFTER INSERT OR UPDATE OR DELETE ON %s
                        FOR EACH ROW EXECUTE FUNCTION %s(%s)', '"public"."jobs"', '"public"."notify_job_state_change"', coalesce(quote_literal(touch), ''));
        ALTER TABLE "public"."jobs" ENABLE TRIGGER job_state_change_trigger;
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_trigger
         WHERE tgrelid = job_table AND tgname = 'job_state_truncate_trigger' AND tgfoid = '"public"."notify_job_state_change"()'::regprocedure
           AND tgtype = 32  -- after truncate, for each statement
           AND tgenabled IN ('O', 'A'))
    THEN
        CREATE OR REPLACE TRIGGER job_state_truncate_trigger AFTER TRUNCATE ON "public"."jobs"
            FOR EACH STATEMENT EXECUTE FUNCTION "public"."notify_job_state_change"();
        ALTER TABLE "public"."jobs" ENABLE TRIGGER job_state_truncate_trigger;
    END IF;
END
$pgbaton$;
COMMIT;
