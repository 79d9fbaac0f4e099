"""An error as a page: a sentence for the asker, and the rest for the log."""

from __future__ import annotations

import logging

import asyncpg
from fastapi import HTTPException
from starlette.responses import Response

from pgbaton.errors import DatabaseError, PgbatonError, Refused
from pgbaton.events import describe
from pgbaton.web.context import View
from pgbaton.web.forms import Unfit
from pgbaton.web.messages import MESSAGES
from pgbaton.web.render import page

log = logging.getLogger("pgbaton.web")


class Told(Exception):
    """A refusal in the page's own words: a message's key, and the status of the answer."""

    def __init__(self, message: str, status: int, detail: str = "") -> None:
        super().__init__(message)
        self.message, self.status, self.detail = message, status, detail


def refused(view: View, message: str, status: int = 403) -> Response:
    """That may not be, or is not there."""
    return page(view, "problem.html", status, message=message, detail="", title="", code=status)


def problem(view: View, error: Exception) -> Response:
    """An error as a page: a fault of the asker's, of the database, or (logged) of ours."""
    if isinstance(error, HTTPException):
        raise error
    if isinstance(error, Told):
        return page(
            view, "problem.html", error.status, message=error.message, detail=error.detail, title="", code=error.status
        )
    if isinstance(error, Unfit):
        return page(view, "problem.html", 422, message="fault.unfit", detail=f"({error})", title="", code=422)
    if isinstance(error, asyncpg.DataError):
        return page(view, "problem.html", 422, message="fault.unfit", detail="", title="", code=422)
    away = (
        OSError,
        TimeoutError,
        asyncpg.InterfaceError,
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
    )
    if isinstance(error, (DatabaseError, *away)):
        detail = str(error) if isinstance(error, PgbatonError) else describe(error)
        return page(view, "problem.html", 503, message="fault.database", detail=detail, title="", code=503)
    if isinstance(error, asyncpg.PostgresError):
        return page(view, "problem.html", 503, message="fault.refuses", detail=describe(error), title="", code=503)
    if isinstance(error, Refused) and f"refused.{error.code}" in MESSAGES:
        return page(view, "problem.html", 409, message=f"refused.{error.code}", detail="", title="", code=409)
    if isinstance(error, PgbatonError):
        return page(view, "problem.html", 409, message="fault.title", detail=str(error), title="", code=409)
    log.error("the page %r failed", view.page, exc_info=error)
    return page(view, "problem.html", 500, message="fault.title", detail=type(error).__name__, title="", code=500)
