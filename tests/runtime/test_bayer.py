"""Colour from mosaics."""

import numpy as np
import pytest

from ufafuse.runtime.bayer import PATTERNS, demosaiced
from ufafuse.runtime.errors import InputError


def mosaic_of(colour, pattern, order="rgb"):
    """What a sensor with this pattern would see of a colour picture."""
    raw = np.empty(colour.shape[:2], colour.dtype)
    for site, name in enumerate(pattern):
        rows, columns = slice(site // 2, None, 2), slice(site % 2, None, 2)
        raw[rows, columns] = colour[rows, columns, order.index(name)]
    return raw


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (9, 11), (16, 10)])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_one_colour_comes_back_exactly(pattern, shape):
    colour = np.empty((*shape, 3), np.uint16)
    colour[:] = (4000, 2500, 600)
    np.testing.assert_array_equal(demosaiced(mosaic_of(colour, pattern), pattern, order="rgb"), colour)
    np.testing.assert_array_equal(demosaiced(mosaic_of(colour, pattern), pattern), colour[..., ::-1])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_photograph_comes_back_well(pattern, sample_pair):
    truth = sample_pair[2]
    found = demosaiced(mosaic_of(truth, pattern, "bgr"), pattern)
    assert 10 * np.log10(255**2 / np.mean((found.astype(float) - truth) ** 2)) > 28


def test_sixteen_bits_are_like_eight(sample_pair):
    raw = mosaic_of(sample_pair[0], "grbg", "bgr")
    eight = demosaiced(raw, "grbg").astype(int)
    sixteen = demosaiced(raw.astype(np.uint16) * 257, "grbg") / 257
    assert np.abs(eight - sixteen).max() < 1


def test_nothing_above_the_sensors_white():
    raw = np.zeros((20, 20), np.uint16)
    raw[:, 10:] = 4095
    assert demosaiced(raw, "rggb", white=4095).max() == 4095


@pytest.mark.parametrize(
    ("raw", "pattern", "told"),
    [
        (np.zeros((4, 4), np.uint8), "rgbg", "'rgbg' is not known"),
        (np.zeros((4, 4, 3), np.uint8), "rggb", r"\(4, 4, 3\) of uint8 and no Bayer mosaic"),
        (np.zeros((4, 4), np.float32), "rggb", "no Bayer mosaic"),
        (np.zeros((1, 4), np.uint8), "rggb", "no Bayer mosaic"),
        (np.zeros((0, 4), np.uint8), "rggb", "no Bayer mosaic"),
        ("raw", "rggb", "is str and no Bayer mosaic"),
    ],
)
def test_what_is_no_mosaic(raw, pattern, told):
    with pytest.raises(InputError, match=told):
        demosaiced(raw, pattern)
