"""Heights where not every frame shows the place: margins of registered frames, what alpha hides, what strayed in."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.stacks.height import SURE, ScorePeaks

COUNT, SIZE, MARGIN = 8, (120, 200), 60
INSIDE, BESIDE, AWAY = np.s_[8:-8, : MARGIN - 4], np.s_[8:-8, MARGIN:76], np.s_[8:-8, 76:]


def frames_of(depth, make_texture, step=1.4):
    """Frames, and what a network that sees the blur gives them."""
    grey = make_texture(*SIZE, seed=3)[..., 1].astype(np.float32) / 255
    sigmas = np.arange(0.4, step * COUNT + 1, 0.4)
    blurred = np.stack([cv2.GaussianBlur(grey, (0, 0), float(sigma)) for sigma in sigmas])
    for index in range(COUNT):
        away = np.abs(depth - index)
        nearest = np.clip(np.rint(step * away / 0.4).astype(int), 0, len(sigmas) - 1)
        yield index, np.exp(-np.minimum(12 * away, 70)).astype(np.float32), np.take_along_axis(blurred, nearest[None], 0)[0]


def height_of(depth, make_texture, shown):
    """Only the frames ``shown`` show something in the margin on the left; the others are black there."""
    peaks = ScorePeaks(SIZE)
    for index, weights, grey in frames_of(depth, make_texture):
        covered = np.ones(SIZE, np.uint8)
        if index not in shown:
            covered[:, :MARGIN] = 0
        peaks.add(index, weights, None if covered.all() else covered, grey * covered)
    return peaks.height()


@pytest.mark.parametrize("shown", [(0,), (7,), (3,), (0, 1, 2), (5, 6, 7), (0, 7), (0, 1, 6, 7), ()])
@pytest.mark.parametrize("plane", [0.0, 3.5])
def test_nothing_is_known_where_the_frames_that_would_tell_show_nothing(shown, plane, make_texture):
    """One frame alone, or the end of those that show a place, was sure to be its height: up to the whole stack off."""
    depth = np.full(SIZE, plane, np.float32)
    height = height_of(depth, make_texture, shown)
    if shown[:2] == (0, 1) and plane == 0.0:  # these tell
        assert np.abs(height.position - depth)[INSIDE].max() < 0.3
    else:
        assert (height.confidence[INSIDE] >= SURE).mean() < 0.05
    assert (height.confidence[AWAY] >= SURE).all()


@pytest.mark.parametrize("shown", [(2, 3, 4, 5), (0, 1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6, 7)])
def test_a_height_between_frames_that_show_it_is_known_as_elsewhere(shown, make_texture):
    depth = np.full(SIZE, 3.3, np.float32)
    height = height_of(depth, make_texture, shown)
    assert (height.confidence[INSIDE] >= SURE).all()
    assert np.abs(height.position - depth)[8:-8].max() < 0.3


def test_a_height_beside_a_frame_that_does_not_show_it_lies_between_those_that_do(make_texture):
    depth = np.full(SIZE, 4.0, np.float32)
    height = height_of(depth, make_texture, (0, 1, 2, 3, 5, 6, 7))
    assert np.abs(height.position - depth)[INSIDE].max() <= 1.0
    assert np.median(np.abs(height.position - depth)[INSIDE]) < 0.6


@pytest.mark.parametrize("shown", [(), (0,), (0, 1), (6, 7)])
def test_the_border_of_what_a_frame_shows_is_no_detail(shown, make_texture):
    """Beside a margin heights are those of the surface, and not of the frame whose margin it is."""
    depth = np.full(SIZE, 3.5, np.float32)
    error = np.abs(height_of(depth, make_texture, shown).position - depth)
    assert np.quantile(error[BESIDE], 0.9) < 0.35
    assert error[AWAY].max() < 0.2


def test_masks_that_hide_nothing_change_nothing(make_texture):
    depth = np.tile(np.linspace(0, COUNT - 1, SIZE[1], dtype=np.float32), (SIZE[0], 1))
    plain, masked = ScorePeaks(SIZE), ScorePeaks(SIZE)
    everywhere = np.ones(SIZE, np.uint8)
    for index, weights, grey in frames_of(depth, make_texture):
        plain.add(index, weights, None, grey)
        masked.add(index, weights, everywhere if index % 2 else None, grey)
    np.testing.assert_allclose(masked.height().position, plain.height().position, atol=2e-3)
    np.testing.assert_allclose(masked.height().confidence, plain.height().confidence, atol=2e-3)
