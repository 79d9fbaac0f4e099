
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
{parent_declared}{publish_declared}{turn_declared}BEGIN BEGIN  -- the inner block writes nothing, and takes no transaction id
    -- No WHEN clause tells this before the call: Postgres reads such a clause again for each statement, which cost a writer
    -- 20 microseconds, and the call costs it 5. Each session prepares an expression anew in each transaction, which costs a
    -- row half a microsecond: so states that no route knows come first, alone, and there are as few expressions as can be. At
    -- an INSERT all of OLD is null, and neither of the first two is true.
    IF {foreign} THEN
        RETURN NULL;
    END IF;
    IF {unchanged} THEN
        RETURN NULL;
    END IF;
    status := {new_status};
    step := NEW.{step}::pg_catalog.text;
    next_stage := CASE WHEN {routed}{and_moved} THEN CASE {routes} END END;
    IF next_stage IS NULL THEN
        -- A dispatch may be open where the row was at the entry of a stage, or in its hands. A stage that begins, or begins
        -- again, leaves no look; every other move does.
        IF ({left_an_entry}
            OR {old_status} OPERATOR(pg_catalog.=) ANY (ARRAY['running', 'failed'])
                AND {old_step} OPERATOR(pg_catalog.=) ANY (ARRAY[{stages}])
                AND (status OPERATOR(pg_catalog.=) 'running' AND step OPERATOR(pg_catalog.=) {old_step})
                    IS NOT TRUE){and_moved}
        THEN
            next_stage := '';
        {unless_told}END IF;
    END IF;
    key := {new_key};
    -- The constant is read once for each session, and again after the table was dropped; a look each time cost a row 0.8
    -- microseconds.
    IF ({key_fits}) IS NOT TRUE OR 'pgbaton.due'::pg_catalog.regclass IS NULL THEN
        IF {key_is_null} THEN
            RETURN NULL;
        END IF;
        -- The user's own index on the key holds a little more than ours, which may not make this transaction fail.
        RAISE WARNING 'pgbaton leaves a job alone whose key is too long for an index: %', pg_catalog.left(key, 60);
        RETURN NULL;
    END IF;
    tenant := {new_tenant};{turn_read}
{parent_read}{publish_read}EXCEPTION WHEN undefined_table OR invalid_schema_name THEN  -- a dump of this table alone was restored
    RETURN NULL;
WHEN undefined_column OR undefined_function{or_unlike} THEN
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
        EXECUTE {compared_anew} INTO same USING NEW, OLD;
        IF same THEN
            RETURN NULL;
        END IF;
    END IF;
    EXECUTE {read_anew} INTO key, step, status, tenant{and_word} USING NEW;
    IF key IS NULL OR pg_catalog.octet_length(key) OPERATOR(pg_catalog.>) 2640 THEN
        RETURN NULL;
    END IF;
    next_stage := '';
    IF {routed} THEN
        next_stage := coalesce(CASE {routes_without_columns} END, '');
    END IF;
END;
    -- A worker that rewinds rows names them in pgbaton.quiet, each with the state that it writes: these rows, and no others,
    -- leave no duty.
    IF pg_catalog.current_setting('pgbaton.quiet', true) OPERATOR(pg_catalog.<>) '' THEN
        quiet := pg_catalog.current_setting('pgbaton.quiet')::pg_catalog.jsonb OPERATOR(pg_catalog.->) {pipeline}
                 OPERATOR(pg_catalog.->) key OPERATOR(pg_catalog.=) pg_catalog.jsonb_build_array(step, status);
    END IF;
    IF next_stage IS NOT NULL AND quiet IS NOT TRUE THEN
        {unless_shadow}INSERT INTO pgbaton.due (pipeline, stage, job_key, tenant, step, status{turn_columns})
        VALUES ({pipeline}, next_stage, key, tenant, step, status{turn_values});
{wake}{end_unless}    END IF;
{parent}{publish}    RETURN NULL;
END
