"""How noisy a stack is, and how much averaging is chosen for it."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stack import fuse_stack
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.noise import FrameNoise, smoothing_for
from ufafuse.runtime.stacks.options import MOST_SMOOTHING, StackOptions

BYTES = FrameKind(np.dtype(np.uint8), 3, 255.0, "bgr")


def told(frames, kind=BYTES, covered=None, *, moved=False):
    noise = FrameNoise(frames[0].shape[:2], kind)
    for frame in frames:
        noise.add(frame, covered, moved=moved)
    return noise.sigma()


def clean(count, size=(180, 240)):
    """A textured scene in ``count`` frames, each sharp in another band; H x W x 3 float32 in levels of 255."""
    rng = np.random.default_rng(2)
    scene = np.clip(128 + 60 * cv2.GaussianBlur(rng.normal(size=(*size, 3)), (0, 0), 0.7) * 3, 20, 235).astype(np.float32)
    depth = np.linspace(0, count - 1, size[0])[:, None, None]
    blurred = [cv2.GaussianBlur(scene, (0, 0), 0.01 + 2.0 * step) for step in range(count)]
    frames = []
    for number in range(count):
        away = np.broadcast_to(np.abs(depth - number), scene.shape)
        frames.append(np.select([away < step + 0.5 for step in range(count)], blurred))
    return frames


@pytest.mark.parametrize("sigma", [0, 1, 3, 6, 10])
@pytest.mark.parametrize(
    ("dtype", "white", "unit"),
    [(np.uint8, 255, 0), (np.uint16, 65535, 0), (np.uint16, 4095, 0), (np.float32, 1, 0), (np.uint16, 65535, 4000)],
)
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_noise_is_told_whatever_the_texture_and_the_levels(sigma, dtype, white, unit, channels):
    rng = np.random.default_rng(4)
    shape = {0: (180, 240), 1: (180, 240, 1)}.get(channels, (180, 240, channels))
    scale = (unit or white) / 255
    frames = []
    for frame in clean(6):
        grey = np.repeat(frame[..., :1], max(1, channels), 2).reshape(shape)
        noisy = np.clip(grey + sigma * rng.normal(size=shape), 0, 255) * scale
        frames.append((noisy if dtype == np.float32 else np.rint(noisy)).astype(dtype))
    kind = FrameKind(np.dtype(dtype), channels, float(white), "bgr", unit=float(unit))
    assert told(frames, kind) == pytest.approx(sigma, rel=0.12, abs=0.6)


@pytest.mark.parametrize("sigma", [4, 8])
def test_noise_of_registered_frames_is_what_interpolation_leaves_of_it(sigma):
    rng = np.random.default_rng(10)
    frames, left = [], []
    for number, frame in enumerate(clean(6, (260, 320))):
        matrix = cv2.getRotationMatrix2D((160, 130), 0.3 * number + 0.4, 1.01 + 0.004 * number)
        noise = (sigma * rng.normal(size=frame.shape)).astype(np.float32)
        moved, alone = (cv2.warpAffine(each, matrix, (320, 260), flags=cv2.INTER_CUBIC) for each in (frame + noise, noise))
        frames.append(np.rint(np.clip(moved[20:-20, 20:-20], 0, 255)).astype(np.uint8))
        left.append(alone[20:-20, 20:-20].std())
    assert told(frames, moved=True) == pytest.approx(np.mean(left), rel=0.15)


def test_what_is_clipped_or_not_covered_says_nothing_of_noise():
    rng = np.random.default_rng(5)
    frames = [np.rint(np.clip(frame + 8 * rng.normal(size=frame.shape), 0, 255)).astype(np.uint8) for frame in clean(5)]
    for frame in frames:
        frame[:100] = 255
    assert told(frames) == pytest.approx(8, rel=0.12)
    covered = np.ones(frames[0].shape[:2], np.uint8)
    covered[100:] = 0
    assert told(frames, covered=covered) == 0
    assert told([np.full_like(frame, 255) for frame in frames]) == 0


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (3, 3), (5, 900), (24, 24), (25, 30)])
def test_small_frames_are_looked_at_as_far_as_they_go(size):
    rng = np.random.default_rng(6)
    frames = [rng.integers(100, 140, (*size, 3)).astype(np.uint8) for _ in range(4)]
    assert (told(frames) > 0) == (min(size) >= 3)


def test_two_frames_tell_no_noise_apart_from_detail():
    frames = [np.rint(frame).astype(np.uint8) for frame in clean(3)]
    assert told(frames[:2]) == 0


def test_more_noise_asks_for_more_averaging():
    asked = [smoothing_for(sigma) for sigma in (0, 3.5, 4.5, 6, 8, 30)]
    assert asked == [1, 1, 3, 6, MOST_SMOOTHING, MOST_SMOOTHING]


def test_a_noisy_stack_is_averaged_as_its_noise_asks_for_and_a_clean_one_is_not(fuser, make_stack):
    rng = np.random.default_rng(7)
    frames, _ = make_stack(6)
    noisy = [np.rint(np.clip(frame + 9 * rng.normal(size=frame.shape), 0, 255)).astype(np.uint8) for frame in frames]
    result = fuse_sources(fuser, of_arrays(noisy), StackOptions())
    assert result.noise == pytest.approx(9, rel=0.15)
    assert result.smoothing == smoothing_for(result.noise) > 8
    same = fuse_sources(fuser, of_arrays(noisy), StackOptions(smoothing=result.smoothing))
    np.testing.assert_array_equal(result.fused, same.fused)
    assert (same.smoothing, same.noise) == (result.smoothing, 0)
    clean_one = fuse_sources(fuser, of_arrays(frames), StackOptions())
    assert (clean_one.smoothing, clean_one.noise) == (1, 0)
    np.testing.assert_array_equal(clean_one.fused, fuse_sources(fuser, of_arrays(frames), StackOptions(smoothing=1)).fused)


def test_a_pair_is_averaged_no_more(fuser, make_stack):
    rng = np.random.default_rng(8)
    noisy = [np.rint(np.clip(frame + 9 * rng.normal(size=frame.shape), 0, 255)).astype(np.uint8) for frame in make_stack(2)[0]]
    result = fuse_stack(fuser, noisy, StackOptions(want_height=True))
    assert (result.smoothing, result.noise) == (1, 0)
