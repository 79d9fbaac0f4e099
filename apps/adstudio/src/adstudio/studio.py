"""What the stages share: the models, loaded once, and the threads that pixels are worked on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import ParamSpec, TypeVar

from adstudio.vision.detector import Detector, load_detector
from adstudio.vision.ocr import Ocr
from adstudio.vision.subject import SubjectModel
from adstudio.vision.vlm import VisionEndpoint

P = ParamSpec("P")
T = TypeVar("T")

ASSETS = Path(str(files("adstudio") / "assets"))
FONT = ASSETS / "fonts" / "Pretendard-Bold.otf"


@dataclass(frozen=True)
class Studio:
    """Models and threads. ``endpoint``: the vision-language model to ask, if there is one."""

    detector: Detector
    subject: SubjectModel
    ocr: Ocr
    endpoint: VisionEndpoint | None
    threads: ThreadPoolExecutor

    async def compute(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` off the event loop: no stage's pixels may keep another stage's answer waiting."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, partial(work, *args, **kwargs))


def open_studio(yolo_model: Path | None, endpoint: VisionEndpoint | None) -> Studio:
    """Load the models. Raises :class:`~adstudio.vision.detector.ModelError` where a file is missing or foreign."""
    return Studio(
        load_detector(yolo_model),
        SubjectModel(ASSETS / "models" / "u2netp.onnx"),
        Ocr(),
        endpoint,
        ThreadPoolExecutor(os.cpu_count() or 2, thread_name_prefix="pixels"),
    )
