"""Which layouts the variants of an ad try, and which of them wins."""

from __future__ import annotations

from ads import layouts

from adstudio.vision.layout import Layout
from adstudio.vision.making import Picture
from adstudio.vision.variants import best, layouts_for, winner_first

PROPOSALS = layouts("rocket.jpg", "Reach for more", "square", "portrait")  # two of each format


def drawn(number: int, before: int = 0, good: tuple[str, ...] = ()) -> list[Layout]:
    return layouts_for(PROPOSALS, number, before, good)


def test_variants_begin_with_layouts_of_their_own_in_every_format() -> None:
    first, second = drawn(1), drawn(2)
    assert [one.format for one in first] == [one.format for one in second] == ["square", "portrait"]
    assert all(a != b for a, b in zip(first, second, strict=True))
    assert drawn(3) == second  # there are no more: the last one again, and no format is missing


def test_a_rejected_variant_gets_what_no_other_had_and_only_where_it_failed() -> None:
    many = [*PROPOSALS, *(one for one in PROPOSALS for _ in range(3))]
    again = layouts_for(many, 1, 1, {"portrait"})
    assert [one.format for one in again] == ["square"]
    assert layouts_for(PROPOSALS, 1, 1, ()) == []  # none is left


def test_the_best_of_those_that_passed_comes_first() -> None:
    pictures = [Picture(one, place, b"") for place in (0, 1) for one in drawn(place + 1)]
    scores = [sum(p.layout.score for p in pictures if p.place == place) for place in (0, 1)]
    assert best(pictures, [0, 1]) == scores.index(max(scores))
    assert best(pictures, [1]) == 1
    placed = winner_first(pictures, 1)
    assert [p.layout for p in placed if p.place == 0] == drawn(2)
    assert [p.layout for p in placed if p.place == 1] == drawn(1)
