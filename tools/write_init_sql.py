"""Write down what the database container runs: `make schema` makes the files of db/init that attach.

A test compares each file with what `pgbaton sql` prints now.
"""

from __future__ import annotations

from pathlib import Path

from pgbaton import load_pipeline
from pgbaton.install.script import attach_sql, pipeline_sql

ROOT = Path(__file__).parents[1]
APP = ROOT / "apps/adstudio/src/adstudio"
INIT = {
    ROOT / "db/init/02_job_state_notify_trigger.sql": APP / "pgbaton.toml",
    ROOT / "db/init/03_jobs_variants_trigger.sql": APP / "ad_variants.toml",
}
"""The scripts, and the pipeline that each attaches."""


def init_sql(pipeline: Path) -> str:
    """`pgbaton sql` for adstudio's ads; for their variants what attaches them besides: the schema is there by then."""
    loaded = load_pipeline(pipeline)
    if loaded.parent is None:
        return pipeline_sql(loaded)
    return (
        f"-- The routes and the trigger of the pipeline {loaded.name}. For plain psql, after 02.\n{attach_sql(loaded)}"
    )


def main() -> None:
    for file, pipeline in INIT.items():
        file.write_text(init_sql(pipeline), encoding="utf-8")
        print(f"wrote {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
