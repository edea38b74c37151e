"""Frames of a stack are registered to the frame that they agree with, wherever it stands in the stack."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import BGR_BYTES
from ufafuse.runtime.stacks.registering import KEPT_PICTURES, Chain, along_agreement, outwards, rebased

SIZE = (220, 300)


def shifted(frame, x, y):
    return cv2.warpAffine(frame, np.array([[1, 0, x], [0, 1, y]], float), SIZE[::-1], borderMode=cv2.BORDER_REFLECT_101)


def corner_error(matrix, x, y):
    """How far a corner lies from where a shift by (x, y) takes it, in pixels."""
    corners = np.array([[0, 0, 1], [SIZE[1], 0, 1], [0, SIZE[0], 1], [SIZE[1], SIZE[0], 1]], float).T
    there = matrix @ corners
    return float(np.hypot(*(there[:2] / there[2] - corners[:2] - np.array([[x], [y]]))).max())


@pytest.fixture(params=[3, 6])
def with_second_takes(request, make_stack):
    """Ten frames in the order of focus, and after them second takes of the frames 1 and 2, moved by (1.5, -1) pixels."""
    blur = request.param
    small, _ = make_stack(10, SIZE[0] // 4, SIZE[1] // 4, blur=blur)
    frames = [cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_CUBIC) for frame in small]
    return [*frames, shifted(frames[1], 1.5, -1), shifted(frames[2], 1.5, -1)]


def test_a_second_take_is_registered_to_the_first_one(with_second_takes):
    chain = Chain(SIZE, BGR_BYTES, "affine", most=None)
    moves = {index: chain.add(index, near, with_second_takes[index]) for index, near in outwards(12, 0)}
    assert moves[10].beside in (1, 2)
    assert moves[11].beside in (2, 3, 10)
    assert all(moves[index].beside == index - 1 for index in range(1, 10))
    for index in (10, 11):
        assert corner_error(moves[index].alignment.matrix, 1.5, -1) < 0.4


def test_an_order_along_agreement_has_every_take_beside_its_like(with_second_takes):
    order, in_line = along_agreement(with_second_takes, BGR_BYTES, None)
    assert not in_line
    assert sorted(index for index, _ in order) == list(range(12))
    partners = dict(order)
    assert {partners[10], partners[11]} & {1, 2, 3}
    placed = set()
    for index, partner in order:
        assert partner is None or partner in placed
        placed.add(index)
    straight, in_line = along_agreement(with_second_takes[:10], BGR_BYTES, 4)
    assert in_line
    assert straight[0] == (4, None)


def test_few_pictures_are_kept_and_the_reference_among_them(make_stack):
    count, size = 2 * KEPT_PICTURES + 4, (90, 120)
    frames, _ = make_stack(count, *size, blur=20)
    chain = Chain(size, BGR_BYTES, "translation")
    for index, near in outwards(count, count // 2):
        chain.add(index, near, frames[index])
        assert len(chain._pictures) <= KEPT_PICTURES
        assert count // 2 in chain._pictures


def test_moves_are_rebased_to_the_frame_that_the_others_cover(make_stack):
    frames, _ = make_stack(5, *SIZE, blur=3)
    frames = [shifted(frame, 4.0 * index, 0) for index, frame in enumerate(frames)]
    chain = Chain(SIZE, BGR_BYTES, "translation")
    moves = {index: chain.add(index, near, frames[index]) for index, near in outwards(5, 0)}
    reference, seen = rebased(moves, SIZE)
    assert seen[reference].alignment.motion == "none"
    for index in range(5):
        assert corner_error(seen[index].alignment.matrix, 4.0 * (index - reference), 0) < 0.5


def test_many_frames_out_of_line_are_registered_in_the_order_of_agreement(make_stack):
    """More frames than a chain with bounded memory remembers, in two interleaved runs: partners lie far back."""
    small, _ = make_stack(24, SIZE[0] // 4, SIZE[1] // 4, blur=4)
    frames = [cv2.resize(frame, SIZE[::-1], interpolation=cv2.INTER_CUBIC) for frame in small]
    mixed = [frames[index] for index in (*range(0, 24, 2), *range(23, 0, -2))]
    order, in_line = along_agreement(mixed, BGR_BYTES, None)
    assert not in_line
    chain = Chain(SIZE, BGR_BYTES, "translation", most=None)
    moves = {index: chain.add(index, partner, mixed[index]) for index, partner in order}
    assert len(moves) == 24
    assert all(corner_error(move.alignment.matrix, 0, 0) < 0.5 for move in moves.values())
