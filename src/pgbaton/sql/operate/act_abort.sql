-- $1 pipeline, $2 act, $3 who: no further batch is written; whether that ended it.
UPDATE pgbaton.audit SET state = 'aborted', ended_at = clock_timestamp(), error = NULL,
       detail = detail || jsonb_build_object('aborted_by', $3::text)
 WHERE pipeline = $1 AND id = $2 AND state IN ('running', 'broken')
RETURNING true
