"""Motion that is too little from frame to frame to be told, and much over a whole stack."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import BGR_BYTES
from ufafuse.runtime.registration.covering import farthest_move
from ufafuse.runtime.stacks.registering import Chain, outwards, registered

SIZE = 240, 320
COUNT = 20


def placed(*, shift=(0.0, 0.0), scale=1.0, degrees=0.0):
    """Where a pixel of the first frame is in one that moved so about the middle."""
    x, y = (SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D((x, y), degrees, scale)
    matrix[:2, 2] += shift
    return matrix


def shown_at(frame, place):
    return cv2.warpPerspective(frame, place, SIZE[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def moving(make_stack, to):
    """A stack that moves evenly, to that place in the last frame, and where each frame is."""
    frames, _ = make_stack(COUNT, *SIZE, blur=3)
    places = [np.eye(3) + index / (COUNT - 1) * (to - np.eye(3)) for index in range(COUNT)]
    return [shown_at(frame, place) for frame, place in zip(frames, places, strict=True)], places


def found(frames, start, motion="affine"):
    chain = Chain(SIZE, BGR_BYTES, motion)
    moves = {index: chain.add(index, partner, frames[index]) for index, partner in outwards(COUNT, start)}
    return [moves[index].alignment for index in range(COUNT)]


@pytest.mark.parametrize("start", [0, 10])
@pytest.mark.parametrize(
    ("to", "motion"),
    [(placed(shift=(3.2, 2.4)), "translation"), (placed(scale=1.02), "affine"), (placed(degrees=1.2), "euclidean")],
)
def test_slow_motion_is_not_lost(make_stack, to, motion, start):
    """Four pixels over all, a fifth of one from frame to frame: every frame was taken to lie like the first."""
    frames, places = moving(make_stack, to)
    alignments = found(frames, start, motion)
    off = [
        farthest_move(alignment.matrix, SIZE, place @ np.linalg.inv(places[start]))
        for alignment, place in zip(alignments, places, strict=True)
    ]
    assert max(off) < 0.8
    assert alignments[-1].motion == motion
    assert alignments[-1].moved == pytest.approx(farthest_move(places[-1] @ np.linalg.inv(places[start]), SIZE), abs=0.8)


@pytest.mark.parametrize("motion", ["translation", "affine", "homography"])
def test_frames_that_lie_still_stay(make_stack, motion):
    frames, _ = moving(make_stack, np.eye(3))
    assert {alignment.motion for alignment in found(frames, 0, motion)} == {"none"}


def test_a_stack_is_placed_from_its_reference_whatever_the_order_of_finding(make_stack):
    """As where its frames are not kept: the frames between are found from the reference outwards."""
    frames, _ = moving(make_stack, placed(shift=(3.2, 2.4)))
    reference, moves = registered(frames, BGR_BYTES, "translation")
    assert reference == 0
    for move, alignment in zip(moves.values(), found(frames, 0, "translation"), strict=True):
        np.testing.assert_array_equal(move.alignment.matrix, alignment.matrix)
