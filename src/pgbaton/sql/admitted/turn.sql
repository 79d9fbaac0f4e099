-- A turn in a pipeline where something limits or orders the calls: duties are taken as pgbaton.admit() grants them. This is the
-- head of the statement; the rest of it is turn.sql's, from `judged` on, and its parameters. Where $6 is false (name jobs, call
-- none) nothing is granted, and duties are taken as they come.
WITH admitted AS MATERIALIZED (
    SELECT * FROM pgbaton.admit($1, $2, $3, $14, $15, $4, CASE WHEN $6 THEN $5 ELSE 0 END, false, NULL)
), taken AS MATERIALIZED (
    SELECT * FROM (
        SELECT d.ctid AS tid, d.id, d.stage, d.job_key, d.tenant, d.step, d.status, d.created_at,
               d.step AS entry, d.status AS entry_status, false AS limited, false AS probing
          FROM pgbaton.due AS d
         WHERE d.pipeline = $1 AND d.stage = '' AND d.id >= $7
         ORDER BY d.id
         LIMIT $8
           FOR UPDATE SKIP LOCKED) AS looks
    UNION ALL
    SELECT n.*, a.entry, a.entry_status, a.limited, a.probing
      FROM admitted AS a
     CROSS JOIN LATERAL (
            SELECT d.ctid AS tid, d.id, d.stage, d.job_key, d.tenant, d.step, d.status, d.created_at
              FROM pgbaton.due AS d
             WHERE d.pipeline = $1 AND d.stage = a.stage AND coalesce(d.tenant, '') COLLATE "C" = a.lane AND d.rank IS NOT NULL
             ORDER BY d.rank, d.id
             LIMIT a.may
               FOR UPDATE SKIP LOCKED) AS n
     WHERE a.lane IS NOT NULL
    UNION ALL
    SELECT n.*, a.entry, a.entry_status, a.limited, a.probing
      FROM admitted AS a
     CROSS JOIN LATERAL (
            SELECT d.ctid AS tid, d.id, d.stage, d.job_key, d.tenant, d.step, d.status, d.created_at
              FROM pgbaton.due AS d
             WHERE d.pipeline = $1 AND d.stage = a.stage AND d.id >= a.first_id
             ORDER BY d.id
             LIMIT a.may
               FOR UPDATE SKIP LOCKED) AS n
     WHERE a.lane IS NULL
    UNION ALL
    SELECT n.*, k.entry, k.status, false, false
      FROM unnest($3, $14, $15) AS k (stage, entry, status)
     CROSS JOIN LATERAL (
            SELECT d.ctid AS tid, d.id, d.stage, d.job_key, d.tenant, d.step, d.status, d.created_at
              FROM pgbaton.due AS d
             WHERE d.pipeline = $1 AND d.stage = k.stage
             ORDER BY d.id
             LIMIT $5
               FOR UPDATE SKIP LOCKED) AS n
     WHERE NOT $6
