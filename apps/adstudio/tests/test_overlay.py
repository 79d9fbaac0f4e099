"""The drawn ad: only the type is added, emoji come in colour, a logo and a button where the layout says."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from ads import ASSETS, layouts, photo_of
from PIL import Image

from adstudio.vision.ad_ink import ink_mask, line_inks
from adstudio.vision.copy_reading import read_copy
from adstudio.vision.errors import BrandError
from adstudio.vision.importance import bounds
from adstudio.vision.kit import NO_KIT, read_kit
from adstudio.vision.layout import Window, from_hex
from adstudio.vision.overlay import draw, pane_of, without_type
from adstudio.vision.scrim import scrim_alpha


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("photo", "copy"), [("figs.jpg", "50% 할인 ₩12,900"), ("peaks.jpg", "Walk above the clouds. Book now")]
)
def test_nothing_but_the_block_of_type_changes(photo: str, copy: str) -> None:
    for layout in layouts(photo, copy, "square", "story"):
        picture = photo_of(photo)
        ad, bare = draw(layout, picture, read_copy(copy), NO_KIT), without_type(layout, picture)
        box = bounds((ad != bare).any(axis=2), trim=0.0)
        assert box is not None
        assert box.left >= layout.text_box.left - 3
        assert box.right <= layout.text_box.right + 3
        assert box.top >= layout.text_box.top - 3
        assert box.bottom <= layout.text_box.bottom + 3


def test_every_line_leaves_ink_where_it_was_planned() -> None:
    copy = "구름 위를 걷는 3일\n알프스 트레킹 1,290,000원부터\n자세히 보기"
    layout = layouts("peaks.jpg", copy, "square")[0]
    picture = photo_of("peaks.jpg")
    inks = list(
        line_inks(ink_mask(draw(layout, picture, read_copy(copy), NO_KIT), without_type(layout, picture)), layout)
    )
    assert {one.line.role for one in inks} == {"headline", "sub", "offer", "cta"}
    for one in inks:
        assert one.box is not None
        if one.line.role != "cta":
            assert abs(one.box.width - one.line.width) < 0.25 * one.line.size


def test_emoji_are_drawn_in_their_colours() -> None:
    copy = "우리 집에 놀러 와 🐶💛"
    layout = layouts("dogs.jpg", copy, "square")[0]
    picture = photo_of("dogs.jpg")
    ad, bare = draw(layout, picture, read_copy(copy), NO_KIT), without_type(layout, picture)
    added = ad[ink_mask(ad, bare)].astype(int)
    yellow = (added[:, 0] > 200) & (added[:, 1] > 150) & (added[:, 2] < 110)
    assert yellow.sum() > 500  # the heart


def test_a_logo_takes_the_brands_place() -> None:
    logo = Image.new("RGBA", (400, 160), (0, 0, 0, 0))
    logo.paste((220, 0, 120, 255), (40, 30, 360, 130))
    kit = read_kit(name="Ondo", logo=png(logo))
    copy = read_copy("새로운 계절의 시작")
    layout = layouts("figs.jpg", "새로운 계절의 시작", "square", kit=kit)[0]
    assert layout.logo is not None
    ad = draw(layout, photo_of("figs.jpg"), copy, kit)
    middle = ad[(layout.logo.top + layout.logo.bottom) // 2, (layout.logo.left + layout.logo.right) // 2]
    assert tuple(middle) == (220, 0, 120)
    assert layout.logo.bottom <= min(line.y - line.size * 0.7 for line in layout.lines)


def test_a_brands_font_is_used_where_it_has_every_letter() -> None:
    kit = read_kit(name="Bold", font=(ASSETS / "fonts" / "Pretendard-Bold.otf").read_bytes())
    assert kit.typeface(read_copy("새로운 계절")).name == "Bold"


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"colour": "blue"}, "no colour"),
        ({"logo": b"not a picture"}, "logo cannot be read"),
        ({"logo": png(Image.new("RGBA", (50, 50)))}, "wholly transparent"),
        ({"logo": png(Image.new("RGBA", (900, 20), (1, 2, 3, 255)))}, "too long and narrow"),
        ({"logo": b"\x89PNG" + bytes(3_000_000)}, "too heavy"),
        ({"font": b"not a font"}, "font cannot be used"),
    ],
)
def test_a_brand_kit_that_cannot_be_used_is_told_in_a_sentence(part: dict[str, object], says: str) -> None:
    with pytest.raises(BrandError) as caught:
        read_kit(name="x", **part)  # type: ignore[arg-type]
    assert says in caught.value.told("en")
    assert caught.value.told("ko").endswith(".")


def test_a_continued_side_has_no_streaks_and_no_seam() -> None:
    layout = layouts("jar.jpg", "비움으로 채우다", "square")[0]
    wide = replace(layout, window=Window(-0.4, 0.0, 1.0, 1.0))
    pane = pane_of(wide, photo_of("jar.jpg")).astype(int)
    beyond = pane[:, : int(0.4 / 1.4 * pane.shape[1])]
    assert abs(np.diff(beyond, axis=0)).max() <= 8
    seam = int(0.4 / 1.4 * pane.shape[1])
    assert abs(pane[:, seam - 2] - pane[:, seam + 2]).mean() < 3


def test_a_scrim_fades_from_its_edge() -> None:
    for layout in layouts("peaks.jpg", "Walk above the clouds. Book now", "story", "portrait", "square"):
        if layout.scrim is None:
            continue
        alpha = scrim_alpha(layout.scrim, layout.width, layout.height).ravel()
        alpha = alpha[::-1] if layout.scrim.edge in ("right", "bottom") else alpha
        assert alpha[0] == pytest.approx(layout.scrim.strength)
        assert (np.diff(alpha) <= 1e-6).all()
        assert from_hex(layout.scrim.colour)
