-- As list_jobs: how many, up to $12.
SELECT count(*) FROM (SELECT FROM {matching} LIMIT $12) AS matching
