"""How fast, at what cost: pgbaton beside its peers and beside the limit, measured in one interleaved run.

``make bench`` runs ``python -m benchmarks hops``, ``make bench-scale`` runs ``python -m benchmarks scale``. Both print
tables; a whole run also writes them into ``docs/benchmarks.md``.

Every part is a process of its own: Postgres, the stage server (``stage``), the contestant's engine, whoever adds
jobs (both ``child``), and this one, which only watches. All share two cores. Ratios within a run travel to other
machines; absolute figures do not.
"""
