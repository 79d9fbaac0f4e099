"""The stages of a variant: the next layouts to try, their pictures, and the judge's word on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import BaseModel

from adstudio import results, results_variants
from adstudio.stages.llava import look_at_pictures
from adstudio.studio import Studio
from adstudio.vision.making import draw_all
from adstudio.vision.variants import layouts_for
from pgbaton.fastapi import Stages, Turn


class VariantAnswer(BaseModel):
    """Which variant, how often it was planned, and for each format that this call worked on its master, or whether its
    picture passed."""

    number: int
    round: int
    formats: dict[str, str | bool]


def register(stages: Stages, studio: Studio) -> None:
    """Put them at their paths."""

    @stages.post("planner")
    async def plan(turn: Turn) -> VariantAnswer:
        """Take the next layouts of the ad's plan; of a format whose picture passed none."""
        proposals = await turn.read(results.load_layouts)
        pictures = await turn.read(results_variants.pictures)
        good = {picture.layout.format for picture, _ in pictures if picture.verdict and picture.verdict.passed}
        chosen = layouts_for(proposals, turn.job["number"], turn.job["round"], good)
        if chosen:
            turn.save(results_variants.save_layouts, chosen)
        else:
            turn.ends("no_other")
        return _answer(turn, {layout.format: layout.master for layout in chosen})

    @stages.post("overlay")
    async def overlay(turn: Turn) -> VariantAnswer:
        """Draw them."""
        inputs = await turn.read(results.load_inputs)
        layouts = await turn.read(results_variants.layouts)
        tenant = turn.job["tenant_id"]
        file = await studio.shelf.fetch(tenant, inputs.photo)
        drawn = await studio.compute(draw_all, file, layouts, inputs.copy(), inputs.kit())
        place = results_variants.place_of(turn)
        stored = [(replace(one, place=place), await studio.shelf.keep(tenant, one.jpeg)) for one in drawn]
        turn.save(results_variants.save_pictures, stored)
        return _answer(turn, {one.layout.format: one.layout.master for one in drawn})

    @stages.post("vlm_judge")
    async def judge(turn: Turn) -> VariantAnswer:
        """Judge those that were not judged yet: rejected, if one of the variant's pictures is."""
        inputs = await turn.read(results.load_inputs)
        stored = await turn.read(results_variants.pictures)
        tenant = turn.job["tenant_id"]
        photo = await studio.shelf.fetch(tenant, inputs.photo)
        new = [(picture, image) for picture, image in stored if picture.verdict is None]
        files = [replace(one, place=0, jpeg=await studio.shelf.fetch(tenant, image)) for one, image in new]
        judged = await look_at_pictures(studio, photo, files, inputs.copy())
        place = results_variants.place_of(turn)
        said = [(replace(one, place=place), image) for one, (_, image) in zip(judged, new, strict=True)]
        turn.save(results_variants.save_pictures, said)
        if not all(one.verdict is None or one.verdict.passed for one in (*judged, *(picture for picture, _ in stored))):
            turn.ends("rejected")
        return _answer(turn, {one.layout.format: bool(one.verdict and one.verdict.passed) for one in judged})


def _answer(turn: Turn, formats: Mapping[str, str | bool]) -> VariantAnswer:
    return VariantAnswer(number=turn.job["number"], round=turn.job["round"], formats=dict(formats))
