"""Contrast measured from pixels, against contrast that is known because the test drew it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import adstudio
from adstudio.vision.contrast import luminance, ratio
from adstudio.vision.ink_contrast import measured_contrast
from adstudio.vision.photo import encode_jpeg, open_photo
from adstudio.vision.shapes import Rgb

ASSETS = Path(adstudio.__file__).parent / "assets"
Colour = tuple[int, int, int]


def lettering(ground: Rgb, colour: Colour, size: int) -> Rgb:
    """The ink's rectangle of two lines in ``colour`` on ``ground``, as a stored JPEG shows it."""
    image = Image.fromarray(ground)
    draw, text = ImageDraw.Draw(image), "Fresh coffee,\nevery morning"
    font = ImageFont.truetype(str(ASSETS / "fonts" / "Pretendard-Bold.otf"), size)
    draw.multiline_text((20, 20), text, font=font, fill=colour)
    box = [int(side) for side in draw.multiline_textbbox((20, 20), text, font=font)]
    return open_photo(encode_jpeg(np.asarray(image)))[box[1] : box[3], box[0] : box[2]]


@pytest.mark.parametrize("size", [14, 24, 60])
@pytest.mark.parametrize(
    ("ground", "ink"),
    [
        ((0, 0, 0), (255, 255, 255)),
        ((255, 255, 255), (20, 20, 20)),
        ((119, 119, 119), (255, 255, 255)),
        ((200, 60, 40), (255, 240, 200)),
        ((90, 90, 90), (140, 140, 140)),
    ],
)
def test_the_contrast_on_a_plain_ground_is_measured_within_a_tenth(ground: Colour, ink: Colour, size: int) -> None:
    truth = float(ratio(luminance(np.array(ink)), luminance(np.array(ground))))
    measured = measured_contrast(lettering(np.full((200, 480, 3), ground, np.uint8), ink, size))
    assert measured == pytest.approx(truth, rel=0.1)


def test_lettering_in_the_colour_of_its_ground_has_hardly_any_contrast() -> None:
    ground = np.full((200, 480, 3), (128, 128, 128), np.uint8)
    assert measured_contrast(lettering(ground, (134, 134, 134), 40)) < 1.3


def test_a_plain_region_has_none() -> None:
    assert measured_contrast(np.full((40, 90, 3), 77, np.uint8)) == 1.0


def test_a_photo_that_is_half_dark_and_half_bright_lends_lettering_no_contrast() -> None:
    ground = np.full((200, 480, 3), 40, np.uint8)
    ground[:, 240:] = 215
    grey = (115, 115, 115)
    assert measured_contrast(lettering(ground, grey, 40)) < 4.5


def test_white_lettering_on_a_night_sky_reads_and_on_a_white_cup_does_not() -> None:
    sky = open_photo((ASSETS / "photos" / "rocket.jpg").read_bytes())
    cat = open_photo((ASSETS / "photos" / "chelsea.jpg").read_bytes())
    assert measured_contrast(lettering(sky, (255, 255, 255), 40)) > 10
    assert measured_contrast(lettering(cat, (150, 150, 150), 40)) < 3
