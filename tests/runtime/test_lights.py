"""A light beyond white that is out of focus in one frame is seen; a bright thing that both show is none."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.lights import BLOOMED, bloomed_share


def lamps(size=(240, 320), *, radius, dtype=np.uint8, channels=3):
    """Dark texture with three lamps of a hundred times white, out of focus by `radius` pixels."""
    rng = np.random.default_rng(1)
    light = rng.uniform(20, 90, (*size, channels)).astype(np.float32)
    lamp = np.zeros(size, np.float32)
    for x, y in ((60, 60), (160, 120), (250, 180)):
        cv2.circle(lamp, (x, y), 2, 25_500, -1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2).astype(np.float32)
    light += cv2.filter2D(lamp, -1, disc / disc.sum())[..., None]
    white = 1.0 if dtype == np.float32 else float(np.iinfo(dtype).max)
    return np.squeeze(np.clip(light / 255, 0, 1) * np.float32(white)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_lights_that_bloom_in_one_frame(dtype, channels):
    near, far = lamps(radius=0, dtype=dtype, channels=channels), lamps(radius=9, dtype=dtype, channels=channels)
    kind = check_pair(near, far)
    share = bloomed_share(near, far, kind)
    assert share > 5 * BLOOMED
    assert bloomed_share(far, near, kind) == share


def test_what_is_bright_in_both_does_not_bloom():
    frame = lamps(radius=9)
    assert bloomed_share(frame, frame, check_pair(frame, frame)) == 0
    dull = np.minimum(frame, 200)
    assert bloomed_share(dull, np.full_like(dull, 30), check_pair(dull, dull)) == 0


def test_a_single_white_pixel_is_no_disc():
    near = np.full((200, 200, 3), 40, np.uint8)
    far = near.copy()
    far[::20, ::20] = 255
    assert bloomed_share(near, far, check_pair(near, far)) == 0


@pytest.mark.parametrize("radius", [5, 6, 8])
@pytest.mark.parametrize("start", range(4))
def test_small_discs_count_too_wherever_they_lie_between_the_pixels_that_are_glanced_at(radius, start):
    near = np.full((240, 320, 3), 60, np.uint8)
    far = near.copy()
    for number in range(30):
        cv2.circle(far, (start + 12 + 31 * (number % 10), start + 20 + 70 * (number // 10)), radius, (255, 255, 255), -1)
    assert bloomed_share(near, far, check_pair(near, far)) > BLOOMED
