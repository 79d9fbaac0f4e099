"""The measured checks of a photo: good ones pass, each kind of bad one fails for its own reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

import adstudio
from adstudio.vision.photo import open_photo
from adstudio.vision.quality import measure, validate_photo
from adstudio.vision.shapes import Rgb

PHOTOS = Path(adstudio.__file__).parent / "assets" / "photos"
NAMES = ["astronaut", "chelsea", "coffee", "rocket"]


def photo(name: str) -> Rgb:
    return open_photo((PHOTOS / f"{name}.jpg").read_bytes())


def flat(level: int) -> Rgb:
    return np.full((400, 600, 3), level, np.uint8)


def failed(picture: Rgb) -> set[str]:
    return {check.name for check in measure(picture, "en") if not check.passed}


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_photo_passes_every_check(name: str) -> None:
    verdict = validate_photo(photo(name), "en")
    assert verdict.passed
    assert all(check.passed for check in verdict.checks)


def test_the_verdict_says_that_no_model_looked() -> None:
    verdict = validate_photo(photo("coffee"), "en")
    assert verdict.judge == "measured checks"
    assert "Only the pixels were measured" in verdict.reasons[-1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("radius", [2, 4, 8])
def test_a_blurred_photo_fails_for_its_sharpness_alone(name: str, radius: int) -> None:
    blurred = Image.fromarray(photo(name)).filter(ImageFilter.GaussianBlur(radius))
    assert failed(np.asarray(blurred)) == {"sharpness"}


def test_a_sharp_subject_before_a_soft_background_is_sharp() -> None:
    picture = photo("coffee")
    soft = np.array(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(8)))
    soft[120:280, 200:400] = picture[120:280, 200:400]
    assert not failed(soft)


@pytest.mark.parametrize("name", NAMES)
def test_mist_and_dusk_are_not_blur(name: str) -> None:
    hazy = photo(name) * 0.2 + np.linspace(60, 190, photo(name).shape[0])[:, None, None]
    assert "sharpness" not in failed(hazy.astype(np.uint8))


@pytest.mark.parametrize("name", NAMES)
def test_grain_does_not_make_a_blurred_photo_sharp(name: str) -> None:
    blurred = np.asarray(Image.fromarray(photo(name)).filter(ImageFilter.GaussianBlur(4)), np.float32)
    grain = np.random.default_rng(2).normal(0, 3, blurred.shape[:2])[:, :, None]
    assert failed(np.clip(blurred + grain, 0, 255).astype(np.uint8)) == {"sharpness"}


@pytest.mark.parametrize(
    ("level", "names"),
    [
        (0, {"brightness", "shadows", "contrast", "sharpness"}),
        (255, {"brightness", "highlights", "contrast", "sharpness"}),
        (128, {"contrast", "sharpness"}),
    ],
)
def test_a_photo_of_nothing_fails(level: int, names: set[str]) -> None:
    assert failed(flat(level)) == names


def test_every_failure_has_its_reason() -> None:
    verdict = validate_photo(flat(0), "en")
    reasons = " ".join(verdict.reasons)
    for word in ("blurred", "too dark", "plain black"):
        assert word in reasons
    assert not verdict.passed


@pytest.mark.parametrize("name", NAMES)
def test_an_underexposed_photo_fails(name: str) -> None:
    assert failed((photo(name) * 0.1).astype(np.uint8))


@pytest.mark.parametrize("name", NAMES)
def test_an_overexposed_photo_fails(name: str) -> None:
    assert failed((photo(name) * 0.05 + 240).astype(np.uint8))


def test_a_product_cut_out_on_white_passes() -> None:
    picture = np.full((800, 1200, 3), 255, np.uint8)
    picture[200:600, 400:700] = np.asarray(Image.fromarray(photo("coffee")).resize((300, 400)))
    assert not failed(picture)


def test_a_flat_photo_is_noted_not_failed() -> None:
    high_key = (photo("coffee") * 0.15 + 205).astype(np.uint8)
    check = next(check for check in measure(high_key, "en") if check.name == "contrast")
    assert check.passed
    assert check.reason.startswith("Note: the photo is flat")


def test_reasons_are_in_the_language_asked_for() -> None:
    assert "어둡습니다" in " ".join(validate_photo(flat(0), "ko").reasons)


def test_a_black_thing_on_black_is_not_too_dark_and_an_underexposed_photo_is() -> None:
    marble = np.full((300, 300, 3), 6, np.uint8)
    marble[::20] = 120  # its veins
    assert "brightness" not in {check.name for check in measure(marble, "en") if not check.passed}
    assert "brightness" in {check.name for check in measure(marble // 5, "en") if not check.passed}
