"""Exposure jumps are undone."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime import Fuser
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.registration.gain import exposure_warning, gains_to, multiplied
from ufafuse.runtime.registration.live_gain import LiveGain
from ufafuse.runtime.stack import StackOptions, fuse_stack


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_a_jump_is_found_and_undone(sample_pair, order):
    near, far = sample_pair[:2]
    kind = check_pair(near, far, order=order)
    darker = multiplied(far, (0.8, 0.7, 0.9), kind)
    gains = gains_to(near, darker, kind)
    np.testing.assert_allclose(gains, (1 / 0.8, 1 / 0.7, 1 / 0.9), rtol=0.02)
    back = multiplied(darker, gains, kind)
    assert np.abs(back.astype(int) - far)[far < 200].mean() < 1.5


def test_nothing_to_undo(sample_pair):
    near, far = sample_pair[:2]
    np.testing.assert_allclose(gains_to(near, far, check_pair(near, far)), 1, atol=0.02)


@pytest.mark.parametrize("factors", [(0.5,) * 3, (0.8,) * 3, (1.3,) * 3, (2.5,) * 3, (4,) * 3, (0.8, 1, 1.25), (1, 1, 1.3)])
def test_a_jump_of_exposure_or_colour_is_told(sample_pair, factors):
    near, far = sample_pair[:2]
    kind = check_pair(near, far)
    assert exposure_warning([near, far], kind) == ""
    text = exposure_warning([near, multiplied(far, factors, kind)], kind)
    assert "the exposure changes by " in text
    assert "match_gain" in text


@pytest.mark.parametrize("value", [0, 255])
def test_frames_without_usable_levels_are_left(value):
    flat = np.full((20, 20), value, np.uint8)
    assert gains_to(flat, flat, check_pair(flat, flat)) == (1.0,)


def test_a_wild_estimate_is_bounded():
    near, far = np.full((20, 20), 230, np.uint8), np.full((20, 20), 15, np.uint8)
    assert gains_to(near, far, check_pair(near, far)) == (4.0,)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_multiplying(dtype, channels, rng):
    white = {np.uint8: 255, np.uint16: 4095, np.float32: 1.0}[dtype]
    frame = (rng.random((9, 8, channels) if channels else (9, 8)) * white).astype(dtype)
    kind = check_pair(frame, frame, white=white)
    gains = (1.5,) if channels < 3 else (1.5, 0.5, 2.0)
    found = multiplied(frame[:, ::-1], gains, kind)[:, ::-1]
    expected = frame.astype(np.float64)
    samples = expected.reshape(9, 8, -1)
    samples[..., : len(gains)] = np.clip(samples[..., : len(gains)] * gains, 0, white)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=1e-6 if dtype == np.float32 else 0.501)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [0, 3, 4])
@pytest.mark.parametrize("way", ["a pair", "live", "by one rule"])
def test_clipped_lights_of_a_lighter_frame_are_no_grey(dtype, channels, way, sample_pair):
    """A frame at twice the exposure is darkened: what it clips is as light as the other frame has it."""
    near = sample_pair[0][:160, :200].copy()
    near[40:80, 60:120] = 250  # a light that the darker exposure holds
    if channels != 3:
        near = np.dstack([near, np.full(near.shape[:2], 255, np.uint8)]) if channels else near[..., 1]
    unit = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    lighter = near.copy()
    colours = lighter[..., :3] if channels else lighter
    colours[...] = np.clip(colours.astype(np.float32) * 1.6, 0, 255)
    near, lighter = ((frame.astype(np.float32) * unit).astype(dtype) for frame in (near, lighter))
    kind = check_pair(near, lighter)
    if way == "live":
        matched = LiveGain().matched(near, lighter, kind)
    elif way == "a pair":
        matched = multiplied(lighter, gains_to(near, lighter, kind), kind, beside=near)
    else:
        pytest.importorskip("onnxruntime")
        with Fuser("ufa-stack", backend="onnxruntime") as fuser:
            matched = fuse_stack(fuser, [near, lighter], StackOptions(match_gain=True, method="pyramid")).fused
    window = (slice(45, 75), slice(65, 115), slice(0, 3))[: 3 if channels else 2]
    np.testing.assert_allclose(matched[window] / unit, 250, atol=2)


@pytest.mark.parametrize("grey_first", [True, False])
@pytest.mark.parametrize("factor", [1.0, 0.7])
def test_a_grey_frame_among_colour_is_no_other_light(grey_first, factor, sample_pair):
    """Of a scene in warm light, one frame is grey: only the exposure is told, and matched."""
    near, far = (multiplied(frame, (0.6, 0.8, 1.0), check_pair(frame, frame)) for frame in sample_pair[:2])
    grey = cv2.cvtColor(cv2.cvtColor(far, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    kind = check_pair(near, grey)
    grey = multiplied(grey, (factor,) * 3, kind)
    first, second = (grey, near) if grey_first else (near, grey)
    expected = factor if grey_first else 1 / factor
    np.testing.assert_allclose(gains_to(first, second, kind), (expected,) * 3, rtol=0.03)
    assert bool(exposure_warning([first, second], kind)) == (factor != 1)


@pytest.mark.parametrize(("model", "method"), [("ufa-nano", "network"), ("ufa-stack", "network"), ("ufa-stack", "pyramid")])
def test_another_tone_curve_is_told_where_a_factor_does_not_match_it(model, method, sample_pair):
    pytest.importorskip("onnxruntime")
    near, far = (frame[:200, :240] for frame in sample_pair[:2])
    with Fuser(model, backend="onnxruntime", precision="fp32") as fuser:
        for curve, told in (
            (lambda x: x, False),
            (lambda x: x * 0.6, False),
            (lambda x: np.minimum(x * 1.5, 1), False),
            (lambda x: x**1.5, True),
            (lambda x: x**0.7, True),
            (lambda x: 0.2 + 0.6 * x, True),
        ):
            other = np.rint(255 * curve(far / 255)).astype(np.uint8)
            warnings = fuse_stack(fuser, [near, other], StackOptions(match_gain=True, method=method)).warnings
            assert any("another tone curve" in warning for warning in warnings) == told, warnings
