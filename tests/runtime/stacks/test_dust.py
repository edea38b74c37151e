"""Dust on the sensor, which stands still while the scene is magnified more and more."""

import cv2
import numpy as np
import pytest

import ufafuse.runtime.stacks.room as module
from ufafuse.runtime.frames import BGR_BYTES
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stacks.dust import find_dust, without_dust
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.passing import Passing

COUNT, SIZE = 5, (300, 440)
GREY = {"grey": lambda frame: frame[..., 1]}
KINDS = {
    "colour": lambda frame: frame,
    "12 bits": lambda frame: np.uint16(frame) * 16,
    "float": lambda frame: np.float32(frame) / 255,
    "alpha": lambda frame: np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]),
} | GREY
SPOTS = ((25, 35, 4), (275, 40, 5), (25, 410, 3), (272, 398, 6))  # row, column, radius
LEFT = 0.8  # of the light


def magnified(picture, by):
    move = cv2.getRotationMatrix2D((SIZE[1] / 2, SIZE[0] / 2), 0, by)
    return cv2.warpAffine(picture, move, SIZE[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def moves_of(breathing):
    return [
        np.vstack([cv2.getRotationMatrix2D((SIZE[1] / 2, SIZE[0] / 2), 0, 1 + breathing * index), (0, 0, 1)])
        for index in range(COUNT)
    ]


def frames_of(scene, breathing, transparency, blur=1.5):
    rng = np.random.default_rng(2)
    frames = []
    for index in range(COUNT):
        seen = magnified(scene, 1 + breathing * index)
        # Which half is in focus changes, but no frame has all of it.
        soft = cv2.GaussianBlur(seen, (0, 0), 0.1 + blur * index)
        sharp = cv2.GaussianBlur(seen, (0, 0), 0.1 + blur * (COUNT - 1 - index))
        seen = np.hstack([soft[:, : SIZE[1] // 2], sharp[:, SIZE[1] // 2 :]]) * transparency[..., None]
        frames.append(np.clip(np.rint(seen + rng.normal(0, 1, seen.shape)), 0, 255).astype(np.uint8))
    return frames


@pytest.fixture
def scene(make_texture):
    """A smooth ground, lighter towards one side, with something to see in its midst."""
    ground = np.broadcast_to(np.linspace(120, 200, SIZE[1]), SIZE)
    scene = np.dstack([ground * 0.9, ground, ground * 1.05]).astype(np.float32)
    scene[80:220, 90:350] = make_texture(140, 260)
    return scene


@pytest.fixture
def dusty():
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    left = np.ones(SIZE, np.float32)
    for row, column, radius in SPOTS:
        left -= (1 - LEFT) * np.clip(radius - np.hypot(rows - row, columns - column) + 0.5, 0, 1).astype(np.float32)
    return left


@pytest.mark.parametrize("passes", ["held", "passing"])
@pytest.mark.parametrize("kind", KINDS)
def test_dust_leaves_no_trail(fuser, monkeypatch, scene, dusty, kind, passes):
    if passes == "passing":
        monkeypatch.setattr(module, "Held", Passing)
    clean, dirty = (
        fuse_sources(fuser, of_arrays([KINDS[kind](frame) for frame in frames]), StackOptions(align="affine", reference=2))
        for frames in (frames_of(scene, 0.04, light) for light in (np.ones(SIZE, np.float32), dusty))
    )
    assert (clean.dust, dirty.dust) == (0, len(SPOTS))
    assert any("dark spots that stand still" in words for words in dirty.warnings)
    white = {"12 bits": 16 * 255, "float": 1}.get(kind, 255)
    off = np.abs(clean.fused.astype(np.float32) - dirty.fused) / white
    off = off.reshape(*SIZE, -1).max(-1)
    off[50:250, 60:380] = 0  # the scene itself, whose registration may differ a little
    assert off.max() < 0.05, np.argwhere(off > 0.05)[:9]  # it was 0.15 and more along each trail


def dots(rng):
    ground = np.full(SIZE, 150, np.uint8)
    for _ in range(60):
        cv2.circle(ground, (int(rng.uniform(0, SIZE[1])), int(rng.uniform(0, SIZE[0]))), int(rng.uniform(2, 9)), 110, -1)
    return ground


def grid(_):
    ground = np.full(SIZE, 150, np.uint8)
    for row in range(5, SIZE[0], 16):
        for column in range(5, SIZE[1], 16):
            cv2.circle(ground, (column, row), 4, 110, -1)
    return ground


@pytest.mark.parametrize("breathing", [0, 0.01, 0.04])
@pytest.mark.parametrize("blur", [0, 1.5])
@pytest.mark.parametrize("draw", [dots, grid])
def test_what_is_dark_in_the_scene_is_no_dust(draw, blur, breathing):
    scene = np.repeat(draw(np.random.default_rng(4))[..., None], 3, 2).astype(np.float32)
    frames = frames_of(scene, breathing, np.ones(SIZE, np.float32), blur)
    assert find_dust(frames, BGR_BYTES, moves_of(breathing)) == []


def test_one_frame_that_was_registered_wrongly_proves_nothing():
    scene = np.repeat(dots(np.random.default_rng(4))[..., None], 3, 2).astype(np.float32)
    frames, moves = frames_of(scene, 0, np.ones(SIZE, np.float32), 0), moves_of(0)
    moves[3][0, 2] = 25
    assert find_dust(frames, BGR_BYTES, moves) == []


@pytest.mark.parametrize("left", [0.3, 0.99])
def test_writing_in_all_frames_and_what_hardly_shows_are_left(scene, dusty, left):
    light = 1 - (1 - dusty) / (1 - LEFT) * (1 - left)
    assert find_dust(frames_of(scene, 0.04, light.astype(np.float32)), BGR_BYTES, moves_of(0.04)) == []


def test_nothing_to_lighten_is_the_same_frame():
    frame = np.zeros((4, 4, 3), np.uint8)
    assert without_dust(frame, [], BGR_BYTES) is frame
