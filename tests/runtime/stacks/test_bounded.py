"""A bound of the memory changes nothing of what is decided about a stack: its frames are read once more instead."""

import cv2
import numpy as np
import pytest

import ufafuse.runtime.stacks.room as module
from ufafuse.runtime.pictures.source import ArrayFrame, of_arrays
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.passing import Passing

COUNT, SIZE = 6, (126, 182)
ORDERS = {
    "in order": range(COUNT),
    "reversed": range(COUNT)[::-1],
    "shuffled": (3, 0, 5, 1, 4, 2),
    "in two runs": (0, 2, 4, 5, 3, 1),
}


@pytest.fixture
def breathing(make_stack):
    """Each frame is larger than the one before by 0.4 %."""
    frames, _ = make_stack(COUNT, *SIZE, blur=3)
    middle = (SIZE[1] / 2, SIZE[0] / 2)
    moves = [cv2.getRotationMatrix2D(middle, 0, 1 + 0.004 * index) for index in range(COUNT)]
    return [
        cv2.warpAffine(frame, move, SIZE[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        for frame, move in zip(frames, moves, strict=True)
    ]


def both(fuser, monkeypatch, sources, options):
    """The stack fused with all frames in memory, and with each read when it is needed."""
    held = fuse_sources(fuser, sources, options)
    monkeypatch.setattr(module, "Held", Passing)
    return held, fuse_sources(fuser, sources, options)


def check_same(held, passing):
    assert (passing.order, passing.reordered, passing.reference) == (held.order, held.reordered, held.reference)
    assert passing.left_out.keys() == held.left_out.keys()
    assert passing.warnings == held.warnings
    for one, other in zip(held.alignments, passing.alignments, strict=True):
        np.testing.assert_allclose(one.matrix[:2], other.matrix[:2], atol=0.05)
    assert np.median(np.abs(held.height.position - passing.height.position)) < 0.02
    assert np.abs(held.fused.astype(float) - passing.fused).mean() < 0.002 * held.fused.max()


@pytest.mark.parametrize(
    ("order", "levels"), [*((order, "8 bits") for order in ORDERS), ("shuffled", "12 bits"), ("shuffled", "dark")]
)
def test_the_order_of_focus_and_the_reference_are_the_same(fuser, monkeypatch, breathing, order, levels):
    scale = {"8 bits": lambda frame: frame, "12 bits": lambda frame: np.uint16(frame) * 16, "dark": lambda frame: frame // 6}
    frames = [scale[levels](breathing[index]) for index in ORDERS[order]]
    held, passing = both(fuser, monkeypatch, of_arrays(frames), StackOptions(align="affine", want_height=True))
    assert bool(held.order) == (order in ("shuffled", "in two runs"))
    check_same(held, passing)


@pytest.mark.parametrize("place", [0, 3])
def test_a_black_frame_is_left_out_and_is_no_reference(fuser, monkeypatch, breathing, place):
    breathing.insert(place, np.zeros_like(breathing[0]))
    held, passing = both(fuser, monkeypatch, of_arrays(breathing), StackOptions(align="affine", want_height=True))
    assert list(held.left_out) == [place]
    check_same(held, passing)


def test_the_reference_that_was_asked_for_is_taken_from_a_shuffled_stack(fuser, monkeypatch, breathing):
    frames = [breathing[index] for index in ORDERS["shuffled"]]
    options = StackOptions(align="affine", reference=2, want_height=True)
    held, passing = both(fuser, monkeypatch, of_arrays(frames), options)
    assert held.reference == 2
    check_same(held, passing)


def test_frames_are_read_three_times(fuser, monkeypatch, breathing):
    reads = [0]

    class Counted(ArrayFrame):
        def read(self):
            reads[0] += 1
            return super().read().copy()

    monkeypatch.setattr(module, "Held", Passing)
    sources = [Counted(frame, f"{index}.png") for index, frame in enumerate(breathing)]
    fuse_sources(fuser, sources, StackOptions(align="affine"))
    assert reads[0] <= 3 * COUNT + 5 + 4  # two passes and one for the order, a look at five, two steps
