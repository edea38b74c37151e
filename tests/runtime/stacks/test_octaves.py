import numpy as np
import pytest

from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.stacks.octaves import OctaveSums

OCTAVES = (2, 8)


def kind_of(frame, white):
    return FrameKind(frame.dtype, frame.shape[2] if frame.ndim == 3 else 0, white, "bgr")


def fused(frames, weights, kind, covered=None, reference=0):
    sums = OctaveSums(frames[0].shape[:2], kind, OCTAVES, stride=32, threads=2)
    for index, frame in enumerate(frames):
        sums.begin(frame, None if covered is None else covered[index])
        height, width = frame.shape[:2]
        for top in range(0, height, 64):  # as windows of the network
            rows = slice(top, min(top + 64, height))
            sums.add((rows, slice(0, width)), np.ascontiguousarray(np.moveaxis(weights[index][:, rows], 0, 2)))
    return sums.fused(frames[reference])


@pytest.mark.parametrize("shape", [(97, 131), (64, 32), (1, 1), (5, 300), (33, 8)])
@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1.0)])
@pytest.mark.parametrize("channels", [0, 3, 4])
def test_one_frame_with_all_the_weight_comes_back(shape, dtype, white, channels):
    rng = np.random.default_rng(1)
    frames = [(rng.random((*shape, channels) if channels else shape) * white).astype(dtype) for _ in range(3)]
    weights = [np.full((3, *shape), weight, np.float32) for weight in (1e-9, 1.0, 1e-9)]
    result = fused(frames, weights, kind_of(frames[0], white))
    colours = frames[1][..., :3] if channels == 4 else frames[1]
    got = result[..., :3] if channels == 4 else result
    assert result.shape == frames[0].shape
    assert result.dtype == dtype
    np.testing.assert_allclose(got.astype(float), colours.astype(float), atol=1.01 if dtype != np.float32 else 1e-5)


def test_equal_weights_are_the_mean():
    rng = np.random.default_rng(2)
    frames = [rng.integers(0, 256, (50, 70, 3)).astype(np.uint8) for _ in range(4)]
    result = fused(frames, [np.ones((3, 50, 70), np.float32)] * 4, kind_of(frames[0], 255))
    assert np.abs(result - np.mean(frames, axis=0)).max() <= 0.51


def test_each_octave_comes_from_where_its_weight_is():
    """Fine detail of one frame upon the coarse light of another one."""
    y, x = np.mgrid[:96, :96]
    fine = np.where((x + y) % 2, 140, 116).astype(np.uint8)  # nothing but the finest octave, around 128
    coarse = np.full((96, 96), 60, np.uint8)
    weights = [np.full((3, 96, 96), 1e-9, np.float32) for _ in range(2)]
    weights[0][0] = 1
    weights[1][1:] = 1
    kind = kind_of(fine, 255)
    result = fused([fine, coarse], weights, kind).astype(int)
    expected = 60 + fine.astype(int) - 128
    # The range of what the frames show bounds it: no sample lies below both frames.
    np.testing.assert_allclose(result, np.maximum(expected, 60), atol=1)


def test_nothing_lies_beyond_what_the_frames_show():
    rng = np.random.default_rng(3)
    frames = [rng.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(3)]
    weights = [np.exp(rng.normal(0, 3, (3, 64, 64))).astype(np.float32) for _ in range(3)]
    result = fused(frames, weights, kind_of(frames[0], 255))
    assert (result >= np.min(frames, axis=0)).all()
    assert (result <= np.max(frames, axis=0)).all()


def test_what_a_frame_does_not_cover_takes_no_part():
    rng = np.random.default_rng(4)
    frames = [rng.integers(50, 200, (64, 96, 4)).astype(np.uint8) for _ in range(2)]
    covered = [np.ones((64, 96), np.uint8) for _ in range(2)]
    covered[0][:, :40] = 0
    frames[0][:, :40] = 0
    covered[1][:10] = covered[0][:10] = 0  # nobody covers these rows
    weights = [np.full((3, 64, 96), weight, np.float32) for weight in (100.0, 1e-6)]
    result = fused(frames, weights, kind_of(frames[0], 255), covered)
    np.testing.assert_array_equal(result[10:, :40, :3], frames[1][10:, :40, :3])
    alphas = [frame[..., 3] * shown for frame, shown in zip(frames, covered, strict=True)]
    np.testing.assert_array_equal(result[10:, :, 3], np.maximum(*alphas)[10:])
    np.testing.assert_array_equal(result[:10], frames[0][:10])
