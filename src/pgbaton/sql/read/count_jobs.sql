-- As list_jobs: how many, up to $12.
SELECT count(*) FROM (
SELECT FROM {dispatches} AS d
  LEFT JOIN {attempts} AS t ON t.dispatch_id = d.id AND t.attempt = d.attempt
 WHERE
{matching}
 LIMIT $12) AS matching
