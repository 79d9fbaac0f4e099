"""Where the heavy models run: in this process, or as deployments of Ray Serve. The stages do not know which."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from adstudio.config import AppSettings, RaySizes
from adstudio.vision.detector import Detector, load_detector
from adstudio.vision.errors import ModelError
from adstudio.vision.subject import SubjectMap, SubjectModel
from adstudio.vision.vlm import VisionModel
from adstudio.vision.vlm_endpoint import VisionEndpoint

ASSETS = Path(str(files("adstudio") / "assets"))
SUBJECT = ASSETS / "models" / "u2netp.onnx"


@dataclass(frozen=True)
class Models:
    """The three that cost most of a job's time. ``vision``: the vision-language model to ask, if there is one."""

    detector: Detector
    subject: SubjectMap
    vision: VisionModel | None


def open_models(settings: AppSettings) -> Models:
    """The models, loaded. Raises :class:`ModelError` where a file is missing or foreign, where Ray is not installed, or
    where its cluster does not start them."""
    if settings.compute == "ray":
        return _on_ray(settings)
    return Models(
        load_detector(settings.yolo_model, classes=settings.classes, threshold=settings.yolo_threshold),
        SubjectModel(SUBJECT),
        _vision_model(settings),
    )


def _vision_model(settings: AppSettings) -> VisionModel | None:
    if settings.vlm_url is not None:
        return VisionEndpoint(settings.vlm_url, settings.vlm_model, settings.vlm_api_key, settings.vlm_timeout)
    if settings.vlm_path is not None:
        from adstudio.vision.vlm_local import LocalVisionModel  # it loads nothing heavy before it is needed

        return LocalVisionModel(settings.vlm_path, settings.vlm_timeout)
    return None


def _on_ray(settings: AppSettings) -> Models:
    """A model behind an endpoint stays where it is: asking it is no work for this process."""
    try:
        from adstudio import ray_models
    except ModuleNotFoundError as error:
        raise ModelError(f"ADSTUDIO_COMPUTE=ray: needs {error.name}; install: pip install 'adstudio[ray]'") from None
    ray_models.join()
    sizes = settings.ray or RaySizes()

    def deployed() -> Models:
        return Models(
            ray_models.detector(settings.yolo_model, settings.classes, settings.yolo_threshold, sizes.detector),
            ray_models.subject(SUBJECT, sizes.subject),
            ray_models.vision(settings.vlm_path, settings.vlm_timeout, sizes.vision)
            if settings.vlm_path is not None
            else _vision_model(settings),
        )

    with ThreadPoolExecutor(1) as thread:  # Ray answers no question that waits in an event loop's own thread
        return thread.submit(deployed).result()
