"""The sequence of pairs: repeatable, endless, independent of who draws it."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from tests.pictures import photograph
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pairs import find_pairs
from ufafuse.train.data import PairDataset, PairOptions, _corner, focus_map, frames_of, held_out_pairs, read_pairs
from ufafuse.train.degrade import LensOptions
from ufafuse.train.photos import Photos

LENS = PairOptions(crop=24, lens=0.7, flip=True, options=LensOptions(max_radius=5))


@pytest.fixture(scope="module")
def photos(photo_folders: tuple[Path, Path]) -> Photos:
    return Photos(*photo_folders)


def equal(one: tuple[np.ndarray, ...], two: tuple[np.ndarray, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_pair_depends_on_seed_and_index_alone(photos: Photos) -> None:
    one, two = PairDataset(photos, LENS, seed=1), PairDataset(photos, LENS, seed=1)
    two[7], two[100]
    assert all(equal(one[index], two[index]) for index in (30, 3, 12, 3))
    assert not equal(one[3], PairDataset(photos, LENS, seed=2)[3])
    assert not equal(one[3], one[9])


def test_workers_draw_the_same_pairs(photos: Photos) -> None:
    dataset = PairDataset(photos, LENS, seed=1)
    alone, helped = (list(DataLoader(dataset, batch_size=3, sampler=range(4, 13), num_workers=workers)) for workers in (0, 2))
    assert len(alone) == 3
    assert all(equal(one, two) for one, two in zip(alone, helped, strict=True))


def test_each_run_takes_every_photograph_once(photos: Photos) -> None:
    dataset = PairDataset(photos, LENS, seed=5)
    runs = [[dataset._photo(run * 6 + position) for position in range(6)] for run in range(3)]
    assert all(sorted(run) == list(range(6)) for run in runs)
    assert runs[0] != runs[1]


@pytest.mark.parametrize("lens", [0.0, 1.0])
@pytest.mark.parametrize("crop", [16, 48, 100])
def test_frames_have_the_size_asked_for_even_of_smaller_photographs(photos: Photos, crop: int, lens: float) -> None:
    dataset = PairDataset(photos, dataclasses.replace(LENS, crop=crop, lens=lens), seed=2)
    for index in range(4):
        assert {frame.shape for frame in dataset[index]} == {(crop, crop, 3)}
        assert {frame.dtype for frame in dataset[index]} == {np.dtype(np.uint8)}


def test_a_paper_pair_is_cut_from_the_whole_photographs_pair(photos: Photos) -> None:
    dataset = PairDataset(photos, PairOptions(crop=20), seed=3)
    for index in range(8):
        near, far, truth = dataset[index]
        picture, label = photos[dataset._photo(index)]
        windows = np.lib.stride_tricks.sliding_window_view(picture, (20, 20, 3))[:, :, 0]
        top, left = np.argwhere((windows == truth).all((2, 3, 4)))[0]
        focus = focus_map(label)[top : top + 20, left : left + 20, None]
        sides = []
        for size in range(2, 11):
            blurred = cv2.blur(picture.astype(float), (size, size))[top : top + 20, left : left + 20]
            one, other = truth * focus + blurred * (1 - focus), blurred * focus + truth * (1 - focus)
            sides += [max(np.abs(near - a).max(), np.abs(far - b).max()) for a, b in ((one, other), (other, one))]
        assert min(sides) <= 0.51


def test_crops_reach_the_photographs_borders_and_never_beyond() -> None:
    label, rng = np.zeros((321, 481), np.uint8), np.random.default_rng(0)
    corners = np.array([_corner(label, 192, rng) for _ in range(2000)])
    assert corners.min() == 0
    assert tuple(corners.max(0)) == (321 - 192, 481 - 192)
    for axis, limit in enumerate((321 - 192, 481 - 192)):
        for border in (0, limit):
            assert 0.2 < np.mean(corners[:, axis] == border) < 0.35


def test_either_frame_comes_first(photos: Photos) -> None:
    """Where the photograph's object is cut, the near frame is the sharp one for about half of the pairs."""
    dataset = PairDataset(photos, PairOptions(crop=56), seed=3)
    near_first = 0
    for index in range(30):
        near, far, truth = (frame[28, 28].astype(int) for frame in dataset[index])
        near_first += int(np.abs(near - truth).sum() <= np.abs(far - truth).sum())
    assert 5 < near_first < 25


def test_options_that_draw_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="at least 16"):
        PairOptions(crop=8)
    with pytest.raises(InputError, match="share of lens pairs"):
        PairOptions(crop=32, lens=2)


def test_validation_pairs_are_read_with_their_truth(tmp_path: Path) -> None:
    for name, value in (("x_A", 1), ("x_B", 2), ("x_GT", 3)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((9, 8, 3), value, np.uint8))
    (pair,) = read_pairs(tmp_path)
    assert pair.name == "x"
    assert [frame[0, 0, 0] for frame in (pair.pair.near, pair.pair.far, pair.pair.truth)] == [1, 2, 3]
    cv2.imwrite(str(tmp_path / "x_GT.png"), np.full((9, 9), 3, np.uint8))
    with pytest.raises(InputError, match="differ in size"):
        read_pairs(tmp_path)
    (tmp_path / "x_GT.png").unlink()
    with pytest.raises(InputError, match="has no truth"):
        read_pairs(tmp_path)


def test_held_out_pairs_are_fixed(photos: Photos) -> None:
    one, two = (held_out_pairs(PairDataset(photos, LENS, seed=0), 3) for _ in range(2))
    assert [p.name for p in one] == ["held-out-00", "held-out-01", "held-out-02"]
    assert all(np.array_equal(a.pair.near, b.pair.near) for a, b in zip(one, two, strict=True))


def test_what_alpha_hides_of_a_frame_is_the_others(tmp_path: Path) -> None:
    """Margins that registration left transparent would be black to a network for pairs."""
    truth = photograph(48, 48, 0)
    near = np.dstack([truth, np.full((48, 48), 255, np.uint8)])
    near[:, 40:] = 0
    for name, frame in (("A", near), ("B", truth), ("GT", truth)):
        cv2.imwrite(str(tmp_path / f"one_{name}.png"), frame)
    [named] = read_pairs(tmp_path, warnings=(told := list[str]()))
    for frame in (named.pair.near, *frames_of(find_pairs(tmp_path)[0])):
        assert np.array_equal(frame, truth)
    assert told == [f"{tmp_path / 'one_A.png'}: what its alpha hides was taken from the other frame."]
