-- Shadow mode: a job that is not called is recorded in place of its duty.
        IF next_stage OPERATOR(pg_catalog.<>) '' AND ({live}) IS NOT TRUE THEN
            INSERT INTO pgbaton.shadow (pipeline, stage, job_key, tenant, step, url)
            VALUES ({pipeline}, next_stage, key, tenant, step, CASE {urls} END);
        ELSE
        
