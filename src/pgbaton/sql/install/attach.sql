-- Attach pipeline {pipeline}: its routes as rows, and its triggers on {table}.
-- Safe to run again: each part changes only what differs.
BEGIN;
SET LOCAL lock_timeout = '{lock_timeout}';
SET LOCAL search_path = pg_catalog, pg_temp;
{lock};
{adopting}
-- Two pipelines of one table have triggers of different names, and keep them.
DO $pgbaton{tag}$
DECLARE
    other text;
BEGIN
    SELECT p.name INTO other FROM pgbaton.pipelines AS p
     WHERE p.job_table = {table_literal}::regclass AND (p.name <> {pipeline}) = (p.triggers = {triggers});
    IF other = {pipeline} THEN
        RAISE EXCEPTION USING ERRCODE = 'PB003', MESSAGE = format(
            'the pipeline %s has triggers of other names on %s: pgbaton attach keeps them', other, {table_literal});
    ELSIF other IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PB003', MESSAGE = format(
            'the table %s has the pipeline %s already: pgbaton sql --beside prints the script of one beside it, '
            'and pgbaton attach finds out by itself', {table_literal}, other);
    END IF;
END
$pgbaton{tag}$;
INSERT INTO pgbaton.pipelines AS p (name, job_table, key_columns, tenant_column, step_column, status_column, statuses,
                                    priority_column, not_before_column, tier_column, channel, parent, parent_key, triggers)
VALUES ({pipeline}, {table_literal}::regclass, {keys}, {tenant_literal}, {step_literal}, {status_literal}, {statuses},
        {priority_literal}, {not_before_literal}, {tier_literal}, {channel}, {parent}, {parent_key}, {triggers})
ON CONFLICT (name) DO UPDATE
   SET job_table = EXCLUDED.job_table, key_columns = EXCLUDED.key_columns, tenant_column = EXCLUDED.tenant_column,
       step_column = EXCLUDED.step_column, status_column = EXCLUDED.status_column, statuses = EXCLUDED.statuses,
       priority_column = EXCLUDED.priority_column, not_before_column = EXCLUDED.not_before_column,
       tier_column = EXCLUDED.tier_column, channel = EXCLUDED.channel,
       parent = EXCLUDED.parent, parent_key = EXCLUDED.parent_key, triggers = EXCLUDED.triggers, attached_at = now()
 WHERE (p.job_table, p.key_columns, p.tenant_column, p.step_column, p.status_column, p.statuses, p.priority_column,
        p.not_before_column, p.tier_column, p.channel, p.parent, p.parent_key, p.triggers)
       IS DISTINCT FROM (EXCLUDED.job_table, EXCLUDED.key_columns, EXCLUDED.tenant_column, EXCLUDED.step_column,
                         EXCLUDED.status_column, EXCLUDED.statuses, EXCLUDED.priority_column, EXCLUDED.not_before_column,
                         EXCLUDED.tier_column, EXCLUDED.channel, EXCLUDED.parent, EXCLUDED.parent_key, EXCLUDED.triggers);

-- The conditions that the trigger will ask of a row are asked of none: a condition that cannot be asked fails here and not in
-- your transactions.
SELECT {conditions} FROM ONLY {table} AS new LIMIT 0;

UPDATE pgbaton.pipelines AS p SET known = now.known
  FROM (SELECT jsonb_build_object('table', {table_name}, 'columns', jsonb_object_agg(a.attname, a.attnum)) AS known
          FROM pg_attribute AS a
         WHERE a.attrelid = {table_literal}::regclass AND a.attnum > 0 AND NOT a.attisdropped
           AND a.attname = ANY (ARRAY[{column_names}])) AS now
 WHERE p.name = {pipeline} AND p.known IS DISTINCT FROM now.known;

-- Routes that go or change step aside first: one state has one route at any moment.
UPDATE pgbaton.stages SET routed = false
 WHERE pipeline = {pipeline} AND routed
   AND NOT EXISTS (SELECT FROM (VALUES {stage_routes}) AS r (step, after, status, condition)
                    WHERE (r.step, r.after, r.status) = (stages.step, stages.after, stages.status)
                      AND r.condition IS NOT DISTINCT FROM stages.condition);
{pools}{tiers}INSERT INTO pgbaton.stages AS s (pipeline, step, after, status, condition, kind, detail, position, timeout,
                                attempts, advance, attached, takes_turns)
VALUES {stage_rows}
ON CONFLICT (pipeline, step) DO UPDATE
   SET after = EXCLUDED.after, status = EXCLUDED.status, condition = EXCLUDED.condition, kind = EXCLUDED.kind,
       detail = EXCLUDED.detail, position = EXCLUDED.position, timeout = EXCLUDED.timeout, attempts = EXCLUDED.attempts,
       advance = EXCLUDED.advance, routed = true, attached = EXCLUDED.attached, takes_turns = EXCLUDED.takes_turns
 WHERE (s.after, s.status, s.condition, s.kind, s.detail, s.position, s.timeout, s.attempts, s.advance, s.routed, s.attached,
        s.takes_turns)
       IS DISTINCT FROM (EXCLUDED.after, EXCLUDED.status, EXCLUDED.condition, EXCLUDED.kind, EXCLUDED.detail,
                         EXCLUDED.position, EXCLUDED.timeout, EXCLUDED.attempts, EXCLUDED.advance, true, EXCLUDED.attached,
                         EXCLUDED.takes_turns);
{placing}
DO $pgbaton{tag}$
DECLARE
    ours constant oid := to_regprocedure({function_literal});
    job_table constant regclass := {table_literal};
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
    IF ours IS NOT NULL AND (SELECT prosrc NOT LIKE '%pgbaton.%' AND prosrc NOT LIKE '%job_state_changed%'
                               FROM pg_proc WHERE oid = ours) THEN
        RAISE duplicate_object USING MESSAGE = format('the function %s is not pgbaton''s: rename it', {function_literal});
    END IF;
    -- (After the table was renamed it still has the engine's function of its old name.)
    SELECT g.tgname INTO t FROM pg_trigger AS g JOIN pg_proc AS f ON f.oid = g.tgfoid
     WHERE g.tgrelid = job_table AND g.tgname = ANY ({triggers})
       AND g.tgfoid IS DISTINCT FROM ours AND f.prosrc NOT LIKE '%INSERT INTO pgbaton.due%';
    IF FOUND THEN
        RAISE duplicate_object USING MESSAGE = format('the trigger %s on %s is not pgbaton''s: rename it, or drop it',
                                                      t.tgname, {table_literal});
    END IF;
    -- A table that was renamed still calls the function of its old name, and would leave this pipeline's duties.
    SELECT g.tgname, g.tgrelid::regclass AS at INTO t FROM pg_trigger AS g
     WHERE g.tgfoid = ours AND g.tgrelid <> job_table AND g.tgparentid = 0;
    IF FOUND THEN
        RAISE duplicate_object USING MESSAGE = format(
            'the function %s is called by the trigger %s on %s: give that table''s pipeline its new name, and run pgbaton attach '
            'for it, or pgbaton detach', {function_literal}, t.tgname, t.at);
    END IF;
    IF (SELECT md5(prosrc) = '{body_md5}' AND prosecdef AND proconfig IS NULL FROM pg_proc WHERE oid = ours) IS NOT TRUE THEN
        -- Behind this lock no transaction is left that fires the old function: duties that it leaves have no rank (see the end).
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
     WHERE g.tgrelid = job_table AND g.tgname = {on_insert} AND g.tgfoid IS DISTINCT FROM {function_literal}::regprocedure;
    FOR t IN
{wanted_triggers}
    LOOP
        IF NOT t.same THEN
            EXECUTE format('CREATE OR REPLACE TRIGGER %I %s', t.name, t.definition);
            EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %I', {table_literal}, t.name);
            EXECUTE format('COMMENT ON TRIGGER %I ON %s IS %L', t.name, {table_literal}, 'pgbaton ' || md5(t.definition));
        END IF;
    END LOOP;
    IF before IS NOT NULL THEN
        EXECUTE format('DROP FUNCTION %s', before);
    END IF;
END
$pgbaton{tag}$;
COMMIT;
{ranks}