import cv2
import numpy as np
import pytest

from ufafuse.runtime.stacks.growth import disc_response
from ufafuse.runtime.stacks.inverse import COUNT, RADII, REACH, inverses


@pytest.mark.parametrize("radius", [0.8, 1.4, 2.6, 6.0])
def test_a_disc_leaves_of_a_wave_what_blurring_it_leaves(radius):
    frequencies = np.arange(0, 40) / 512
    side = 2 * int(np.ceil(radius)) + 1
    large = np.zeros((32 * side, 32 * side), np.float32)  # drawn 32 times as large
    y, x = np.mgrid[: 32 * side, : 32 * side] - (16 * side - 0.5)
    large[np.hypot(y, x) <= 32 * radius] = 1
    profile = large.sum(0) / large.sum()
    places = (np.arange(32 * side) - (16 * side - 0.5)) / 32
    expected = [(profile * np.cos(2 * np.pi * frequency * places)).sum() for frequency in frequencies]
    np.testing.assert_allclose(disc_response(radius, frequencies), expected, atol=0.005)


@pytest.mark.parametrize("most", [1.05, 1.5, 2.2])
def test_no_wave_is_raised_by_more_than_asked_nor_turned_over(most):
    filters = inverses(most)
    assert len(filters) == COUNT
    for each in filters:
        assert each.kernel.shape == (2 * REACH + 1,) * 2
        padded = np.zeros((128, 128))
        padded[: 2 * REACH + 1, : 2 * REACH + 1] = each.kernel
        gain = 1 + np.fft.fft2(np.roll(padded, (-REACH, -REACH), (0, 1))).real
        assert gain.max() <= most + 0.02
        assert gain.max() == pytest.approx(each.gain, abs=0.02)
        assert gain.min() > -0.65


def test_what_is_even_stays_so_and_all_directions_are_alike():
    for each in inverses(2.2):
        assert abs(float(each.kernel.astype(np.float64).sum())) < 1e-6
        for turned in (each.kernel.T, each.kernel[::-1], each.kernel[:, ::-1]):
            np.testing.assert_array_equal(each.kernel, turned)
        even = cv2.filter2D(np.full((40, 40), 200, np.float32), cv2.CV_32F, each.kernel)
        assert np.abs(even).max() < 1e-3


@pytest.mark.parametrize("radius", RADII)
def test_a_blurred_picture_comes_nearer_to_what_it_was(make_texture, radius):
    sharp = cv2.cvtColor(make_texture(256, 256, seed=3).astype(np.float32), cv2.COLOR_BGR2GRAY)
    side = 2 * int(np.ceil(radius)) + 3
    large = np.zeros((8 * side, 8 * side), np.float32)
    cv2.circle(large, (4 * side, 4 * side), round(8 * radius), 1, -1)
    disc = cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)
    soft = cv2.filter2D(sharp, cv2.CV_32F, disc / disc.sum()) + np.random.default_rng(2).normal(0, 1, sharp.shape)
    before = np.square(soft - sharp)[16:-16, 16:-16].mean()
    errors = []
    for each in inverses(2.2):
        restored = soft + cv2.filter2D(soft.astype(np.float32), cv2.CV_32F, each.kernel)
        errors.append(np.square(restored - sharp)[16:-16, 16:-16].mean())
    assert min(errors) < 0.75 * before
    assert int(np.argmin(errors)) % len(RADII) == RADII.index(radius)  # the filters of this radius
