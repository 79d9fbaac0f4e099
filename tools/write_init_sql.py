"""Write down what the database container runs: `make schema` makes db/init/02_job_state_notify_trigger.sql.

A test compares the file with what `pgbaton sql` prints now.
"""

from __future__ import annotations

from pathlib import Path

from pgbaton import load_pipeline
from pgbaton.install.attach import pipeline_sql

ROOT = Path(__file__).parents[1]
INIT = ROOT / "db/init/02_job_state_notify_trigger.sql"


def init_sql() -> str:
    """`pgbaton sql` for adstudio's pipeline."""
    return pipeline_sql(load_pipeline(ROOT / "apps/adstudio/src/adstudio/pgbaton.toml"))


def main() -> None:
    INIT.write_text(init_sql(), encoding="utf-8")
    print(f"wrote {INIT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
