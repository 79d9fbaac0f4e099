"""How long costly work rests."""

from __future__ import annotations

import pytest

from pgbaton.worker.periodic import rest


@pytest.mark.parametrize(
    ("took", "rests"),
    [(0.0, 1.0), (0.05, 1.0), (0.1, 1.0), (0.2, 2.0), (0.4, 4.0), (0.5, 5.0), (60.0, 5.0)],
)
def test_costly_work_rests_the_longer_the_longer_it_took(took: float, rests: float) -> None:
    assert rest(took, share=0.1, least=1.0, most=5.0) == pytest.approx(rests)
