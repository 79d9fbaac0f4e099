"""The photos that were opened last: five stages look at the same one, and decoding it is a good part of their work."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Final

from adstudio.vision.layout import Colour, from_hex
from adstudio.vision.photo import open_photo
from adstudio.vision.shapes import Rgb

KEPT: Final = 4
"""Photos; each takes up to 12 MB."""

_photos: OrderedDict[tuple[bytes, Colour | None], Rgb] = OrderedDict()
_lock = threading.Lock()


def opened(file: bytes, backdrop: Colour | None = None) -> Rgb:
    """The photo in ``file``, laid on ``backdrop`` where it is transparent; not to be written to.

    Raises ``PhotoError``.
    """
    key = (hashlib.sha256(file).digest(), backdrop)
    with _lock:
        if key in _photos:
            _photos.move_to_end(key)
            return _photos[key]
    photo = open_photo(file, backdrop=from_hex(backdrop)) if backdrop else open_photo(file)
    photo.setflags(write=False)
    with _lock:
        _photos[key] = photo
        while len(_photos) > KEPT:
            _photos.popitem(last=False)
    return photo
