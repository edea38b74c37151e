"""Motion that all steps of a stack tell together, and no pair of its frames by itself."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import BGR_BYTES
from ufafuse.runtime.registration.align import chained, estimate_neighbours
from ufafuse.runtime.registration.covering import farthest_move
from ufafuse.runtime.registration.steady import FEWEST, steadied

SIZE = 240, 320
COUNT = 8


def place(index, *, scale=1.0, degrees=0.0):
    """Where a pixel of the first frame is in one that moved on evenly about the middle."""
    share = index / (COUNT - 1)
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D(((SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2), share * degrees, 1 + share * (scale - 1))
    return matrix


def defocused(picture, radius):
    side = 2 * int(np.ceil(radius)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.float32)
    return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def frames_of(near, far, alpha, widest=28, **motion):
    """A near layer before a far one, the far one out of focus at the one end and the near one at the other; with some noise."""
    noise = np.random.default_rng(3)
    frames = []
    for index in range(COUNT):
        share = index / (COUNT - 1)
        cover = defocused(alpha, widest * share)[..., None]
        behind = defocused(far, widest * (1 - share))
        picture = behind * (1 - cover) + defocused(near * alpha[..., None], widest * share)
        picture = cv2.warpPerspective(
            picture, place(index, **motion), SIZE[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
        )
        frames.append(np.clip(picture + noise.normal(0, 1, picture.shape), 0, 255).astype(np.uint8))
    return frames


@pytest.fixture
def scene():
    """Two textures, one before the other: H x W x 3 each, and where the nearer one is."""
    noise = np.random.default_rng(7)

    def texture():
        coarse = cv2.GaussianBlur(noise.normal(size=(*SIZE, 3)), (0, 0), 3)
        return np.float32(np.clip(110 + 40 * coarse / coarse.std() + 6 * noise.normal(size=(*SIZE, 1)), 0, 255))

    alpha = np.zeros(SIZE, np.float32)
    cv2.ellipse(alpha, (120, 100), (70, 50), 20, 0, 360, 1, -1)
    cv2.rectangle(alpha, (200, 150), (290, 215), 1, -1)
    return texture(), texture(), alpha


def errors(steps, motion):
    """How far the farthest corner of each frame is from where it should be, in the first one's geometry."""
    found = chained(steps, SIZE)
    return [farthest_move(each.matrix, SIZE, place(index + 1, **motion)) for index, each in enumerate(found)]


@pytest.mark.parametrize("motion", [{"scale": 1.05}, {"degrees": 3.0}])
def test_what_some_pairs_do_not_tell_all_of_them_do(scene, motion):
    """Wide defocus: of the 10 and 7 pixels that the last frame moves most were lost."""
    single = estimate_neighbours(frames_of(*scene, **motion), BGR_BYTES, "affine")
    together = steadied(single, SIZE, "affine")
    assert any(step.refused for step in single) and not any(step.refused for step in together)
    assert max(errors(together, motion)) < 0.5 * max(errors(single, motion))


def test_frames_that_lie_still_are_not_moved(scene):
    single = estimate_neighbours(frames_of(*scene), BGR_BYTES, "affine")
    assert all(after is before for after, before in zip(steadied(single, SIZE, "affine"), single, strict=True))


def test_a_silhouette_that_the_light_eats_is_no_breathing():
    """All of its outline draws in, step by step, most where the focus leaves it."""
    grain = cv2.GaussianBlur(np.random.default_rng(1).normal(size=(*SIZE, 1)), (0, 0), 1)[..., None]
    grain = np.float32(grain / grain.std())
    near, far = (np.repeat(level + part * grain, 3, axis=2) for level, part in ((235, 6), (12, 2)))
    alpha = np.zeros(SIZE, np.float32)
    cv2.ellipse(alpha, (160, 120), (48, 30), 20, 0, 360, 1, -1)
    for turn in range(6):
        foot = 160 + 84 * np.cos(turn + 0.3), 120 + 72 * np.sin(turn + 0.3)
        cv2.line(alpha, (160, 120), (int(foot[0]), int(foot[1])), 1, 5)
    single = estimate_neighbours(frames_of(near, far, alpha), BGR_BYTES, "affine")
    assert any(step.spread is not None for step in single)
    assert all(after is before for after, before in zip(steadied(single, SIZE, "affine"), single, strict=True))


def test_of_few_steps_each_is_taken_by_itself(scene):
    single = estimate_neighbours(frames_of(*scene, scale=1.05), BGR_BYTES, "affine")[: FEWEST - 1]
    assert steadied(single, SIZE, "affine") == single
