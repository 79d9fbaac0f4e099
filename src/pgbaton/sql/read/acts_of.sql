-- $1 pipeline, $2 job key, $3 at most: what operators did to the job, alone or with many, newest first.
SELECT a.id, a.at, a.who, a.action, a.reason, a.state IS NOT NULL AS many FROM pgbaton.audit AS a
 WHERE a.pipeline = $1 AND a.id IN (SELECT o.id FROM pgbaton.audit AS o WHERE o.job_key = $2
                                    UNION ALL SELECT j.act FROM pgbaton.audit_jobs AS j WHERE j.job_key = $2)
 ORDER BY a.id DESC
 LIMIT $3
