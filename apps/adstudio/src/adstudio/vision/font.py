"""Which characters a font file can draw, read from its ``cmap`` table.

Source: the OpenType specification, chapters "Font file" and "cmap" (formats 4 and 12, which between
them every current font carries). Pillow draws a box for a missing character and does not say so.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from struct import error as StructError
from struct import unpack_from

from adstudio.vision.errors import FontError

# (platform, encoding) of Unicode tables, the fullest first.
_UNICODE = ((3, 10), (0, 6), (0, 4), (3, 1), (0, 3), (0, 2), (0, 1), (0, 0))


@lru_cache(maxsize=8)
def covered(path: Path) -> frozenset[int]:
    """The code points that the font at ``path`` has a glyph for; ``FontError`` when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FontError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return frozenset(_code_points(data, _unicode_table(data)))
    except (StructError, LookupError, OverflowError) as error:
        raise FontError(f"{path}: not a TrueType or OpenType font with a Unicode cmap") from error


def _unicode_table(data: bytes) -> int:
    """Where the fullest Unicode subtable that this module reads begins; ``LookupError`` when none does."""
    if data[:4] not in (b"OTTO", b"\0\1\0\0", b"true"):
        raise LookupError("not a font")
    count = _number(data, 4)
    entries = (unpack_from(">4sIII", data, 12 + 16 * i) for i in range(count))
    starts = {tag: int(offset) for tag, _, offset, _ in entries}
    cmap = starts[b"cmap"]
    count = _number(data, cmap + 2)
    records = (unpack_from(">HHI", data, cmap + 4 + 8 * i) for i in range(count))
    tables = {(platform, encoding): cmap + int(offset) for platform, encoding, offset in records}
    for kind in _UNICODE:
        if kind in tables and _number(data, tables[kind]) in (4, 12):
            return tables[kind]
    raise LookupError("no Unicode table")


def _number(data: bytes, place: int) -> int:
    return int(unpack_from(">H", data, place)[0])


def _code_points(data: bytes, table: int) -> set[int]:
    if _number(data, table) == 12:
        points: set[int] = set()
        for i in range(unpack_from(">I", data, table + 12)[0]):
            first, last, glyph = unpack_from(">III", data, table + 16 + 12 * i)
            if last > 0x10FFFF:
                raise LookupError("not a code point")
            points.update(range(first + (glyph == 0), last + 1))
        return points
    return _code_points_16_bit(data, table)


def _code_points_16_bit(data: bytes, table: int) -> set[int]:
    """Format 4: segments, each with either a shift or a place in a list of glyph numbers."""
    twice = _number(data, table + 6)
    ends, starts = table + 14, table + 16 + twice
    points: set[int] = set()
    for i in range(0, twice, 2):
        last, first = _number(data, ends + i), _number(data, starts + i)
        shift, place = _number(data, starts + twice + i), starts + 2 * twice + i
        distance = _number(data, place)
        for point in range(first, min(last, 0xFFFE) + 1):
            listed = place + distance + 2 * (point - first)
            if (_number(data, listed) if distance else (point + shift) & 0xFFFF) != 0:
                points.add(point)
    return points
