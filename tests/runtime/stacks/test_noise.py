"""How noisy a stack is, and how much averaging is chosen for it."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.pictures.masked import without_hidden
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stack import fuse_stack
from ufafuse.runtime.stacks import room
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.noise import FrameNoise, smoothing_for, without_noise
from ufafuse.runtime.stacks.options import MOST_SMOOTHING, StackOptions
from ufafuse.runtime.stacks.passing import Passing
from ufafuse.runtime.stacks.preparing import Held

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


@pytest.fixture(scope="module")
def network():
    with Fuser("ufa-stack", backend="onnxruntime", precision="fp32") as fuser:
        yield fuser


@pytest.mark.parametrize(
    ("passes", "align", "dtype", "channels"),
    [
        (Held, "off", np.uint8, 4),
        (Passing, "affine", np.uint8, 3),
        (Held, "affine", np.float32, 3),
        (Passing, "off", np.uint16, 0),
    ],
)
def test_the_noise_of_some_frames_is_not_taken_for_detail(network, make_stack, monkeypatch, passes, align, dtype, channels):
    """Taken with another sensitivity: where nothing has detail, no noise is chosen, and nothing sharp is lost."""
    monkeypatch.setattr(room, "Held", passes)
    rng = np.random.default_rng(12)
    frames = [frame.astype(np.float32) for frame in make_stack(6, height=180, width=240)[0]]
    for frame in frames:
        frame[100:] = 120
    unit = 1 if dtype == np.float32 else np.iinfo(dtype).max
    kinds = []
    for sigmas in ((1,) * 6, (10,) * 3 + (1,) * 3):
        kinds.append([])
        for frame, sigma in zip(frames, sigmas, strict=True):
            levels = np.clip(frame + sigma * rng.normal(size=frame.shape), 0, 255) * (unit / 255)
            made = (levels if dtype == np.float32 else np.rint(levels)).astype(dtype)
            alpha = [np.full(frame.shape[:2], unit, dtype)] if channels == 4 else []
            kinds[-1].append(np.dstack([made, *alpha]) if channels else np.ascontiguousarray(made[..., 1]))
    options = StackOptions(align=align, smoothing=1)
    steady, mixed = (fuse_sources(network, of_arrays(each), options) for each in kinds)
    (warning,) = [warning for warning in mixed.warnings if "noise" in warning]
    assert "frame 2, frame 3 have much more noise" in warning
    assert "up to 10 levels of 255, where another has 1)" in warning
    assert not any("noise" in warning for warning in steady.warnings)
    apart = (mixed.fused.astype(np.float64) - steady.fused) * (255 / unit)
    assert apart[110:170, 160:230].std() < 3  # below what is in focus in the frames without it
    assert np.abs(apart[10:90, 130:230]).mean() < 3


@pytest.mark.parametrize("hides", ["texture", "alpha"])
def test_a_frame_that_hides_its_noise_is_not_the_quiet_one(network, hides):
    """All are as noisy: fine texture in focus leaves it open in one, and in another much was moved out of the frame."""
    rng = np.random.default_rng(3)
    frames = []
    for number in range(5):
        frame = np.full((192, 256), 120.0)
        if number == 2 and hides == "texture":
            frame += cv2.GaussianBlur(40 * rng.normal(size=frame.shape), (0, 0), 0.9)
        made = np.rint(np.clip(frame[..., None] + 3.5 * rng.normal(size=(*frame.shape, 3)), 0, 255)).astype(np.uint8)
        made = np.dstack([made, np.full(frame.shape, 255, np.uint8)])
        if number == 2 and hides == "alpha":
            made[:, 100:] = 0
        frames.append(made)
    kind = FrameKind(np.dtype(np.uint8), 4, 255.0, "bgr")
    seen = [FrameNoise((192, 256), kind).of(without_hidden(frame)) for frame in frames]
    assert min(seen[0], seen[4]) > 2.5
    assert hides == "alpha" or seen[2] == 0
    result = fuse_sources(network, of_arrays(frames), StackOptions(match_gain=False))
    assert not [warning for warning in result.warnings if "noise" in warning]


def test_what_is_sharp_in_one_frame_alone_is_no_noise():
    """All of a slide is in focus in one frame, and nothing in the others; lenses draw it softer than a pixel."""
    rng = np.random.default_rng(13)
    for soft in (0.6, 0.9):
        slide = cv2.GaussianBlur(128 + 30 * rng.normal(size=(180, 240, 3)), (0, 0), soft)
        frame = np.clip(np.rint(slide + rng.normal(size=slide.shape)), 0, 255).astype(np.uint8)
        assert FrameNoise(frame.shape[:2], BYTES).of(frame) == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (7, 5), (64, 48)])
def test_frames_of_any_size_have_their_noise_looked_for(size):
    frame = np.random.default_rng(14).integers(0, 256, (*size, 3), np.uint8)
    assert FrameNoise(size, BYTES).of(frame) >= 0
    for each in (frame, frame[..., :1], frame[..., 0], frame.astype(np.float32)):
        assert without_noise(each, 5.0).shape == each.shape
        np.testing.assert_allclose(without_noise(each, 0.0), each, atol=1e-3)
