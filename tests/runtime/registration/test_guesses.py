"""Fine even textures are registered too, from either frame to the other, and no agreement is told that was not measured."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import FrameKind, check_pair
from ufafuse.runtime.registration.align import estimate, estimate_pictures
from ufafuse.runtime.registration.guesses import phase_shift
from ufafuse.runtime.stacks.registering import Chain, outwards

SIZE = 360, 480


def bricks(rng):
    picture = np.full(SIZE, 150.0)
    for row in range(-1, SIZE[0] // 8 + 1):
        for column in range(-1, SIZE[1] // 16 + 1):
            left, top = 16 * column + 8 * (row % 2), 8 * row
            cv2.rectangle(picture, (left, top), (left + 13, top + 5), float(rng.normal(95, 4)), -1)
    return picture + rng.normal(0, 6, SIZE)


def gravel(rng):
    """Stones that touch: each pixel takes the level of the nearest of many points."""
    points = np.full(SIZE, 255, np.uint8)
    points[rng.integers(0, SIZE[0], 20_000), rng.integers(0, SIZE[1], 20_000)] = 0
    _, stones = cv2.distanceTransformWithLabels(points, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return rng.uniform(60, 190, stones.max() + 1)[stones]


def net(period):
    def drawn(rng):
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] % period < period / 5
        return np.where(rows | columns, 60.0, 200.0) + rng.normal(0, 3, SIZE)

    return drawn


def comb(period):
    """Teeth, and above them something that says where along the teeth a frame lies, of far less contrast."""

    def drawn(rng):
        teeth = np.where(np.arange(SIZE[1]) % period < period / 2, 40.0, 210.0) * np.ones((SIZE[0], 1))
        teeth[: SIZE[0] // 3] = 120 + 12 * cv2.GaussianBlur(rng.normal(size=(SIZE[0] // 3, SIZE[1])), (0, 0), 2) * 4
        return teeth + rng.normal(0, 2, SIZE)

    return drawn


def text(rng):
    picture = np.full(SIZE, 235, np.uint8)
    for line in range(20, SIZE[0], 14):
        words = " ".join("".join(chr(97 + letter) for letter in rng.integers(0, 26, 5)) for _ in range(12))
        cv2.putText(picture, words, (8, line), cv2.FONT_HERSHEY_SIMPLEX, 0.35, 40, 1, cv2.LINE_AA)
    return picture


def grain(rng):
    return 128 + 40 * rng.normal(size=SIZE)


TEXTURES = {"bricks": bricks, "gravel": gravel, "net 8": net(8), "net 12": net(12), "text": text, "grain": grain}
MOVES = {"translation": (1.0, 0.3, 1.0), "affine": (0.8, -0.5, 1.004), "blurred": (-2.4, 1.7, 1.0)}


def pictured(texture):
    picture = TEXTURES[texture](np.random.default_rng(0))
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 0.7), 0, 255).astype(np.uint8)


def moved(picture, x, y, scale):
    matrix = cv2.getRotationMatrix2D(((SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2), 0, scale)
    matrix[:, 2] += x, y
    other = cv2.warpAffine(picture, matrix, SIZE[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return other, np.vstack([matrix, [0, 0, 1]])


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("texture", TEXTURES)
def test_fine_textures_are_registered_both_ways(texture, move):
    picture = pictured(texture)
    other, matrix = moved(picture, *MOVES[move])
    if move == "blurred":
        other = cv2.GaussianBlur(other, (0, 0), 1.5)
    corners = np.array([[0, 0, 1], [SIZE[1], 0, 1], [0, SIZE[0], 1], [SIZE[1], SIZE[0], 1.0]]).T
    for near, far, truth in ((picture, other, matrix), (other, picture, np.linalg.inv(matrix))):
        found = estimate(near, far, check_pair(near, far), "affine" if move == "affine" else "translation")
        assert found.refused == ""
        assert np.hypot(*((found.matrix - truth) @ corners)[:2]).max() < 0.5


@pytest.mark.parametrize("period", [8, 12, 20])
def test_of_a_comb_no_more_is_taken_than_it_tells(period):
    """Along its teeth an affine motion may be anything, and across them it may be off by a tooth or stretch them."""
    picture = np.clip(cv2.GaussianBlur(comb(period)(np.random.default_rng(0)), (0, 0), 0.7), 0, 255).astype(np.uint8)
    for x, y in ((5, 4), (7, -6)):
        other, matrix = moved(picture, x, y, 1.0)
        for blur in (0.6, 1.5) if period != 12 else (0.6, 2.5):
            soft = cv2.GaussianBlur(other, (0, 0), blur)
            found = estimate(picture, soft, check_pair(picture, soft), "affine")
            np.testing.assert_allclose(found.matrix, matrix, rtol=0, atol=0.1)


@pytest.mark.parametrize("move", [(22, -18), (14, 13), (25, 25)])
def test_a_period_of_a_pattern_is_not_taken_for_the_move(move):
    """A net over stained paper, sharp on the left in one frame and on the right in the other."""
    rng, (x, y) = np.random.default_rng(0), move
    rows, columns = np.mgrid[:500, :600] % 20 < 20 / 8
    scene = np.where(rows | columns, 210.0, 60.0) + 55 * cv2.GaussianBlur(rng.normal(size=rows.shape), (0, 0), 4)
    soft, right = cv2.GaussianBlur(scene, (0, 0), 3), np.linspace(0, 1, 600)[None]
    near = (scene * (1 - right) + soft * right)[60:420, 60:540]
    far = (soft * (1 - right) + scene * right)[60 - y : 420 - y, 60 - x : 540 - x]
    near, far = (np.uint8(np.clip(frame + rng.normal(0, 1, frame.shape), 0, 255)) for frame in (near, far))
    found = estimate(near, far, check_pair(near, far), "translation")
    assert found.matrix[:2, 2] == pytest.approx(move, abs=0.3)


@pytest.mark.parametrize("texture", TEXTURES)
def test_no_frame_of_an_even_texture_is_left_out_whatever_the_reference(texture):
    frames = [moved(pictured(texture), 1.0 * index, 0.3 * index, 1.0)[0] for index in range(3)]
    for reference in (0, 2):
        chain = Chain(SIZE, check_pair(*frames[:2]), "affine")
        moves = {index: chain.add(index, near, frames[index]) for index, near in outwards(3, reference)}
        for index, move in moves.items():
            assert not move.left_out
            there = move.alignment.matrix[:2, 2] + move.alignment.matrix[:2, :2] @ (240, 180) - (240, 180)
            assert there == pytest.approx([index - reference, 0.3 * (index - reference)], abs=0.35)


@pytest.mark.parametrize("why", ["too small", "nothing converges"])
def test_what_is_said_of_frames_that_cannot_be_registered_was_measured(why, monkeypatch):
    """They agree, and so they stay; a black one among them goes."""
    size = (30, 400) if why == "too small" else SIZE
    first = pictured("gravel")[: size[0], : size[1]]
    if why != "too small":
        for name in ("first_guess", "other_guesses"):
            nothing = None if name == "first_guess" else ()
            monkeypatch.setattr(f"ufafuse.runtime.registration.align.{name}", lambda *_, nothing=nothing: nothing)
    frames = [first, cv2.GaussianBlur(first, (0, 0), 0.8), np.zeros_like(first), first]
    chain = Chain(size, FrameKind(np.dtype(np.uint8), 0, 255.0, "bgr"), "affine")
    moves = {index: chain.add(index, near, frames[index]) for index, near in outwards(4, 0)}
    assert [bool(move.left_out) for move in moves.values()] == [False, False, True, False]
    assert moves[1].alignment.before > 0.9
    assert moves[1].alignment.refused


def test_frames_of_two_textures_are_not_registered():
    for one, another in (("net 8", "gravel"), ("grain", "bricks"), ("net 12", "net 8")):
        a, b = pictured(one), pictured(another)
        assert estimate(a, b, check_pair(a, b), "affine").motion == "none"


def test_pictures_are_left_as_they_are():
    """Whatever their sides: of those that suit the Fourier transform OpenCV would write into what it is given."""
    for size in (90, 96), (72, 90):
        a, b = (np.random.default_rng(seed).random(size, np.float32) for seed in (1, 2))
        before = a.copy(), b.copy()
        phase_shift(a, b)
        estimate_pictures(a, b, size, "affine")
        np.testing.assert_array_equal((a, b), before)
