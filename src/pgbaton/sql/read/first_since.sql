-- $1 a moment, or $2 so many seconds ago: no dispatch that was made since then has a lower id.
SELECT greatest(pgbaton.last_ended_before(coalesce($1::timestamptz, statement_timestamp() - make_interval(secs => $2))) - 2000, 0)
