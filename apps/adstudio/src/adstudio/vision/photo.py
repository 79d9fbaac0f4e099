"""Decoding photos that strangers send: bounded in bytes, pixels and work, and always upright sRGB."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from adstudio.vision.cut_out import is_cut_out, on_backdrop
from adstudio.vision.errors import PhotoError
from adstudio.vision.photo_format import ACCEPTED, claimed_format, jpeg_scans
from adstudio.vision.shapes import Rgb

MAX_BYTES: Final = 25 * 1024 * 1024
MAX_PIXELS: Final = 40_000_000
MAX_SCANS: Final = 64  # a progressive JPEG as cameras and editors write it has about ten
MIN_SIDE: Final = 16  # pixels; below that there is nothing to look at
WORKING_SIDE: Final = 2048  # pixels; the long side that every later step can afford

_EXIF_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


__all__ = ["PhotoError", "encode_jpeg", "has_cut_out", "open_photo", "shrink"]


def open_photo(
    data: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    backdrop: tuple[int, int, int] = (255, 255, 255),
) -> Rgb:
    """The photo in ``data`` (JPEG, PNG or WebP) as upright sRGB, its long side at most 2048 pixels.

    EXIF orientation and an embedded colour profile are applied, transparency lies on ``backdrop``, of an
    animation the first frame is taken. Raises ``PhotoError`` for everything else.
    """
    kind = _accepted_format(data, max_bytes)
    try:
        with Image.open(io.BytesIO(data), formats=(kind.upper(),)) as picture:
            _refuse_by_header(picture.size, max_pixels)
            return _decoded(picture, backdrop)
    except (PhotoError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(
            f"사진이 너무 큽니다. {max_pixels / 1e4:,.0f}만 화소까지 받습니다.",
            f"The photo is enormous: at most {_megapixels(max_pixels)} are taken.",
        ) from error
    except Exception as error:  # fed by strangers, a decoder may raise nearly anything
        raise PhotoError(
            f"사진 파일이 손상되었거나 중간에 끊겼습니다({kind}).",
            f"The photo is damaged or cut short: its {kind} data ends or breaks off.",
        ) from error


def has_cut_out(data: bytes) -> bool:
    """Whether ``data`` is a picture of a subject on a transparent ground. Raises ``PhotoError`` as ``open_photo``."""
    kind = _accepted_format(data, MAX_BYTES)
    if kind == "JPEG":
        return False
    try:
        with Image.open(io.BytesIO(data), formats=(kind.upper(),)) as picture:
            _refuse_by_header(picture.size, MAX_PIXELS)
            return picture.has_transparency_data and is_cut_out(_plain(picture))
    except (PhotoError, MemoryError):
        raise
    except Exception as error:  # as in open_photo
        raise PhotoError(
            f"사진 파일이 손상되었거나 중간에 끊겼습니다({kind}).",
            f"The photo is damaged or cut short: its {kind} data ends or breaks off.",
        ) from error


def encode_jpeg(photo: Rgb) -> bytes:
    """``photo`` as a JPEG without metadata; full colour resolution, so that lettering stays crisp."""
    out = io.BytesIO()
    Image.fromarray(photo).save(out, "JPEG", quality=92, subsampling=0)
    return out.getvalue()


def shrink(photo: Rgb, longest: int) -> Rgb:
    """``photo`` with its long side at most ``longest`` pixels; a smaller one is returned as it is."""
    height, width = photo.shape[:2]
    if max(height, width) <= longest:
        return photo
    return np.array(Image.fromarray(photo).resize(_fitted((width, height), longest), Image.Resampling.LANCZOS))


def _accepted_format(data: bytes, max_bytes: int) -> str:
    if not data:
        raise PhotoError("사진이 비어 있습니다.", "The photo is empty: not one byte was sent.")
    if len(data) > max_bytes:
        size, most = len(data) / 1024**2, max_bytes / 1024**2
        raise PhotoError(
            f"사진 파일의 용량이 너무 큽니다: {size:.1f}MiB이며 {most:.1f}MiB까지 받습니다.",
            f"The photo is too heavy: {size:.1f} MiB, at most {most:.1f} MiB are taken.",
        )
    kind = claimed_format(data)
    if kind is None:
        raise PhotoError(
            "사진 파일이 아닙니다. JPEG, PNG 또는 WebP 사진을 올려 주세요.",
            "This is not a photo: it does not begin as a JPEG, PNG or WebP does.",
        )
    if kind not in ACCEPTED:
        raise PhotoError(
            f"{kind} 형식은 지원하지 않습니다. JPEG, PNG 또는 WebP 사진을 올려 주세요.",
            f"{kind} is not supported: send a JPEG, PNG or WebP photo.",
        )
    if kind == "JPEG" and jpeg_scans(data, limit=MAX_SCANS) > MAX_SCANS:
        raise PhotoError(
            f"사진을 받을 수 없습니다: 스캔이 {MAX_SCANS}개를 넘는 JPEG입니다.",
            f"The photo is refused: it has more than {MAX_SCANS} scans, as no camera writes.",
        )
    return kind


def _refuse_by_header(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise PhotoError(
            f"사진이 너무 큽니다: {width}×{height}픽셀이며 {max_pixels / 1e4:,.0f}만 화소까지 받습니다.",
            f"The photo is enormous: {width}×{height} is {_megapixels(width * height)}, "
            f"at most {_megapixels(max_pixels)} are taken.",
        )
    if min(_fitted(size, WORKING_SIDE)) < MIN_SIDE:
        raise PhotoError(
            f"사진이 너무 작거나 좁습니다: {width}×{height}픽셀.",
            f"The photo is too small or too narrow to show anything: {width}×{height} pixels.",
        )


def _decoded(picture: Image.Image, backdrop: tuple[int, int, int]) -> Rgb:
    small = _fitted(picture.size, WORKING_SIDE)
    picture.draft(None, small)  # a JPEG can be decoded at a fraction of its size, and of the cost
    picture.load()
    orientation, profile = _orientation(picture), picture.info.get("icc_profile")
    image = _plain(picture)
    if image.size != small:
        image = image.resize(small, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    return np.array(_in_srgb(on_backdrop(image, backdrop), profile))


def _plain(picture: Image.Image) -> Image.Image:
    """``picture`` as RGB, RGBA, CMYK or L: the modes that can be resized and converted without loss."""
    if picture.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion would clip, not scale
        return Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture if picture.mode in ("RGB", "CMYK", "L") else picture.convert("RGB")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None  # a profile that is broken, or of another kind of picture: as if it had none
        if converted is not None:
            return converted
    return image.convert("RGB")


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # EXIF is a stranger's data too, and no reason to refuse a good picture
        return 1


def _fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:.0f} megapixels"
