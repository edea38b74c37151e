"""Drawn pictures: repeatable, of the size asked for, each kind with what it stands for."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from ufafuse.runtime.arrays import Floats
from ufafuse.train import drawing
from ufafuse.train.drawing import KINDS, SHARES, SHIFT, Rng

SIDE = 96


def rng(seed: int) -> Rng:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_same_seed_draws_the_same_picture_and_another_seed_another(kind: Callable[[int, Rng], Floats]) -> None:
    one, again, other = (kind(SIDE, rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (SIDE, SIDE, 3)
    assert np.issubdtype(one.dtype, np.floating)
    assert np.isfinite(one).all()
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 1


def test_a_picture_is_bytes_of_any_kind_as_often_as_the_shares_say(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def named(kind: Callable[[int, Rng], Floats]) -> Callable[[int, Rng], Floats]:
        def draw(side: int, _rng: Rng) -> Floats:
            drawn.append(kind.__name__)
            return np.full((side, side, 3), 300, np.float32)

        return draw

    monkeypatch.setattr(drawing, "KINDS", tuple(named(kind) for kind in KINDS))
    state = rng(0)
    pictures = [drawing.picture(4, state) for _ in range(2000)]
    assert pictures[0].dtype == np.uint8
    assert pictures[0].max() == 255  # clipped, not wrapped
    for kind, share in zip(KINDS, SHARES, strict=True):
        assert drawn.count(kind.__name__) / 2000 == pytest.approx(share, abs=0.03)


def test_all_but_even_areas_have_detail() -> None:
    for kind in KINDS:
        detail = max(float(np.abs(np.diff(kind(SIDE, rng(seed)), axis=0)).max()) for seed in range(4))
        assert (detail > 8) == (kind is not drawing.flat), kind.__name__


def test_leaves_have_edges_of_all_sizes_as_photographs_do() -> None:
    """The contrast falls slowly with the scale: halving the resolution keeps most of it (Lee, Mumford and Huang, 2001)."""
    ratios = []
    for seed in range(6):
        grey = drawing.dead_leaves(256, rng(seed)).mean(2)
        half = cv2.resize(grey, (128, 128), interpolation=cv2.INTER_AREA)
        ratios.append(float(np.diff(half).std() / np.diff(grey).std()))
    assert 0.8 < np.mean(ratios) < 1.6


def test_a_hair_is_as_wide_and_points_where_it_is_told() -> None:
    canvas = np.zeros((200, 200), np.float32)
    state = rng(3)
    for _ in range(12):
        drawing.hair(canvas, 1.0, state, spread=0.0, widest=1)
    assert canvas.max() == 1
    assert 0 < canvas.mean() < 0.2
    downwards, across = (float(np.abs(np.diff(canvas, axis=axis)).sum()) for axis in (0, 1))
    assert downwards > 1.5 * across  # hairs along x: what changes, changes from row to row


def test_a_blob_surrounds_its_centre_with_about_its_radius() -> None:
    for seed in range(8):
        centre = np.array([50.0, 60.0])
        outline = drawing.blob(rng(seed), 20.0, centre)[:, 0] / 2**SHIFT
        distance = np.hypot(*(outline - centre).T)
        assert 5 < distance.mean() < 25
        assert cv2.pointPolygonTest(outline.astype(np.float32), centre.tolist(), measureDist=False) == 1


def test_a_colour_is_one_of_bytes_and_greyer_the_less_vivid() -> None:
    casts = []
    for vivid in (0.0, 1.0):
        state = rng(0)
        colours = np.array([drawing.colour(state, vivid=vivid) for _ in range(200)])
        assert colours.min() >= 0
        assert colours.max() <= 255
        casts.append(float(np.ptp(colours, axis=1).mean()))
    assert casts[0] == 0
    assert casts[1] > 20
