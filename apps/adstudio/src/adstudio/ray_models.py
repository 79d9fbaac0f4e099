"""The heavy models as deployments of Ray Serve, and an object for each of them in this process.

A replica holds a model as this process would and runs it as this process would, so the results are the same bytes. A
replica that dies in mid-work is an error of that call: the stage fails, and is called again by its retry rules. Nothing
is served over HTTP by Ray, and no answer of a stage comes from anywhere but the stage.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Collection
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # or Ray reports its use to its maker

import numpy as np
import ray
from numpy.typing import NDArray
from pydantic import BaseModel
from ray import serve

from adstudio.config import RaySize
from adstudio.vision.detector import Detector, load_detector
from adstudio.vision.errors import ModelError
from adstudio.vision.shapes import Detected, Rgb
from adstudio.vision.subject import LEAST_SURE, SubjectModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.serve.handle import DeploymentHandle

PATIENCE: Final = 300.0
"""Seconds that one call of a model may take with its wait for a replica; a stage has 600 for two."""
TOGETHER: Final = 0.01
"""Seconds that a first picture waits for others, where a replica takes several at once."""


def join() -> None:
    """Join the cluster of ``RAY_ADDRESS``, or start one on this machine that ends with this process."""
    with _signals_left_alone():
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False, namespace="adstudio")
        serve.start(proxy_location="Disabled")


@contextmanager
def _signals_left_alone() -> Iterator[None]:
    """Ray takes SIGTERM for itself; the server's own handler drains the worker."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Replica:
    """One model in a process of the cluster. ``made_of``: of which settings it was made."""

    def __init__(self, made_of: str) -> None:
        self._made_of = made_of

    def of(self) -> str:
        """The settings that it was made of: they tell whether this process would make the same deployment."""
        return self._made_of

    def reconfigure(self, config: dict[str, int]) -> None:
        """Take at most ``batch`` pictures at once, if it takes several."""
        together: Any = getattr(self, "_together", None)
        if together is not None:
            together.set_max_batch_size(config["batch"])
            together.set_batch_wait_timeout_s(TOGETHER if config["batch"] > 1 else 0.0)


class DetectorReplica(Replica):
    """The detector."""

    def __init__(self, made_of: str, path: Path | None, classes: Collection[str], threshold: float | None) -> None:
        super().__init__(made_of)
        self._detector = load_detector(path, classes=classes, threshold=threshold)

    def labels(self) -> frozenset[str]:
        """As of the detector."""
        return self._detector.labels

    @serve.batch
    async def _together(self, photos: list[Rgb]) -> list[list[Detected]]:
        return await asyncio.to_thread(lambda: [self._detector.detect(photo) for photo in photos])

    async def detect(self, photo: Rgb) -> list[Detected]:
        """As of the detector."""
        return list(await self._together(photo))


class SubjectReplica(Replica):
    """The subject map."""

    def __init__(self, made_of: str, path: Path) -> None:
        super().__init__(made_of)
        self._model = SubjectModel(path)

    @serve.batch
    async def _together(self, photos: list[Rgb], least_sure: list[float]) -> list[NDArray[np.float32]]:
        pairs = list(zip(photos, least_sure, strict=True))
        return await asyncio.to_thread(lambda: [self._model.map(photo, least) for photo, least in pairs])

    async def map(self, photo: Rgb, least_sure: float) -> NDArray[np.float32]:
        """As of the model."""
        found: NDArray[np.float32] = await self._together(photo, least_sure)
        return found


class VisionReplica(Replica):
    """The vision-language model; one question at a time."""

    def __init__(self, made_of: str, folder: Path, timeout: float) -> None:
        from adstudio.vision.vlm_local import LocalVisionModel

        super().__init__(made_of)
        self._model = LocalVisionModel(folder, timeout)

    async def say(self, jpeg: bytes | None, prompt: str, schema: type[BaseModel]) -> str:
        """As of the model."""
        return await self._model.say(jpeg, prompt, schema)


class RemoteDetector:
    """The detector, wherever its replicas are."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle
        self.labels: frozenset[str] = handle.labels.remote().result(timeout_s=PATIENCE)

    def detect(self, photo: Rgb) -> list[Detected]:
        """As of the detector; not for the event loop."""
        found: list[Detected] = self._handle.detect.remote(photo).result(timeout_s=PATIENCE)
        return found


class RemoteSubject:
    """The subject map, wherever its replicas are."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    def map(self, photo: Rgb, least_sure: float = LEAST_SURE) -> NDArray[np.float32]:
        """As of the model; not for the event loop."""
        found: NDArray[np.float32] = self._handle.map.remote(photo, least_sure).result(timeout_s=PATIENCE)
        return found.copy()  # what Ray hands out cannot be written to


class RemoteVision:
    """The vision-language model, wherever its replicas are."""

    def __init__(self, handle: DeploymentHandle, model: str, timeout: float) -> None:
        self._handle, self.model, self.timeout = handle, model, timeout

    async def say(self, jpeg: bytes | None, prompt: str, schema: type[BaseModel]) -> str:
        """As of the model; a caller that goes away cancels the question."""
        return str(await self._handle.say.remote(jpeg, prompt, schema))


def detector(path: Path | None, classes: Collection[str], threshold: float | None, size: RaySize) -> Detector:
    """The detector's deployment, running."""
    return RemoteDetector(deployed("detector", DetectorReplica, size, path, tuple(classes), threshold))


def subject(path: Path, size: RaySize) -> RemoteSubject:
    """The subject map's deployment, running."""
    return RemoteSubject(deployed("subject", SubjectReplica, size, path))


def vision(folder: Path, timeout: float, size: RaySize) -> RemoteVision:
    """The vision-language model's deployment, running."""
    return RemoteVision(deployed("vision", VisionReplica, size, folder, timeout), folder.name, timeout)


def deployed(name: str, kind: type[Replica], size: RaySize, *made_of: object) -> DeploymentHandle:
    """The deployment ``adstudio-NAME``: the one that runs where it was made of the same settings, else a new one in its
    place. Raises :class:`ModelError` where the cluster does not start it."""
    application = f"adstudio-{name}"
    mark = sha256(repr((kind.__qualname__, size, made_of)).encode()).hexdigest()
    try:
        there = serve.status().applications.get(application)
        if there is not None and there.status == "RUNNING":
            running = serve.get_app_handle(application)
            if running.of.remote().result(timeout_s=PATIENCE) == mark:
                return running
        made = serve.deployment(kind, name=name).options(
            num_replicas=size.replicas,
            user_config={"batch": size.batch},
            max_ongoing_requests=max(2, 2 * size.batch),
            ray_actor_options={"num_cpus": size.cpus, "num_gpus": size.gpus},
        )
        handle: DeploymentHandle = serve.run(made.bind(mark, *made_of), name=application, route_prefix=None)
    except (RuntimeError, TimeoutError, ray.exceptions.RayError) as error:
        raise ModelError(f"Ray does not start the {name}: {_reason(application, error)}") from error
    return handle


def _reason(application: str, error: Exception) -> str:
    """The last error that Ray names: a deployment that did not start has a whole traceback as its message."""
    texts = [str(error)]
    with suppress(RuntimeError, ray.exceptions.RayError):  # the cluster may be what is missing
        there = serve.status().applications.get(application)
        texts += [deployment.message for deployment in there.deployments.values()] if there else []
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    named = [line for line in lines if "Error: " in line]
    return (named or lines or [type(error).__name__])[-1][:300]
