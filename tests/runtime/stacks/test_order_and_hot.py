import tracemalloc

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import BGR_BYTES
from ufafuse.runtime.levels import kind_with_levels
from ufafuse.runtime.stacks.hot import find_hot_pixels, looked_at, without_hot_pixels
from ufafuse.runtime.stacks.order import by_maps, by_number, by_sharpness


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["f1.png", "f10.png", "f11.png", "f2.png"], [0, 3, 1, 2]),
        (["a/1.tif", "a/10.tif", "a/9.tif"], [0, 2, 1]),
        (["f01.png", "f02.png", "f10.png"], None),
        (["f2.png", "f10.png", "f1.png"], None),  # somebody's own order
        (["b.png", "c.png", "a.png"], None),
        (["x1_2.png", "x1_10.png", "x1_1.png"], None),
    ],
)
def test_order_of_numbers(names, order):
    assert by_number(names) == order


def test_a_shuffled_stack_is_put_into_the_order_of_focus(make_stack):
    frames, _ = make_stack(9, height=200, width=360)
    assert by_sharpness(frames, BGR_BYTES) is None
    assert by_sharpness(frames[::-1], BGR_BYTES) is None
    shuffled = [3, 0, 7, 5, 8, 1, 6, 2, 4]
    order = by_sharpness([frames[index] for index in shuffled], BGR_BYTES)
    found = [shuffled[index] for index in order]
    assert found in (list(range(9)), list(range(8, -1, -1)))


def test_float_frames_beyond_1_are_put_in_order_and_mended_as_others_are(make_stack):
    frames = [np.float32(4 / 255) * frame for frame in make_stack(9, height=200, width=360, blur=4)[0]]
    for frame in frames:
        frame[20, 30] = 4
    kind, _ = kind_with_levels(frames)
    shuffled = [3, 0, 7, 5, 8, 1, 6, 2, 4]
    order = by_sharpness([frames[index] for index in shuffled], kind)
    assert order is not None
    assert [shuffled[index] for index in order] in (list(range(9)), list(range(8, -1, -1)))
    assert [20, 30] in find_hot_pixels([frames[index] for index in looked_at(9)], kind).tolist()


@pytest.mark.parametrize("shake", [0, 4])
def test_frames_without_any_fine_detail_are_ordered_by_the_coarse_one(make_texture, shake):
    """A ground and a plate high above it: most frames have neither in focus."""
    rng = np.random.default_rng(7)
    scene = np.full((400, 640, 3), 120.0, np.float32)
    for scale in (1, 3, 8, 20, 45):
        part = make_texture(400 // scale + 2, 640 // scale + 2, seed=scale).astype(np.float32) - 128
        scene += 0.5 * cv2.resize(part, (640, 400), interpolation=cv2.INTER_CUBIC)
    plate = np.zeros((400, 640, 1), np.float32)
    plate[90:310, 180:460] = 1
    frames = []
    for index in range(9):
        ground, top = (
            cv2.GaussianBlur(scene[::flip], (0, 0), 0.1 + 4 * abs(index - depth)) for flip, depth in ((1, 0), (-1, 8))
        )
        cover = cv2.GaussianBlur(plate, (0, 0), 0.1 + 4 * (8 - index))[..., None]
        seen = np.clip(ground * (1 - cover) + top * cover + rng.normal(0, 2, scene.shape), 0, 255).astype(np.uint8)
        x, y = rng.uniform(-shake, shake, 2)
        move = np.array([[1, 0, x], [0, 1, y]])
        frames.append(cv2.warpAffine(seen, move, (640, 400), borderMode=cv2.BORDER_REFLECT_101))
    assert by_sharpness(frames, BGR_BYTES) is None
    shuffled = [3, 0, 7, 5, 8, 1, 6, 2, 4]
    order = by_sharpness([frames[index] for index in shuffled], BGR_BYTES)
    assert [shuffled[index] for index in order] in (list(range(9)), list(range(8, -1, -1)))


def test_the_order_of_many_frames_is_found_in_memory_that_grows_with_their_number_alone():
    rng = np.random.default_rng(3)
    cells = np.linspace(0, 1, 1280, dtype=np.float32)
    maps = [np.exp(-30 * (cells - index / 150) ** 2) + rng.normal(0, 0.02, 1280).astype(np.float32) for index in range(150)]
    shuffled = rng.permutation(150)
    tracemalloc.start()
    order = by_maps([maps[index] for index in shuffled])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    steps = np.abs(np.diff(shuffled[order]))
    assert np.median(steps) == 1
    assert peak < 8 * sum(one.nbytes for one in maps)


def test_hot_pixels_are_found_and_details_are_not(make_stack):
    frames, truth = make_stack(7, height=160, width=240, blur=4)
    rng = np.random.default_rng(5)
    pixels = np.unique(np.stack([rng.integers(0, 160, 40), rng.integers(0, 240, 40)], 1), axis=0)
    pixels[0] = 0, 0  # in a corner
    clean = [frame.copy() for frame in frames]
    for frame in frames:
        frame[pixels[:, 0], pixels[:, 1]] = 255
    found = find_hot_pixels([frames[index] for index in looked_at(7)], BGR_BYTES)
    assert {tuple(pixel) for pixel in found} <= {tuple(pixel) for pixel in pixels}
    assert len(found) >= 0.9 * len(pixels)
    mended = without_hot_pixels(frames[3], found)
    rows, columns = found.T
    before = np.abs(frames[3][rows, columns].astype(int) - clean[3][rows, columns])
    after = np.abs(mended[rows, columns].astype(int) - clean[3][rows, columns])
    assert after.mean() < before.mean() / 3
    untouched = np.ones(truth.shape[:2], bool)
    untouched[rows, columns] = False
    np.testing.assert_array_equal(mended[untouched], frames[3][untouched])


def test_a_scene_of_points_is_no_faulty_sensor():
    rng = np.random.default_rng(6)
    frame = np.zeros((100, 100, 3), np.uint8)
    stars = rng.integers(1, 99, (400, 2))
    frame[stars[:, 0], stars[:, 1]] = 255
    blurred = cv2.GaussianBlur(frame, (0, 0), 2)
    assert len(find_hot_pixels([frame, blurred, blurred], BGR_BYTES)) == 0
    assert len(find_hot_pixels([frame, frame, frame], BGR_BYTES)) == 0  # 4 % of all pixels: the scene


def test_nothing_to_mend_is_the_same_frame():
    frame = np.zeros((4, 4, 3), np.uint8)
    assert without_hot_pixels(frame, np.empty((0, 2), np.intp)) is frame


@pytest.mark.parametrize(("count", "looked"), [(2, []), (3, [0, 1, 2]), (5, [0, 1, 2, 3, 4]), (100, [0, 25, 50, 75, 99])])
def test_frames_that_are_looked_at(count, looked):
    assert looked_at(count) == looked
