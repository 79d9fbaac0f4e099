-- $1 pipeline: whether something limits or orders its calls, so that claims of it go by pgbaton.admit(), and whether a limit of
-- it was learned.
SELECT coalesce(bool_or(s.governed), false) AS governed, coalesce(bool_or(s.ceiling IS NOT NULL), false)
       OR EXISTS (SELECT FROM pgbaton.accounts AS a WHERE a.pipeline = $1) AS learned
  FROM pgbaton.stages AS s WHERE s.pipeline = $1 AND s.routed
