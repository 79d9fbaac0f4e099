"""Jobs whose stage cannot do its work: one sentence for the client, and no call in vain.

The guard marks a stage that raises as failed, and a failed stage is called again. That is right for a crash. A photo
that cannot be read stays so, and a vision model that is away is not the job's fault. So for these it is put back to
where the stage found it; then the engine goes by the answer: dead at 422, called later at 503. A job that was called
by hand has no engine to go by the answer, and is marked as failed.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from math import ceil
from typing import TypeVar

from fastapi import FastAPI, Request, Response

from adstudio import notes
from adstudio.store import StoreAway
from adstudio.vision.errors import InputError, Language
from adstudio.vision.vlm import VisionAway, VisionNonsense
from pgbaton.fastapi import StageFailed, Stages, Turn, problem

T = TypeVar("T")

RETRY_AFTER = 10.0
"""Seconds until the next call, where the model or the store that is away does not say how long."""

_by_engine: ContextVar[bool] = ContextVar("by_engine", default=False)


class Refused(StageFailed):
    """The stage cannot be done with the job's inputs; answered with 422."""


class PutOff(StageFailed):
    """The stage cannot be done now; answered with 503 and ``Retry-After``."""

    def __init__(self, sentence: str, retry_after: float) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class TellingStages(Stages):
    """Stages that may raise the errors of photo, copy and models: they are told in the job's language."""

    def post(self, step: str) -> Callable[[Callable[[Turn], Awaitable[T]]], Callable[[Turn], Awaitable[T]]]:
        """As in :class:`Stages`."""
        at_its_path = super().post(step)

        def register(work: Callable[[Turn], Awaitable[T]]) -> Callable[[Turn], Awaitable[T]]:
            @wraps(work)
            async def telling(turn: Turn) -> T:
                try:
                    return await work(turn)
                except InputError as error:
                    told = await self._give_back(turn, error.told, _trace(error))
                    raise Refused(told) from error
                except (VisionAway, StoreAway) as error:
                    told = await self._give_back(turn, _away(error), None, final=False)
                    wait = getattr(error, "retry_after", None) or RETRY_AFTER
                    raise PutOff(f"{told} ({error})", wait) from error  # the cause is for operators

            at_its_path(telling)
            return work

        return register

    async def _give_back(
        self,
        turn: Turn,
        told: Callable[[Language], str],
        trace: Mapping[str, object] | None,
        *,
        final: bool = True,
    ) -> str:
        """Note the sentence with the job, and put the job back if the engine called; returns the sentence."""
        job, tenant = turn.job["job_id"], turn.job["tenant_id"]
        async with self.pool.acquire() as db, db.transaction():
            sentence = told(await notes.language_of_job(db, job))
            if _by_engine.get():
                await notes.put_back(db, self.pipeline.name, turn.job_id, turn.stage.step, turn.stage.entry)
            kept = None if trace is None else json.dumps(trace, ensure_ascii=False)
            await notes.note(db, job, tenant, turn.stage.step, sentence, final=final, trace=kept)
        return sentence


async def mark_caller(request: Request) -> None:
    """A dependency of the stages' routes: whether the engine calls, which heeds the answer."""
    _by_engine.set("x-pgbaton-attempt" in request.headers)


def tell_callers(app: FastAPI) -> None:
    """Let ``app`` answer the errors that :class:`TellingStages` raises."""

    async def refused(_: Request, error: Exception) -> Response:
        return problem(422, "Stage refused", str(error))

    async def put_off(_: Request, error: Exception) -> Response:
        assert isinstance(error, PutOff)
        answer = problem(503, "Stage put off", str(error))
        answer.headers["Retry-After"] = str(ceil(error.retry_after))
        return answer

    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(PutOff, put_off)


def _trace(error: InputError) -> Mapping[str, object] | None:
    return error.trace if isinstance(error, VisionNonsense) else None


def _away(error: VisionAway | StoreAway) -> Callable[[Language], str]:
    """The sentence that tells a client what its ad waits for."""
    ko, en = (
        ("비전 모델의 답을", "the vision model")
        if isinstance(error, VisionAway)
        else ("파일 저장소를", "the file store")
    )
    return lambda language: (
        f"{ko} 기다리고 있습니다. 곧 자동으로 다시 진행됩니다."
        if language == "ko"
        else f"This waits for {en} and goes on by itself."
    )
