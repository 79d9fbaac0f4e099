"""pgbaton beside a FastAPI application: the guard of its stages, its lifespan, its health routes.

``dashboard(settings, token=…)`` is the page (extra ``web``), a router for ``include_router``.

The guard makes an endpoint a stage: it *begins* (compare-and-set to running, 409 otherwise) and *ends*
(done in the same transaction as the stage's own results; failed on an exception)::

    stages = Stages(pipeline)
    app = FastAPI(lifespan=lifespan(stages, settings))

    @stages.post("yolo_detect")
    async def detect(turn: Turn) -> dict[str, int]:
        photo = await turn.read(load_photo)          # async def load_photo(db, turn)
        boxes = await asyncio.to_thread(find_boxes, photo)
        turn.save(store_boxes, boxes)                # async def store_boxes(db, turn, boxes)
        return {"boxes": len(boxes)}

    app.include_router(stages.router)
    app.include_router(health)
    answer_with_problems(app)
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec("fastapi") is None:
    raise ModuleNotFoundError('fastapi is not installed: pip install "pgbaton[fastapi]"', name="fastapi")

from pgbaton.fastapi.guard import JobRequest, Stages, Turn
from pgbaton.fastapi.lifespan import health, lifespan
from pgbaton.fastapi.problems import Problem, StageFailed, answer_with_problems, problem

if TYPE_CHECKING:
    from pgbaton.web import dashboard

__all__ = [
    "JobRequest",
    "Problem",
    "StageFailed",
    "Stages",
    "Turn",
    "answer_with_problems",
    "dashboard",
    "health",
    "lifespan",
    "problem",
]


def __getattr__(name: str) -> Any:
    """``dashboard``, which needs the extra ``web``, is loaded when it is first asked for."""
    if name == "dashboard":
        from pgbaton.web import dashboard

        return dashboard
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
