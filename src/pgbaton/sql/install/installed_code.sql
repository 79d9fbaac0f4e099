-- Whether the trigger's function and the triggers are as this version makes them (null: not there).
SELECT (SELECT md5(f.prosrc) = '{body_md5}' AND f.prosecdef AND f.proconfig IS NULL
          FROM pg_proc AS f WHERE f.oid = to_regprocedure({function_literal})) AS function,
       t.name, CASE WHEN t.there THEN t.same END AS same
  FROM (
{wanted_triggers}) AS t
