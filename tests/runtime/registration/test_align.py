"""Registration: what moved is found and undone, and what did not move is left alone."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.models import DEFAULT, bundled
from ufafuse.runtime.registration.align import Alignment, best_covered, chained, estimate, moved_like
from ufafuse.runtime.registration.covering import Crop, valid_crop
from ufafuse.runtime.registration.glance import unaligned_by
from ufafuse.runtime.registration.guesses import MOTIONS
from ufafuse.runtime.stack import StackOptions, fuse_stack
from ufafuse.runtime.stacks.registering import Chain, outwards

SIZE = 300, 360
_OVER = 2  # the scene is drawn finer than the frames, so that a moved frame is sampled once and not twice


def motion(*, shift=(0.0, 0.0), scale=1.0, degrees=0.0, size=SIZE):
    """The 3 x 3 matrix of a move about the frame's centre: takes a near pixel to its place in the far frame."""
    turn = scale * np.exp(1j * np.radians(degrees))
    centre = complex((size[1] - 1) / 2, (size[0] - 1) / 2)
    offset = centre - turn * centre + complex(*shift)
    return np.array([[turn.real, -turn.imag, offset.real], [turn.imag, turn.real, offset.imag], [0, 0, 1]])


MOVES = {
    "shift": ({"shift": (3.4, -2.1)}, "translation"),
    "scale": ({"scale": 1.015}, "affine"),
    "turn": ({"degrees": 0.4}, "euclidean"),
}


def scene(size=SIZE):
    """A textured picture, larger and finer than the frames: discs and strokes of all sizes, H x W x 3 uint8."""
    rng, shape = np.random.default_rng(3), tuple(_OVER * (side + 64) for side in size)
    picture = cv2.resize(rng.integers(60, 190, (12, 14, 3), dtype=np.uint8), shape[::-1], interpolation=cv2.INTER_CUBIC)
    for radius in (60, 25, 12, 7):
        for _ in range(int(0.35 * shape[0] * shape[1] / radius**2)):
            centre = rng.integers(0, shape[1]), rng.integers(0, shape[0])
            colour = tuple(int(value) for value in rng.integers(0, 256, 3))
            cv2.circle(picture, centre, int(radius * rng.uniform(0.4, 1)), colour, -1, cv2.LINE_AA)
    return picture


def seen(picture, matrix, size=SIZE):
    """The scene as a camera sees it whose pixel p shows what the near camera sees at matrix^-1 p."""
    sampling = np.array([[_OVER, 0, 32.0 * _OVER], [0, _OVER, 32.0 * _OVER], [0, 0, 1]])
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.7 * _OVER)  # a lens and a pixel's area, so that nothing aliases
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(smooth, sampling @ np.linalg.inv(matrix), size[::-1], flags=flags)


def focused_pair(matrix, sigma=2.5):
    """Near and far frame of a scene in two depths, and the truth in the near frame's geometry."""
    picture = scene()
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]] / 120
    depth = np.where((np.sin(columns) + np.cos(rows * 1.3) > 0)[..., None], np.uint8(255), np.uint8(0)).repeat(3, 2)
    frames = []
    for at, sharp in ((np.eye(3), 255), (matrix, 0)):
        whole, mask = seen(picture, at), seen(depth, at) > 127
        frames.append(np.where(mask == (sharp == 255), whole, cv2.GaussianBlur(whole, (0, 0), sigma)))
    return frames[0], frames[1], seen(picture, np.eye(3))


def psnr(image, truth, margin=16):
    inner = slice(margin, -margin)
    return 10 * np.log10(255**2 / np.mean((image[inner, inner].astype(float) - truth[inner, inner]) ** 2))


def corner_error(found, matrix, size=SIZE):
    corners = np.array([[0, 0, 1], [size[1], 0, 1], [0, size[0], 1], [size[1], size[0], 1.0]]).T
    a, b = found @ corners, matrix @ corners
    return np.hypot(*(a[:2] / a[2] - b[:2] / b[2])).max()


@pytest.mark.parametrize("name", MOVES)
def test_the_move_is_found(name):
    move, model = MOVES[name]
    near, far, _ = focused_pair(motion(**move))
    kind = check_pair(near, far)
    for chosen in dict.fromkeys((model, "affine", "homography")):
        found = estimate(near, far, kind, chosen)
        assert found.motion == (model if name == "shift" else chosen)  # no more is claimed than the pictures tell
        assert found.refused == ""
        assert corner_error(found.matrix, motion(**move)) < 0.5
        assert found.confidence > found.before
        assert found.moved > 1


@pytest.mark.parametrize(
    ("model", "move", "close"),
    [
        ("euclidean", {"shift": (26, -22), "degrees": 1.5}, 0.1),
        ("affine", {"shift": (-28, 24), "degrees": -2}, 0.3),
        ("affine", {"shift": (15, -25), "scale": 1.04}, 0.3),
    ],
)
def test_what_only_one_frame_shows_takes_no_part(model, move, close):
    """Frames from the hand: what the other one lacks at its borders pulled the estimate, by up to several pixels."""
    near, far, _ = focused_pair(motion(**move))
    found = estimate(near, far, check_pair(near, far), model)
    assert corner_error(found.matrix, motion(**move)) < close


@pytest.mark.parametrize("blown", [(9, 4), (-8, 6)])
def test_what_moves_by_itself_does_not_pull_the_camera_along(blown):
    """A flower in the wind, 6 % of the picture: by it the farthest corner was 0.3 pixels off, in wider defocus several."""
    matrix = motion(shift=(7, -5), degrees=0.6)
    near, far, _ = focused_pair(matrix)
    flower = np.ascontiguousarray(scene()[::-1, ::-1][: 2 * SIZE[0] : 2, : 2 * SIZE[1] : 2])
    for frame, offset in ((near, (0, 0)), (far, blown)):
        disc = np.zeros(SIZE, np.uint8)
        cv2.circle(disc, (120 + offset[0], 150 + offset[1]), 46, 255, -1)
        frame[disc > 0] = np.roll(flower, offset[::-1], (0, 1))[disc > 0]
    found = estimate(near, far, check_pair(near, far), "affine")
    assert corner_error(found.matrix, matrix) < 0.15


@pytest.mark.parametrize("blown", [(4, -2), (9, 4), (-8, 6)])
@pytest.mark.parametrize("radius", [46, 80])
def test_where_a_subject_and_the_ground_are_sharp_the_ground_tells_the_move(blown, radius):
    """Half of what moved between them was taken for a shift by the defocus, and both were 2 to 6 pixels off."""
    matrix = motion(shift=(7, -5))
    ground = [seen(scene(), np.eye(3)), seen(scene(), matrix)]
    flower = np.ascontiguousarray(scene()[::-1, ::-1][: 2 * SIZE[0] : 2, : 2 * SIZE[1] : 2])
    frames = []
    for number, at in enumerate([(0, 0), np.add((7, -5), blown)]):
        x, y = (int(each) for each in at)
        disc = cv2.circle(np.zeros(SIZE, np.float32), (160 + x, 150 + y), radius, 1, -1)[..., None]
        subject = np.roll(flower, (y, x), (0, 1)).astype(np.float32) * disc
        if number:
            subject, disc = cv2.GaussianBlur(subject, (0, 0), 4), cv2.GaussianBlur(disc, (0, 0), 4)[..., None]
        behind = ground[number] if number else cv2.GaussianBlur(ground[number], (0, 0), 4)
        frames.append(np.uint8(np.rint(behind * (1 - disc) + subject)))
    found = estimate(*frames, check_pair(*frames), "affine")
    assert corner_error(found.matrix, matrix) < 1.2


def test_a_faint_picture_is_registered_as_well_as_any():
    """Slopes far smaller than an offset were taken for undetermined, and the first guess for the result."""
    near, far, _ = focused_pair(motion(shift=(3.4, -2.1)))
    near, far = (0.6 + 0.01 * (frame / np.float32(255) - np.float32(0.5)) for frame in (near, far))
    found = estimate(near, far, check_pair(near, far), "affine")
    assert corner_error(found.matrix, motion(shift=(3.4, -2.1))) < 0.2


@pytest.mark.usefixtures("selecting_engine")
@pytest.mark.parametrize("name", MOVES)
def test_fused_after_alignment_as_well_as_if_nothing_had_moved(name, write_model):
    """Within 1 dB of the fusion of a pair that was never moved, and better than without alignment."""
    move, model = MOVES[name]
    still_near, still_far, truth = focused_pair(np.eye(3))
    near, far, _ = focused_pair(motion(**move))
    with Fuser(write_model(), backend="onnxruntime") as fuser:
        aligned = psnr(fuse_stack(fuser, [near, far], StackOptions(align=model)).fused, truth)
        without = psnr(fuser.fuse(near, far), truth)
        best = psnr(fuser.fuse(still_near, still_far), truth)
    assert aligned > best - 1
    assert aligned > without + 3


@pytest.mark.slow
@pytest.mark.skipif(DEFAULT not in bundled(), reason="no network is bundled")
@pytest.mark.parametrize("name", MOVES)
def test_the_bundled_network_after_alignment(name):
    """Within 1 dB of the fusion of a pair that the true motion has brought together: more the interpolation does not leave."""
    move, model = MOVES[name]
    near, far, truth = focused_pair(motion(**move))
    kind = check_pair(near, far)
    known = replace(estimate(near, far, kind, model), matrix=motion(**move))
    with Fuser(threads=1) as fuser:
        aligned = psnr(fuse_stack(fuser, [near, far], StackOptions(align=model)).fused, truth)
        best = psnr(fuser.fuse(near, moved_like(far, near, known, kind)), truth)
        without = psnr(fuser.fuse(near, far), truth)
    assert aligned > best - 1
    assert aligned > without + 3


@pytest.mark.parametrize("model", MOTIONS)
def test_what_did_not_move_is_left_alone(model):
    near, far, _ = focused_pair(np.eye(3))
    found = estimate(near, far, check_pair(near, far), model)
    assert found.motion == "none"
    assert moved_like(far, near, found, check_pair(near, far)) is far
    assert found.crop == Crop(0, SIZE[0], 0, SIZE[1])


@pytest.mark.parametrize("motion", ["euclidean", "affine", "homography"])
def test_frames_that_differ_in_focus_alone_stay(motion):
    """The sample pair: the edge of the cup outweighs the rest, and an affine move bettered it and nothing else."""
    examples = Path(__file__).parents[3] / "examples"
    near, far = (cv2.imread(str(examples / f"sample_{side}.png")) for side in "AB")
    assert estimate(near, far, check_pair(near, far), motion).motion == "none"
    scaled = cv2.warpAffine(far, np.array([[1.01, 0, -2], [0, 1.01, -2.0]]), far.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    if motion != "euclidean":
        assert estimate(near, scaled, check_pair(near, scaled), motion).motion == motion


def test_frames_of_two_scenes_are_not_warped(rng):
    near = cv2.GaussianBlur(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), (0, 0), 2)
    far = cv2.GaussianBlur(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), (0, 0), 2)
    found = estimate(near, far, check_pair(near, far), "homography")
    assert found.motion == "none"
    assert found.refused


@pytest.mark.parametrize("value", [0, 128])
def test_flat_frames_are_refused(value):
    flat = np.full((64, 64, 3), value, np.uint8)
    found = estimate(flat, flat, check_pair(flat, flat), "affine")
    assert found.motion == "none"
    assert unaligned_by(flat, flat, check_pair(flat, flat)) == 0


def test_tiny_frames_are_refused():
    tiny = np.zeros((31, 400), np.uint8)
    assert "too small to register" in estimate(tiny, tiny, check_pair(tiny, tiny), "affine").refused


def test_an_unknown_motion():
    frame = np.zeros((64, 64), np.uint8)
    with pytest.raises(InputError, match=r"`align=spin` is not known: choose off, translation"):
        estimate(frame, frame, check_pair(frame, frame), "spin")


@pytest.mark.parametrize("name", MOVES)
def test_the_glance_sees_a_move(name):
    near, far, _ = focused_pair(motion(**MOVES[name][0]))
    assert unaligned_by(near, far, check_pair(near, far)) > 1


def test_the_glance_warns_of_nothing_else():
    near, far, _ = focused_pair(np.eye(3))
    assert unaligned_by(near, far, check_pair(near, far)) == 0
    assert unaligned_by(near, (far * 0.8).astype(np.uint8), check_pair(near, far)) == 0


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint16, 3), (np.float32, 3), (np.uint8, 0), (np.uint8, 1), (np.uint8, 4)])
def test_every_kind_of_frame(dtype, channels):
    matrix = motion(shift=(3.4, -2.1))
    near, far, _ = focused_pair(matrix)
    if channels < 3:
        near, far = (frame[..., 1] if channels == 0 else frame[..., 1:2] for frame in (near, far))
    elif channels == 4:
        near, far = (np.dstack([frame, frame[..., 0]]) for frame in (near, far))
    near, far = (convert(frame, dtype) for frame in (near, far))
    kind = check_pair(near, far, white=4095 if dtype == np.uint16 else None)
    found = estimate(near, far, kind, "translation")
    assert corner_error(found.matrix, matrix) < 0.3
    moved = moved_like(far, near, found, kind)
    assert moved.shape == near.shape
    assert moved.dtype == dtype
    assert moved.max() <= kind.white
    top, _, _, right = found.crop
    np.testing.assert_array_equal(moved[:top], near[:top])
    np.testing.assert_array_equal(moved[:, right:], near[:, right:])


def convert(frame, dtype):
    if dtype == np.uint8:
        return frame
    return frame.astype(np.uint16) * 16 if dtype == np.uint16 else frame.astype(np.float32) / 255


@pytest.mark.parametrize(
    ("matrix", "crop"),
    [
        (np.eye(3), Crop(0, 300, 0, 360)),
        (motion(shift=(3.0, -2.0)), Crop(2, 300, 0, 357)),
        (motion(shift=(-3.4, 2.1)), Crop(0, 297, 4, 360)),
        (motion(scale=0.9), Crop(0, 300, 0, 360)),
        (motion(shift=(400.0, 0.0)), None),
        (np.zeros((3, 3)) + np.diag([0, 0, 1.0]), None),
    ],
)
def test_the_valid_crop(matrix, crop):
    try:
        found = valid_crop(matrix, SIZE)
    except np.linalg.LinAlgError:
        found = None
    assert found == crop


@pytest.mark.parametrize("move", [{"scale": 1.02}, {"degrees": 2.0}, {"scale": 1.01, "degrees": -1, "shift": (5.5, 2.5)}])
def test_all_of_the_crop_lies_in_both_frames(move):
    matrix = motion(**move)
    top, bottom, left, right = valid_crop(matrix, SIZE)
    assert (bottom - top) * (right - left) > 0.85 * SIZE[0] * SIZE[1]
    corners = np.array([[left, top, 1], [right - 1, top, 1], [left, bottom - 1, 1], [right - 1, bottom - 1, 1]]).T
    x, y = (matrix @ corners)[:2]
    assert x.min() >= -1e-6
    assert y.min() >= -1e-6
    assert x.max() <= SIZE[1] - 1 + 1e-6
    assert y.max() <= SIZE[0] - 1 + 1e-6


def test_crops_meet():
    assert Crop(0, 10, 0, 10).within(Crop(2, 12, 3, 9)) == Crop(2, 10, 3, 9)
    assert Crop(0, 2, 0, 2).within(Crop(5, 9, 5, 9)) == Crop(5, 6, 5, 6)


def test_steps_through_a_stack_multiply():
    full = Crop(0, SIZE[0], 0, SIZE[1])
    step = Alignment("affine", motion(scale=1.01), 0.9, 0.99, 3.0, full)
    refused = Alignment("none", np.eye(3), 0.9, 0.9, 0.0, full, "no")
    still, first, second, third = chained([refused, step, refused, step], SIZE)
    assert still.motion == "none"
    np.testing.assert_allclose(first.matrix, motion(scale=1.01))
    np.testing.assert_allclose(second.matrix, motion(scale=1.01))
    assert (second.motion, second.refused) == ("affine", "no")
    np.testing.assert_allclose(third.matrix, motion(scale=1.01**2), atol=1e-9)
    assert third.crop.top >= first.crop.top > 0
    assert third.to_json()["moved_px"] == pytest.approx(third.moved, abs=0.01)


def test_steps_lead_to_any_reference():
    full = Crop(0, SIZE[0], 0, SIZE[1])
    steps = [Alignment("affine", motion(scale=scale), 0.9, 0.99, 3.0, full) for scale in (1.01, 1.02, 1.03)]
    first, third, fourth = chained(steps, SIZE, 1)
    np.testing.assert_allclose(first.matrix, np.linalg.inv(motion(scale=1.01)), atol=1e-12)
    np.testing.assert_allclose(third.matrix, motion(scale=1.02), atol=1e-9)
    np.testing.assert_allclose(fourth.matrix, motion(scale=1.02 * 1.03), atol=1e-9)
    assert first.crop == full
    assert fourth.crop.top > third.crop.top > 0


def test_the_frame_that_the_others_cover_best():
    def step(**move):
        return Alignment("affine", motion(**move), 0.9, 0.99, 3.0, Crop(0, SIZE[0], 0, SIZE[1]))

    assert best_covered([step(scale=1.01), step(scale=1.01)], SIZE) == 2
    assert best_covered([step(scale=0.99), step(scale=0.99)], SIZE) == 0
    assert best_covered([step(shift=(8, 0)), step(shift=(8, 0))], SIZE) == 0  # all alike: the first
    assert best_covered([step(scale=1.02), step(scale=0.99)], SIZE) == 1


def test_a_real_stack(data_folder):
    """Seven frames of a circuit board, whose scale changes with the focus: each is larger than the one before."""
    frames = [cv2.imread(str(data_folder / "pcb" / f"pcb_00{index}.jpg")) for index in (1, 2)]
    kind = check_pair(*frames)
    found = estimate(*frames, kind, "affine")
    assert found.motion == "affine"
    assert np.sqrt(np.linalg.det(found.matrix[:2, :2])) == pytest.approx(0.99, abs=0.003)
    assert unaligned_by(*frames, kind) > 5


def silhouettes(blur):
    """Dark bodies before a light beyond white, as a microscope sees them: out of focus, the light eats their outlines."""
    rng, height, width = np.random.default_rng(8), 480, 640
    cover = np.zeros((height, width), np.float32)
    for _ in range(9):
        centre = tuple(int(value) for value in rng.uniform((60, 60), (width - 60, height - 60)))
        axes = tuple(int(value) for value in rng.uniform(25, 90, 2))
        cv2.ellipse(cover, centre, axes, rng.uniform(0, 180), 0, 360, 1, -1, cv2.LINE_AA)
    body = 45 + 14 * cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), 2) * 7
    light = cover * body + (1 - cover) * 520
    if blur:
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * blur + 1,) * 2).astype(np.float32)
        light = cv2.filter2D(light, -1, disc / disc.sum())
    return np.repeat(np.clip(light, 0, 255).astype(np.uint8)[..., None], 3, 2)


@pytest.mark.parametrize("blur", [4, 6, 9])
def test_silhouettes_out_of_focus_do_not_breathe(blur):
    near, other = silhouettes(0), silhouettes(blur)
    moved = cv2.warpAffine(other, np.array([[1, 0, 3.0], [0, 1, -2.0]]), near.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    found = estimate(near, moved, check_pair(near, moved), "affine")
    error = found.matrix @ np.array([[0, 639, 0, 639], [0, 0, 479, 479], [1, 1, 1, 1]], float)
    there = np.array([[3, 642, 3, 642], [-2, -2, 477, 477]], float)
    assert np.hypot(*(error[:2] / error[2] - there)).max() < 1.5


def test_silhouettes_that_go_out_of_focus_slowly_do_not_breathe():
    """Made smaller, each agrees better with those before it; no part says by how much what another one does."""
    frames = [silhouettes(blur) for blur in range(9)]
    chain = Chain(frames[0].shape[:2], check_pair(*frames[:2]), "affine")
    moves = [chain.add(index, partner, frames[index]) for index, partner in outwards(len(frames), 0)]
    assert max(move.alignment.moved for move in moves) < 1


def test_a_slight_breathing_of_a_textured_scene_is_kept():
    picture = scene()
    near, other = seen(picture, motion()), seen(picture, motion(scale=1.003))
    other = cv2.GaussianBlur(other, (0, 0), 2)
    found = estimate(near, other, check_pair(near, other), "affine")
    assert abs(found.matrix[0, 0] - 1.003) < 0.001
    assert abs(found.matrix[1, 1] - 1.003) < 0.001
