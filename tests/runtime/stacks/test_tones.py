"""Frames that differ from the others by more than a factor: much less light, stray light, another tone curve."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.details import details_of
from ufafuse.runtime.frames import BGR_BYTES, FrameKind, frame_names
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stack import fuse_stack
from ufafuse.runtime.stacks import room
from ufafuse.runtime.stacks.exposure import Exposures
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.passing import Passing
from ufafuse.runtime.stacks.preparing import Held
from ufafuse.runtime.stacks.tones import Piecewise, bent, times


def as_light(levels):
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def as_levels(light):
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


CHANGES = {
    "dark": lambda levels: as_levels(0.15 * as_light(levels)),
    "hazy": lambda levels: as_levels(0.9 * as_light(levels) + 0.1),
    "vivid": lambda levels: levels + levels * (1 - levels) * (2 * levels - 1),
}
PASSES = {"held": Held, "passing": Passing}


def as_kind(levels, dtype, channels):
    """Levels H x W x 3, white = 1, as a frame."""
    unit = 1 if dtype == np.float32 else np.iinfo(dtype).max
    made = levels * unit if dtype == np.float32 else np.rint(levels * unit)
    made = made.astype(dtype)
    if channels == 4:
        return np.dstack([made, np.full(made.shape[:2], unit, dtype)])
    return np.ascontiguousarray(made[..., 1]) if channels == 0 else made


def apart(one, other):
    """How far pictures lie apart, in levels of 255."""
    unit = 1 if one.dtype == np.float32 else np.iinfo(one.dtype).max
    return float(np.sqrt(np.mean(np.square((one.astype(np.float64) - other) * (255 / unit)))))


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("align", "method", "dtype", "channels"),
    [
        ("off", "network", np.uint8, 3),
        ("affine", "network", np.uint16, 3),
        ("off", "pyramid", np.float32, 0),
        ("off", "network", np.uint8, 4),
    ],
)
def test_what_differs_by_more_than_a_factor_is_matched_by_a_curve(
    fuser, make_stack, monkeypatch, passes, change, align, method, dtype, channels
):
    monkeypatch.setattr(room, "Held", PASSES[passes])
    levels = [frame / 255 for frame in make_stack(6)[0]]
    changed = [CHANGES[change](frame) if number == 2 else frame for number, frame in enumerate(levels)]
    steady, mixed = ([as_kind(frame, dtype, channels) for frame in each] for each in (levels, changed))
    options = StackOptions(align=align, method=method)
    wanted = fuse_sources(fuser, of_arrays(steady), options)
    assert not wanted.curves
    assert not wanted.matched
    result = fuse_sources(fuser, of_arrays(mixed), options)
    (number,) = result.curves
    assert number == 2
    assert result.matched == {}
    told = [warning for warning in result.warnings if "by more than a factor" in warning]
    assert len(told) == 1
    assert told[0].startswith("frame 3 differs")
    assert not any("exposure changes" in warning for warning in result.warnings)
    assert apart(result.fused, wanted.fused) < 3
    left = fuse_sources(fuser, of_arrays(mixed), StackOptions(align=align, method=method, match_gain=False))
    assert not left.curves
    assert apart(left.fused, wanted.fused) > 4.5
    report = details_of(of_arrays(mixed, frame_names(6)), result, options)
    ((name, curves),) = report["curves"].items()
    assert name == "frame 3"
    assert len(curves) == (1 if channels == 0 else 3)
    assert all(len(side) == 6 and side == sorted(side) for curve in curves for side in curve)


@pytest.mark.parametrize("change", ["hazy", "vivid"])
@pytest.mark.parametrize("reference", [1, 2])
def test_the_reference_that_is_asked_for_gives_its_tones_to_all(fuser, make_stack, change, reference):
    levels = [frame / 255 for frame in make_stack(5)[0]]
    frames = [as_kind(CHANGES[change](frame) if number == 2 else frame, np.uint8, 3) for number, frame in enumerate(levels)]
    alike = [as_kind(CHANGES[change](frame) if reference == 2 else frame, np.uint8, 3) for frame in levels]
    wanted = fuse_sources(fuser, of_arrays(alike), StackOptions(match_gain=True, reference=reference)).fused
    result = fuse_sources(fuser, of_arrays(frames), StackOptions(match_gain=True, reference=reference))
    assert sorted(result.curves) == ([2] if reference == 1 else [0, 1, 3, 4])
    assert len(result.gains) == 4
    assert apart(result.fused, wanted) < 5  # by factors 5.6 to 21


@pytest.fixture(scope="module")
def edge():
    with Fuser("ufa-nano", backend="onnxruntime", precision="fp32") as fuser:
        yield fuser


@pytest.mark.parametrize("asked", [None, True])
def test_frames_that_are_fused_pair_by_pair_too(edge, make_stack, asked):
    levels = [frame / 255 for frame in make_stack(4, height=96, width=128)[0]]
    steady = [as_kind(frame, np.uint8, 3) for frame in levels]
    mixed = [as_kind(CHANGES["dark"](frame) if number == 2 else frame, np.uint8, 3) for number, frame in enumerate(levels)]
    options = StackOptions(match_gain=asked)
    wanted, result = (fuse_stack(edge, [frame.copy() for frame in frames], options) for frames in (steady, mixed))
    assert list(result.curves) == [2]
    assert sum("frame 3 differs from the middle of all" in warning for warning in result.warnings) == 1
    assert apart(result.fused, wanted.fused) < 3


def test_no_curve_is_found_where_there_is_none(make_stack):
    """Factors, shadows, light that falls off to the corners, lamps of another colour, a few of which are wide out of focus."""
    frames = [frame / 255 for frame in make_stack(6)[0]]
    across, down = np.meshgrid(np.linspace(-1, 1, frames[0].shape[1]), np.linspace(-1, 1, frames[0].shape[0]))
    fields = [0.6, np.array([0.5, 0.7, 0.9]), (1 - 0.25 * (across**2 + down**2))[..., None], (0.8 + 0.2 * across)[..., None]]
    fields.append(np.where(down < 0, 0.6, 1.0)[..., None])
    for field in fields:
        changed = [as_kind(frame * field if number == 1 else frame, np.uint8, 3) for number, frame in enumerate(frames)]
        exposures = Exposures(changed, BGR_BYTES)
        assert [exposures.match(frame).curves for frame in changed] == [()] * 6
    for deepest in (2.0, 6.0, 12.0):
        blurred = [cv2.GaussianBlur(frames[0], (0, 0), 0.5 + deepest * step) for step in range(5)]
        stack = [as_kind(frame, np.uint8, 3) for frame in blurred]
        exposures = Exposures(stack, BGR_BYTES)
        assert [exposures.match(frame).curves for frame in stack] == [()] * 5


@pytest.mark.parametrize(("dark", "light"), [(60, 210), (30, 230)])
@pytest.mark.parametrize("count", [5, 8])
def test_stark_patterns_whose_mean_level_changes_with_their_focus_are_not_bent(dark, light, count):
    """Light spreads evenly, and levels are about its root: out of focus the mean of a pattern is higher."""
    rng = np.random.default_rng(0)
    pattern, ground = (cv2.GaussianBlur(rng.normal(size=(160, 200)), (0, 0), 1.5) for _ in range(2))
    pattern, ground = np.where(pattern > 0.05, light, dark) ** 2.0, (130 + 60 * ground) ** 2
    frames = []
    for plane in np.linspace(0, 1, count):
        blurred = [cv2.GaussianBlur(each, (0, 0), 0.3 + 3 * away) for each, away in ((pattern, plane), (ground, 1 - plane))]
        levels = np.sqrt(np.where(np.arange(200) < 110, *blurred)) / 255
        frames.append(as_kind(np.dstack([levels] * 3), np.uint8, 3))
    exposures = Exposures(frames, BGR_BYTES)
    assert [exposures.match(frame).curves for frame in frames] == [()] * count


@pytest.mark.parametrize(("seed", "blur"), [(5, 4.0), (3, 6.0)])
def test_parts_whose_glow_tells_alone_on_dark_ground_are_not_bent(seed, blur):
    """Dark ground tells nothing, and takes the light of what is out of focus: what is left looks bent, but not from afar."""
    rng = np.random.default_rng(seed)
    ground, parts = as_light(np.array([0.06, 0.015, 0.05])), np.zeros((240, 320, 4))
    for _ in range(9):
        x, y = rng.integers(0, 300), rng.integers(0, 220)
        width, height = rng.integers(10, 60, 2)
        parts[y : y + height, x : x + width] = (*as_light(np.full(3, rng.uniform(0.3, 0.85))), 1)
    frames = []
    for away in (5, 4, 3, 2, 1, 0, 1, 2):
        shown = cv2.GaussianBlur(parts, (0, 0), blur * away) if away else parts
        frames.append(as_kind(as_levels(ground * (1 - shown[..., 3:]) + shown[..., :3]), np.uint8, 3))
    exposures = Exposures(frames, BGR_BYTES)
    assert [exposures.match(frame).curves for frame in frames] == [()] * 8


@pytest.mark.parametrize(
    ("count", "brightness", "ground", "step", "looked"),
    [(12, 8.0, 0.012, 2.0, (0, 3, 5)), (24, 3.0, 0.012, 1.5, range(6)), (24, 3.0, 0.05, 3.0, range(6))],
)
def test_the_glow_of_lights_beyond_white_is_no_tone(count, brightness, ground, step, looked):
    """Screws on a dark board, smaller than a pixel of the small pictures where they are sharp, and discs elsewhere."""
    rng = np.random.default_rng(1)
    light = cv2.resize(ground * (1 + 0.6 * rng.random((30, 40))), (320, 240), interpolation=cv2.INTER_NEAREST)
    for x, y in rng.uniform((10, 10), (310, 230), (count, 2)):
        cv2.circle(light, (int(x), int(y)), 3, brightness, -1)
    shown = [cv2.GaussianBlur(light, (0, 0), step * away) if away else light for away in (5, 4, 3, 2, 1, 0)]
    frames = [as_kind(np.sqrt(np.minimum(np.dstack([each] * 3), 1)), np.uint8, 3) for each in shown]
    exposures = Exposures([frames[index] for index in looked], BGR_BYTES)
    assert [exposures.match(frame).curves for frame in frames] == [()] * 6


def test_a_bent_frame_does_not_bend_the_middle_of_all(make_stack):
    """Of few frames one is the middle at many places: no other is told to differ, though it is not sure of each that does."""
    for count in (3, 4, 6):
        levels = [frame / 255 for frame in make_stack(count)[0]]
        for bend in CHANGES.values():
            for place in range(count):
                frames = [as_kind(bend(frame) if index == place else frame, np.uint8, 3) for index, frame in enumerate(levels)]
                exposures = Exposures(frames, BGR_BYTES)
                found = [index for index, frame in enumerate(frames) if exposures.match(frame).curves]
                assert found in ([[place]] if count == 6 else [[], [place]])


def test_curves_are_undone_and_go_on():
    curve = Piecewise(np.array([0.1, 0.3, 0.7]), np.array([0.2, 0.5, 0.8]))
    levels = np.linspace(-0.5, 2, 200)
    np.testing.assert_allclose(curve.inverse().at(curve.at(levels)), levels, atol=1e-9)
    np.testing.assert_allclose(curve.at(np.array([0.0, 1.0])), [0.05, 1.025])
    other = Piecewise(np.array([0.0, 0.4, 0.6]), np.array([0.1, 0.2, 0.9]))
    np.testing.assert_allclose(curve.then(other).at(levels), other.at(curve.at(levels)), atol=1e-9)
    np.testing.assert_allclose(curve.then(times(2)).at(levels), 2 * curve.at(levels), atol=1e-9)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255.0), (np.uint16, 65535.0), (np.uint16, 4095.0), (np.float32, 1.0)])
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_every_kind_of_frame_is_bent(dtype, white, channels):
    rng = np.random.default_rng(3)
    shape = (70, 40) if channels == 0 else (70, 40, channels)
    frame = (rng.uniform(size=shape) * white).astype(dtype)
    kind = FrameKind(np.dtype(dtype), channels, white, "bgr")
    curve = Piecewise(np.array([0.1, 0.5, 0.9]), np.array([-0.1, 0.6, 1.1]))
    curves = (curve,) * (3 if channels >= 3 else 1)
    made = bent(frame, curves, kind)
    assert made.dtype == dtype
    assert made.shape == shape
    wanted = np.clip(curve.at(frame / white), 0, 1) * white
    if channels == 4:
        wanted[..., 3] = frame[..., 3]
    np.testing.assert_allclose(made, wanted, atol=0.51 if dtype != np.float32 else 1e-6)
