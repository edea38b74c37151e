"""Two or more frames, made comparable and folded."""

import itertools

import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.registration.align import MOTIONS
from ufafuse.runtime.stack import StackOptions, fuse_stack, middle_out

pytestmark = pytest.mark.usefixtures("selecting_engine")


@pytest.fixture
def fuser(write_model):
    with Fuser(write_model(), backend="onnxruntime") as opened:
        yield opened


def zones(truth, count):
    """A stack of which each frame shows one zone of the truth sharply."""
    import cv2

    blurred = cv2.GaussianBlur(truth, (0, 0), 4)
    edges = np.linspace(0, truth.shape[1], count + 1).astype(int)
    frames = []
    for left, right in itertools.pairwise(edges):
        frame = blurred.copy()
        frame[:, left:right] = truth[:, left:right]
        frames.append(frame)
    return frames, edges


def psnr(image, truth):
    return 10 * np.log10(255**2 / np.mean((image.astype(float) - truth) ** 2))


@pytest.mark.parametrize("count", range(2, 12))
def test_every_picture_is_used_once(count):
    steps = middle_out(count)
    assert len(steps) == count - 1
    assert sorted(number for step in steps for number in step) == list(range(2 * count - 2))
    assert all(max(step) < made for made, step in enumerate(steps, start=count))


def test_from_the_middle_outwards():
    assert [tuple(step) for step in middle_out(2)] == [(0, 1)]
    assert [tuple(step) for step in middle_out(5)] == [(2, 3), (1, 5), (6, 4), (0, 7)]
    assert [tuple(step) for step in middle_out(4)] == [(1, 2), (0, 4), (5, 3)]


def test_a_pair_is_what_the_fuser_gives(fuser, sample_pair):
    near, far = sample_pair[:2]
    result = fuse_stack(fuser, [near, far], StackOptions(want_map=True))
    fused, weights = fuser.fuse_with_map(near, far)
    np.testing.assert_array_equal(result.fused, fused)
    np.testing.assert_array_equal(result.map, weights)
    assert (result.alignments, result.gains, result.warnings, result.confidence) == ([], [], [], None)
    assert tuple(result.crop) == (0, near.shape[0], 0, near.shape[1])
    assert result.ms > 0


@pytest.mark.parametrize("count", [3, 4])
def test_a_stack_is_sharp_everywhere(fuser, sample_pair, count):
    truth = sample_pair[2]
    frames, edges = zones(truth, count)
    kept = [frame.copy() for frame in frames]
    result = fuse_stack(fuser, frames, StackOptions(want_map=True, want_confidence=True))
    assert psnr(result.fused, truth) > max(psnr(frame, truth) for frame in frames) + 6
    for index, (left, right) in enumerate(itertools.pairwise(edges)):
        expected = 1 - index / (count - 1)
        assert np.mean(np.isclose(result.map[:, left + 10 : right - 10], expected)) > 0.75
    assert result.confidence.shape == truth.shape[:2]
    for frame, before in zip(frames, kept, strict=True):
        np.testing.assert_array_equal(frame, before)
    assert len(frames) == count


def larger(picture, scale):
    """About the frame's centre."""
    import cv2

    height, width = picture.shape[:2]
    matrix = np.array([[scale, 0, (1 - scale) * (width - 1) / 2], [0, scale, (1 - scale) * (height - 1) / 2]])
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_breathing_stack(fuser, sample_pair, backwards):
    """Each frame a per cent larger than the one before it: all come into the largest one's geometry, which all cover."""
    truth = sample_pair[2]
    frames, _ = zones(truth, 3)
    frames = [larger(frame, 1.01**index) for index, frame in enumerate(frames)][:: -1 if backwards else 1]
    plain = fuse_stack(fuser, frames)
    assert len(plain.warnings) == 1
    assert "register them with `align=affine`" in plain.warnings[0]
    result = fuse_stack(fuser, frames, StackOptions(align="affine", crop=True, want_map=True, want_confidence=True))
    assert result.warnings == []
    assert result.reference == (0 if backwards else 2)
    assert result.crop == (0, truth.shape[0], 0, truth.shape[1])
    scales = [np.sqrt(np.linalg.det(alignment.matrix[:2, :2])) for alignment in result.alignments]
    np.testing.assert_allclose(scales, [1.01**-1, 1.01**-2] if backwards else [1.01**-2, 1.01**-1], atol=0.001)
    assert result.fused.shape[:2] == result.map.shape == result.confidence.shape
    assert psnr(result.fused, larger(truth, 1.01**2)) > psnr(plain.fused, truth) + 5


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("reference", [0, 1])
def test_the_reference_that_is_asked_for_is_taken(fuser, sample_pair, reference, count):
    near, far, truth = sample_pair
    frames = [near, larger(far, 1.02), near][:count]
    plain = fuse_stack(fuser, frames, StackOptions(align="affine", reference=reference))
    assert plain.reference == reference
    right, wrong = (larger(truth, 1.02), truth) if reference else (truth, larger(truth, 1.02))
    inside = np.s_[20:-20, 20:-20]
    assert psnr(plain.fused[inside], right[inside]) > psnr(plain.fused[inside], wrong[inside]) + 3


@pytest.mark.parametrize("reference", [0, 1])
def test_levels_are_matched_to_the_reference_that_is_asked_for(fuser, sample_pair, reference):
    near, far = sample_pair[:2]
    dark = (far * 0.8).astype(np.uint8)
    result = fuse_stack(fuser, [near, dark], StackOptions(match_gain=True, reference=reference))
    assert result.reference == reference
    assert result.fused.mean() == pytest.approx((near, dark)[reference].mean(), rel=0.03)


@pytest.mark.parametrize("count", [2, 3])
def test_a_reference_that_is_no_frame_is_refused(fuser, sample_pair, count):
    frames = [*sample_pair[:2], sample_pair[0]][:count]
    with pytest.raises(InputError, match=f"`reference={count}`: there are {count} frames, counted from 0"):
        fuse_stack(fuser, frames, StackOptions(align="affine", reference=count))


def test_an_exposure_jump(fuser, sample_pair):
    near, far, truth = sample_pair
    dark = (far * 0.8).astype(np.uint8)
    result = fuse_stack(fuser, [near, dark], StackOptions(match_gain=True))
    assert result.gains[0] == pytest.approx((1.25,) * 3, rel=0.02)
    assert psnr(result.fused, truth) > psnr(fuse_stack(fuser, [near, dark]).fused, truth) + 3


def test_what_cannot_be_registered_is_said(fuser, rng):
    near, far = rng.integers(0, 256, (2, 80, 90, 3), dtype=np.uint8)
    result = fuse_stack(fuser, [near, far], StackOptions(align="homography"))
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith("the far frame was not moved: ")


def test_raw_frames(fuser, rng):
    frames = list(rng.integers(0, 4096, (3, 40, 50), dtype=np.uint16))
    result = fuse_stack(fuser, frames, StackOptions(bayer="gbrg", white=4095))
    assert result.fused.shape == (40, 50, 3)
    assert result.fused.max() <= 4095


@pytest.mark.parametrize(("count", "told"), [(0, "none were given"), (1, "only one was given")])
def test_too_few(fuser, count, told):
    with pytest.raises(InputError, match=told):
        fuse_stack(fuser, [np.zeros((4, 4), np.uint8)] * count)


def test_a_bad_frame_is_named(fuser):
    good = np.zeros((4, 4), np.uint8)
    with pytest.raises(InputError, match=r"^frame 3 is int64"):
        fuse_stack(fuser, [good, good, good.astype(np.int64)])


def test_options_that_make_no_sense():
    with pytest.raises(InputError, match="`crop` cuts to what aligned frames share: add `align="):
        StackOptions(crop=True)
    with pytest.raises(InputError, match="`align=sideways` is not known"):
        StackOptions(align="sideways")
    assert all(StackOptions(align=motion, crop=True) for motion in MOTIONS)
