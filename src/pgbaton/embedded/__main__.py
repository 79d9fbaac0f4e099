"""A Postgres until Ctrl-C or SIGTERM: `python -m pgbaton.embedded [FOLDER]`; prints its address."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from pgbaton.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedUnavailable

ENDS = {signal.SIGINT, signal.SIGTERM}


def main() -> int:
    """Return the exit status: 1 where the server cannot be started."""
    parser = argparse.ArgumentParser(
        prog="python -m pgbaton.embedded", description="Run a Postgres and print its address."
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("var/postgres"), help="default: var/postgres")
    folder = parser.parse_args().folder
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # one that comes while the server starts is waited for below
    try:
        with EmbeddedPostgres(folder) as server:
            print(server.dsn(), flush=True)
            signal.sigwait(ENDS)
    except (EmbeddedError, EmbeddedUnavailable, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
