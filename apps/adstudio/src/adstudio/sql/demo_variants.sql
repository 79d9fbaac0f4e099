-- $1 jobs: how many of its variants passed, and how often one was rejected and sent back to the planner.
SELECT v.job_id, count(*) FILTER (WHERE (v.current_step, v.status) = ('vlm_judge', 'done')) AS passed,
       coalesce(sum(r.taken), 0)::integer AS again
  FROM public.jobs_variants AS v
  LEFT JOIN pgbaton.rounds AS r ON r.pipeline = 'ad_variants' AND r.job_key = v.variant_id::text
 WHERE v.job_id = ANY ($1)
 GROUP BY v.job_id
