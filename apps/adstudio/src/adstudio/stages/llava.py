"""``vlm_analyze`` and ``vlm_judge``: measured checks, and a vision-language model's where one is configured."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from pydantic import BaseModel

from adstudio import results, results_variants
from adstudio.studio import Studio
from adstudio.vision.ad_copy import AdCopy
from adstudio.vision.errors import Language
from adstudio.vision.formats import FORMATS
from adstudio.vision.judge import judge_parting
from adstudio.vision.making import Picture, chosen_of, judge_all
from adstudio.vision.measured import JUDGE, NOTE
from adstudio.vision.photo import open_photo
from adstudio.vision.quality import validate_photo
from adstudio.vision.room import check_room, check_size
from adstudio.vision.shapes import Verdict
from adstudio.vision.variants import best, winner_first
from adstudio.vision.vlm import VisionAway, VisionModel
from adstudio.vision.vlm_verdict import vlm_judge, vlm_validate
from pgbaton.fastapi import StageFailed, Stages, Turn

_MOST_ASKING: Final = 560.0
"""Seconds that all questions about one ad may take together; the stage has 600."""


class VerdictAnswer(BaseModel):
    """The judge, its verdict, and the reasons."""

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
        copy = inputs.copy()
        check_size(photo.shape[1], photo.shape[0], inputs.formats())
        await studio.compute(check_room, copy, inputs.formats(), inputs.kit())
        verdict = await studio.compute(validate_photo, photo, copy.language)
        if studio.vision is not None:
            verdict = _both(verdict, await vlm_validate(studio.vision, photo, copy.whole, copy.language))
        turn.save(results.save_analysis, verdict)
        return _answer(verdict)

    @stages.post("vlm_judge")
    async def judge(turn: Turn) -> VerdictAnswer:
        """Is the finished ad fit to publish?"""
        inputs = await turn.read(results.load_inputs)
        if inputs.variants > 1:
            return _answer(await _choose(turn, studio, inputs))
        drawn = await turn.read(results.load_pictures)
        on_photo = await turn.read(results.load_photo_verdict)
        tenant, copy = turn.job["tenant_id"], inputs.copy()
        photo = await studio.shelf.fetch(tenant, inputs.photo)
        files = [await studio.shelf.fetch(tenant, one.image) for one in drawn]
        pictures = [Picture(one.layout, one.place, file) for one, file in zip(drawn, files, strict=True)]
        judged = await look_at_pictures(studio, photo, pictures, copy)
        verdict = _together(on_photo, _of_all(chosen_of(judged), copy.language))
        kept = dict(zip(files, (one.image for one in drawn), strict=True))
        images = [kept[one.jpeg] for one in judged]
        turn.save(results.save_pictures, judged, images)
        return _answer(_conclude(turn, inputs, verdict))


async def look_at_pictures(studio: Studio, photo: bytes, pictures: list[Picture], copy: AdCopy) -> list[Picture]:
    """The pictures judged, by measures and by the vision model that there may be."""
    judged = await studio.compute(
        judge_all, photo, pictures, copy, studio.detector, studio.subject, studio.faces, studio.ocr
    )
    if studio.vision is not None:
        judged = await _looked_at(judged, studio, studio.vision, copy)
    return judged


async def _choose(turn: Turn, studio: Studio, inputs: results.Inputs) -> Verdict:
    """The best of an ad's variants, which have been judged one by one."""
    on_photo = await turn.read(results.load_photo_verdict)
    formats = [format_.name for format_ in inputs.formats()]
    judge = JUDGE if studio.vision is None else studio.vision.model
    stored, passed = await turn.read(results_variants.judged, formats, judge)
    if not passed:
        raise StageFailed("none of the ad's variants is at (vlm_judge, done)")
    pictures = [picture for picture, _ in stored]
    chosen = winner_first(pictures, best(pictures, passed))
    verdict = _together(on_photo, _of_all(chosen_of(chosen), inputs.copy().language))
    turn.save(results.save_pictures, chosen, [image for _, image in stored])
    return _conclude(turn, inputs, verdict)


def _conclude(turn: Turn, inputs: results.Inputs, ad: Verdict) -> Verdict:
    """The ad's verdict with that on the reading of its copy. A person decides on an ad that passed where it was ordered
    so, and where only the reading is in doubt and its page has a person: an ad by SQL ends as the pipeline says."""
    reading = judge_parting(inputs.copy())
    verdict = replace(ad, checks=(reading, *ad.checks))
    if not reading.passed:
        verdict = replace(verdict, passed=False, reasons=(reading.reason, *ad.reasons))
    turn.save(results.save_judgement, verdict)
    if ad.passed and (inputs.review or (inputs.by_page and not reading.passed)):
        turn.ends("to_review")
    return verdict


async def _looked_at(judged: list[Picture], studio: Studio, model: VisionModel, copy: AdCopy) -> list[Picture]:
    """The pictures, each format's choice with the model's verdict as well. One question after the other: a
    model of one's own has one place. Raises :class:`VisionAway` where that takes longer than the stage has."""
    looked: list[Picture] = []
    try:
        async with asyncio.timeout(_MOST_ASKING):
            for picture in judged:
                if picture.place == 0 and picture.verdict is not None:
                    ad = await studio.compute(open_photo, picture.jpeg)
                    said = await vlm_judge(model, ad, copy.whole, copy.language)
                    picture = replace(picture, verdict=_both(picture.verdict, said))
                looked.append(picture)
    except TimeoutError:
        raise VisionAway(f"{model.model} did not answer for every format within {_MOST_ASKING:g} s") from None
    return looked


def _of_all(chosen: list[Picture], language: Language) -> Verdict:
    """The job's verdict: every format's choice must pass. Checks and reasons say of which format they are."""
    verdicts = [(FORMATS[one.layout.format], one.verdict) for one in chosen if one.verdict is not None]
    checks = [
        replace(check, name=f"{format_.name}: {check.name}")
        for format_, verdict in verdicts
        for check in verdict.checks
    ]
    reasons = [
        f"{format_.label(language)}: {check.reason}"
        for format_, verdict in verdicts
        for check in verdict.checks
        if not check.passed
    ]
    traces = {format_.name: dict(verdict.trace) for format_, verdict in verdicts if verdict.trace is not None}
    if not traces:
        return Verdict(passed=not reasons, judge=JUDGE, reasons=(*reasons, NOTE[language]), checks=tuple(checks))
    said = [f"{format_.label(language)}: {one}" for format_, verdict in verdicts for one in verdict.reasons]
    return Verdict(
        passed=not reasons,
        judge=verdicts[0][1].judge,
        reasons=tuple(dict.fromkeys((*reasons, *said))),
        checks=tuple(checks),
        trace=traces,
    )


def _both(measured: Verdict, model: Verdict) -> Verdict:
    """The measured verdict and the model's as one: both must pass, and the model is named as the judge."""
    failures = tuple(check.reason for check in measured.checks if not check.passed)
    return Verdict(
        passed=measured.passed and model.passed,
        judge=model.judge,
        reasons=(*failures, *model.reasons),
        checks=(*measured.checks, *model.checks),
        trace=model.trace,
    )


def _together(photo: Verdict, ad: Verdict) -> Verdict:
    """An ad is no better than its photo: the faults that stage 1 found in the photo stand."""
    if photo.passed:
        return ad
    return replace(ad, passed=False, reasons=tuple(dict.fromkeys((*photo.reasons, *ad.reasons))))


def _answer(verdict: Verdict) -> VerdictAnswer:
    return VerdictAnswer(passed=verdict.passed, judge=verdict.judge, reasons=verdict.reasons)
