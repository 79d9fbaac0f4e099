"""Where the planner puts text, and what it says when it cannot."""

from __future__ import annotations

import time
from importlib.resources import files
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adstudio.vision.boxes import iou, share_of_smaller
from adstudio.vision.overlay import render
from adstudio.vision.planner import Plan, propose
from adstudio.vision.shapes import Mask, Rgb

FONT = Path(str(files("adstudio") / "assets" / "fonts" / "Pretendard-Bold.otf"))
COPIES = [
    "Sale",
    "Slow mornings start here",
    "고양이도 반한 포근함",
    "WWW MMM @@@ WWW",
    "Free shipping on every order over fifty dollars until the end of the month",
    "고객만족도최우수상수상기념특별할인행사진행중",
]


def grey(height: int = 427, width: int = 640, level: int = 128) -> Rgb:
    return np.full((height, width, 3), level, np.uint8)


def nothing(photo: Rgb) -> Mask:
    return np.zeros(photo.shape[:2], np.bool_)


def taken(plan: Plan, forbidden: Mask) -> int:
    boxes = [one.box for one in plan.proposals]
    return sum(int(forbidden[box.top : box.bottom, box.left : box.right].sum()) for box in boxes)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(COPIES),
    st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=4),
    st.sampled_from([(427, 640), (640, 427), (300, 300), (1000, 1703)]),
)
def test_no_proposal_touches_the_forbidden_area_and_all_can_be_set(
    copy: str, subjects: list[tuple[float, float, float, float]], size: tuple[int, int]
) -> None:
    height, width = size
    photo = grey(height, width)
    forbidden = nothing(photo)
    for left, right, top, bottom in subjects:
        forbidden[
            int(min(top, bottom) * height) : int(max(top, bottom) * height),
            int(min(left, right) * width) : int(max(left, right) * width),
        ] = True
    plan = propose(photo, forbidden, copy)
    assert taken(plan, forbidden) == 0
    assert (plan.reason is None) == bool(plan.proposals)
    for one in plan.proposals:
        assert 0 <= one.box.left < one.box.right <= width
        assert 0 <= one.box.top < one.box.bottom <= height
        assert all(0 <= part <= 1 for part in (one.score, one.room, one.calm, one.margin, one.order))
        render(photo, one.box, copy, FONT)


def test_one_forbidden_pixel_in_a_large_photo_is_avoided() -> None:
    photo = grey(2003, 3001)
    forbidden = nothing(photo)
    forbidden[::97, ::389] = True
    plan = propose(photo, forbidden, "Hi")
    assert plan.proposals
    assert taken(plan, forbidden) == 0


def test_proposals_are_ranked_and_in_different_places() -> None:
    photo = grey()
    forbidden = nothing(photo)
    forbidden[150:400, 250:400] = True
    plan = propose(photo, forbidden, "Reach for more")
    scores = [one.score for one in plan.proposals]
    assert 3 <= len(scores) <= 5
    assert scores == sorted(scores, reverse=True)
    for a, b in combinations(plan.proposals, 2):
        assert iou(a.box, b.box) <= 0.3
        assert share_of_smaller(a.box, b.box) <= 0.3


def test_the_limit_is_kept() -> None:
    assert len(propose(grey(), nothing(grey()), "Sale", limit=2).proposals) == 2


def test_the_same_photo_gives_the_same_plan() -> None:
    photo = np.random.default_rng(3).integers(0, 256, (200, 300, 3), np.uint8)
    assert propose(photo, nothing(photo), "Again") == propose(photo, nothing(photo), "Again")


def test_the_calm_side_is_preferred_to_the_busy_one() -> None:
    photo = grey()
    photo[:, :320] = np.random.default_rng(3).integers(0, 256, (427, 320, 3), np.uint8)
    best = propose(photo, nothing(photo), "Quiet please").proposals[0]
    assert best.box.left >= 320
    assert best.calm > 0.9


def test_on_an_empty_photo_text_goes_to_the_top_with_a_margin() -> None:
    box = propose(grey(), nothing(grey()), "Slow mornings start here").proposals[0].box
    assert 15 <= box.top <= 40
    assert box.left >= 15
    assert 640 - box.right >= 15


def test_short_copy_gets_a_wide_box_and_long_copy_a_bigger_one_with_more_lines() -> None:
    photo = grey()
    short = propose(photo, nothing(photo), "Sale now on").proposals[0].box
    long = propose(photo, nothing(photo), COPIES[4] * 2).proposals[0].box
    assert short.width > 3 * short.height
    assert long.area > 1.5 * short.area
    assert len(render(photo, long, COPIES[4] * 2, FONT).lines) >= 3


def test_a_long_word_is_divided_when_only_a_narrow_strip_is_free() -> None:
    photo = grey()
    forbidden = ~nothing(photo)
    forbidden[:, 10:150] = False
    plan = propose(photo, forbidden, COPIES[5])
    assert plan.proposals
    lines = render(photo, plan.proposals[0].box, COPIES[5], FONT).lines
    assert len(lines) > 2
    assert "".join(lines) == COPIES[5]


def test_the_planner_says_so_when_there_is_no_room() -> None:
    plan = propose(grey(), ~nothing(grey()), "Reach for more")
    assert plan.proposals == ()
    assert plan.reason is not None
    assert "The subject leaves no room: 100% of the photo" in plan.reason


@pytest.mark.parametrize("copy", ["가" * 2000, "word " * 400, "x" * 100_000])
def test_the_planner_says_so_quickly_when_the_copy_is_too_long(copy: str) -> None:
    start = time.thread_time()
    plan = propose(grey(), nothing(grey()), copy)
    assert plan.proposals == ()
    assert "too long for this photo" in str(plan.reason)
    assert time.thread_time() - start < 1


@pytest.mark.parametrize("size", [(1, 1), (20, 20), (1, 3000)])
def test_the_planner_says_so_when_the_photo_is_too_small(size: tuple[int, int]) -> None:
    photo = grey(*size)
    assert propose(photo, nothing(photo), "Hi").reason is not None


@pytest.mark.parametrize("copy", ["", " \n", "\u200b"])
def test_the_planner_says_so_when_there_is_no_copy(copy: str) -> None:
    assert propose(grey(), nothing(grey()), copy) == Plan((), "There is no copy to place.")


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="mask"):
        propose(grey(), np.zeros((2, 2), np.bool_), "Hi")
