"""pgbaton advances the rows of your own Postgres table through a pipeline of HTTP stages."""

from pgbaton.config import Settings, load_pipeline
from pgbaton.database import connection
from pgbaton.errors import PgbatonError
from pgbaton.install.attach import attach, detach, pipeline_sql
from pgbaton.install.migrate import migrate
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
