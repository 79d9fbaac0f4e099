"""The format that a photo's first bytes claim, and a JPEG's scans, told before any decoder sees them."""

from __future__ import annotations

import re

ACCEPTED = ("JPEG", "PNG", "WebP")
"""The formats that are taken; everything else is named in the refusal but never decoded."""

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WebP"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
)

# A marker that has a length is 0xFF and a byte that is not: a stuffed zero, TEM, a restart, padding.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


def claimed_format(data: bytes) -> str | None:
    """The format that ``data`` claims to be in (``JPEG``, ``GIF``, …), or None for anything else."""
    for offset, signature, name in _SIGNATURES:
        if data.startswith(signature, offset):
            return name
    return None


def jpeg_scans(data: bytes, *, limit: int) -> int:
    """How many scans a JPEG's first picture has, counted no further than ``limit`` + 1.

    Every scan makes the decoder visit every pixel again, and an all but empty scan takes some sixty
    bytes: a megabyte can hold minutes of work. Bytes behind the first picture (a second view, a
    phone's video) are not counted, for they are not decoded.
    """
    scans, position = 0, 2
    while scans <= limit and (marker := _JPEG_MARKER.search(data, position)):
        kind = data[marker.end() - 1]
        if kind == _END_OF_IMAGE:
            break
        scans += kind == _START_OF_SCAN
        # Skip the segment by its own length, so that a thumbnail inside it is not taken for the photo.
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans
