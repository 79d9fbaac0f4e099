"""``vlm_analyze`` and ``vlm_judge``: a vision-language model where one is configured, measured checks otherwise."""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel

from adstudio import results
from adstudio.studio import Studio
from adstudio.vision.judge import judge_ad
from adstudio.vision.photo import PhotoError, open_photo
from adstudio.vision.quality import validate_photo
from adstudio.vision.shapes import Verdict
from adstudio.vision.vlm import VisionError
from adstudio.vision.vlm_verdict import vlm_judge, vlm_validate
from pgbaton.fastapi import StageFailed, Stages, Turn


class VerdictAnswer(BaseModel):
    """Who judged, what came of it, and why."""

    passed: bool
    judge: str
    reasons: tuple[str, ...]


def register(stages: Stages, studio: Studio) -> None:
    """Put both stages at their paths."""

    @stages.post("vlm_analyze")
    async def validate(turn: Turn) -> VerdictAnswer:
        """Is the photo good enough to publish, and does it fit the copy?"""
        inputs = await turn.read(results.load_inputs)
        try:
            photo = await studio.compute(open_photo, inputs.photo)
            if studio.endpoint is None:
                verdict = await studio.compute(validate_photo, photo, inputs.copy)
            else:
                verdict = await vlm_validate(studio.endpoint, photo, inputs.copy)
        except (PhotoError, VisionError) as error:
            raise StageFailed(str(error)) from error
        turn.save(results.save_analysis, verdict)
        return _answer(verdict)

    @stages.post("vlm_judge")
    async def judge(turn: Turn) -> VerdictAnswer:
        """Is the finished ad fit to publish?"""
        finished = await turn.read(results.load_finished)
        try:
            ad = await studio.compute(open_photo, finished.image)
            if studio.endpoint is None:
                verdict = await studio.compute(
                    judge_ad,
                    ad,
                    forbidden=finished.forbidden,
                    text_box=finished.setting.text_box,
                    copy=finished.copy,
                    lines=finished.setting.lines,
                    contrast=finished.setting.contrast,
                    ocr=studio.ocr,
                )
            else:
                verdict = await vlm_judge(studio.endpoint, ad, finished.copy)
        except (PhotoError, VisionError) as error:
            raise StageFailed(str(error)) from error
        verdict = _together(finished.photo_verdict, verdict)
        turn.save(results.save_judgement, verdict)
        return _answer(verdict)


def _together(photo: Verdict, ad: Verdict) -> Verdict:
    """An ad is no better than its photo: what stage 1 found wrong with it stands."""
    if photo.passed:
        return ad
    return replace(ad, passed=False, reasons=tuple(dict.fromkeys((*photo.reasons, *ad.reasons))))


def _answer(verdict: Verdict) -> VerdictAnswer:
    return VerdictAnswer(passed=verdict.passed, judge=verdict.judge, reasons=verdict.reasons)
