"""Layouts: type keeps to the safe area and off what matters, crops keep faces, small photos are refused in words."""

from __future__ import annotations

import numpy as np
import pytest
from ads import detected, layouts, models, photo_of, scene_of

from adstudio.vision.contrast import luminance, ratio
from adstudio.vision.copy_reading import read_copy
from adstudio.vision.errors import InputError
from adstudio.vision.formats import FORMATS, chosen
from adstudio.vision.full_bleed import MOST_OCCLUDED
from adstudio.vision.importance import GUESS, SUBJECT, importance
from adstudio.vision.kit import NO_KIT, read_kit
from adstudio.vision.layout import LAYOUTS, Layout, from_hex
from adstudio.vision.making import detect, plan_all
from adstudio.vision.palette import INK, WHITE, accent_on, contrast, hues_of, panel_of
from adstudio.vision.photo import encode_jpeg
from adstudio.vision.planner import plan
from adstudio.vision.reach import is_a_thing, reach_of
from adstudio.vision.scene import look_at
from adstudio.vision.scrim import STRONGEST, Tinted, scrim_for
from adstudio.vision.shapes import Box
from adstudio.vision.window_edges import severed, slivers
from adstudio.vision.windows import View, best_view, is_cut, views

PAIRS = [
    ("figs.jpg", "50% 할인 ₩12,900"),
    ("astronaut.jpg", "꿈은 더 멀리 간다"),
    ("rocket.jpg", "Reach for more"),
    ("serum.png", "수분 가득, 하루 종일\n아쿠아 세럼 30ml 1+1\n구매하기"),
    ("coffee-bag.jpg", "아침을 깨우는 한 봉\n한옥커피 원두 200g ₩15,900"),
    ("dogs.jpg", "산책 갈 시간! 반려견 하네스 최대 40% 할인"),
]
NAMES = ("square", "portrait", "story", "landscape")


@pytest.fixture(scope="module", params=PAIRS, ids=[photo for photo, _ in PAIRS])
def made(request: pytest.FixtureRequest) -> tuple[str, str, tuple[Layout, ...]]:
    photo, copy = request.param
    return photo, copy, layouts(photo, copy, *NAMES)


def weights_under(layout: Layout, weights: np.ndarray, box: Box) -> np.ndarray:
    """The weights of the photo that are shown under a box of the ad."""
    height, width = weights.shape
    window, pane = layout.window, layout.pane
    xs = (np.arange(max(box.left, pane.left), min(box.right, pane.right)) - pane.left + 0.5) / pane.width
    ys = (np.arange(max(box.top, pane.top), min(box.bottom, pane.bottom)) - pane.top + 0.5) / pane.height
    columns = np.floor((window.left + xs * (window.right - window.left)) * width).astype(int)
    rows = np.floor((window.top + ys * (window.bottom - window.top)) * height).astype(int)
    return weights[rows[(rows >= 0) & (rows < height)]][:, columns[(columns >= 0) & (columns < width)]]


def test_every_line_is_within_the_safe_area(made: tuple[str, str, tuple[Layout, ...]]) -> None:
    for layout in made[2]:
        safe = FORMATS[layout.format].safe_box
        factor = layout.width / FORMATS[layout.format].width
        for line in layout.lines:
            assert line.x >= safe.left * factor - 2
            assert line.x + line.width <= safe.right * factor + 2
            assert line.y - 0.85 * line.size >= safe.top * factor - 2  # the ink of Hangul
            assert line.y <= safe.bottom * factor + 2


def test_type_lies_on_nothing_that_matters(made: tuple[str, str, tuple[Layout, ...]]) -> None:
    photo, copy, planned = made
    weights = detected(photo, copy).weights
    for layout in planned:
        under = weights_under(layout, weights, layout.text_box)
        if under.size:
            assert under.mean() <= 2 * MOST_OCCLUDED  # the clearance around it included, it is at most MOST_OCCLUDED
            assert (under >= SUBJECT).mean() < 0.02


def test_no_crop_runs_through_a_face() -> None:
    face = detected("astronaut.jpg", "꿈은 더 멀리 간다").faces[0].box
    for layout in layouts("astronaut.jpg", "꿈은 더 멀리 간다", *NAMES, "kakao_feed"):
        assert layout.window.left * 512 <= face.left
        assert layout.window.right * 512 >= face.right
        assert layout.window.top * 512 <= face.top
        assert layout.window.bottom * 512 >= face.bottom


def test_the_bottle_that_the_copy_names_is_in_the_picture() -> None:
    copy = "하루의 끝, 와인 한 잔\n지금 예약하세요"
    for layout in layouts("wine.jpg", copy, "square", "portrait", "story")[::2]:
        assert layout.window.top < 0.13  # the bottle's neck
        assert layout.window.left < 0.38
        assert layout.window.right > 0.52


def test_the_choice_has_one_of_each_format_and_comes_back_from_json(made: tuple[str, str, tuple[Layout, ...]]) -> None:
    assert {layout.format for layout in made[2]} == set(NAMES)
    assert LAYOUTS.validate_json(LAYOUTS.dump_json(list(made[2]))) == list(made[2])


def test_the_same_input_gives_the_same_layouts() -> None:
    photo, copy = PAIRS[0]
    assert layouts(photo, copy, *NAMES) == layouts(photo, copy, *NAMES)


def test_a_tint_is_no_stronger_than_is_allowed_and_enough(made: tuple[str, str, tuple[Layout, ...]]) -> None:
    for layout in made[2]:
        ink, ground = (luminance(np.array(from_hex(colour))) for colour in (layout.ink, layout.ground))
        assert float(ratio(ink, ground)) >= 4.5
        assert layout.scrim is None or layout.scrim.strength <= STRONGEST


def test_no_photo_is_enlarged_beyond_what_stays_crisp(made: tuple[str, str, tuple[Layout, ...]]) -> None:
    photo, _, planned = made
    width = photo_of(photo).shape[1]
    for layout in planned:
        shown = (layout.window.right - layout.window.left) * width
        assert layout.pane.width / shown <= 1.51
        assert layout.width >= FORMATS[layout.format].smallest


def test_a_cut_out_stands_on_the_brands_colour() -> None:
    kit = read_kit(name="Lumi", colour="#20344f", accent="#ffd166")
    found = layouts("serum.png", "수분 가득, 하루 종일", "square", kit=kit)
    assert {layout.backdrop for layout in found} == {"#20344f"}
    assert found[0].accent == "#ffd166"


def test_a_photo_too_small_for_every_format_is_refused_in_words() -> None:
    small = np.random.default_rng(3).integers(0, 255, (133, 200, 3), np.uint8)
    scene = look_at(small, np.zeros((133, 200), np.float32), [])
    for format_ in chosen(None):
        found = plan(read_copy("봄"), scene, format_, NO_KIT)
        assert found.layouts == ()
        assert found.reason is not None
        assert "200×133" in found.reason.told("en")
        assert "너무 작습니다" in found.reason.told("ko")


def test_one_format_that_cannot_be_does_not_stop_the_others() -> None:
    copy = read_copy("고양이도 반한 포근함")
    file = encode_jpeg(np.ascontiguousarray(photo_of("chelsea.jpg")[60:235, 10:390]))
    detector, subject, faces, _ = models()
    seen = detect(file, copy, detector, subject, faces)  # type: ignore[arg-type]
    planned = plan_all(file, seen, copy, chosen(["square", "kakao_board"]), NO_KIT)
    assert {layout.format for layout in planned.layouts} == {"kakao_board"}
    assert [format_.name for format_, _ in planned.refused] == ["square"]


def test_a_format_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="hexagon"):
        chosen(["square", "hexagon"])


@pytest.mark.parametrize("name", ["kakao_board", "naver_board", "kakao_feed"])
def test_strips_take_a_headline_and_an_offer(name: str) -> None:
    found = layouts("figs.jpg", "무화과 특가 12,900원", name)
    assert {line.role for line in found[0].lines} == {"headline", "offer"}


def test_windows_keep_their_shape_and_stay_inside_a_busy_photo() -> None:
    scene = scene_of("stream.jpg", "도심에서 한 시간")
    for view in views(scene, 0.8):
        assert view.width / view.height == pytest.approx(0.8)
        assert view.left >= -0.5
        assert view.bottom <= scene.height + 0.5
        assert not view.is_extended(scene)


def test_a_plain_ground_is_continued_where_the_subject_needs_room() -> None:
    scene = scene_of("jar.jpg", "비움으로 채우다")
    assert scene.plain == {"top", "bottom", "left", "right"}
    assert any(view.is_extended(scene) and view.kept == 1.0 for view in views(scene, 1.91))
    view = best_view(scene, 1.91)
    assert view is not None
    assert not is_cut(scene, view)


def test_a_crop_leaves_no_sliver_of_the_land_below_its_sea() -> None:
    photo = np.full((1000, 1000, 3), (90, 140, 200), np.uint8)
    photo[620:] = (40, 60, 30)
    scene = look_at(photo, np.zeros((100, 100), np.float32), [])
    ends_on_land, ends_on_sea, deep_in_land = (View(0, 0, 640, below, 1.0, 1.0) for below in (410, 390, 600))
    assert slivers(scene, ends_on_land) == 1
    assert slivers(scene, ends_on_sea) == slivers(scene, deep_in_land) == 0


def test_a_crop_through_a_thing_costs_its_share_of_the_edge() -> None:
    weights = np.zeros((100, 100), np.float32)
    weights[40:60, 30:90] = SUBJECT
    scene = look_at(np.full((640, 640, 3), 120, np.uint8), weights, [])
    assert severed(scene, View(0, 0, 320, 640, 1.0, 1.0)) == pytest.approx(0.2, abs=0.02)
    assert severed(scene, View(0, 0, 640, 200, 1.0, 1.0)) == 0
    assert severed(scene, View(0, 0, 640, 640, 1.0, 1.0)) == 0  # the photo's own edges


def test_a_walker_on_a_ridge_is_the_subject_and_scattered_crumbs_are_none() -> None:
    subject = np.zeros((427, 640), np.float32)
    subject[200:230, 300:312] = 1
    assert importance(subject, [], [], subject.shape).max() == SUBJECT
    subject[::60, ::60] = 1
    subject[200:230, 300:312] = 0
    assert importance(subject, [], [], subject.shape).max() == np.float32(GUESS)


@pytest.mark.parametrize("place", [Box(70, 70, 500, 200), Box(70, 900, 500, 1020), Box(70, 300, 400, 900)])
def test_a_tint_comes_from_the_edge_from_which_it_covers_least(place: Box) -> None:
    scrim = scrim_for(place, 1080, 1080, Tinted(WHITE, INK, 0.4))
    assert scrim is not None
    assert scrim.edge == {70: "top", 900: "bottom", 300: "left"}[place.top]


@pytest.mark.parametrize("level", [0, 60, 120, 180, 255])
def test_accents_and_inks_read_on_any_ground(level: int) -> None:
    hues = hues_of(photo_of("brushes.jpg"))
    ground = (level, level, level)
    assert contrast(accent_on(ground, hues, None), ground) >= 4.5 or level == 120
    assert max(contrast(ink, ground) for ink in (WHITE, INK)) >= 4.5 or level == 120
    assert panel_of(hues, (1, 2, 3)) == (1, 2, 3)


@pytest.mark.parametrize("left", [100, 700, 1100])
def test_without_a_subject_what_is_in_focus_stays_whole(left: int) -> None:
    photo = np.full((1000, 1600, 3), 60, np.uint8)
    photo[..., 2] += np.linspace(0, 60, 1600).astype(np.uint8)
    leaf = np.random.default_rng(1).integers(90, 200, (40, 45, 1)).repeat(10, 0).repeat(10, 1)
    photo[550:950, left : left + 450] = leaf
    scene = look_at(photo, np.zeros((100, 160), np.float32), [])
    best = plan(read_copy("가을 끝, 마지막 단풍 버스투어"), scene, FORMATS["story"], NO_KIT).layouts[0]
    assert best.master == "full_bleed"
    assert best.window.left * 1600 <= left
    assert best.window.right * 1600 >= left + 450


def test_what_a_crop_takes_off_a_thing_is_measured_by_its_reach() -> None:
    tower = np.zeros((100, 200), np.bool_)
    tower[50:80, 60:200] = True  # the photo itself ends it at the right
    tower[20:50, 100:103] = True  # its spire: few of its pixels
    reach = reach_of(tower)
    assert reach is not None
    assert reach.free == (True, True, False, True)
    assert reach.lost(0, 0, 200, 100) == 0
    assert reach.lost(0, 35, 200, 100) == pytest.approx(15 / 60, abs=0.05)
    assert reach.lost(0, 0, 130, 100) == 0
    assert reach.lost(0, 0, 200, 65, legs_too=False) == 0 < reach.lost(0, 0, 200, 65)


def test_a_subject_map_without_an_outline_is_of_a_view() -> None:
    thing = np.zeros((100, 200), np.float32)
    thing[30:80, 40:160] = 1
    assert is_a_thing(thing)
    assert not is_a_thing(np.tile(np.linspace(0, 1, 200, dtype=np.float32), (100, 1)))


def test_a_photo_whose_rim_is_of_one_colour_is_known_by_it() -> None:
    car = np.full((320, 1000, 3), 255, np.uint8)
    car[40:300] = (40, 44, 52)
    assert look_at(car, np.zeros((320, 1000), np.float32), []).rim is None
    car[:, :6] = car[:, -6:] = 255
    assert look_at(car, np.zeros((320, 1000), np.float32), []).rim == (255, 255, 255)


@pytest.mark.parametrize("name", ["square", "landscape", "kakao_feed"])
def test_a_thing_as_wide_as_its_photo_is_shown_whole(name: str) -> None:
    photo = np.full((550, 1750, 3), 250, np.uint8)
    photo[60:490, 40:1710] = (20, 20, 30)  # a long car on white
    weights = np.zeros((550, 1750), np.float32)
    weights[60:490, 40:1710] = SUBJECT
    copy = read_copy("장기렌트 보증금 0원\n국산 대형 세단 48개월")
    best = plan(copy, look_at(photo, weights, ()), FORMATS[name], NO_KIT).layouts[0]
    assert best.window.left <= 40 / 1750
    assert best.window.right >= 1710 / 1750
