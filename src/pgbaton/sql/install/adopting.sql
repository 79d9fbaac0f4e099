DO $pgbaton{tag}$
BEGIN
    -- The trigger's text says which jobs are called: it may not be replaced by one that was written for another share.
    IF (SELECT p.rollout IS DISTINCT FROM {rollout_was}::jsonb FROM pgbaton.pipelines AS p WHERE p.name = {pipeline}) THEN
        RAISE EXCEPTION USING ERRCODE = 'PB003', MESSAGE =
            format('the pipeline %s is in shadow mode, or its share has just changed: run pgbaton attach', {pipeline});
    END IF;
END
$pgbaton{tag}$;
