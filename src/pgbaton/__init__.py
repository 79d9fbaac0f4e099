"""pgbaton advances the rows of your own Postgres table through a pipeline of HTTP stages."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgbaton.config import Settings, load_pipeline
    from pgbaton.database import connection
    from pgbaton.errors import PgbatonError
    from pgbaton.install.attach import attach, detach
    from pgbaton.install.migrate import migrate
    from pgbaton.install.script import pipeline_sql
    from pgbaton.model import Advance, Pipeline, Stage
    from pgbaton.worker.engine import Engine

__all__ = [
    "Advance",
    "Engine",
    "PgbatonError",
    "Pipeline",
    "Settings",
    "Stage",
    "attach",
    "connection",
    "detach",
    "load_pipeline",
    "migrate",
    "pipeline_sql",
]
__version__ = "0.1.0"

_HOMES = {
    "pgbaton.config": ("Settings", "load_pipeline"),
    "pgbaton.database": ("connection",),
    "pgbaton.errors": ("PgbatonError",),
    "pgbaton.install.attach": ("attach", "detach"),
    "pgbaton.install.migrate": ("migrate",),
    "pgbaton.install.script": ("pipeline_sql",),
    "pgbaton.model": ("Advance", "Pipeline", "Stage"),
    "pgbaton.worker.engine": ("Engine",),
}


def __getattr__(name: str) -> object:
    """A public name, imported when it is first asked for: a command that only prints its help then starts four times
    as fast, without asyncpg, pydantic and the worker."""
    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
