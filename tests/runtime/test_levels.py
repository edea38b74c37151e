"""The levels that frames use: what is white to them, and what the network is shown."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime import Fuser
from ufafuse.runtime.checks.result import check_between
from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.levels import Peak, kind_with_levels, levels_from, peak_of
from ufafuse.runtime.stack import StackOptions, fuse_stack


def scene(size=96):
    """A pair with levels in [0, 1], each half sharp in one frame."""
    noise = np.random.default_rng(11).random((size, size, 3)).astype(np.float32)
    sharp = np.clip(cv2.GaussianBlur(noise, (0, 0), 1) * 2 - 0.5, 0, 1)
    sharp[0, 0], sharp[-1, -1] = 1, 0
    blurred = cv2.GaussianBlur(sharp, (0, 0), 3)
    near, far = sharp.copy(), sharp.copy()
    near[:, size // 2 :] = blurred[:, size // 2 :]
    far[:, : size // 2] = blurred[:, : size // 2]
    return near, far


def psnr(found, expected):
    return -10 * np.log10(np.mean((np.asarray(found, np.float64) - expected) ** 2) + 1e-20)


@pytest.fixture(scope="module", params=["ufa-edge", "ufa"])
def fuser(request):
    pytest.importorskip("onnxruntime")
    with Fuser(request.param, backend="onnxruntime", precision="fp32") as made:
        yield made


@pytest.fixture(scope="module")
def full(fuser):
    near, far = (np.rint(frame * 65535).astype(np.uint16) for frame in scene())
    return fuser.fuse(near, far) / 65535


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_bits_of_cameras_are_found(fuser, full, bits):
    top = 2**bits - 1
    near, far = (np.rint(frame * top).astype(np.uint16) for frame in scene())
    result = fuser.fuse_pair(near, far)
    assert psnr(result.fused / top, full) >= (60 if bits > 8 else 50)
    assert result.levels.white == top
    assert f"{bits} bits" in result.levels.why
    assert result.fused.max() <= top


@pytest.mark.parametrize(("dtype", "divisor", "least"), [
    (np.uint16, 16, 60), (np.uint16, 64, 55), (np.uint16, 500, 38), (np.float32, 100, 58), (np.float32, 1 / 12, 90),
    (np.float32, 1 / 3000, 90), (np.uint8, 8, 35),
])  # fmt: skip
def test_dark_and_beyond_one_as_well_as_bright(fuser, full, dtype, divisor, least):
    top = (1 if dtype == np.float32 else np.iinfo(dtype).max) / divisor
    near, far = (frame * top if dtype == np.float32 else np.rint(frame * top) for frame in scene())
    result = fuser.fuse_pair(near.astype(dtype), far.astype(dtype))
    assert result.fused.dtype == dtype
    assert psnr(result.fused / top, full) >= least


def test_a_few_hot_pixels_do_not_make_a_dark_pair_bright(fuser, full):
    near, far = (np.rint(frame * 1000).astype(np.uint16) for frame in scene())
    near[::31, ::29] = 65535
    result = fuser.fuse_pair(near, far)
    assert result.levels.white == 65535
    assert result.levels.unit < 1100
    away = cv2.erode((near.max(2) <= 1000).astype(np.uint8), np.ones((9, 9))).astype(bool)
    assert psnr((result.fused / 1000)[away], full[away]) > 45


def test_what_lies_beyond_is_weighed_and_not_cut(fuser):
    near, far = (frame * 0.9 for frame in scene())
    near[40:42, 20:22] = 40.0  # a spark in the sharp frame
    result = fuser.fuse_pair(near, far)
    assert result.levels.beyond
    assert 20 < result.fused[40:42, 20:22].max() <= 40


def test_white_that_is_given_stands():
    near = far = np.full((8, 8), 900, np.uint16)
    kind, levels = kind_with_levels((near, far), white=4095)
    assert (levels.white, levels.why, kind.white) == (4095, "given", 4095)
    with pytest.raises(InputError, match="above the white level"):
        kind_with_levels((near, far), white=800)


def test_headroom_leaves_room_for_brighter_frames():
    assert levels_from(Peak(900, 900), np.dtype(np.uint16)).white == 1023
    assert levels_from(Peak(900, 900), np.dtype(np.uint16), headroom=4).white == 4095
    assert levels_from(Peak(1023, 1000), np.dtype(np.uint16), headroom=4).white == 1023  # the sensor's own white


def test_what_matching_brings_beyond_the_unit_is_beyond_it():
    """Frames are made brighter after their levels were found: the network is not shown more than its 1."""
    peak = Peak(0.49, 0.48)
    assert not levels_from(peak, np.dtype(np.float32)).beyond
    matched = levels_from(peak, np.dtype(np.float32), headroom=4)
    assert (matched.unit, matched.beyond) == (0.5, True)
    assert not levels_from(Peak(255, 250), np.dtype(np.uint8), headroom=4).beyond  # they end at white


@pytest.mark.parametrize("scale", [2.0**-1, 2.0**-10, 2.0**-40])
def test_a_dark_float_pair_is_matched_as_a_bright_one(scale):
    near, far = scene()
    dark = (near * np.float32(scale / 2), far * np.float32(scale))
    with Fuser("ufa-edge", precision="fp32") as fuser:
        result = fuse_stack(fuser, dark, StackOptions(match_gain=True))
    assert psnr(result.fused / (scale / 2), np.where(np.arange(96)[None, :, None] < 48, near, far)) > 30


@pytest.mark.parametrize("scale", [1e29, 1e-6, 1e-12, 1e-24])
def test_floats_in_whatever_unit_are_fused(fuser, scale):
    near, far = scene()
    found = fuser.fuse(near * np.float32(scale), far * np.float32(scale)) / np.float32(scale)
    assert psnr(found, np.where(np.arange(96)[None, :, None] < 48, near, far)) > 30


def test_floats_whose_sums_would_be_infinite_are_refused():
    with pytest.raises(InputError, match=r"the near frame reaches 1e\+35: scale float frames down, 1e\+30 is the most"):
        kind_with_levels([np.full((4, 4), 1e35, np.float32)])


def test_alpha_is_not_looked_at():
    frame = np.full((8, 8, 4), 65535, np.uint16)
    frame[..., :3] = 100
    assert peak_of(frame).top == 100


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(400, 600, 3), (401, 603), (399, 601, 4), (301, 300, 1), (3, 90_000, 3), (1, 200_000)])
def test_two_in_a_thousand_samples_stand_above_the_crowd(dtype, shape):
    white = 1.0 if dtype == np.float32 else float(np.iinfo(dtype).max)
    light = np.random.default_rng(2).random(shape) ** 6
    frame = (light * white / 3).astype(dtype)
    if frame.ndim == 3 and shape[2] == 4:
        frame[..., 3] = dtype(white)
    frame[shape[0] // 2, 100:120] = dtype(white)  # sparks
    for given in (frame, frame[:, ::-1], np.asfortranarray(frame)):
        peak = peak_of(given)
        colours = frame[..., :3] if frame.ndim == 3 else frame
        if peak.top == 255 and peak.crowd == 64:  # bytes that are shown as they are
            assert (colours >= 64).mean() > 0.001
            continue
        above = (colours > peak.crowd).mean()
        assert above < 0.004
        assert (colours >= peak.crowd).mean() > 0.0005
        assert peak.top == pytest.approx(white)


@pytest.mark.parametrize("level", [62, 63, 64, 65, 255])
@pytest.mark.parametrize(("share", "enough"), [(0.0015, False), (0.0025, True)])
def test_bytes_are_bright_from_a_quarter_of_white_in_two_of_a_thousand(level, share, enough):
    frame = np.full((100, 120, 3), 20, np.uint8)
    frame.reshape(-1)[: round(frame.size * share)] = level
    assert (levels_from(peak_of(frame), frame.dtype).unit == 255) == (enough and level > 63)


def test_float_frames_a_little_below_black(fuser):
    near, far = scene()
    near[5, 5] = -0.02
    assert fuser.fuse(near, far).min() >= -0.0201
    near[5, 5] = -0.5
    with pytest.raises(InputError, match=r"the near frame spans \[-0.5, 1\]: shift float frames"):
        fuser.fuse(near, far)


def test_bright_bytes_go_through_untouched():
    frames = [np.full((8, 8, 3), 80, np.uint8)] * 2
    kind, levels = kind_with_levels(frames)
    assert kind.plain
    assert not levels.beyond


class TestResults:
    KIND = FrameKind(np.dtype(np.uint8), 3, 255.0, "bgr")

    @pytest.mark.parametrize("level", [0, 255])
    def test_no_result_outside_of_the_frames(self, level):
        near, far = (np.full((4, 4, 3), value, np.uint8) for value in (100, 140))
        fused = np.full((4, 4, 3), 120, np.uint8)
        check_between(fused, near, far, self.KIND, weighs=True)
        fused[1, 1] = level
        with pytest.raises(BackendError, match=r"1\d\d levels outside of the frames' range"):
            check_between(fused, near, far, self.KIND, weighs=True)

    @pytest.mark.parametrize("wrong", [np.nan, 9.0, -9.0])
    @pytest.mark.parametrize("row", [0, 3000, 8999])
    def test_in_whatever_part_it_is_wrong(self, wrong, row):
        near = np.full((9000, 32, 3), 0.5, np.float32)
        kind, fused = FrameKind(near.dtype, 3, 1.0, "bgr"), near.copy()
        check_between(fused, near, near, kind, weighs=True)
        fused[row, 31, 2] = wrong
        with pytest.raises(BackendError, match="levels outside of the frames' range"):
            check_between(fused, near, near, kind, weighs=True)

    def test_the_fuser_checks(self, monkeypatch):
        pytest.importorskip("onnxruntime")
        frames = [np.full((16, 16, 3), 0.5, np.float32)] * 2
        with Fuser("ufa-nano", backend="onnxruntime") as fuser:
            infer = type(fuser.session).infer
            monkeypatch.setattr(
                type(fuser.session), "infer", lambda self, given: {k: v * np.nan for k, v in infer(self, given).items()}
            )
            with pytest.raises(BackendError, match="NaN"):
                fuser.fuse(*frames)
