"""The HTTP server, and how it ends: the worker stops claiming the moment a signal arrives."""

from __future__ import annotations

import logging
from types import FrameType

import uvicorn
from fastapi import FastAPI

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class StudioServer(uvicorn.Server):
    """Uvicorn, but a signal also drains the worker at once, and lets open pages go.

    Uvicorn closes its door first and runs the lifespan's end last; a worker that went on claiming between the two
    would find its own application's door closed.
    """

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        super().__init__(uvicorn.Config(app, host, port, log_config=None, access_log=False))
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        engine = getattr(self._app.state, "pgbaton", None)
        if engine is not None:
            engine.stop()
        admin = getattr(self._app.state, "admin", None)
        if admin is not None:
            admin.close()  # or the server would wait for open pages
        super().handle_exit(sig, frame)


def log_to(handler: logging.Handler) -> None:
    """Send everything that is logged to ``handler``."""
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
