"""The steps of a registration do nothing twice, and come to the same bits as their formulas written out."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.registration.covering import shifted_by
from ufafuse.runtime.registration.guesses import MOTIONS
from ufafuse.runtime.registration.refine import Compared, _displacements, _slopes, share_of_near

SIZE = (96, 120)


@pytest.fixture(scope="module")
def frames():
    """Two grey pictures of one scene, float32, the left half sharp in the one and the right half in the other."""
    sharp = cv2.GaussianBlur(np.random.default_rng(5).random(SIZE).astype(np.float32), (0, 0), 1.0)
    soft = cv2.GaussianBlur(sharp, (0, 0), 2.5)
    left = (np.arange(SIZE[1]) < SIZE[1] // 2).astype(np.float32)
    return left * sharp + (1 - left) * soft, left * soft + (1 - left) * sharp


def test_frames_as_they_came_are_made_equally_sharp_once(frames):
    compared = Compared(*frames)
    first = compared.at(shifted_by(0.7, 0.2))  # decides by how much, for what comes after it
    unmoved = compared.at(np.eye(3))
    assert compared.at(np.eye(3)) is unmoved
    assert not np.array_equal(unmoved.other, first.other)
    assert all(np.array_equal(one, other) for one, other in zip(compared.at(shifted_by(0.7, 0.2)), first, strict=True))


@pytest.mark.parametrize("motion", MOTIONS)
def test_slopes_have_the_bits_of_their_formula(frames, motion):
    alike = Compared(*frames).at(np.eye(3))
    fields = _displacements(alike.near.shape, motion)
    found = _slopes(alike, fields).jacobian
    across, down = found[:2]  # a shift's own
    nothing = np.zeros(alike.near.shape, np.float32)
    for slope, field in zip(found, fields, strict=False):
        x, y = ((nothing if each is None else each)[alike.sampled] for each in field)
        assert np.array_equal(slope, across * x + down * y)


def test_the_share_has_the_bits_of_its_formula():
    near, other = np.float32(10) ** np.random.default_rng(7).uniform(-7, 0, (2, 64, 64)).astype(np.float32)
    before = near.copy(), other.copy()
    assert np.array_equal(share_of_near(near, other), (1 + np.tanh(3.0 * np.log(near / other))) / 2)
    assert np.array_equal(near, before[0])
    assert np.array_equal(other, before[1])
