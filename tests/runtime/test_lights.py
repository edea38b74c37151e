"""A light beyond white that is out of focus in one frame is seen; a bright thing that both show is none."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.lights import BLOOMED, STARK, bloomed_share, lights_of, stark_share
from ufafuse.runtime.stack import fuse_stack


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


def stripes(width, blur, dark=0, light=255, size=(240, 320)):
    """A pair of upright stripes, the left half in focus in the one and the right half in the other; and the truth."""
    truth = np.tile(np.where(np.arange(size[1]) // width % 2, light, dark).astype(np.uint8), (size[0], 1))
    truth = cv2.merge([truth] * 3)
    soft = cv2.GaussianBlur(truth, (0, 0), blur)
    left = (np.arange(size[1]) < size[1] // 2)[None, :, None]
    return np.where(left, truth, soft), np.where(left, soft, truth), truth


@pytest.mark.parametrize("width", [8, 16, 24])
@pytest.mark.parametrize("blur", [3, 6])
def test_bars_of_black_and_white_are_stark(width, blur):
    near, far, _ = stripes(width, blur)
    kind = check_pair(near, far)
    assert stark_share(near, far, kind) == stark_share(far, near, kind) > STARK
    assert lights_of(near, far, kind).why
    for dtype, white in ((np.uint16, 65535), (np.float32, 1)):
        a, b = ((frame / 255 * white).astype(dtype) for frame in (near, far))
        assert stark_share(a, b, check_pair(a, b)) > STARK


def test_what_is_grey_is_not_stark_nor_what_is_white_or_black_alone():
    for near, far, _ in (stripes(16, 6, 30, 220), stripes(16, 6, 0, 220), stripes(16, 6, 30, 255)):
        assert stark_share(near, far, check_pair(near, far)) == 0
    near, _, _ = stripes(16, 6)
    assert lights_of(near, near, check_pair(near, near)).why == ""


def test_the_network_for_stacks_fuses_stark_pairs_better():
    """Than the one for pairs, whose picture of them is worse than the frames themselves."""
    pytest.importorskip("openvino")
    near, far, truth = stripes(16, 6)
    found = {}
    for name in ("ufa-stack", "ufa-edge"):
        with Fuser(name, backend="openvino") as fuser:
            found[name] = cv2.PSNR(fuse_stack(fuser, [near, far]).fused, truth)
    assert found["ufa-stack"] > cv2.PSNR(near, truth) + 10
    assert found["ufa-stack"] > found["ufa-edge"] + 10
