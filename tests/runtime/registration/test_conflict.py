"""What moved between two frames is found; what only went out of focus is not."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import BGR_BYTES
from ufafuse.runtime.registration.conflict import WORTH_A_WORD, Conflicts, disagreement

SIZE = (360, 480)


@pytest.fixture
def picture():
    rng = np.random.default_rng(4)
    scene = cv2.resize(rng.integers(40, 215, (9, 12, 3), dtype=np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    for radius in (40, 18, 9, 5):
        for _ in range(int(0.4 * SIZE[0] * SIZE[1] / radius**2)):
            centre = int(rng.integers(0, SIZE[1])), int(rng.integers(0, SIZE[0]))
            colour = tuple(int(value) for value in rng.integers(0, 256, 3))
            cv2.circle(scene, centre, int(radius * rng.uniform(0.4, 1)), colour, -1, cv2.LINE_AA)
    return scene


def focused(scene, sigma):
    """Near and far: the left half of one and the right half of the other is out of focus; noise on both."""
    soft, middle = cv2.GaussianBlur(scene, (0, 0), sigma), SIZE[1] // 2
    rng, pair = np.random.default_rng(5), []
    for halves in ((scene, soft), (soft, scene)):
        frame = np.concatenate([halves[0][:, :middle], halves[1][:, middle:]], 1)
        pair.append(np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8))
    return pair


def compared(*frames, covered=None):
    conflicts = Conflicts(SIZE, BGR_BYTES)
    for index, frame in enumerate(frames):
        conflicts.add(frame, covered if index else None)
    return conflicts


@pytest.mark.parametrize("sigma", [1.5, 4, 6])
def test_focus_and_exposure_are_no_conflict(picture, sigma):
    near, far = focused(picture, sigma)
    assert compared(near, far).share < WORTH_A_WORD
    assert compared(near, (far * 0.7).astype(np.uint8)).share < WORTH_A_WORD


def lens(shape, radius):
    """What a point is out of focus: a disc, a hexagon, or a mirror lens's ring."""
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    distance = np.hypot(rows, columns)
    if shape == "hexagon":
        distance = np.max([np.abs(columns * np.cos(a) + rows * np.sin(a)) for a in np.arange(3) * np.pi / 3], 0) / 0.9
    kernel = np.clip(radius + 0.5 - distance, 0, 1)
    if shape == "ring":
        kernel *= distance >= 0.45 * radius
    return kernel / kernel.sum()


@pytest.mark.parametrize(("shape", "radius"), [("disc", 11), ("disc", 15), ("hexagon", 14), ("ring", 10)])
def test_wide_defocus_of_a_lens_is_no_conflict(picture, shape, radius):
    soft, middle = cv2.filter2D(picture, -1, lens(shape, radius)), SIZE[1] // 2
    near, far = (np.concatenate([a[:, :middle], b[:, middle:]], 1) for a, b in ((picture, soft), (soft, picture)))
    assert compared(near, far).share < WORTH_A_WORD
    moved = far.copy()
    moved[60:240, 60:200] = cv2.flip(far, 1)[60:240, 60:200]
    assert compared(near, moved).share > 0.06


def printed(step, *, moved):
    """Seven frames of a page on a slope: another stripe of each is in focus, and growing discs blur the rest."""
    page = np.full(SIZE, 235, np.uint8)
    for row in range(18, SIZE[0], 22):
        cv2.putText(page, "R47k fuse 2B C71 " * 4, (-row % 40 - 40, row), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 20, 1, cv2.LINE_AA)
    frames, depth = [], np.linspace(0, 6, SIZE[1])
    for index in range(7):
        scene = page.copy()
        if moved:
            scene[100:260, 200 + 40 * (index % 2) :][:, :60] = 90
        shown = [scene, *(cv2.filter2D(scene, -1, lens("disc", radius)) for radius in range(1, 6 * step + 1))]
        away = np.rint(step * np.abs(depth - index)).astype(int)
        columns = [shown[radius][:, column] for column, radius in enumerate(away)]
        frames.append(cv2.cvtColor(np.stack(columns, 1), cv2.COLOR_GRAY2BGR))
    return frames


@pytest.mark.parametrize("step", [2, 3, 5])
def test_what_two_frames_have_far_out_of_focus_is_no_conflict(step):
    assert compared(*printed(step, moved=False)).share < WORTH_A_WORD / 2
    assert compared(*printed(step, moved=True)).share > WORTH_A_WORD


@pytest.mark.parametrize("sigma", [1.5, 4])
@pytest.mark.parametrize("left", [60, 330])  # in the half that is sharp, and in the other one
def test_what_moved_is_found_where_it_is(picture, sigma, left):
    moved = picture.copy()
    moved[100:220, left : left + 120] = cv2.flip(picture, 1)[100:220, left : left + 120]
    near, _ = focused(picture, sigma)
    _, far = focused(moved, sigma)
    conflicts = compared(near, far)
    assert conflicts.share > WORTH_A_WORD
    found = conflicts.map()
    assert found.shape == SIZE
    inside = np.zeros(SIZE, bool)
    inside[100:220, left : left + 120] = True
    around = cv2.dilate(inside.astype(np.uint8), np.ones((61, 61))) > 0
    assert (found[inside] > 0.3).mean() > 0.5
    assert (found[~around] > 0.3).mean() < 0.01


def test_what_a_frame_does_not_show_is_no_conflict(picture):
    near, far = focused(picture, 4)
    covered = np.ones(SIZE, np.uint8)
    covered[:, :130] = 0
    far[:, :130] = 0
    assert compared(near, far, covered=covered).share < 0.005
    assert compared(near, far).share > WORTH_A_WORD


def test_flat_frames_and_a_new_beginning(picture):
    flat = np.full((*SIZE, 3), 90, np.uint8)
    assert compared(flat, flat + 40).share == 0
    assert compared(picture).share == 0
    assert not compared(picture).map().any()
    conflicts = Conflicts(SIZE, BGR_BYTES)
    conflicts.add(picture)
    conflicts.begin_anew()
    conflicts.add(picture[::-1])
    assert conflicts.share == 0


def test_a_light_that_blooms_did_not_move(picture):
    dark = picture // 3
    lamp = np.zeros(SIZE, np.float32)
    cv2.circle(lamp, (240, 180), 3, 60_000, -1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (51, 51)).astype(np.float32)
    near, far = (
        np.clip(dark + light[..., None], 0, 255).astype(np.uint8) for light in (lamp, cv2.filter2D(lamp, -1, disc / disc.sum()))
    )
    assert compared(near, far).share < 0.005


def test_what_agrees_well_enough_is_not_looked_at_any_further(picture):
    near, far = focused(picture, 3)
    moved = far.copy()
    moved[100:180, 100:180] = picture[:80, :80]
    for other in (far, moved):
        shares = []
        for mapped in (True, False):
            conflicts = Conflicts(SIZE, BGR_BYTES, mapped=mapped)
            for frame in (near, other):
                conflicts.add(frame)
            shares.append(conflicts.share)
        assert shares[0] == shares[1]
    a, b = (cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)[::2, ::2].astype(np.float32) / 255 for frame in (near, far))
    whole, enough = disagreement(a, b), disagreement(a, b, enough=0.3)
    assert (enough >= whole - 1e-6).all()
    assert enough.max() <= 0.7
