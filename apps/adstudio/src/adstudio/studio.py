"""The common part of the stages: the models, loaded once, and the threads that work on pixels."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

import cv2

from adstudio.allocation import give_back_large_blocks
from adstudio.compute import ASSETS, open_models
from adstudio.config import AppSettings
from adstudio.store import Shelf, open_shelf
from adstudio.vision.detector import Detector
from adstudio.vision.faces import FaceModel
from adstudio.vision.ocr import Ocr
from adstudio.vision.subject import SubjectMap
from adstudio.vision.vlm import VisionModel

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Studio:
    """Models, threads, and where pictures are kept. ``vision``: the vision-language model to ask, if there is one."""

    detector: Detector
    subject: SubjectMap
    faces: FaceModel
    ocr: Ocr
    vision: VisionModel | None
    shelf: Shelf
    threads: ThreadPoolExecutor

    async def compute(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` off the event loop: no stage's pixels may keep another stage's answer waiting."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, partial(work, *args, **kwargs))


def open_studio(settings: AppSettings) -> Studio:
    """Load the models and open the store.

    Raises :class:`~adstudio.vision.errors.ModelError` where a file is missing or foreign, and
    :class:`~pgbaton.errors.ConfigError` where the store is.
    """
    give_back_large_blocks()
    cv2.setNumThreads(1)  # the threads are ours: a stage has one
    models = open_models(settings)
    return Studio(
        models.detector,
        models.subject,
        FaceModel(ASSETS / "models" / "face_detection_full_range.tflite"),
        Ocr(),
        models.vision,
        open_shelf(settings.assets),
        ThreadPoolExecutor(os.cpu_count() or 2, thread_name_prefix="pixels"),
    )
