"""Photos from strangers: what is refused, and what every accepted one is turned into."""

from __future__ import annotations

import contextlib
import io
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import adstudio
from adstudio.vision.photo import WORKING_SIDE, PhotoError, encode_jpeg, open_photo, shrink

PHOTOS = Path(adstudio.__file__).parent / "assets" / "photos"
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def plain(colour: object = RED, size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def refusal(data: bytes, **limits: int) -> str:
    with pytest.raises(PhotoError) as caught:
        open_photo(data, **limits)
    return str(caught.value)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises ``width`` by ``height`` pixels and that holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_every_shipped_photo_opens_at_its_own_size(name: str) -> None:
    data = (PHOTOS / f"{name}.jpg").read_bytes()
    photo = open_photo(data)
    with Image.open(io.BytesIO(data)) as image:
        assert photo.shape == (image.height, image.width, 3)
    assert photo.dtype == np.uint8


def test_no_bytes_are_refused_as_empty() -> None:
    assert "empty" in refusal(b"")


@pytest.mark.parametrize("data", [b"hello", b"\0" * 1000, b"<html><body>404</body></html>", b"\xff\xd8"])
def test_bytes_that_are_no_picture_are_refused_as_such(data: bytes) -> None:
    assert "not a photo" in refusal(data)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "AVIF"])
def test_another_format_is_refused_by_its_name(kind: str) -> None:
    message = refusal(encoded(plain(), kind))
    assert kind in message
    assert "JPEG, PNG or WebP" in message


def test_a_telephones_heic_is_refused_by_its_name() -> None:
    assert "HEIC" in refusal(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_truncated_photo_is_refused_with_its_reason(kind: str, share: float) -> None:
    with Image.open(PHOTOS / "coffee.jpg") as image:
        whole = encoded(image, kind)
    assert "cut short" in refusal(whole[: int(len(whole) * share)])


@pytest.mark.filterwarnings("ignore:.*EXIF:UserWarning", "ignore:Tag data:UserWarning")
def test_a_photo_with_garbage_inside_is_refused_or_opened_but_never_crashes() -> None:
    random = np.random.default_rng(0)
    with Image.open(PHOTOS / "chelsea.jpg") as image:
        small = image.resize((96, 64))
    for kind in ("JPEG", "PNG", "WEBP"):
        whole = encoded(small, kind, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0")
        for _ in range(150):
            data = bytearray(whole)
            for place in random.integers(12, len(data), size=6):
                data[place] = random.integers(256)
            with contextlib.suppress(PhotoError):
                assert open_photo(bytes(data)).shape[2] == 3


@pytest.mark.parametrize("side", [8_000, 10_500, 30_000])
def test_an_enormous_photo_is_refused_from_its_header_alone(side: int) -> None:
    began = time.thread_time()
    assert "enormous" in refusal(png_of_size(side, side))
    assert time.thread_time() - began < 0.5


def test_the_refusal_of_an_enormous_photo_says_how_large_it_is() -> None:
    message = refusal(png_of_size(8_000, 6_000))
    assert "8000×6000 is 48 megapixels, at most 40 megapixels" in message


def test_a_photo_heavier_than_allowed_is_refused_undecoded() -> None:
    assert "too heavy" in refusal(encoded(plain(), "PNG"), max_bytes=10)


def test_a_jpeg_whose_scans_would_keep_the_decoder_busy_is_refused() -> None:
    whole = encoded(plain(size=(640, 480)), "JPEG", progressive=True)
    last_scan = whole[whole.rfind(b"\xff\xda") : -2]
    assert "scans" in refusal(whole[:-2] + last_scan * 500 + b"\xff\xd9")


def test_bytes_behind_a_jpegs_end_are_not_counted_as_scans() -> None:
    whole = encoded(plain(), "JPEG", progressive=True)
    assert open_photo(whole + b"\xff\xda\x00\x08" * 500).shape == (48, 64, 3)


@pytest.mark.parametrize("size", [(1, 1), (15, 400), (20_000, 100)])
def test_a_photo_too_small_or_narrow_to_show_anything_is_refused(size: tuple[int, int]) -> None:
    assert "too small or too narrow" in refusal(encoded(plain(size=size), "PNG"))


def test_a_giant_but_allowed_photo_comes_out_at_the_working_size() -> None:
    photo = open_photo(encoded(plain(size=(6000, 4000)), "JPEG"))
    assert photo.shape == (round(WORKING_SIDE * 4000 / 6000), WORKING_SIDE, 3)
    assert np.abs(photo.astype(int) - RED).max() <= 4


def marked(kind: str, orientation: int) -> bytes:
    """A photo that is, once upright, 64 wide and 48 high with a red corner at the top left."""
    upright = plain(WHITE)
    upright.paste(RED, (0, 0, 16, 16))
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, kind, exif=exif)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_exif_says(kind: str, orientation: int) -> None:
    photo = open_photo(marked(kind, orientation)).astype(int)
    assert photo.shape == (48, 64, 3)
    assert np.abs(photo[4, 4] - RED).max() < 8
    assert np.abs(photo[[4, 44], [60, 4]] - WHITE).max() < 8


@pytest.mark.filterwarnings("ignore:.*EXIF:UserWarning")
def test_broken_exif_does_not_spoil_a_good_photo() -> None:
    exif = b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 40
    assert open_photo(encoded(plain(), "JPEG", exif=exif)).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(lambda: plain(BLUE).quantize(4), BLUE, id="palette"),
        pytest.param(lambda: plain((0, 0, 255, 0), mode="RGBA"), WHITE, id="transparent"),
        pytest.param(lambda: plain((0, 0, 255, 128), mode="RGBA"), (127, 127, 255), id="half transparent"),
        pytest.param(lambda: plain((0, 0), mode="LA"), WHITE, id="transparent grey"),
        pytest.param(lambda: plain(200, mode="L"), (200, 200, 200), id="grey"),
        pytest.param(lambda: plain(1, mode="1"), WHITE, id="bilevel"),
        pytest.param(lambda: Image.fromarray(np.full((48, 64), 0x8000, np.uint16)), (128, 128, 128), id="16 bits"),
    ],
)
def test_any_kind_of_png_becomes_rgb(image: Callable[[], Image.Image], expected: tuple[int, ...]) -> None:
    photo = open_photo(encoded(image(), "PNG"))
    assert photo.shape == (48, 64, 3)
    assert np.abs(photo.astype(int) - expected).max() <= 1


def test_a_transparent_palette_colour_lies_on_white() -> None:
    image = plain(BLUE).quantize(2)
    assert tuple(open_photo(encoded(image, "PNG", transparency=image.getpixel((0, 0))))[0, 0]) == WHITE


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    photo = open_photo(encoded(plain((0, 255, 255, 0), mode="CMYK"), "JPEG"))
    assert np.abs(photo.astype(int) - RED).max() <= 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_embedded_colour_profile_is_applied(kind: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)
    photo = open_photo(encoded(plain((200, 100, 50)), kind, icc_profile=swapped))
    assert np.abs(photo.astype(int) - (50, 100, 200)).max() <= 4


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 200])
def test_a_broken_colour_profile_is_ignored(profile: bytes) -> None:
    assert tuple(open_photo(encoded(plain(), "PNG", icc_profile=profile))[0, 0]) == RED


def test_of_an_animation_the_first_frame_is_taken() -> None:
    data = encoded(plain(GREEN), "WEBP", save_all=True, append_images=[plain(BLUE)], lossless=True)
    assert tuple(open_photo(data)[10, 10]) == GREEN


def test_an_encoded_photo_opens_as_nearly_the_same_and_carries_no_metadata() -> None:
    photo = open_photo((PHOTOS / "coffee.jpg").read_bytes())
    data = encode_jpeg(photo)
    assert np.abs(open_photo(data).astype(int) - photo).mean() < 2
    with Image.open(io.BytesIO(data)) as image:
        assert not image.getexif()


def test_shrinking_keeps_the_shape_and_leaves_a_small_photo_alone() -> None:
    photo = np.zeros((300, 600, 3), np.uint8)
    assert shrink(photo, 200).shape == (100, 200, 3)
    assert shrink(photo, 600) is photo
