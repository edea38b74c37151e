"""Two subjects in one folder: told, with the frames of each; and nothing else is taken for them."""

import cv2
import numpy as np
import pytest

import ufafuse.runtime.stacks.room as module
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.passing import Passing

SIZE = 160, 200


def subjects(make_stack, counts):
    """A stack of each of some subjects."""
    return [
        [
            np.ascontiguousarray(np.rot90(frame, turn, (0, 1)))[: SIZE[0], : SIZE[1]]
            for frame in make_stack(count, 240, 240, blur=6)[0]
        ]
        for turn, count in enumerate(counts)
    ]


def told(frames, fuser, **options):
    warnings = fuse_sources(fuser, of_arrays(frames), StackOptions(**options)).warnings
    return [warning for warning in warnings if "scenes" in warning]


@pytest.mark.parametrize("method", ["network", "pyramid"])
@pytest.mark.parametrize("align", ["off", "affine"])
def test_two_subjects_are_told_with_their_frames(make_stack, fuser, align, method):
    one, other = subjects(make_stack, (3, 2))
    assert not told(one, fuser, align=align, method=method)
    (words,) = told([*one, *other], fuser, align=align, method=method, keep_unregistered=align != "off")
    assert "2 scenes" in words
    assert words.endswith(": frame 1, frame 2 and frame 3; frame 4 and frame 5.")
    assert ("align=affine" in words) == (align == "off")


def test_many_frames_are_told_by_the_first_and_the_last(make_stack, fuser, monkeypatch):
    monkeypatch.setattr(module, "Held", Passing)
    one, other, third = subjects(make_stack, (8, 2, 2))
    (words,) = told([*one, *other, *third], fuser)
    assert "3 scenes" in words
    assert "frame 1, frame 2, frame 3, frame 4 to frame 8 (8 frames); frame 9 and frame 10; " in words


def test_frames_that_lie_anywhere_are_no_scenes(make_stack, fuser):
    frames, _ = make_stack(6, *SIZE)
    thrown = [np.roll(frame, (23 * index, 31 * index), (0, 1)) for index, frame in enumerate(frames)]
    assert not told(thrown, fuser)
    bars = np.repeat((np.arange(SIZE[1]) % 12 < 6)[None, :, None] * np.uint8(200), SIZE[0], 0).repeat(3, 2)
    assert not told([cv2.GaussianBlur(bars, (0, 0), 0.3 + 2 * index) for index in range(4)], fuser)
