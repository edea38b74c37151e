"""A glance tells what the whole estimate would tell, and mostly without making it."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.registration import glance
from ufafuse.runtime.registration.align import comparable, estimate_pictures
from ufafuse.runtime.registration.glance import glanced, halved, unaligned_by

SIZE = (260, 300)


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(2)
    picture = cv2.resize(rng.integers(60, 190, (12, 14, 3), dtype=np.uint8), (380, 340), interpolation=cv2.INTER_CUBIC)
    for radius in (30, 12, 6, 4):
        for _ in range(int(0.35 * picture[..., 0].size / radius**2)):
            centre = int(rng.integers(0, 380)), int(rng.integers(0, 340))
            colour = tuple(int(value) for value in rng.integers(0, 256, 3))
            cv2.circle(picture, centre, int(radius * rng.uniform(0.4, 1)), colour, -1, cv2.LINE_AA)
    return picture


def pair(scene, *, shift=(0.0, 0.0), scale=1.0, degrees=0.0):
    """Near and far; the left half of one and the right half of the other is out of focus, and the far one moved."""
    moved = cv2.getRotationMatrix2D((190, 170), degrees, scale)
    moved[:, 2] += shift
    far = cv2.warpAffine(scene, moved, (380, 340), flags=cv2.INTER_CUBIC)
    near, far = (picture[40 : 40 + SIZE[0], 40 : 40 + SIZE[1]] for picture in (scene, far))
    soft_near, soft_far = (cv2.GaussianBlur(frame, (0, 0), 2) for frame in (near, far))
    half = SIZE[1] // 2
    return np.concatenate([near[:, :half], soft_near[:, half:]], 1), np.concatenate([soft_far[:, :half], far[:, half:]], 1)


@pytest.fixture
def estimated(monkeypatch):
    """How often the whole estimate was made, and whether it had a start."""
    starts = []

    def counted(*args, **options):
        starts.append(options["start"] is not None)
        return estimate_pictures(*args, **options)

    monkeypatch.setattr(glance, "estimate_pictures", counted)
    return starts


MOVES = [
    {"shift": (5.0, 0)},
    {"shift": (2.0, -1)},
    {"scale": 1.015},
    {"degrees": 0.9},
    {"shift": (0.4, 0)},
    {"scale": 1.002},
    {},
]


@pytest.mark.parametrize("move", MOVES, ids=str)
def test_the_answer_is_that_of_the_whole_estimate(scene, move):
    near, far = pair(scene, **move)
    kind = check_pair(near, far)
    a, b = (comparable(frame, kind, glance.PIXELS) for frame in (near, far))
    whole = estimate_pictures(a, b, SIZE, "affine", better=0.7).moved
    found = unaligned_by(near, far, kind)
    assert (found > 0) == (whole >= 1.5)
    assert found == 0 or found == pytest.approx(whole, abs=0.3)


def test_frames_that_lie_where_they_should_are_not_estimated(scene, estimated):
    near, far = pair(scene)
    assert unaligned_by(near, far, check_pair(near, far)) == 0
    assert estimated == []


def test_other_scenes_that_no_small_motion_explains_are_not_estimated_or_not_believed(scene, estimated):
    near, _ = pair(scene)
    assert unaligned_by(near, np.ascontiguousarray(near[::-1]), check_pair(near, near)) == 0
    assert estimated in ([], [False], [True])


def test_a_small_move_is_estimated_from_the_glance_on_and_a_large_one_from_the_beginning(scene, estimated):
    near, far = pair(scene, shift=(2.5, 0))
    assert unaligned_by(near, far, check_pair(near, far)) == pytest.approx(2.5, abs=0.3)
    near, far = pair(scene, shift=(22.0, 9))
    assert unaligned_by(near, far, check_pair(near, far)) == pytest.approx(23.8, abs=0.5)
    assert estimated == [True, False]


@pytest.mark.parametrize("shape", [(33, 40), (90, 41, 3), (64, 700, 4), (300, 2, 3)])
def test_small_and_narrow_frames_are_glanced_at_too(shape):
    frame = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    assert unaligned_by(frame, frame, check_pair(frame, frame)) == 0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_halving_keeps_levels(dtype):
    frame = np.full((131, 257, 3), 0.5 if dtype == "float32" else 77, dtype)
    small = halved(frame, 2000)
    assert small.shape == (32, 64, 3)
    assert small.dtype == dtype
    assert (small == frame[0, 0, 0]).all()
    assert halved(frame, 131 * 257) is frame


def test_what_is_glanced_at_is_what_is_compared(scene):
    kind = check_pair(scene, scene)
    quick, slow = (reduce(scene, kind, 8192) for reduce in (glanced, comparable))
    assert abs(quick.shape[0] - slow.shape[0]) <= 1
    assert np.abs(cv2.resize(quick, slow.shape[::-1]) - slow).mean() < 0.02
