"""Ads for the tests: shipped photos looked at once, planned and drawn."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from adstudio.vision.copy_reading import read_copy
from adstudio.vision.detector import load_detector
from adstudio.vision.faces import FaceModel
from adstudio.vision.formats import FORMATS
from adstudio.vision.kit import NO_KIT, Kit
from adstudio.vision.layout import Layout
from adstudio.vision.making import Detection, backdrop_for, detect, plan_all
from adstudio.vision.ocr import Ocr
from adstudio.vision.opened import opened
from adstudio.vision.scene import Scene, look_at
from adstudio.vision.second_look import SecondLook, look_again
from adstudio.vision.shapes import Rgb
from adstudio.vision.subject import SubjectModel

ASSETS = Path(str(files("adstudio") / "assets"))


@cache
def models() -> tuple[object, SubjectModel, FaceModel, Ocr]:
    return (
        load_detector(None),
        SubjectModel(ASSETS / "models" / "u2netp.onnx"),
        FaceModel(ASSETS / "models" / "face_detection_full_range.tflite"),
        Ocr(),
    )


def file_of(photo: str) -> bytes:
    return (ASSETS / "photos" / photo).read_bytes()


@cache
def detected(photo: str, copy: str) -> Detection:
    detector, subject, faces, _ = models()
    return detect(file_of(photo), read_copy(copy), detector, subject, faces)  # type: ignore[arg-type]


def photo_of(photo: str, kit: Kit = NO_KIT) -> Rgb:
    return opened(file_of(photo), backdrop_for(file_of(photo), kit))


def scene_of(photo: str, copy: str) -> Scene:
    seen = detected(photo, copy)
    return look_at(photo_of(photo), seen.weights, [face.box for face in seen.faces])


def layouts(photo: str, copy: str, *formats: str, kit: Kit = NO_KIT) -> tuple[Layout, ...]:
    wanted = [FORMATS[name] for name in formats]
    return plan_all(file_of(photo), detected(photo, copy), read_copy(copy), wanted, kit).layouts


@cache
def second_look(photo: str, copy: str) -> SecondLook:
    detector, subject, faces, _ = models()
    return look_again(photo_of(photo), read_copy(copy), detector, subject, faces)  # type: ignore[arg-type]
