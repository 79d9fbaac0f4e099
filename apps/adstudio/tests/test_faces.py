"""Faces, and how much each part of a photo must not be covered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ads import ASSETS, detected, models, photo_of

from adstudio.vision.errors import ModelError
from adstudio.vision.faces import FaceModel
from adstudio.vision.importance import (
    FACE,
    LONE_BOX,
    PERSON,
    SUBJECT,
    decode_weights,
    encode_weights,
    importance,
    with_lights,
)
from adstudio.vision.named_things import named_in
from adstudio.vision.shapes import Box, Detected

LINE = "꿈은 더 멀리 간다"


def test_the_astronauts_face_is_found_and_weighs_most() -> None:
    seen = detected("astronaut.jpg", LINE)
    assert len(seen.faces) == 1
    face = seen.faces[0].box
    assert (face.left < 200, face.right > 245, face.top < 90, face.bottom > 155) == (True,) * 4
    scale = seen.weights.shape[1] / seen.width
    y, x = round(115 * scale), round(224 * scale)
    assert seen.weights[y, x] == FACE
    assert seen.weights[: round(40 * scale), : round(100 * scale)].max() < SUBJECT  # the flag


@pytest.mark.parametrize("photo", ["figs.jpg", "rocket.jpg", "coffee.jpg", "peaks.jpg", "chelsea.jpg", "dandelion.jpg"])
def test_no_face_is_seen_where_there_is_none(photo: str) -> None:
    assert models()[2].find(photo_of(photo)) == []


def test_a_face_is_found_mirrored_and_in_a_corner() -> None:
    picture = np.full((900, 1200, 3), 200, np.uint8)
    picture[388:, 688:] = photo_of("astronaut.jpg")[:, ::-1]
    face = models()[2].find(picture)
    assert len(face) == 1
    assert face[0].box.left > 900


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        FaceModel(tmp_path / "missing.tflite")
    with pytest.raises(ModelError, match="u2netp"):
        FaceModel(ASSETS / "models" / "u2netp.onnx")


def weights(things: list[Detected], faces: list[Detected] = [], named: tuple[str, ...] = ()) -> np.ndarray:  # noqa: B006
    subject = np.zeros((100, 200), np.float32)
    subject[40:60, 100:120] = 1
    return importance(subject, things, faces, (100, 200), named)


def test_a_lone_box_weighs_little_and_the_subject_much() -> None:
    found = weights([Detected("bird", 0.9, Box(0, 0, 30, 30)), Detected("person", 0.9, Box(150, 0, 190, 90))])
    assert found[10, 10] == LONE_BOX
    assert found[50, 160] == PERSON
    assert found[50, 110] == SUBJECT
    assert found[90, 60] == 0


def test_the_thing_that_the_copy_names_is_the_subject() -> None:
    found = weights([Detected("wine glass", 0.7, Box(10, 10, 30, 60))], named=tuple(named_in("하루의 끝, 와인 한 잔")))
    assert found[30, 20] == SUBJECT
    assert found[50, 110] == PERSON


def test_of_a_person_the_face_and_the_bust_count_most() -> None:
    found = weights([], [Detected("face", 0.9, Box(100, 40, 112, 52))])
    assert found[45, 105] == FACE
    assert found[58, 115] == SUBJECT


def test_a_small_light_is_not_printed_over_and_a_white_ground_is() -> None:
    free = np.zeros((100, 200), np.float32)
    sun = np.full((100, 200, 3), 120, np.uint8)
    sun[10:20, 30:40] = 255
    assert with_lights(free, sun)[15, 35] > 0
    assert with_lights(free, np.full((100, 200, 3), 255, np.uint8)).max() == 0


def test_weights_come_back_as_they_were_stored() -> None:
    found = weights([Detected("bird", 0.9, Box(0, 0, 30, 30))])
    assert abs(decode_weights(encode_weights(found)) - found).max() < 0.01
    with pytest.raises(ValueError, match="weights"):
        decode_weights(b"not a picture")


@pytest.mark.parametrize(
    ("copy", "label"),
    [
        ("고양이도 반한 포근함", "cat"),
        ("Slow coffee", "cup"),
        ("반려견 하네스", "dog"),
        ("Kite festival", "kite"),
        ("연날리기 대회", "kite"),
        ("새로운 시작", None),
    ],
)
def test_copy_names_things(copy: str, label: str | None) -> None:
    assert (label in named_in(copy)) if label else not named_in(copy)
