"""``vlm_analyze`` and ``vlm_judge``: measured checks, and a vision-language model's where one is configured."""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel

from adstudio import results
from adstudio.notes import language_of
from adstudio.studio import Studio
from adstudio.vision.judge import judge_ad
from adstudio.vision.photo import open_photo
from adstudio.vision.quality import validate_photo
from adstudio.vision.shapes import Verdict
from adstudio.vision.vlm_verdict import vlm_judge, vlm_validate
from pgbaton.fastapi import Stages, Turn


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
        file = await studio.shelf.fetch(turn.job["tenant_id"], inputs.photo)
        photo = await studio.compute(open_photo, file)
        verdict = await studio.compute(validate_photo, photo, inputs.copy)
        if studio.vision is not None:
            verdict = _both(verdict, await vlm_validate(studio.vision, photo, inputs.copy, language_of(inputs.copy)))
        turn.save(results.save_analysis, verdict)
        return _answer(verdict)

    @stages.post("vlm_judge")
    async def judge(turn: Turn) -> VerdictAnswer:
        """Is the finished ad fit to publish?"""
        finished = await turn.read(results.load_finished)
        file = await studio.shelf.fetch(turn.job["tenant_id"], finished.image)
        ad = await studio.compute(open_photo, file)
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
        if studio.vision is not None:
            verdict = _both(verdict, await vlm_judge(studio.vision, ad, finished.copy, language_of(finished.copy)))
        verdict = _together(finished.photo_verdict, verdict)
        turn.save(results.save_judgement, verdict)
        return _answer(verdict)


def _both(measured: Verdict, model: Verdict) -> Verdict:
    """What was measured and what the model says: both must pass, and the model is named as the judge."""
    failures = tuple(check.reason for check in measured.checks if not check.passed)
    return Verdict(
        passed=measured.passed and model.passed,
        judge=model.judge,
        reasons=(*failures, *model.reasons),
        checks=(*measured.checks, *model.checks),
        trace=model.trace,
    )


def _together(photo: Verdict, ad: Verdict) -> Verdict:
    """An ad is no better than its photo: what stage 1 found wrong with it stands."""
    if photo.passed:
        return ad
    return replace(ad, passed=False, reasons=tuple(dict.fromkeys((*photo.reasons, *ad.reasons))))


def _answer(verdict: Verdict) -> VerdictAnswer:
    return VerdictAnswer(passed=verdict.passed, judge=verdict.judge, reasons=verdict.reasons)
