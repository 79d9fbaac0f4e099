"""The engine's schema as pg_dump sees it: `make schema` writes it down, a test compares it with the migrated one.

Run as a script it refreshes the files that are made from the migrations: src/pgbaton/sql/schema.sql and
db/init/02_job_state_notify_trigger.sql.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import tempfile
from pathlib import Path

import asyncpg

from pgbaton import load_pipeline
from pgbaton.install.attach import pipeline_sql
from pgbaton.embedded import EmbeddedPostgres
from pgbaton.embedded.host import wheel
from pgbaton.install.migrate import migrate

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "src/pgbaton/sql/schema.sql"
INIT = ROOT / "db/init/02_job_state_notify_trigger.sql"
HEAD = "-- The schema pgbaton after every migration, as pg_dump writes it. For reading; made by `make schema`.\n\n"


def dump(dsn: str) -> str:
    """The schema `pgbaton` of a database, without what differs from run to run or from release to release."""
    command = [
        wheel() / "pginstall/bin/pg_dump",
        "--schema-only",
        "--no-owner",
        "--no-privileges",
        "-n",
        "pgbaton",
        dsn,
    ]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    kept = [
        line
        for line in text.splitlines()
        if not re.match(r"--|\\(un)?restrict |SET |SELECT pg_catalog\.set_config", line)
    ]
    return HEAD + re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip() + "\n"


def expected_init() -> str:
    """What the database container runs: `pgbaton sql` for adstudio's pipeline."""
    return pipeline_sql(load_pipeline(ROOT / "apps/adstudio/src/adstudio/pgbaton.toml"))


async def _migrate(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        await migrate(conn)
    finally:
        await conn.close()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="pgbaton-schema-") as folder:
        Path(folder).chmod(0o711)  # as root, the server runs as another user
        with EmbeddedPostgres(Path(folder, "cluster"), durable=False) as server:
            asyncio.run(_migrate(server.dsn()))
            SCHEMA.write_text(dump(server.dsn()), encoding="utf-8")
    INIT.write_text(expected_init(), encoding="utf-8")
    print(f"wrote {SCHEMA.relative_to(ROOT)} and {INIT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
