"""Errors of the user's photo, copy and files, told in the user's language; and errors of the shipped files.

InputError            told to the client; trying again cannot help
├── CopyError         the copy cannot be set as it is
│   └── CopyDoesNotFit  it could, but not legibly in this box
├── PhotoError        the photo cannot be used
└── BrandError        the brand kit cannot be used
FontError             a font file cannot be used
ModelError            a model file cannot be used
"""

from __future__ import annotations

from typing import Literal

Language = Literal["ko", "en"]


class InputError(Exception):
    """One sentence for the client, in Korean and in English; as a string it is the English one."""

    def __init__(self, ko: str, en: str | None = None) -> None:
        super().__init__(en or ko)
        self.ko, self.en = ko, en or ko

    def told(self, language: Language) -> str:
        """The sentence in ``language``."""
        return self.ko if language == "ko" else self.en


class CopyError(InputError):
    """The copy cannot be set: empty, too long, right to left, or with characters that no font here has."""


class CopyDoesNotFit(CopyError):
    """The copy cannot be set legibly in the box; the message says how small the letters would be."""


class PhotoError(InputError):
    """The bytes are no photo that can be used."""


class BrandError(InputError):
    """A logo, colour or font of a brand kit cannot be used."""


class ModelError(Exception):
    """A model file cannot be used; the message names the file and its fault."""


class FontError(Exception):
    """A font file cannot be used; the message names the file."""
