"""The two questions to a vision model, and the verdicts of its answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict

from adstudio.vision.errors import Language
from adstudio.vision.photo import encode_jpeg, shrink
from adstudio.vision.prompts import Prompt, prompt
from adstudio.vision.shapes import Check, Rgb, Verdict
from adstudio.vision.vlm import VisionModel, VisionNonsense, ask

MAX_REASONS: Final = 10
MAX_REASON: Final = 500  # characters

_PICTURE_SIDE: Final = 1024  # pixels; more fills the context of a small model and shows it nothing new


def _bounded(reasons: list[str]) -> list[str]:
    if len(reasons) > MAX_REASONS or any(not 1 <= len(reason) <= MAX_REASON for reason in reasons):
        raise ValueError(f"at most {MAX_REASONS} reasons of 1 to {MAX_REASON} characters")
    return ["".join(c if c.isprintable() else " " for c in reason).strip() for reason in reasons]


# The bounds are checked here and told in words, not put into the schema that is sent: servers compile
# that into a grammar, in which a bound of hundreds of characters is slow or refused.
Reasons = Annotated[list[str], AfterValidator(_bounded)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


Answer = TypeVar("Answer", bound=_Strict)


class PhotoAnswer(_Strict):
    """The model's answer about a photo and the copy that is to go on it."""

    fits_copy: bool
    publishable: bool
    reasons: Reasons


class AdAnswer(_Strict):
    """The model's answer about a finished ad."""

    publishable: bool
    legible: bool
    covers_subject: bool
    reasons: Reasons


async def vlm_validate(model: VisionModel, photo: Rgb, copy: str, language: Language) -> Verdict:
    """Whether the model finds that ``photo`` suits ``copy`` and can be published.

    Raises :class:`VisionAway` or :class:`VisionNonsense`.
    """
    answer, trace = await _answer(model, photo, prompt("photo"), copy, language, PhotoAnswer)
    return _verdict(
        model.model,
        answer.reasons,
        trace,
        _said("fits_copy", answer.fits_copy, language),
        _said("photo_publishable", answer.publishable, language),
    )


async def vlm_judge(model: VisionModel, ad: Rgb, copy: str, language: Language) -> Verdict:
    """Whether the model finds ``ad`` publishable, legible and its subject free.

    Raises :class:`VisionAway` or :class:`VisionNonsense`.
    """
    answer, trace = await _answer(model, ad, prompt("ad"), copy, language, AdAnswer)
    return _verdict(
        model.model,
        answer.reasons,
        trace,
        _said("publishable", answer.publishable, language),
        _said("legible", answer.legible, language),
        _said("subject_free", not answer.covers_subject, language),
    )


async def _answer(
    model: VisionModel, picture: Rgb, question: Prompt, copy: str, language: Language, schema: type[Answer]
) -> tuple[Answer, dict[str, object]]:
    trace: dict[str, object] = {"model": model.model, "prompt": question.name, "prompt_sha256": question.digest}
    began = time.monotonic()
    jpeg = await asyncio.to_thread(_jpeg, picture)
    try:
        answered = await ask(model, jpeg, question.about(copy, language), schema)
    except VisionNonsense as error:
        raise VisionNonsense(model.model, error.fault, trace | dict(error.trace or {})) from None
    seconds = round(time.monotonic() - began, 2)
    return answered.answer, trace | {"answers": [answered.said], "seconds": seconds}


def _jpeg(picture: Rgb) -> bytes:
    return encode_jpeg(shrink(picture, _PICTURE_SIDE))


_WORDS: Final[Mapping[str, Mapping[Language, tuple[str, str]]]] = {
    "fits_copy": {
        "ko": ("사진이 카피와 어울립니다", "사진이 카피와 어울리지 않습니다"),
        "en": ("the photo suits the copy", "the photo does not suit the copy"),
    },
    "photo_publishable": {
        "ko": ("사진을 광고에 쓸 수 있습니다", "사진을 광고에 쓸 수 없습니다"),
        "en": ("the photo can be published", "the photo cannot be published"),
    },
    "publishable": {
        "ko": ("광고를 게재할 수 있습니다", "광고를 게재할 수 없습니다"),
        "en": ("the ad can be published", "the ad cannot be published"),
    },
    "legible": {
        "ko": ("글자가 잘 읽힙니다", "글자가 잘 읽히지 않습니다"),
        "en": ("the text is legible", "the text is not legible"),
    },
    "subject_free": {
        "ko": ("글자가 피사체를 가리지 않습니다", "글자가 피사체를 가립니다"),
        "en": ("the subject is free", "the text covers the subject"),
    },
}
_ACCORDING_TO: Final[Mapping[Language, str]] = {"ko": "비전 모델의 판단: {}.", "en": "The model says that {}."}


def _said(name: str, passed: bool, language: Language) -> Check:
    yes, no = _WORDS[name][language]
    return Check(
        name=name,
        passed=passed,
        value=float(passed),
        limit=1,
        unit="1 for yes, at least",
        reason=_ACCORDING_TO[language].format(yes if passed else no),
    )


def _verdict(model: str, reasons: list[str], trace: Mapping[str, object], *checks: Check) -> Verdict:
    failures = tuple(check.reason for check in checks if not check.passed)
    return Verdict(passed=not failures, judge=model, reasons=failures + tuple(reasons), checks=checks, trace=trace)
