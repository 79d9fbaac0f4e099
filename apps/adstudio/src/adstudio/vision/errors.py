"""What can be wrong with what the user brings.

FontError           the font file cannot be used
CopyError           the copy cannot be set as it is
└── CopyDoesNotFit  it could, but not legibly in this box
ModelError          the model file cannot be used
"""

from __future__ import annotations


class ModelError(Exception):
    """A model file cannot be used; the message names the file and what is wrong with it."""


class FontError(Exception):
    """A font file cannot be used; the message names the file."""


class CopyError(Exception):
    """The copy cannot be set: it is empty, runs right to left, or has no glyph in the font."""


class CopyDoesNotFit(CopyError):
    """The copy cannot be set legibly in the box; the message says how small the letters would be."""
