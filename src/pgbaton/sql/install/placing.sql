UPDATE pgbaton.pipelines AS p SET home_system = pgbaton.this_system(), home_database = pgbaton.this_database()
 WHERE p.name = {pipeline} AND (p.home_database IS NULL OR {moving} AND NOT pgbaton.at_home(p));
UPDATE pgbaton.pipelines AS p SET rollout = {rollout}::jsonb
 WHERE p.name = {pipeline} AND p.rollout IS DISTINCT FROM {rollout}::jsonb;
