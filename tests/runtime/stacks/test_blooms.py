from dataclasses import replace

import cv2
import numpy as np
import pytest

from ufafuse.runtime import Fuser
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stacks.blooms import Blooms
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import StackOptions

SIZE = (240, 320)
COUNT, IN_FOCUS = 7, 2
BGR_BYTES = FrameKind(np.dtype(np.uint8), 3, 255.0, "bgr")


@pytest.fixture(scope="module")
def network():
    with Fuser("ufa-stack") as fuser:
        yield fuser


def blurred(light, radius):
    """Out of focus, as a lens does it: by a disc, in linear light."""
    if radius < 0.5:
        return light
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return cv2.filter2D(light, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def levels(light):
    return np.rint(255 * np.clip(light, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def lights(brightness, count=COUNT, step=1.7):
    """Frames of small lights on grained metal, of so many times white, and what is right."""
    rng = np.random.default_rng(3)
    grain = cv2.GaussianBlur(rng.standard_normal((*SIZE, 1)), (0, 0), 1)
    light = np.repeat(np.clip(0.15 + 0.08 * grain[..., None] / grain.std(), 0.02, 0.4), 3, 2).astype(np.float32)
    for x, y in rng.uniform((20, 20), (SIZE[1] - 20, SIZE[0] - 20), (24, 2)):
        cv2.circle(light, (int(x), int(y)), 2, (brightness,) * 3, -1)
    return [levels(blurred(light, step * abs(index - IN_FOCUS))) for index in range(count)], levels(light)


def white_part(step=5.0):
    """A white part, whose light is just white, before a printed dark ground that lies farther away."""
    rng = np.random.default_rng(5)
    ground = np.repeat(0.02 + 0.3 * (rng.random((60, 80, 1)) > 0.8), 3, 2).astype(np.float32)
    ground = cv2.resize(ground, SIZE[::-1], interpolation=cv2.INTER_NEAREST)
    part = np.zeros(SIZE, np.float32)
    part[100:130, 40:280] = 1
    frames = []
    for index in range(COUNT):
        share = blurred(part, step * abs(index - 1))[..., None]
        frames.append(levels(blurred(ground, step * abs(index - 5)) * (1 - share) + share))
    return frames


def found_in(frames, kind=BGR_BYTES, order=None, strayed=None, white=None):
    """What `Blooms` makes of frames, each by its number; `order` is the one they are looked at in."""
    blooms = Blooms(frames[0].shape[:2], kind, white or kind.white)
    for index in order or range(len(frames)):
        blooms.look_at(index, frames[index], None)
    blooms.find(lambda: list(range(len(frames))), strayed or {})
    return [blooms.bound(index, frame) for index, frame in enumerate(frames)]


def too_white(fused, truth):
    """The share of the picture that is white where there is no light."""
    near = cv2.dilate(np.uint8(truth.max(2) > 200), np.ones((3, 3), np.uint8)) > 0
    return ((fused.max(2) > 240) & ~near).mean()


@pytest.mark.parametrize("brightness", [10.0, 40.0])
@pytest.mark.parametrize("kind", ["bytes", "12 bits", "floats", "grey"])
def test_lights_beyond_white_are_as_large_as_where_they_are_in_focus(network, brightness, kind):
    frames, truth = lights(brightness)
    assert too_white(frames[IN_FOCUS + 2], truth) > 0.002
    given = {
        "bytes": lambda frame: frame,
        "12 bits": lambda frame: np.rint(frame * (4095 / 255)).astype(np.uint16),
        "floats": lambda frame: frame / np.float32(255),
        "grey": lambda frame: frame[..., 0],
    }[kind]
    white = {"12 bits": 4095, "floats": 1}.get(kind, 255)
    fused = fuse_sources(network, of_arrays([given(frame) for frame in frames]), StackOptions()).fused
    fused = np.rint(fused * (255 / white)).reshape(*SIZE, -1)
    assert too_white(fused, truth) < 0.0005
    assert np.abs(fused - truth.astype(float)).mean() < 0.05


def test_a_white_part_before_a_dark_ground_is_no_bloom(network, monkeypatch):
    """Far out of focus it is darker, and covers more: its frame must not be left out for that."""
    frames = white_part()
    bound = found_in(frames)[1]
    inside = np.s_[106:124, 60:260]
    assert bound is None or (bound[inside] > 1e30).mean() > 0.99
    fused = fuse_sources(network, of_arrays(frames), StackOptions()).fused
    monkeypatch.setattr(Blooms, "find", lambda *_: None)
    plain = fuse_sources(network, of_arrays(frames), StackOptions()).fused
    assert np.abs(fused[inside].astype(int) - plain[inside]).mean() < 0.5


@pytest.mark.parametrize("count", [3, 6, 12])
def test_frames_whose_blur_cuts_nothing_off_are_left_as_they_are(make_stack, count):
    """Sharp texture that touches white in one channel or the other: its blur has the same mean."""
    frames, _ = make_stack(count)
    assert max(frame.max() for frame in frames) == 255
    assert found_in(frames) == [None] * count


def test_in_windows_the_picture_is_the_same(make_fuser):
    frames, _ = lights(20.0)
    whole, tiled = (fuse_sources(make_fuser(tile), of_arrays(frames), StackOptions(restore=1)).fused for tile in (None, 64))
    np.testing.assert_allclose(tiled.astype(int), whole, atol=1)


def test_where_a_frame_blooms_it_hardly_counts_and_elsewhere_it_does():
    frames, truth = lights(20.0)
    bounds = found_in(frames)
    assert bounds[IN_FOCUS] is None or bounds[IN_FOCUS].min() > 1e30
    bloom = bounds[IN_FOCUS + 2]
    assert bloom is not None and bloom.shape == SIZE and bloom.dtype == np.float32
    discs = (frames[IN_FOCUS + 2].max(2) >= 250) & (truth.max(2) < 150)
    assert np.quantile(bloom[discs], 0.9) < 1e-30
    assert bloom.min() >= np.finfo(np.float32).tiny
    assert float(bloom.max()) == pytest.approx(16e35, rel=1e-5)  # the last digit of a power is the machine's
    far = cv2.dilate(np.uint8(frames[IN_FOCUS + 2].max(2) > 240), np.ones((25, 25), np.uint8)) == 0
    assert far.any() and bloom[far] == pytest.approx(16e35, rel=1e-5)


def test_the_order_in_which_frames_are_looked_at_changes_nothing():
    frames, _ = lights(20.0)
    for one, other in zip(found_in(frames), found_in(frames, order=[4, 0, 6, 1, 5, 3, 2]), strict=True):
        np.testing.assert_array_equal(one, other) if one is not None else None
        assert (one is None) == (other is None)


def test_what_strayed_into_a_frame_is_no_smaller_light():
    """A shadow over the lights of one frame: all others would be left out there but for it."""
    frames, _ = lights(20.0, count=4, step=0.0)
    assert found_in(frames) == [None] * 4
    shadow = np.zeros(SIZE, np.uint8)
    shadow[60:180, 80:240] = 1
    darker = [frame if index != 1 else np.where(shadow[..., None] > 0, frame // 2, frame) for index, frame in enumerate(frames)]
    assert any(bound is not None for bound in found_in(darker))
    assert found_in(darker, strayed={1: shadow}) == [None] * 4


def test_a_light_that_flickers_is_not_taken_for_one_out_of_focus():
    frames, _ = lights(20.0, count=5, step=0.0)
    flickering = [np.rint(frame * gain).astype(np.uint8) for frame, gain in zip(frames, (1, 0.985, 1, 0.99, 1), strict=True)]
    assert found_in(flickering) == [None] * 5


def test_of_a_frame_that_was_darkened_white_is_where_it_was_cut_off():
    frames, _ = lights(20.0)
    blooms = Blooms(SIZE, BGR_BYTES, 255.0)
    gains = {IN_FOCUS + 2: (0.8, 0.8, 0.8)}
    frames[IN_FOCUS + 2] = np.rint(frames[IN_FOCUS + 2] * 0.8).astype(np.uint8)
    for index, frame in enumerate(frames):
        blooms.look_at(index, frame, None, gains)
    blooms.find(lambda: list(range(COUNT)), {})
    assert blooms.bound(IN_FOCUS + 2, frames[IN_FOCUS + 2]) is None
    assert blooms.bound(IN_FOCUS + 2, frames[IN_FOCUS + 2], gains) is not None


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (7, 5), (97, 131), (2000, 3000)])
def test_frames_of_any_size_are_looked_at_and_little_is_kept_of_each(size):
    kind = replace(BGR_BYTES, channels=0)
    blooms = Blooms(size, kind, 255.0)
    for index in range(3):
        frame = np.full(size, 255, np.uint8)
        frame[::2] = 40 * index
        blooms.look_at(index, frame, None if index else np.ones(size, np.uint8))
    assert sum(kept.nbytes for kept in (*blooms._means.values(), *blooms._details.values())) <= 3 * 68_000
    blooms.find(lambda: [0, 1, 2], {})
    assert not blooms._means and not blooms._details
    for index in range(3):
        bound = blooms.bound(index, frame)
        assert bound is None or bound.shape == size


def test_where_a_frame_shows_nothing_it_has_no_smaller_light():
    """Moved frames are black beyond their border: all others would be left out there but for it."""
    frames, _ = lights(20.0, count=4, step=0.0)
    shown = np.ones(SIZE, np.uint8)
    shown[60:180, :160] = 0
    frames[1] = frames[1] * shown[..., None]
    for covered, bloom in ((None, True), (shown, False)):
        blooms = Blooms(SIZE, BGR_BYTES, 255.0)
        for index, frame in enumerate(frames):
            blooms.look_at(index, frame, covered if index == 1 else None)
        blooms.find(lambda: [0, 1, 2, 3], {})
        assert any(blooms.bound(index, frame) is not None for index, frame in enumerate(frames)) is bloom


def test_two_frames_that_show_a_light_are_enough():
    """The others are so far out of focus that nothing of it is white any more."""
    frames, _ = lights(20.0)
    dark = np.full_like(frames[0], 30)
    assert found_in([dark, frames[IN_FOCUS], frames[IN_FOCUS + 2], dark])[2] is not None
    assert found_in([dark, dark, frames[IN_FOCUS + 2], dark]) == [None] * 4
