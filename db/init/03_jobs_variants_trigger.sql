-- The routes and the trigger of the pipeline ad_variants. For plain psql, after 02.
-- Attach pipeline 'ad_variants': its routes as rows, and its triggers on "public"."jobs_variants".
-- Safe to run again: each part changes only what differs.
BEGIN;
SET LOCAL lock_timeout = '3s';
SET LOCAL search_path = pg_catalog, pg_temp;
LOCK TABLE pgbaton.migrations IN SHARE UPDATE EXCLUSIVE MODE;
DO $pgbaton_0$
BEGIN
    -- The trigger's text says which jobs are called: it may not be replaced by one that was written for another share.
    IF (SELECT p.rollout IS DISTINCT FROM NULL::jsonb FROM pgbaton.pipelines AS p WHERE p.name = 'ad_variants') THEN
        RAISE EXCEPTION USING ERRCODE = 'PB003', MESSAGE =
            format('the pipeline %s is in shadow mode, or its share has just changed: run pgbaton attach', 'ad_variants');
    END IF;
END
$pgbaton_0$;
-- Rows that stand in a state that becomes routed now: they are left alone until a person decides about them (`pgbaton attach`).
INSERT INTO pgbaton.adoptions (pipeline, mode)
SELECT 'ad_variants', 'ask'
 WHERE EXISTS (SELECT FROM "public"."jobs_variants" AS j
                WHERE (j."current_step"::text COLLATE "C", j."status"::text COLLATE "C") IN (('variant', 'done'), ('planner', 'done'), ('overlay', 'done'), ('vlm_judge', 'rejected'), ('planner', 'no_other'))
                  AND (j."current_step"::text COLLATE "C", j."status"::text COLLATE "C") NOT IN (SELECT s.after, s.status FROM pgbaton.stages AS s
                                                            WHERE s.pipeline = 'ad_variants' AND s.routed)
                  AND NOT EXISTS (SELECT FROM pgbaton.due AS d
                                   WHERE d.job_key = (j."variant_id"::pg_catalog.text) COLLATE "C" AND d.pipeline = 'ad_variants')
                  AND NOT EXISTS (SELECT FROM pgbaton.calls AS c
                                   WHERE c.pipeline = 'ad_variants' AND c.job_key = (j."variant_id"::pg_catalog.text) COLLATE "C"))
ON CONFLICT (pipeline) DO UPDATE
   SET mode = 'ask', after_key = NULL, looked_at = 0, rows = '{}', started_at = clock_timestamp(), ended_at = NULL;

-- Two pipelines of one table have triggers of different names, and keep them.
DO $pgbaton_0$
DECLARE
    other text;
BEGIN
    SELECT p.name INTO other FROM pgbaton.pipelines AS p
     WHERE p.job_table = '"public"."jobs_variants"'::regclass AND (p.name <> 'ad_variants') = (p.triggers = ARRAY['job_state_change_trigger', 'job_state_insert_trigger']);
    IF other = 'ad_variants' THEN
        RAISE EXCEPTION USING ERRCODE = 'PB003', MESSAGE = format(
            'the pipeline %s has triggers of other names on %s: pgbaton attach keeps them', other, '"public"."jobs_variants"');
    ELSIF other IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PB003', MESSAGE = format(
            'the table %s has the pipeline %s already: pgbaton sql --beside prints the script of one beside it, '
            'and pgbaton attach finds out by itself', '"public"."jobs_variants"', other);
    END IF;
END
$pgbaton_0$;
INSERT INTO pgbaton.pipelines AS p (name, job_table, key_columns, tenant_column, step_column, status_column, statuses,
                                    priority_column, not_before_column, tier_column, channel, parent, parent_key, triggers)
VALUES ('ad_variants', '"public"."jobs_variants"'::regclass, ARRAY['variant_id'], 'tenant_id', 'current_step', 'status', '{"running": ["running"], "done": ["done"], "failed": ["failed"], "cancelled": ["cancelled"], "quarantined": ["quarantined"]}'::jsonb,
        NULL, NULL, NULL, NULL, 'ad_creative', ARRAY['job_id'], ARRAY['job_state_change_trigger', 'job_state_insert_trigger'])
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
SELECT true FROM ONLY "public"."jobs_variants" AS new LIMIT 0;

UPDATE pgbaton.pipelines AS p SET known = now.known
  FROM (SELECT jsonb_build_object('table', 'public.jobs_variants', 'columns', jsonb_object_agg(a.attname, a.attnum)) AS known
          FROM pg_attribute AS a
         WHERE a.attrelid = '"public"."jobs_variants"'::regclass AND a.attnum > 0 AND NOT a.attisdropped
           AND a.attname = ANY (ARRAY['variant_id', 'current_step', 'status', 'tenant_id'])) AS now
 WHERE p.name = 'ad_variants' AND p.known IS DISTINCT FROM now.known;

-- Routes that go or change step aside first: one state has one route at any moment.
UPDATE pgbaton.stages SET routed = false
 WHERE pipeline = 'ad_variants' AND routed
   AND NOT EXISTS (SELECT FROM (VALUES ('planner', 'variant', 'done', NULL), ('overlay', 'planner', 'done', NULL), ('vlm_judge', 'overlay', 'done', NULL), ('vlm_judge.rejected', 'vlm_judge', 'rejected', NULL), ('planner.no_other', 'planner', 'no_other', NULL)) AS r (step, after, status, condition)
                    WHERE (r.step, r.after, r.status) = (stages.step, stages.after, stages.status)
                      AND r.condition IS NOT DISTINCT FROM stages.condition);
INSERT INTO pgbaton.pools AS p (name, attached) VALUES ('vision', 8)
ON CONFLICT (name) DO UPDATE SET attached = EXCLUDED.attached WHERE p.attached <> EXCLUDED.attached;
DELETE FROM pgbaton.tiers WHERE pipeline = 'ad_variants' AND tier NOT IN ('');
INSERT INTO pgbaton.stages AS s (pipeline, step, after, status, condition, kind, detail, position, timeout,
                                attempts, advance, attached, takes_turns)
VALUES ('ad_variants', 'planner', 'variant', 'done', NULL, 'call', NULL::jsonb, 1, interval '300.000000 s', 5, 'stage', '{}'::jsonb, false),
       ('ad_variants', 'overlay', 'planner', 'done', NULL, 'call', NULL::jsonb, 2, interval '300.000000 s', 5, 'stage', '{"concurrency": 8}'::jsonb, true),
       ('ad_variants', 'planner.no_other', 'planner', 'no_other', NULL, 'move', '{"to": ["vlm_judge", "given_up"], "need": "all", "failed": "fail", "choices": []}'::jsonb, 3, interval '3162240000.000000 s', 1, 'stage', '{}'::jsonb, false),
       ('ad_variants', 'vlm_judge', 'overlay', 'done', NULL, 'call', NULL::jsonb, 4, interval '600.000000 s', 5, 'stage', '{"concurrency": 8, "per_tenant": 4, "pool": "vision", "cost": 1}'::jsonb, true),
       ('ad_variants', 'vlm_judge.rejected', 'vlm_judge', 'rejected', NULL, 'move', '{"to": ["variant", "done"], "then": ["vlm_judge", "given_up"], "rounds": 2, "need": "all", "failed": "fail", "choices": []}'::jsonb, 5, interval '3162240000.000000 s', 1, 'stage', '{}'::jsonb, false)
ON CONFLICT (pipeline, step) DO UPDATE
   SET after = EXCLUDED.after, status = EXCLUDED.status, condition = EXCLUDED.condition, kind = EXCLUDED.kind,
       detail = EXCLUDED.detail, position = EXCLUDED.position, timeout = EXCLUDED.timeout, attempts = EXCLUDED.attempts,
       advance = EXCLUDED.advance, routed = true, attached = EXCLUDED.attached, takes_turns = EXCLUDED.takes_turns
 WHERE (s.after, s.status, s.condition, s.kind, s.detail, s.position, s.timeout, s.attempts, s.advance, s.routed, s.attached,
        s.takes_turns)
       IS DISTINCT FROM (EXCLUDED.after, EXCLUDED.status, EXCLUDED.condition, EXCLUDED.kind, EXCLUDED.detail,
                         EXCLUDED.position, EXCLUDED.timeout, EXCLUDED.attempts, EXCLUDED.advance, true, EXCLUDED.attached,
                         EXCLUDED.takes_turns);
UPDATE pgbaton.pipelines AS p SET home_system = pgbaton.this_system(), home_database = pgbaton.this_database()
 WHERE p.name = 'ad_variants' AND (p.home_database IS NULL OR false AND NOT pgbaton.at_home(p));
UPDATE pgbaton.pipelines AS p SET rollout = NULL::jsonb
 WHERE p.name = 'ad_variants' AND p.rollout IS DISTINCT FROM NULL::jsonb;

DO $pgbaton_0$
DECLARE
    ours constant oid := to_regprocedure('"public"."notify_jobs_variants_state_change"()');
    job_table constant regclass := '"public"."jobs_variants"';
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
        RAISE duplicate_object USING MESSAGE = format('the function %s is not pgbaton''s: rename it', '"public"."notify_jobs_variants_state_change"()');
    END IF;
    -- (After the table was renamed it still has the engine's function of its old name.)
    SELECT g.tgname INTO t FROM pg_trigger AS g JOIN pg_proc AS f ON f.oid = g.tgfoid
     WHERE g.tgrelid = job_table AND g.tgname = ANY (ARRAY['job_state_change_trigger', 'job_state_insert_trigger'])
       AND g.tgfoid IS DISTINCT FROM ours AND f.prosrc NOT LIKE '%INSERT INTO pgbaton.due%';
    IF FOUND THEN
        RAISE duplicate_object USING MESSAGE = format('the trigger %s on %s is not pgbaton''s: rename it, or drop it',
                                                      t.tgname, '"public"."jobs_variants"');
    END IF;
    -- A table that was renamed still calls the function of its old name, and would leave this pipeline's duties.
    SELECT g.tgname, g.tgrelid::regclass AS at INTO t FROM pg_trigger AS g
     WHERE g.tgfoid = ours AND g.tgrelid <> job_table AND g.tgparentid = 0;
    IF FOUND THEN
        RAISE duplicate_object USING MESSAGE = format(
            'the function %s is called by the trigger %s on %s: give that table''s pipeline its new name, and run pgbaton attach '
            'for it, or pgbaton detach', '"public"."notify_jobs_variants_state_change"()', t.tgname, t.at);
    END IF;
    IF (SELECT md5(prosrc) = '664e9a23d2768a7e576e4841f6e4999b' AND prosecdef AND proconfig IS NULL FROM pg_proc WHERE oid = ours) IS NOT TRUE THEN
        -- Behind this lock no transaction is left that fires the old function: duties that it leaves have no rank (see the end).
        IF true THEN
            LOCK TABLE "public"."jobs_variants" IN SHARE ROW EXCLUSIVE MODE;
        END IF;
        EXECUTE $ddl_0$
CREATE OR REPLACE FUNCTION "public"."notify_jobs_variants_state_change"() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $fn_0$
-- All of pgbaton that runs in your transaction: at most one INSERT, and a signal where a worker sleeps. Rendered by `pgbaton
-- attach` for one pipeline: its routes stand in the text. It runs with its owner's rights, so that a role which may change
-- its jobs needs no right on the schema pgbaton; it has no search_path of its own, which would cost each row more than
-- the rest together, so every name is qualified, operators too.
DECLARE
    key pg_catalog.text;
    step pg_catalog.text;
    status pg_catalog.text;
    tenant pg_catalog.text;
    next_stage pg_catalog.text;
    same pg_catalog.bool;
    quiet pg_catalog.bool;
    parent pg_catalog.text;

    rank pg_catalog.timestamptz;BEGIN BEGIN  -- the inner block writes nothing, and takes no transaction id
    -- No WHEN clause tells this before the call: Postgres reads such a clause again for each statement, which cost a writer
    -- 20 microseconds, and the call costs it 5. Each session prepares an expression anew in each transaction, which costs a
    -- row half a microsecond: so states that no route knows come first, alone, and there are as few expressions as can be. At
    -- an INSERT all of OLD is null, and neither of the first two is true.
    IF false THEN
        RETURN NULL;
    END IF;
    IF (NEW."status"::pg_catalog.text OPERATOR(pg_catalog.=) OLD."status"::pg_catalog.text COLLATE pg_catalog."C" OR NEW."status"::pg_catalog.text IS NULL AND OLD."status"::pg_catalog.text COLLATE pg_catalog."C" IS NULL) AND (NEW."current_step"::pg_catalog.text OPERATOR(pg_catalog.=) OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OR NEW."current_step"::pg_catalog.text IS NULL AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" IS NULL) AND (NEW."variant_id"::pg_catalog.text OPERATOR(pg_catalog.=) OLD."variant_id"::pg_catalog.text COLLATE pg_catalog."C" OR NEW."variant_id"::pg_catalog.text IS NULL AND OLD."variant_id"::pg_catalog.text COLLATE pg_catalog."C" IS NULL) THEN
        RETURN NULL;
    END IF;
    status := NEW."status"::pg_catalog.text;
    step := NEW."current_step"::pg_catalog.text;
    next_stage := CASE WHEN status OPERATOR(pg_catalog.=) ANY (ARRAY['done', 'no_other', 'rejected']) THEN CASE WHEN step OPERATOR(pg_catalog.=) 'variant' AND status OPERATOR(pg_catalog.=) 'done' THEN 'planner' WHEN step OPERATOR(pg_catalog.=) 'planner' AND status OPERATOR(pg_catalog.=) 'done' THEN 'overlay' WHEN step OPERATOR(pg_catalog.=) 'planner' AND status OPERATOR(pg_catalog.=) 'no_other' THEN 'planner.no_other' WHEN step OPERATOR(pg_catalog.=) 'overlay' AND status OPERATOR(pg_catalog.=) 'done' THEN 'vlm_judge' WHEN step OPERATOR(pg_catalog.=) 'vlm_judge' AND status OPERATOR(pg_catalog.=) 'rejected' THEN 'vlm_judge.rejected' END END;
    IF next_stage IS NULL THEN
        -- A dispatch may be open where the row was at the entry of a stage, or in its hands. A stage that begins, or begins
        -- again, leaves no look; every other move does.
        IF ((OLD."status"::pg_catalog.text COLLATE pg_catalog."C") OPERATOR(pg_catalog.=) 'done' AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) ANY (ARRAY['variant', 'planner', 'overlay']) AND (status OPERATOR(pg_catalog.=) 'running' AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) CASE WHEN step OPERATOR(pg_catalog.=) 'planner' THEN 'variant' WHEN step OPERATOR(pg_catalog.=) 'overlay' THEN 'planner' WHEN step OPERATOR(pg_catalog.=) 'vlm_judge' THEN 'overlay' END) IS NOT TRUE
           OR (OLD."status"::pg_catalog.text COLLATE pg_catalog."C") OPERATOR(pg_catalog.=) 'no_other' AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) 'planner'
           OR (OLD."status"::pg_catalog.text COLLATE pg_catalog."C") OPERATOR(pg_catalog.=) 'rejected' AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) 'vlm_judge'
            OR OLD."status"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) ANY (ARRAY['running', 'failed'])
                AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) ANY (ARRAY['planner', 'overlay', 'vlm_judge'])
                AND (status OPERATOR(pg_catalog.=) 'running' AND step OPERATOR(pg_catalog.=) OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C")
                    IS NOT TRUE)
        THEN
            next_stage := '';
        END IF;
    END IF;
    key := NEW."variant_id"::pg_catalog.text;
    -- The constant is read once for each session, and again after the table was dropped; a look each time cost a row 0.8
    -- microseconds.
    IF (pg_catalog.pg_column_size(NEW."variant_id") OPERATOR(pg_catalog.<=) 2640) IS NOT TRUE OR 'pgbaton.due'::pg_catalog.regclass IS NULL THEN
        IF key IS NULL THEN
            RETURN NULL;
        END IF;
        -- The user's own index on the key holds a little more than ours, which may not make this transaction fail.
        RAISE WARNING 'pgbaton leaves a job alone whose key is too long for an index: %', pg_catalog.left(key, 60);
        RETURN NULL;
    END IF;
    tenant := NEW."tenant_id"::pg_catalog.text;
    rank := pg_catalog.clock_timestamp();
    parent := NEW."job_id"::pg_catalog.text;
EXCEPTION WHEN undefined_table OR invalid_schema_name THEN  -- a dump of this table alone was restored
    RETURN NULL;
WHEN undefined_column OR undefined_function THEN
    -- A column was renamed or dropped. That is no reason for this transaction to fail, and `pgbaton doctor` tells of it. The
    -- block costs 0.3 microseconds a row.
    IF pg_catalog.current_setting('pgbaton.blind', true) OPERATOR(pg_catalog.=) 'told' IS NOT TRUE THEN
        PERFORM pg_catalog.set_config('pgbaton.blind', 'told', true);
        RAISE WARNING 'pgbaton does not see this change: %. Run pgbaton attach', SQLERRM;
    END IF;
    RETURN NULL;
WHEN datatype_mismatch THEN
    -- A column has got another type since this session planned the expressions above; text that is executed is planned anew.
    IF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
        EXECUTE 'SELECT (NEW."status"::pg_catalog.text OPERATOR(pg_catalog.=) OLD."status"::pg_catalog.text COLLATE pg_catalog."C" OR NEW."status"::pg_catalog.text IS NULL AND OLD."status"::pg_catalog.text COLLATE pg_catalog."C" IS NULL) AND (NEW."current_step"::pg_catalog.text OPERATOR(pg_catalog.=) OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" OR NEW."current_step"::pg_catalog.text IS NULL AND OLD."current_step"::pg_catalog.text COLLATE pg_catalog."C" IS NULL) AND (NEW."variant_id"::pg_catalog.text OPERATOR(pg_catalog.=) OLD."variant_id"::pg_catalog.text COLLATE pg_catalog."C" OR NEW."variant_id"::pg_catalog.text IS NULL AND OLD."variant_id"::pg_catalog.text COLLATE pg_catalog."C" IS NULL) FROM (SELECT ($1).*) AS new, (SELECT ($2).*) AS old' INTO same USING NEW, OLD;
        IF same THEN
            RETURN NULL;
        END IF;
    END IF;
    EXECUTE 'SELECT NEW."variant_id"::pg_catalog.text, NEW."current_step"::pg_catalog.text, NEW."status"::pg_catalog.text, NEW."tenant_id"::pg_catalog.text FROM (SELECT ($1).*) AS new' INTO key, step, status, tenant USING NEW;
    IF key IS NULL OR pg_catalog.octet_length(key) OPERATOR(pg_catalog.>) 2640 THEN
        RETURN NULL;
    END IF;
    next_stage := '';
    IF status OPERATOR(pg_catalog.=) ANY (ARRAY['done', 'no_other', 'rejected']) THEN
        next_stage := coalesce(CASE WHEN step OPERATOR(pg_catalog.=) 'variant' AND status OPERATOR(pg_catalog.=) 'done' THEN 'planner' WHEN step OPERATOR(pg_catalog.=) 'planner' AND status OPERATOR(pg_catalog.=) 'done' THEN 'overlay' WHEN step OPERATOR(pg_catalog.=) 'planner' AND status OPERATOR(pg_catalog.=) 'no_other' THEN 'planner.no_other' WHEN step OPERATOR(pg_catalog.=) 'overlay' AND status OPERATOR(pg_catalog.=) 'done' THEN 'vlm_judge' WHEN step OPERATOR(pg_catalog.=) 'vlm_judge' AND status OPERATOR(pg_catalog.=) 'rejected' THEN 'vlm_judge.rejected' END, '');
    END IF;
END;
    -- A worker that rewinds rows names them in pgbaton.quiet, each with the state that it writes: these rows, and no others,
    -- leave no duty.
    IF pg_catalog.current_setting('pgbaton.quiet', true) OPERATOR(pg_catalog.<>) '' THEN
        quiet := pg_catalog.current_setting('pgbaton.quiet')::pg_catalog.jsonb OPERATOR(pg_catalog.->) 'ad_variants'
                 OPERATOR(pg_catalog.->) key OPERATOR(pg_catalog.=) pg_catalog.jsonb_build_array(step, status);
    END IF;
    IF next_stage IS NOT NULL AND quiet IS NOT TRUE THEN
        INSERT INTO pgbaton.due (pipeline, stage, job_key, tenant, step, status, rank)
        VALUES ('ad_variants', next_stage, key, tenant, step, status, CASE WHEN next_stage OPERATOR(pg_catalog.=) ANY (ARRAY['overlay', 'vlm_judge']) THEN COALESCE(rank, pg_catalog.clock_timestamp()) END);
        -- A worker that sleeps, or is about to, holds this lock or waits for it: where this transaction shares it, all workers
        -- are awake, and none falls asleep before the commit. A full queue would abort this transaction; workers poll anyway.
        IF NOT pg_catalog.pg_try_advisory_xact_lock_shared(72394502, pg_catalog.hashtext('ad_variants'))
           AND pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.9
        THEN
            PERFORM pg_catalog.pg_notify('pgbaton_wake', 'ad_variants');
        END IF;
    END IF;
    -- A child has come to an end: its parent may have waited for it. No sibling is read, and no row of the parent's: a worker
    -- counts the children after this commit.
    IF status OPERATOR(pg_catalog.<>) 'running' AND NULLIF(next_stage, '') IS NULL
       AND pg_catalog.octet_length(parent) OPERATOR(pg_catalog.<=) 2640
    THEN
        INSERT INTO pgbaton.due (pipeline, stage, job_key, status)
        VALUES ('ad_creative', '', parent, status);
        -- A worker that sleeps, or is about to, holds this lock or waits for it: where this transaction shares it, all workers
        -- are awake, and none falls asleep before the commit. A full queue would abort this transaction; workers poll anyway.
        IF NOT pg_catalog.pg_try_advisory_xact_lock_shared(72394502, pg_catalog.hashtext('ad_creative'))
           AND pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.9
        THEN
            PERFORM pg_catalog.pg_notify('pgbaton_wake', 'ad_creative');
        END IF;
    END IF;
    RETURN NULL;
END
$fn_0$
        $ddl_0$;
        REVOKE ALL ON FUNCTION "public"."notify_jobs_variants_state_change"() FROM PUBLIC;
    END IF;

    SELECT g.tgfoid INTO before FROM pg_trigger AS g
     WHERE g.tgrelid = job_table AND g.tgname = 'job_state_insert_trigger' AND g.tgfoid IS DISTINCT FROM '"public"."notify_jobs_variants_state_change"()'::regprocedure;
    FOR t IN
-- The triggers of a pipeline: as attach makes them, whether there is one of that name, and whether it is the same.
            SELECT w.name, w.definition,
                   EXISTS (SELECT FROM pg_trigger AS g
                            WHERE g.tgrelid = '"public"."jobs_variants"'::regclass AND g.tgname = w.name) AS there,
                   EXISTS (SELECT FROM pg_trigger AS g
                            WHERE g.tgrelid = '"public"."jobs_variants"'::regclass AND g.tgname = w.name
                              AND g.tgfoid = to_regprocedure('"public"."notify_jobs_variants_state_change"()')
                              AND g.tgtype = w.type AND g.tgenabled IN ('O', 'A') AND g.tgattr = ''
                              AND g.tgqual IS NULL
                              AND obj_description(g.oid, 'pg_trigger') = 'pgbaton ' || md5(w.definition)) AS same
              FROM (SELECT v.name, v.type, format('%s(%s)', v.definition, coalesce((
                           -- updated_at is published where the column exists; its name is handed to the trigger.
                           SELECT quote_literal(a.attname) FROM pg_attribute AS a
                            WHERE a.attrelid = '"public"."jobs_variants"'::regclass AND a.attname = 'updated_at'
                              AND NOT a.attisdropped
                              AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)), '')) AS definition
                      FROM (VALUES
                            ('job_state_change_trigger', 17, $ddl_0$AFTER UPDATE ON "public"."jobs_variants" FOR EACH ROW
                EXECUTE FUNCTION "public"."notify_jobs_variants_state_change"$ddl_0$),
                            ('job_state_insert_trigger', 5, $ddl_0$AFTER INSERT ON "public"."jobs_variants" FOR EACH ROW
                EXECUTE FUNCTION "public"."notify_jobs_variants_state_change"$ddl_0$)) AS v (name, type, definition)) AS w

    LOOP
        IF NOT t.same THEN
            EXECUTE format('CREATE OR REPLACE TRIGGER %I %s', t.name, t.definition);
            EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %I', '"public"."jobs_variants"', t.name);
            EXECUTE format('COMMENT ON TRIGGER %I ON %s IS %L', t.name, '"public"."jobs_variants"', 'pgbaton ' || md5(t.definition));
        END IF;
    END LOOP;
    IF before IS NOT NULL THEN
        EXECUTE format('DROP FUNCTION %s', before);
    END IF;
END
$pgbaton_0$;
COMMIT;

-- Duties from before these stages took turns.
UPDATE pgbaton.due SET rank = created_at WHERE pipeline = 'ad_variants' AND stage IN ('overlay', 'vlm_judge')
   AND rank IS NULL AND not_before IS NULL;
