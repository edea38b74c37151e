"""Frames whose exposure failed, and what is told of exposures."""

import itertools
import re

import cv2
import numpy as np
import pytest

import ufafuse.runtime.stacks.room as module
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import BGR_BYTES, FrameKind
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stack import fuse_stack
from ufafuse.runtime.stacks.exposure import Exposures, evened, is_uneven
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.passing import Passing
from ufafuse.runtime.stacks.preparing import Held

PASSES = {"held": Held, "passing": Passing}
FAILED = ((0, 0.0, "it is black"), (2, 0.05, "it has 5 % of the others' brightness"), (5, 6.0, "it has 6 times the others' "))


def exposed(frame, factor):
    return np.clip(np.rint(frame.astype(np.float32) * factor), 0, 255).astype(np.uint8)


def as_kind(frame, dtype, channels):
    scaled = frame.astype(np.float32) / 255 if dtype == np.float32 else frame.astype(dtype) * (257 if dtype == np.uint16 else 1)
    if channels == 4:
        return np.dstack([scaled, np.full(frame.shape[:2], 1 if dtype == np.float32 else np.iinfo(dtype).max, dtype)])
    return np.ascontiguousarray(scaled[..., 1]) if channels == 0 else scaled


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("align", ["off", "affine"])
@pytest.mark.parametrize("method", ["network", "pyramid"])
def test_a_frame_whose_exposure_failed_takes_no_part(fuser, make_stack, monkeypatch, passes, align, method):
    monkeypatch.setattr(module, "Held", PASSES[passes])
    frames = [exposed(frame, 0.2) for frame in make_stack(5, height=96, width=128)[0]]
    options = StackOptions(align=align, method=method)
    without = fuse_sources(fuser, of_arrays(frames), options).fused
    for place, factor, why in FAILED:
        given = [*frames[:place], exposed(frames[min(place, 4)], factor), *frames[place:]]
        result = fuse_sources(fuser, of_arrays(given), options)
        assert list(result.left_out) == [place]
        assert result.left_out[place].startswith(why)
        assert sum("was left out of the fusion: " + why in warning for warning in result.warnings) == 1
        assert not any("exposure" in warning for warning in result.warnings)
        assert result.reference != place
        if align == "off":  # else the others may be moved to another one of them
            np.testing.assert_array_equal(result.fused, without)


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [0, 3, 4])
def test_of_every_kind_of_frame(fuser, make_stack, monkeypatch, passes, dtype, channels):
    monkeypatch.setattr(module, "Held", PASSES[passes])
    frames = [as_kind(frame, dtype, channels) for frame in make_stack(4)[0]]
    black = frames[1].copy()
    (black if channels != 4 else black[..., :3])[...] = 0
    result = fuse_sources(fuser, of_arrays([*frames, black]), StackOptions())
    assert list(result.left_out) == [4]
    np.testing.assert_array_equal(result.fused, fuse_sources(fuser, of_arrays(frames), StackOptions()).fused)


@pytest.mark.parametrize("passes", PASSES)
def test_it_can_be_no_reference(fuser, make_stack, monkeypatch, passes):
    monkeypatch.setattr(module, "Held", PASSES[passes])
    frames, _ = make_stack(4)
    frames.insert(1, frames[0] * 0)
    frames.insert(0, frames.pop())  # out of the order of focus
    frames[1], frames[2] = frames[2], frames[1]
    with pytest.raises(InputError, match=r"^`reference` asks for frame 2, which can be none: it is black"):
        fuse_sources(fuser, of_arrays(frames), StackOptions(reference=1, align="affine"))
    result = fuse_sources(fuser, of_arrays(frames), StackOptions(reference=3, align="affine"))
    assert result.reference == 3


def test_what_is_no_failure_stays(make_stack):
    frames, _ = make_stack(5)
    night = [exposed(frame, 0.02) for frame in frames]
    lamps = [np.zeros((120, 160, 3), np.float32) for _ in range(5)]
    for number, frame in enumerate(lamps):  # a few lamps in the night that bloom where they are out of focus
        frame[30::40, 30::40] = 20_000
        if number:
            cv2.GaussianBlur(frame, (0, 0), 3.0 * number, dst=frame)
    half = [*frames[:4], exposed(frames[4], 0.5)]
    hidden = [np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]) for frame in frames]
    hidden[2][:, 40:] = 0  # shows a margin only
    kinds = {4: FrameKind(np.dtype(np.uint8), 4, 255.0, "bgr")}
    for stack in (frames, night, [exposed(frame, 1) for frame in lamps], half, hidden, [*frames[:2], frames[0] * 0]):
        exposures = Exposures(stack, kinds.get(stack[0].shape[2], BGR_BYTES))
        failed = [bool(exposures.failed(frame)) for frame in stack]
        assert failed == [not frame.any() for frame in stack]
    assert not Exposures([frames[0], frames[0] * 0], BGR_BYTES).failed(frames[0] * 0)  # of two nobody knows


@pytest.mark.parametrize("match_gain", [False, True])
@pytest.mark.parametrize(("factor", "told"), [(0.5, "{} is the darkest.*add `match_gain`"), (0.0, "{} is black")])
def test_the_darkest_frame_is_named(fuser, make_stack, match_gain, factor, told):
    frames, _ = make_stack(4)
    frames[2] = exposed(frames[2], factor)
    given = frames if factor else frames[1:3]
    options = StackOptions(match_gain=match_gain, want_height=True)
    warnings = [text for text in fuse_sources(fuser, of_arrays(given), options).warnings if "moved" not in text]
    if factor and match_gain:
        assert not warnings
        return
    (warning,) = warnings
    pattern = told.format("frame 3" if factor else "frame 2")
    assert ("take the other frame as it is" in warning) == (not factor)
    assert re.search(pattern, warning), warning


WHITE = {
    "8 bit": (np.uint8, 3),
    "grey, 16 bit": (np.uint16, 0),
    "alpha": (np.uint8, 4),
    "floats": (np.float32, 3),
}


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("kind", WHITE)
@pytest.mark.parametrize("times", [3.0, 8.0, 40.0])
def test_a_frame_most_of_which_is_white_takes_no_part(fuser, make_stack, monkeypatch, passes, kind, times):
    """A shutter stayed open: where levels end at white, no gain brings back what was there, nor do the ratios tell of it."""
    monkeypatch.setattr(module, "Held", PASSES[passes])
    frames = [exposed(frame, 0.9) for frame in make_stack(7, height=96, width=128)[0]]
    frames[3] = exposed(frames[3], times)
    given = [as_kind(frame, *WHITE[kind]) for frame in frames]
    result = fuse_sources(fuser, of_arrays(given), StackOptions())
    assert list(result.left_out) == [3]
    assert re.match(r"it (is white in \d+ % of the picture where|has \d times the) ", result.left_out[3])
    assert not any("exposure" in warning for warning in result.warnings)
    without = fuse_sources(fuser, of_arrays(given[:3] + given[4:]), StackOptions())
    np.testing.assert_array_equal(result.fused, without.fused)


def test_white_that_spreads_as_it_goes_out_of_focus_is_no_failure():
    """A net before a light that is whiter than white: out of focus little is left of it, and its frame is as it was."""
    net = np.full((120, 160), 3.0, np.float32)
    net[:, ::16] = net[::16] = 0.2
    net[60:] = 0.3  # what stands below is as dark whatever spreads
    stack = [exposed(np.repeat(255 * cv2.GaussianBlur(net, (0, 0), 0.5 + 2 * step)[..., None], 3, 2), 1) for step in range(5)]
    exposures = Exposures(stack, BGR_BYTES)
    assert not any(exposures.failed(frame) for frame in stack)


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("match_gain", [None, False])
@pytest.mark.parametrize("brightness", [3.0, 8.0])
def test_the_glow_of_lights_out_of_focus_is_no_change_of_exposure(fuser, monkeypatch, passes, match_gain, brightness):
    """Solder on a dark board: what is beyond white is cut off where it is sharp, and shown where it is spread."""
    monkeypatch.setattr(module, "Held", PASSES[passes])
    rng = np.random.default_rng(1)
    light = 0.012 * (1 + 0.5 * rng.random((30, 40), np.float32))
    light = np.repeat(cv2.resize(light, (320, 240), interpolation=cv2.INTER_NEAREST)[..., None], 3, 2)
    for x, y in rng.uniform((10, 10), (310, 230), (12, 2)):
        cv2.circle(light, (int(x), int(y)), 3, (brightness,) * 3, -1)
    shown = [cv2.GaussianBlur(light, (0, 0), 2 * away) if away else light for away in (5, 4, 3, 2, 1, 0)]
    frames = [exposed(255 * np.sqrt(np.minimum(each, 1)), 1) for each in shown]
    assert frames[0].mean() > 1.2 * frames[-1].mean()
    options = StackOptions(match_gain=match_gain)
    assert not [text for text in fuse_sources(fuser, of_arrays(frames), options).warnings if "exposure" in text]
    frames[2] = exposed(frames[2], 0.6)
    result = fuse_sources(fuser, of_arrays(frames), options)
    assert bool(2 in result.matched or 2 in result.curves) == (match_gain is None)
    assert match_gain is None or any("frame 3 is the darkest" in text for text in result.warnings)


FLICKER = (1.0, 0.8, 1.1, 1.0, 1.25, 1.0, 0.9)


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize("align", ["off", "affine"])
@pytest.mark.parametrize("method", ["network", "pyramid"])
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.uint8, 0), (np.uint16, 4), (np.float32, 3)])
def test_frames_that_are_exposed_unequally_are_matched(fuser, make_stack, monkeypatch, passes, align, method, dtype, channels):
    """Under a lamp that flickers, and by a camera that exposes each frame by itself."""
    monkeypatch.setattr(module, "Held", PASSES[passes])
    even = [as_kind(exposed(frame, 0.7), dtype, channels) for frame in make_stack(7, height=96, width=128)[0]]
    flickering = [
        as_kind(exposed(frame, 0.7 * k), dtype, channels)
        for frame, k in zip(make_stack(7, height=96, width=128)[0], FLICKER, strict=True)
    ]
    options = StackOptions(align=align, method=method)
    wanted = fuse_sources(fuser, of_arrays(even), options)
    assert not wanted.matched
    result = fuse_sources(fuser, of_arrays(flickering), options)
    for number, factor in enumerate(FLICKER):
        found = result.matched.get(number, (1.0,))
        assert len(found) in (1, 3 if channels else 1)
        np.testing.assert_allclose(found, 1 / factor, rtol=0.03)
    assert sum("exposure" in warning for warning in result.warnings) == 1
    assert any("multiplied by 0.8" in warning and "`match_gain=False`" in warning for warning in result.warnings)
    unit = 1 if dtype == np.float32 else np.iinfo(dtype).max
    apart = np.abs(result.fused.astype(np.float64) - wanted.fused)[8:-8, 8:-8] / unit
    left = fuse_sources(fuser, of_arrays(flickering), StackOptions(align=align, method=method, match_gain=False))
    assert not left.matched
    as_they_are = np.abs(left.fused.astype(np.float64) - wanted.fused)[8:-8, 8:-8] / unit
    assert apart.mean() < as_they_are.mean() / 3


def test_what_only_looks_like_exposure_is_left(make_stack):
    frames = [exposed(frame, 0.7) for frame in make_stack(5)[0]]
    glowing: dict[tuple[int, int], list] = {}
    for number in range(5):  # lamps in the night: their glow lights up other places with every focus
        for step, ground in itertools.product((1, 3, 6), (3, 20)):
            frame = np.full((120, 160, 3), ground, np.float32)
            frame[30::40, 30::40] = 40_000
            blurred = cv2.GaussianBlur(frame, (0, 0), 2.0 + step * number)
            glowing.setdefault((step, ground), []).append(exposed(blurred, 1))
    shaded = [frame.copy() for frame in frames]
    shaded[2][:, :60] //= 2  # a hand's shadow
    for stack in (frames, shaded, *glowing.values()):
        exposures = Exposures(stack, BGR_BYTES)
        assert not any(is_uneven(exposures.gains(frame)) for frame in stack)
        assert not evened(stack, BGR_BYTES)
    assert evened([frames[0], exposed(frames[0], 0.5)], BGR_BYTES) is None  # of two nobody knows which one is right


@pytest.mark.parametrize(("ground", "body", "legs"), [(245, (48, 30), (84, 9)), (255, (30, 20), (60, 7))])
def test_the_light_around_a_silhouette_is_no_exposure(ground, body, legs):
    """An insect before the light: only its outline, and what spreads into it, is lighter than black and darker than white."""
    alpha = np.zeros((240, 320), np.float32)
    cv2.ellipse(alpha, (160, 120), body, 20, 0, 360, 1, -1)
    for turn in range(6):
        foot = 160 + legs[0] * np.cos(turn + 0.3), 120 + 0.85 * legs[0] * np.sin(turn + 0.3)
        cv2.line(alpha, (160, 120), (int(foot[0]), int(foot[1])), 1, legs[1])
    stack = []
    for radius in range(40 if ground == 255 else 36, -1, -5 if ground == 255 else -4):
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2).astype(np.float32)
        cover = cv2.filter2D(alpha, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT_101)
        stack.append(np.repeat(np.uint8(np.rint(ground * (1 - cover) + 15 * cover))[..., None], 3, 2))
    exposures = Exposures(stack, BGR_BYTES)
    assert not any(is_uneven(exposures.gains(frame), 1.04) for frame in stack)


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_white_balance_is_matched_channel_by_channel(make_stack, order):
    tint = np.array([0.8, 1.0, 1.25], np.float32)
    frames = [exposed(frame, 0.7) for frame in make_stack(5)[0]]
    frames[3] = exposed(frames[3], tint)
    exposures = Exposures(frames, FrameKind(np.dtype(np.uint8), 3, 255.0, order))
    np.testing.assert_allclose(exposures.gains(frames[3]), 1 / tint, rtol=0.05)
    np.testing.assert_allclose(evened(frames, BGR_BYTES, 3)[1].gains, tint, rtol=0.05)


def test_one_frame_among_many_is_matched_alone(fuser, make_stack, monkeypatch):
    """Whether the frames are kept or not: the others keep their levels."""
    frames = [exposed(frame, 0.7) for frame in make_stack(9)[0]]
    frames[3] = exposed(frames[3], 0.7)  # none of those that are looked at first
    for passes in PASSES.values():
        monkeypatch.setattr(module, "Held", passes)
        assert list(fuse_sources(fuser, of_arrays(frames), StackOptions()).matched) == [3]
    assert list(evened(frames, BGR_BYTES)) == [3]


def test_a_fold_matches_them_too(fuser, make_stack):
    seen = []
    fuser.gathers = False
    fuser.prepared = lambda *_, **__: True
    fuser.shown = lambda _near, _far, kind: kind
    fuser.prepare = lambda *_, **__: None

    def fused(near, far, **_):
        seen.extend(frame.mean() for frame in (near, far))
        return type("Made", (), {"fused": near, "grid": None, "map": None})()

    fuser.fuse_pair = fused
    frames = [exposed(frame, 0.7 * k) for frame, k in zip(make_stack(5)[0], FLICKER[:5], strict=True)]
    for asked, most in ((None, 1.05), (True, 1.05), (False, 1.6)):
        seen.clear()
        result = fuse_stack(fuser, frames, StackOptions(match_gain=asked))
        assert max(seen) / min(seen) < most
        assert bool(result.matched) == (asked is None)
        assert len(result.gains) == (4 if asked else 0)
    assert max(seen) / min(seen) > 1.4


@pytest.mark.parametrize("count", [2, 5])
def test_levels_that_could_not_be_matched_are_told(fuser, make_stack, count):
    """A gain goes to 4; of a frame that is too dark for any nothing is found."""
    fuser.gathers = False
    fuser.prepared = lambda *_, **__: True
    fuser.shown = lambda _near, _far, kind: kind
    fuser.prepare = lambda *_, **__: None
    fuser.fuse_pair = lambda near, far, **_: type("Made", (), {"fused": near, "grid": None, "map": None})()
    for factor, warned in ((0.05, True), (0.18, True), (0.5, False)):
        frames = [*make_stack(count)[0][:-1], exposed(make_stack(count)[0][-1], factor)]
        warnings = fuse_stack(fuser, frames, StackOptions(match_gain=True)).warnings
        assert any("even when matched" in warning for warning in warnings) == warned, (factor, warnings)


@pytest.mark.parametrize("match_gain", [False, True])
@pytest.mark.parametrize(("bits", "brighter"), [(12, None), (10, None), (12, 2)])
def test_white_is_the_same_whether_frames_are_kept(fuser, make_stack, monkeypatch, match_gain, bits, brighter):
    """Only a few frames are looked at before the first pass where they are not kept: one of the others may be brighter."""
    frames = [frame.astype(np.uint16) << (bits - 8) for frame in make_stack(9)[0]]
    if brighter is not None:
        frames[brighter][40:60, 60:90] = 40_000
    made = {}
    for name, passes in PASSES.items():
        monkeypatch.setattr(module, "Held", passes)
        made[name] = fuse_sources(fuser, of_arrays(frames), StackOptions(match_gain=match_gain))
    assert made["passing"].levels.white == made["held"].levels.white
    assert made["passing"].levels.why == made["held"].levels.why
    assert made["passing"].fused.max() <= made["passing"].levels.ceiling
    if brighter is not None:
        assert made["passing"].levels.ceiling > 40_000  # which nothing is clipped below


@pytest.mark.parametrize("passes", PASSES)
@pytest.mark.parametrize(("white", "why"), [(None, "found in the raw frames"), (4095.0, "given")])
def test_white_of_raw_frames_is_called_given_only_where_it_is(fuser, make_stack, monkeypatch, passes, white, why):
    monkeypatch.setattr(module, "Held", PASSES[passes])
    raw = [frame[..., 1].astype(np.uint16) << 4 for frame in make_stack(4, height=96, width=128)[0]]
    levels = fuse_sources(fuser, of_arrays(raw), StackOptions(bayer="gbrg", white=white)).levels
    assert (levels.white, levels.why) == (4095, why)


def test_a_callback_cannot_change_the_callers_frames(fuser, make_stack):
    frames, _ = make_stack(3, height=64, width=96)

    def draws(_index, frame, _covered):
        frame[:] = 0

    with pytest.raises(ValueError, match="read-only"):
        fuse_sources(fuser, of_arrays(frames), StackOptions(on_aligned=draws))


@pytest.mark.parametrize("reference", [None, 0, 3])
def test_a_grey_frame_among_colour_is_not_tinted_nor_the_others_by_it(reference, sample_pair):
    grey = cv2.cvtColor(sample_pair[0], cv2.COLOR_BGR2GRAY)[..., None]
    warm = np.rint(grey * np.array([0.5, 0.8, 1.0])).astype(np.uint8)  # in the light of a lamp
    frames = [cv2.GaussianBlur(warm, (0, 0), sigma) for sigma in (0.6, 1.0, 1.6, 2.2)]
    frames[0] = cv2.cvtColor(cv2.cvtColor(frames[0], cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    found = evened(frames, BGR_BYTES, reference)
    assert found is not None
    assert bool(found) == (reference is not None)  # one light in all: nothing to match, unless that was asked for
    for match in found.values():
        np.testing.assert_allclose(match.gains, match.gains[0])
