"""Errors as ``application/problem+json`` (RFC 9457): the fault for the caller, the cause for the log."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from pgbaton.errors import JobRefused

log = logging.getLogger("pgbaton.fastapi")


class StageFailed(Exception):
    """Raised by a stage that cannot do its work; the message is shown to the caller."""


class Problem(BaseModel):
    """An error as RFC 9457 spells it (``application/problem+json``)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


UNPARSED = "There was an error parsing the body"
"""FastAPI's answer to JSON that defeats the parser (too deep, too long a number); to a caller it does not fit."""

PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"description": text, "content": {"application/problem+json": {"schema": Problem.model_json_schema()}}}
    for code, text in {
        404: "Unknown job, or another tenant's",
        409: "The job is not where this stage needs it",
        413: "The body is larger than any call of the engine",
        422: "The body does not fit",
        500: "The stage failed; the job is marked as failed",
    }.items()
}


def problem(status: int, title: str, detail: str) -> JSONResponse:
    """An error answer."""
    body = Problem(title=title, status=status, detail=detail).model_dump()
    return JSONResponse(body, status, media_type="application/problem+json")


def answer_with_problems(app: FastAPI) -> None:
    """Let every error of ``app`` be answered as ``application/problem+json``; the cause is logged, not shown."""

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, JobRefused)
        return problem(error.status, error.title, str(error))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = (f"{'.'.join(str(part) for part in e['loc'][1:]) or 'body'}: {e['msg']}" for e in error.errors())
        return problem(422, "Invalid request", "; ".join(faults)[:1000])

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if (error.status_code, error.detail) == (400, UNPARSED):
            return problem(422, "Invalid request", "body: cannot be parsed")
        answer = problem(error.status_code, "Request refused", str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    async def failed(_: Request, error: Exception) -> Response:
        return problem(500, "Stage failed", str(error))

    async def broken(request: Request, error: Exception) -> Response:
        log.error("%s failed", request.url.path, exc_info=error)
        return problem(500, "Internal error", f"{type(error).__name__}; the log has the rest")

    app.add_exception_handler(JobRefused, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(StageFailed, failed)
    app.add_exception_handler(Exception, broken)
