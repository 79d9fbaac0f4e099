-- $1 act, $2 the runner that carries it on from now, in the place of any other, $3 pipeline: the act, if it has not ended.
UPDATE pgbaton.audit SET runner = $2, state = 'running', error = NULL, renewed_at = clock_timestamp()
 WHERE id = $1 AND pipeline = $3 AND state IN ('running', 'broken')
RETURNING who, action, pipeline, detail::text AS detail, total, seen, jobs, reached, undoes
