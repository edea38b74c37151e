"""Pairs of drawn scenes: the label is where the objects are, every pair a scene of its own."""

import numpy as np
import pytest

from ufafuse.train.data import PairOptions
from ufafuse.train.degrade import LensOptions
from ufafuse.train.drawnpairs import DrawnPairs, DrawnScenes, drawn_cover
from ufafuse.train.textures import Textures

SIDE = 96


def scenes(seed: int = 0) -> DrawnScenes:
    return DrawnScenes(Textures((seed, 1), side=SIDE), seed=seed, side=SIDE)


def test_a_scene_depends_on_seed_and_number_alone() -> None:
    one, again = scenes(), scenes()
    later = again[5]
    for a, b in zip(one[3], again[3], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one[5][0], later[0])
    assert not np.array_equal(one[3][0], one[4][0])
    assert not np.array_equal(one[3][0], scenes(1)[3][0])


def test_a_scene_has_a_picture_and_a_label_of_bytes() -> None:
    shares = []
    for number in range(30):
        picture, label = scenes()[number]
        assert picture.shape == (SIDE, SIDE, 3)
        assert label.shape == (SIDE, SIDE)
        assert {picture.dtype, label.dtype} == {np.dtype(np.uint8)}
        assert set(np.unique(label)) <= {0, 255}
        shares.append((label > 0).mean())
    assert np.std(shares) > 0.15
    assert 0.2 < np.mean(shares) < 0.7


def test_most_labels_end_where_the_picture_changes() -> None:
    steps = []
    for number in range(24):
        picture, label = scenes()[number]
        change = np.abs(np.diff(picture.astype(float), axis=1)).sum(2)
        edge = np.diff(label.astype(int), axis=1) != 0
        if edge.sum() > 20:
            steps.append(change[edge].mean() / max(change[~edge].mean(), 0.5))
    assert len(steps) > 10
    assert np.median(steps) > 1.5


@pytest.mark.parametrize("lens", [0.0, 1.0])
def test_pairs_are_of_new_scenes_each_and_do_not_end(lens: float) -> None:
    options = PairOptions(32, lens=lens, flip=True, options=LensOptions(max_radius=6))
    pairs, again = (DrawnPairs(scenes(), options, seed=2) for _ in range(2))
    far = 3 * len(scenes())
    for number in (0, 1, far):
        one, two = pairs.pair(number), again.pair(number)
        assert {frame.shape for frame in (one.near, one.far, one.truth)} == {(32, 32, 3)}
        np.testing.assert_array_equal(one.near, two.near)
        np.testing.assert_array_equal(one.truth, two.truth)
    assert not np.array_equal(pairs.pair(0).truth, pairs.pair(1).truth)
    assert pairs.name(7) == "drawn-7"


def test_a_paper_pairs_sharp_frame_is_the_truth_where_the_label_is() -> None:
    pairs = DrawnPairs(scenes(), PairOptions(32), seed=2)
    closest = []
    for number in range(10):
        pair = pairs.pair(number)
        apart = np.minimum(np.abs(pair.near.astype(int) - pair.truth), np.abs(pair.far.astype(int) - pair.truth))
        closest.append(apart.max())
    assert max(closest) <= 1


def test_a_cover_marks_some_of_the_picture() -> None:
    covers = [drawn_cover(64, np.random.default_rng(seed)) for seed in range(20)]
    assert all(0 <= cover.min() <= cover.max() <= 1 for cover in covers)
    assert all(cover.dtype == np.float32 for cover in covers)
    assert sum(0.02 < cover.mean() < 0.98 for cover in covers) >= 16


def test_several_pairs_of_a_scene_follow_each_other_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    options = PairOptions(32, lens=0.5, flip=True, options=LensOptions(max_radius=6))
    pairs, one = DrawnPairs(scenes(), options, seed=2, of_each=3), DrawnPairs(scenes(), options, seed=2)
    drawn: list[int] = []
    real = DrawnScenes._drawn
    monkeypatch.setattr(DrawnScenes, "_drawn", lambda self, number: (drawn.append(number), real(self, number))[1])
    found = [pairs.pair(number) for number in range(6)]
    assert drawn == [0, 1]
    assert [pairs.name(number) for number in range(6)] == ["drawn-0"] * 3 + ["drawn-1"] * 3
    assert not np.array_equal(found[0].truth, found[1].truth)
    np.testing.assert_array_equal(found[4].near, pairs.pair(4).near)
    np.testing.assert_array_equal(found[0].near, one.pair(0).near)
