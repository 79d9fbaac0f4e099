"""The committed quality set: free to ship, large enough, and looking as it did."""

from __future__ import annotations

from pathlib import Path

import pytest
from ads import ASSETS

from adstudio.quality_run import Entry, Maker, read_folder
from adstudio.vision.copytext import has_hangul
from adstudio.vision.likeness import MOST_DIFFERENT, difference, thumbnail
from adstudio.vision.making import chosen_of

FOLDER = Path(__file__).parents[1] / "quality"
ENTRIES = {entry.name: entry for entry in read_folder(FOLDER)}
LOOKED_AT = ("figs-price", "dogs-emoji", "peaks-en", "serum-brand", "jar-night", "astronaut-dream", "sunset-insurance")


@pytest.fixture(scope="module")
def maker() -> Maker:
    return Maker()


def test_the_set_has_pairs_enough_in_both_languages() -> None:
    korean = sum(has_hangul(" ".join(entry.copy.values())) for entry in ENTRIES.values())
    assert len(ENTRIES) >= 24
    assert korean >= 12
    assert len(ENTRIES) - korean >= 6


def test_every_photo_is_there_and_its_licence_is_named() -> None:
    notice = (ASSETS / "NOTICE").read_text(encoding="utf-8")
    for photo in (ASSETS / "photos").iterdir():
        assert photo.name in notice
    for entry in ENTRIES.values():
        assert entry.photo.is_file()


@pytest.mark.parametrize("name", LOOKED_AT)
def test_an_ad_looks_as_it_did_and_passes(maker: Maker, name: str) -> None:
    entry = Entry(name, ENTRIES[name].photo, ENTRIES[name].copy, (ENTRIES[name].formats or ["square", "story"])[:2])
    maker.make(entry)
    assert entry.refusals == []
    assert len(chosen_of(entry.pictures)) == 2
    for picture in chosen_of(entry.pictures):
        assert picture.verdict is not None
        assert picture.verdict.passed, picture.verdict.reasons
        golden = (FOLDER / "golden" / f"{name}-{picture.layout.format}.jpg").read_bytes()
        assert difference(thumbnail(picture.jpeg), golden) <= MOST_DIFFERENT


def test_another_ad_is_seen_to_be_another() -> None:
    golden = sorted((FOLDER / "golden").glob("*-square.jpg"))
    assert difference(golden[0].read_bytes(), golden[0].read_bytes()) == 0
    assert difference(golden[0].read_bytes(), golden[1].read_bytes()) > 3 * MOST_DIFFERENT


def test_a_folder_of_photos_with_texts_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "cup.jpg").write_bytes((ASSETS / "photos" / "coffee.jpg").read_bytes())
    (tmp_path / "cup.txt").write_text("Slow mornings start here", encoding="utf-8")
    (tmp_path / "alone.jpg").write_bytes(b"")
    assert [entry.name for entry in read_folder(tmp_path)] == ["cup"]
