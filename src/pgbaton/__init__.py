"""pgbaton advances the rows of your own Postgres table through a pipeline of HTTP stages."""

from pgbaton.config import Settings, load_pipeline
from pgbaton.errors import PgbatonError
from pgbaton.model import Advance, Pipeline, Stage
from pgbaton.worker.engine import Engine

__all__ = ["Advance", "Engine", "PgbatonError", "Pipeline", "Settings", "Stage", "load_pipeline"]
__version__ = "0.1.0"
