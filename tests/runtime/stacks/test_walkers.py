"""What walks through a stack by less than its own width a frame: found and left out; what only goes out of focus is neither."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import BGR_BYTES
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.strays import Strays

COUNT, SIZE = 10, (240, 320)
START = np.array([90.0, 80.0])


@pytest.fixture(scope="module")
def frames():
    """A textured ground that rises from left to right; the focus goes across it."""
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(*SIZE, 3)).astype(np.float32)
    texture = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (0.8, 2.5, 8.0))
    return across_focus(np.clip(140 + 18 * texture, 20, 240))


def across_focus(ground, widest=9.0):
    """Frames of a ground that rises from left to right, the focus of each one farther right; light is summed as it is."""
    light, steps = (ground / 255) ** 2, np.linspace(0, widest, 13)
    softer = np.stack([light if sigma < 0.3 else cv2.GaussianBlur(light, (0, 0), sigma) for sigma in steps])
    height = np.linspace(0, 1, ground.shape[1])
    frames = []
    for focus in np.linspace(0, 1, COUNT):
        place = np.abs(height - focus) * (len(steps) - 1)
        low = np.minimum(place.astype(int), len(steps) - 2)
        share = (place - low)[:, None]
        columns = np.arange(ground.shape[1])
        mixed = softer[low, :, columns] * (1 - share[:, None]) + softer[low + 1, :, columns] * share[:, None]
        frames.append(np.uint8(np.rint(255 * np.sqrt(np.clip(mixed.swapaxes(0, 1), 0, 1)))))
    return frames


def spots(radius, stride, angle=20.0):
    """A disc in each frame, that goes on."""
    way = stride * np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    places = [START + index * way for index in range(COUNT)]
    masks = [cv2.circle(np.zeros(SIZE, np.float32), np.rint(place).astype(int).tolist(), radius, 1, -1) for place in places]
    return [cv2.GaussianBlur(mask, (0, 0), 1.5)[..., None] for mask in masks]


def walked(frames, masks, level):
    return [np.uint8(np.rint(frame * (1 - mask) + level * mask)) for frame, mask in zip(frames, masks, strict=True)]


def found(frames, covered=None):
    strays = Strays(frames[0].shape[:2], BGR_BYTES)
    for index, frame in enumerate(frames):
        strays.look_at(index, frame, covered)
    return strays.found()


@pytest.mark.parametrize("level", [10, 235])
@pytest.mark.parametrize(("radius", "stride"), [(10, 7), (14, 10), (18, 14), (12, 6)])
def test_what_walks_slowly_is_found_along_all_of_its_way(frames, radius, stride, level):
    masks = spots(radius, stride)
    strayed = found(walked(frames, masks, level))
    assert sorted(strayed) == list(range(COUNT))
    for index, where in strayed.items():
        assert where[masks[index][..., 0] > 0.5].mean() > 0.95
        assert where.mean() < 0.1


def test_it_is_followed_over_lights_and_over_what_is_as_dark(frames):
    """Where the frames may not be compared it goes on as before."""
    masks = spots(12, 9)
    dark = [frame.copy() for frame in frames]
    for frame in dark:
        frame[:, 150:156] = 12
        frame[60:72, 84:100] = 255
    strayed = found(walked(dark, masks, 10))
    for index in (0, 1, 8, 9):
        assert strayed[index][(masks[index][..., 0] > 0.9) & (dark[index][..., 0] > 40)].mean() > 0.9


def test_it_leaves_no_trace_in_the_fused_picture(fuser, frames):
    """Dark without detail was taken for a silhouette: each place of a fly was in the result."""
    masks = spots(12, 8)
    plain = fuse_sources(fuser, of_arrays(frames), StackOptions()).fused.astype(np.float64)
    result = fuse_sources(fuser, of_arrays(walked(frames, masks, 15)), StackOptions())
    way = np.maximum.reduce(masks)[..., 0] > 0.5
    assert np.sqrt(np.mean((result.fused[way] - plain[way]) ** 2)) < 16  # 90 with all of its places
    assert np.abs(result.fused - plain)[cv2.dilate(np.uint8(way), np.ones((41, 41))) == 0].mean() < 1
    assert len(result.strayed) == COUNT


def dots(level, ground, period, radius):
    picture = np.full((*SIZE, 3), float(ground), np.float32)
    for row in range(period // 2, SIZE[0], period):
        for column in range(period // 2, SIZE[1], period):
            cv2.circle(picture, (column, row), radius, (float(level),) * 3, -1)
    return across_focus(picture)


def bars(level, ground, period, width):
    """A comb whose bars come into focus one after the other, one a frame."""
    picture = np.full((*SIZE, 3), float(ground), np.float32)
    for column in range(period // 2, SIZE[1], period):
        picture[:, column : column + width] = level
    return across_focus(picture)


@pytest.mark.parametrize("blinds", [(15, 200, 32, 12), (200, 15, 32, 12), (20, 220, 64, 20), (10, 200, 40, 9)])
@pytest.mark.parametrize("drawn", [bars, dots])
def test_what_comes_into_focus_one_after_the_other_does_not_walk(drawn, blinds):
    assert found(drawn(*blinds)) == {}


def sways(frames):
    """A leaf in the wind."""
    masks = spots(12, 0)
    moved = [np.roll(mask, (0, shift), (0, 1)) for mask, shift in zip(masks, 2 * [0, 12, 3, 9, 1], strict=True)]
    return walked(frames, moved, 10)


def stays(frames):
    return walked(frames, spots(12, 0), 10)


def creeps(frames):
    return walked(frames, spots(25, 1), 10)


@pytest.mark.parametrize("change", [stays, creeps, sways, list])
def test_what_stays_is_no_walker(frames, change):
    assert found(change(frames)) == {}


def test_of_few_frames_none_is_told_to_walk(frames):
    assert found(walked(frames, spots(10, 7), 10)[3:8]) == {}


@pytest.mark.parametrize("white", [220, 286, 340])  # beyond 255 the sensor is full, and blurred it was not
@pytest.mark.parametrize("widest", [4.0, 9.0, 20.0])
def test_gauze_that_comes_into_focus_stripe_by_stripe_walks_nowhere(white, widest):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    gauze = np.where(np.sin(2 * np.pi * x / 3.7) > 0, white, 59)
    ground = np.where(np.abs(y - 120) < 30, gauze, 105)
    assert found(across_focus(np.repeat(ground[..., None], 3, 2).astype(np.float32), widest)) == {}
