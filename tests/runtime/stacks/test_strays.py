"""What one frame of a stack shows and its neighbours do not: found, left out there, and told; and nothing else is."""

import cv2
import numpy as np
import pytest

import ufafuse.runtime.stacks.room as module
from ufafuse.runtime.frames import BGR_BYTES, FrameKind
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.passing import Passing
from ufafuse.runtime.stacks.strays import Strays

COUNT, SIZE = 8, (240, 320)
PLACE, RADIUS = (150, 110), 30


def disc(soft=2.0, radius=RADIUS, place=PLACE):
    mask = cv2.circle(np.zeros(SIZE, np.float32), place, radius, 1, -1)
    return cv2.GaussianBlur(mask, (0, 0), soft)[..., None]


def with_disc(frames, numbers, level, soft=2.0):
    mask = disc(soft)
    return [
        np.uint8(np.rint(frame * (1 - mask) + level * mask)) if index in numbers else frame
        for index, frame in enumerate(frames)
    ]


def found(frames, kind=BGR_BYTES):
    strays = Strays(frames[0].shape[:2], kind)
    for index, frame in enumerate(frames):
        strays.look_at(index, frame, None)
    return strays.found()


@pytest.fixture(params=[3, 9], ids=["narrow", "wide"])
def frames(request, make_stack):
    return make_stack(COUNT, *SIZE, blur=request.param)[0]


@pytest.mark.parametrize("numbers", [(3,), (3, 4), (2, 3, 4), (0,), (COUNT - 1,)])
@pytest.mark.parametrize(("level", "soft"), [(0, 2.0), (30, 8.0), (230, 2.0)])
def test_what_is_in_one_frame_or_a_few_alone_is_found(frames, numbers, level, soft):
    strayed = found(with_disc(frames, numbers, level, soft))
    assert tuple(sorted(strayed)) == numbers
    for where in strayed.values():
        assert where[disc(soft)[..., 0] > 0.1].all()
        assert where.mean() < 5 * disc(soft).mean()


@pytest.mark.parametrize("stride", [40, 50])
def test_what_walks_on_is_found_where_two_frames_show_it_in_a_row(frames, stride):
    """A beetle that is longer than its steps."""
    masks = [disc(place=(20 + stride * index, 120)) for index in range(COUNT)]
    walked = [np.uint8(np.rint(frame * (1 - mask) + 20 * mask)) for frame, mask in zip(frames, masks, strict=True)]
    strayed = found(walked)
    for index in range(2, 5):
        twice = np.minimum(masks[index], masks[index + 1])[..., 0] > 0.9
        assert twice.any()
        for each in (index, index + 1):
            assert strayed[each][twice].mean() > 0.9


def shaken(frames):
    return [np.roll(frame, (3, -4), (0, 1)) if index == 4 else frame for index, frame in enumerate(frames)]


def noisy(frames):
    noise = np.random.default_rng(1)
    return [np.uint8(np.clip(frame + noise.normal(0, 20, frame.shape), 0, 255)) for frame in frames]


def flickering(frames):
    return [np.uint8(frame * (1 - 0.1 * (index % 4))) for index, frame in enumerate(frames)]


def moving(frames):
    """A dark thing that goes on by more than its width: at each of its places it is in one frame alone, or in two."""
    return [cv2.circle(frame.copy(), (40, 20 + 2 * index), 12, (20, 20, 20), -1) for index, frame in enumerate(frames)]


def shuffled(frames):
    return [frames[index] for index in (3, 0, 5, 1, 7, 4, 2, 6)]


def bloomed(frames):
    """Lights beyond white, each in focus in one frame, and discs in the others."""
    result = [frame.copy() for frame in frames]
    for number in range(COUNT):
        for index, frame in enumerate(result):
            cv2.circle(frame, (30 + 35 * number, 60 + 15 * number), 1 + 4 * abs(index - number), (255,) * 3, -1)
    return result


def hairs(frames):
    """Dark lines far before all else, in focus in the last frame."""
    lines = np.zeros(SIZE, np.float32)
    for number in range(9):
        cv2.line(lines, (20 + 30 * number, 0), (50 + 25 * number, SIZE[0]), 1, 3)
    covers = [cv2.blur(lines, (1 + 6 * (COUNT - 1 - index),) * 2)[..., None] for index in range(COUNT)]
    return [np.uint8(frame * (1 - cover) + 10 * cover) for frame, cover in zip(frames, covers, strict=True)]


@pytest.mark.parametrize("change", [list, noisy, flickering, moving, shuffled, bloomed, hairs])
def test_nothing_is_found_where_nothing_strayed(frames, change):
    assert found(change(frames)) == {}


def seen_by_a_camera(pattern, exposure):
    """Five frames of which each but the first and the last has one of three patches in focus; light is blurred, not levels."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    fine = {
        "stripes": np.sin(2 * np.pi * x / 3.7) > 0,
        "chequers": (x // 2 + y // 2) % 2 > 0,
        "dots": (x % 4 < 2) & (y % 4 < 2),
        "holes": ~((x % 5 < 3) & (y % 5 < 3)),
    }[pattern]
    light = np.full(SIZE, 0.25)
    for place in (20, 120, 220):
        light[60:180, place : place + 80] = np.where(fine, 0.7, 0.03)[60:180, place : place + 80]
    frames = []
    for index in range(5):
        shown = cv2.GaussianBlur(light, (0, 0), 4)
        columns = slice(100 * index - 90, 100 * index + 10)
        if 1 <= index <= 3:
            shown[:, columns] = light[:, columns]
        frames.append(np.uint8(np.rint(255 * np.clip(shown * exposure, 0, 1) ** (1 / 2.2))))
    return [cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) for frame in frames]


@pytest.mark.parametrize("exposure", [0.3, 1.0, 1.8, 3.0])
@pytest.mark.parametrize("pattern", ["stripes", "chequers", "dots", "holes"])
def test_what_is_finer_than_a_blur_is_of_another_level_in_focus_and_has_not_strayed(pattern, exposure):
    assert found(seen_by_a_camera(pattern, exposure)) == {}


@pytest.mark.parametrize("size", [(1, 1), (97, 131), (181, 183), (257, 300), (1001, 17), (515, 1027)])
@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 4095), (np.float32, 1)])
def test_even_light_has_the_level_of_its_samples(size, dtype, white):
    strays = Strays(size, FrameKind(np.dtype(dtype), 0, float(white), "bgr"))
    strays.look_at(0, np.full(size, dtype(0.4 * white)), None)
    (small,), (spread,) = strays.pictures.values(), strays._spread.values()
    np.testing.assert_allclose(spread, small, atol=2e-3)


def test_what_is_hidden_by_alpha_has_not_strayed(frames):
    strays = Strays(SIZE, BGR_BYTES)
    covered = np.uint8(disc(0.1, RADIUS + 12)[..., 0] == 0)
    for index, frame in enumerate(with_disc(frames, (3,), 0)):
        strays.look_at(index, frame, covered if index == 3 else None)
    assert strays.found() == {}


@pytest.mark.parametrize("held", [True, False])
def test_a_shadow_is_left_out_and_told(monkeypatch, fuser, make_stack, held):
    """Its edge is the strongest detail of all frames: it was taken for the sharp one."""
    if not held:
        monkeypatch.setattr(module, "Held", Passing)
    frames, _ = make_stack(COUNT, *SIZE, blur=5)
    plain = fuse_sources(fuser, of_arrays(frames), StackOptions())
    assert plain.strayed == {} and not any("strayed" in warning for warning in plain.warnings)
    result = fuse_sources(fuser, of_arrays(with_disc(frames, (3,), 0)), StackOptions())
    assert list(result.strayed) == [3] and 0.02 < result.strayed[3] < 0.15
    assert any("strayed into frame 4" in warning for warning in result.warnings)
    around = disc(8.0)[..., 0] > 0.01
    assert np.abs(result.fused.astype(float) - plain.fused)[around].mean() < 6


def test_what_strays_into_a_frame_and_what_walks_through_it_are_both_found(frames, monkeypatch):
    def walking(strays, order):
        where = np.zeros(strays.pictures[order[3]].shape, bool)
        where[:9, :9] = True
        return {order[3]: where}

    monkeypatch.setattr(Strays, "_walking", walking)
    where = found(with_disc(frames, (3,), 0))[3]
    assert where[:20, :20].all()
    assert where[disc()[..., 0] > 0.9].all()
