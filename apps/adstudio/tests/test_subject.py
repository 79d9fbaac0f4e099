"""The subject's map, and how masks are grown, summed and kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adstudio.vision.importance import INSIDE
from adstudio.vision.masks import decode_mask, dilate, encode_mask, integral
from adstudio.vision.network import ModelError
from adstudio.vision.shapes import Mask, Rgb
from adstudio.vision.subject import SubjectModel

ASSETS = Path(str(files("adstudio") / "assets"))


def photo_of(name: str) -> Rgb:
    return np.array(Image.open(ASSETS / "photos" / name).convert("RGB"))


def mask_of(model: SubjectModel, photo: Rgb) -> Mask:
    return model.map(photo) > INSIDE


@pytest.fixture(scope="module")
def model() -> SubjectModel:
    return SubjectModel(ASSETS / "models" / "u2netp.onnx")


def test_the_rocket_is_the_subject_of_its_photo(model: SubjectModel) -> None:
    mask = mask_of(model, photo_of("rocket.jpg"))
    assert mask.shape == (427, 640)
    assert mask[200:400, 321].mean() > 0.95  # along the rocket
    assert not mask[:100].any()  # the sky
    assert mask.mean() < 0.06


def test_the_astronauts_face_is_part_of_the_subject(model: SubjectModel) -> None:
    assert mask_of(model, photo_of("astronaut.jpg"))[60:170, 200:250].all()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_photo_of_one_colour_has_no_subject(model: SubjectModel, grey: int) -> None:
    assert not mask_of(model, np.full((30, 40, 3), grey, np.uint8)).any()


def test_one_model_serves_several_threads(model: SubjectModel) -> None:
    photos = [photo_of("rocket.jpg"), photo_of("coffee.jpg")] * 2
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(model.map, photos))
    assert all((together[i] == together[i + 2]).all() for i in (0, 1))
    assert (together[0] == model.map(photos[0])).all()


def test_another_model_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="nanodet"):
        SubjectModel(ASSETS / "models" / "nanodet_coco80_fp16.onnx")


def test_growing_a_mask_stops_at_the_edges() -> None:
    mask = np.zeros((5, 6), np.bool_)
    mask[0, 5] = True
    grown = dilate(mask, 2)
    assert grown.sum() == 9
    assert grown[:3, 3:].all()
    assert (dilate(mask, 0) == mask).all()


def test_running_sums_give_the_sum_of_any_rectangle() -> None:
    values = np.arange(12.0).reshape(3, 4)
    sums = integral(values)
    assert sums[3, 4] - sums[1, 4] - sums[3, 2] + sums[1, 2] == values[1:3, 2:4].sum()


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (427, 640)])
def test_a_mask_comes_back_as_it_was_stored(size: tuple[int, int]) -> None:
    mask = np.random.default_rng(7).random(size) < 0.5
    assert (decode_mask(encode_mask(mask)) == mask).all()


def test_a_stored_mask_is_small(model: SubjectModel) -> None:
    assert len(encode_mask(mask_of(model, photo_of("astronaut.jpg")))) < 4096


@pytest.mark.parametrize("stored", [b"", b"not a picture", encode_mask(np.ones((40, 40), np.bool_))[:50]])
def test_bytes_that_are_not_a_mask_are_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match="mask"):
        decode_mask(stored)


def test_a_picture_that_is_not_one_bit_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")
    with pytest.raises(ValueError, match="1-bit"):
        decode_mask((tmp_path / "colour.png").read_bytes())
