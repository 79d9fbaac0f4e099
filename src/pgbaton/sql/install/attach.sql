-- Attach pipeline {pipeline}: its routes as rows, and its triggers on {table}.
-- Safe to run again: each part changes only what differs.
BEGIN;
SET LOCAL lock_timeout = '{lock_timeout}';
SET LOCAL search_path = pg_catalog, pg_temp;
{lock};

INSERT INTO pgbaton.pipelines AS p (name, job_table, key_columns, tenant_column, step_column, status_column, statuses, priority_column,
                                    not_before_column, channel)
VALUES ({pipeline}, {table_literal}::regclass, {keys}, {tenant_literal}, {step_literal}, {status_literal}, {statuses},
        {priority_literal}, {not_before_literal}, {channel})
ON CONFLICT (name) DO UPDATE
   SET job_table = EXCLUDED.job_table, key_columns = EXCLUDED.key_columns, tenant_column = EXCLUDED.tenant_column,
       step_column = EXCLUDED.step_column, status_column = EXCLUDED.status_column, statuses = EXCLUDED.statuses,
       priority_column = EXCLUDED.priority_column, not_before_column = EXCLUDED.not_before_column, channel = EXCLUDED.channel,
       attached_at = now()
 WHERE (p.job_table, p.key_columns, p.tenant_column, p.step_column, p.status_column, p.statuses, p.priority_column,
        p.not_before_column, p.channel)
       IS DISTINCT FROM (EXCLUDED.job_table, EXCLUDED.key_columns, EXCLUDED.tenant_column, EXCLUDED.step_column,
                         EXCLUDED.status_column, EXCLUDED.statuses, EXCLUDED.priority_column, EXCLUDED.not_before_column, EXCLUDED.channel);

UPDATE pgbaton.pipelines AS p SET known = now.known
  FROM (SELECT jsonb_build_object('table', {table_name}, 'columns', jsonb_object_agg(a.attname, a.attnum)) AS known
          FROM pg_attribute AS a
         WHERE a.attrelid = {table_literal}::regclass AND a.attnum > 0 AND NOT a.attisdropped
           AND a.attname = ANY (ARRAY[{column_names}])) AS now
 WHERE p.name = {pipeline} AND p.known IS DISTINCT FROM now.known;

-- Routes that go or change step aside first: one state has one route at any moment.
UPDATE pgbaton.stages SET routed = false
 WHERE pipeline = {pipeline} AND routed
   AND (step, after) NOT IN (VALUES {stage_routes});
{pools}INSERT INTO pgbaton.stages AS s (pipeline, step, after, position, timeout, attempts, advance, attached, takes_turns)
VALUES {stage_rows}
ON CONFLICT (pipeline, step) DO UPDATE
   SET after = EXCLUDED.after, position = EXCLUDED.position, timeout = EXCLUDED.timeout, attempts = EXCLUDED.attempts,
       advance = EXCLUDED.advance, routed = true, attached = EXCLUDED.attached, takes_turns = EXCLUDED.takes_turns
 WHERE (s.after, s.position, s.timeout, s.attempts, s.advance, s.routed, s.attached, s.takes_turns)
       IS DISTINCT FROM (EXCLUDED.after, EXCLUDED.position, EXCLUDED.timeout, EXCLUDED.attempts,
                         EXCLUDED.advance, true, EXCLUDED.attached, EXCLUDED.takes_turns);

DO $pgbaton{tag}$
DECLARE
    ours constant oid := to_regprocedure({function_literal});
    job_table constant regclass := {table_literal};
    -- updated_at is published where the column exists; its name is handed to the trigger as an argument.
    touch constant text := (
        SELECT attname FROM pg_attribute
         WHERE attrelid = job_table AND attname = 'updated_at' AND NOT attisdropped
           AND atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype));
    t record;
    before regprocedure;
BEGIN
    IF NOT has_function_privilege('pgbaton.event_payload(text, text, text, text, timestamptz)', 'EXECUTE')
       OR NOT has_table_privilege('pgbaton.due', 'INSERT')
    THEN
        RAISE insufficient_privilege USING MESSAGE =
            format('the role %s may not use the schema pgbaton, and the trigger runs with its rights', current_user);
    END IF;
    -- A function or trigger of that name that is not the engine's is not replaced.
    IF ours IS NOT NULL AND (SELECT prosrc NOT LIKE '%pgbaton.%' AND prosrc NOT LIKE '%job_state_changed%' FROM pg_proc WHERE oid = ours) THEN
        RAISE duplicate_object USING MESSAGE = format('the function %s is not pgbaton''s: rename it', {function_literal});
    END IF;
    -- (After the table was renamed it still has the engine's function of its old name.)
    SELECT g.tgname INTO t FROM pg_trigger AS g JOIN pg_proc AS f ON f.oid = g.tgfoid
     WHERE g.tgrelid = job_table AND g.tgname IN ('job_state_change_trigger', 'job_state_insert_trigger')
       AND g.tgfoid IS DISTINCT FROM ours AND f.prosrc NOT LIKE '%INSERT INTO pgbaton.due%';
    IF FOUND THEN
        RAISE duplicate_object USING MESSAGE = format('the trigger %s on %s is not pgbaton''s: rename it, or drop it',
                                                      t.tgname, {table_literal});
    END IF;
    IF (SELECT md5(prosrc) = '{body_md5}' AND prosecdef AND proconfig IS NULL FROM pg_proc WHERE oid = ours) IS NOT TRUE THEN
        -- Behind this lock no transaction is left that fires the old function: what it leaves has no rank (see the end).
        IF {takes_turns} THEN
            LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE;
        END IF;
        EXECUTE $ddl{tag}$
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $fn{tag}${body}$fn{tag}$
        $ddl{tag}$;
        REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;
    END IF;

    SELECT g.tgfoid INTO before FROM pg_trigger AS g
     WHERE g.tgrelid = job_table AND g.tgname = 'job_state_insert_trigger' AND g.tgfoid IS DISTINCT FROM {function_literal}::regprocedure;
    FOR t IN
        SELECT * FROM (VALUES
            ('job_state_change_trigger', 17, $ddl{tag}$AFTER UPDATE ON {table} FOR EACH ROW
                EXECUTE FUNCTION {function}$ddl{tag}$),
            ('job_state_insert_trigger', 5, $ddl{tag}$AFTER INSERT ON {table} FOR EACH ROW
                EXECUTE FUNCTION {function}$ddl{tag}$)) AS v (name, type, definition)
    LOOP
        t.definition := format('%s(%s)', t.definition, coalesce(quote_literal(touch), ''));
        IF NOT EXISTS (
            SELECT FROM pg_trigger
             WHERE tgrelid = job_table AND tgname = t.name AND tgfoid = {function_literal}::regprocedure
               AND tgtype = t.type AND tgenabled IN ('O', 'A') AND tgattr = ''
               AND tgqual IS NULL
               AND obj_description(oid, 'pg_trigger') = 'pgbaton ' || md5(t.definition))
        THEN
            EXECUTE format('CREATE OR REPLACE TRIGGER %s %s', t.name, t.definition);
            EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %s', {table_literal}, t.name);
            EXECUTE format('COMMENT ON TRIGGER %s ON %s IS %L', t.name, {table_literal}, 'pgbaton ' || md5(t.definition));
        END IF;
    END LOOP;
    IF before IS NOT NULL THEN
        EXECUTE format('DROP FUNCTION %s', before);
    END IF;
END
$pgbaton{tag}$;
COMMIT;
{ranks}