-- Answers to attempts that have ended already: $1 dispatch ids, $2 attempts, $3 HTTP statuses, $4 errors, $5 bodies.
-- Returns how each attempt ended; one that is missing has not.
UPDATE pgbaton.history AS h
   SET http_status = a.http_status, error = coalesce(h.error, a.error), answer = a.body
  FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::text[], $5::text[]) AS a (id, attempt, http_status, error, body)
 WHERE h.id = a.id AND h.attempt = a.attempt AND h.called AND h.id = ANY ($1)
RETURNING h.id, h.attempt, h.outcome, h.state
