-- $1 pipeline, $2 since, $3 until, $4 at most of each kind: findings, acts and deployments of that time.
SELECT * FROM (
    (SELECT f.appeared_at AS at, 'appeared' AS kind, f.finding::text AS finding, NULL::text AS who, NULL::text AS what,
            NULL::text AS was, NULL::text AS of, 0 AS jobs, f.ended_at AS other
       FROM pgbaton.findings AS f WHERE f.pipeline = $1 AND f.appeared_at >= $2 AND f.appeared_at < $3
      ORDER BY f.appeared_at DESC LIMIT $4)
    UNION ALL
    (SELECT f.ended_at, 'ended', f.finding::text, NULL, NULL, NULL, NULL, 0, f.appeared_at
       FROM pgbaton.findings AS f WHERE f.pipeline = $1 AND f.ended_at >= $2 AND f.ended_at < $3
      ORDER BY f.ended_at DESC LIMIT $4)
    UNION ALL
    (SELECT a.at, 'act', NULL, a.who, a.action, NULL, concat_ws(' ', a.stage, a.tenant, a.job_key), a.jobs, NULL
       FROM pgbaton.audit AS a WHERE a.pipeline = $1 AND a.at >= $2 AND a.at < $3
      ORDER BY a.id DESC LIMIT $4)
    UNION ALL
    (SELECT d.at, 'deployed', NULL, NULL, d.what, d.was, d.is_now, 0, NULL
       FROM pgbaton.deployments AS d WHERE d.pipeline = $1 AND d.at >= $2 AND d.at < $3 AND d.was IS NOT NULL
      ORDER BY d.id DESC LIMIT $4)) AS t
 ORDER BY t.at, t.kind
