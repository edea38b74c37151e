"""Whether pairs are the paper's, told by what they show."""

import cv2
import numpy as np
import pytest

from ufafuse.benchmarks import lytro as known
from ufafuse.benchmarks.evaluate import chosen_pairs
from ufafuse.benchmarks.lytro import beside_table, described
from ufafuse.runtime.pairs import PairPaths


@pytest.fixture
def twenty(tmp_path, monkeypatch):
    """Twenty drawn pairs that stand for the paper's, and what they are known by."""
    rng, pairs, frames = np.random.default_rng(0), [], []
    monkeypatch.setattr(known, "_SIZE", (16, 20))
    for number in range(20):
        pictures = [np.clip(rng.integers(0, 256, 3) + rng.integers(-9, 9, (16, 20, 3)), 0, 255).astype(np.uint8) for _ in "AB"]
        paths = [tmp_path / f"street{number}_{side}.png" for side in "AB"]
        for path, picture in zip(paths, pictures, strict=True):
            assert cv2.imwrite(str(path), picture)
        pairs.append(PairPaths(f"street{number}", *paths))
        frames.append(tuple(map(described, pictures)))
    monkeypatch.setattr(known, "_lytro", lambda: frames)
    return pairs


def test_the_papers_pairs_are_known_under_any_name(twenty):
    assert beside_table("v", twenty) == known.TableComparison(same=True)


def test_fewer_of_them_others_and_ones_given_twice_are_told_apart(twenty, tmp_path):
    assert "yours are 7 of them:" in beside_table("V", twenty[:7]).warning
    assert "yours are 19 of them and 1 others" in beside_table("V", [*twenty[:19], twenty[3]]).warning
    other = tmp_path / "lytro_01_A.png"
    cv2.imwrite(str(other), np.full((16, 20, 3), 9, np.uint8))
    renamed = [PairPaths(f"lytro_{number:02d}", other, other) for number in range(1, 21)]
    found = beside_table("V", renamed)
    assert not found.same
    assert "yours are other pairs" in found.warning


def test_another_decoding_is_told(twenty):
    picture = cv2.imread(str(twenty[4].near))
    picture[3, 3] ^= 1
    cv2.imwrite(str(twenty[4].near), picture)
    found = beside_table("V", twenty)
    assert found.same
    assert "1 of the Lytro pairs differ" in found.warning


def test_a_damaged_frame_is_no_pair_of_theirs(twenty):
    twenty[0].near.write_bytes(b"no picture")
    assert "yours are 19 of them and 1 others" in beside_table("V", twenty).warning


@pytest.mark.parametrize("number", ["VI", "VII"])
def test_pairs_that_nobody_lists_never_count_as_the_same(twenty, number):
    found = beside_table(number, twenty)
    assert not found.same
    assert f"Table {number} is of the paper's own pairs" in found.warning


def test_the_real_pairs_are_known(lytro):
    assert beside_table("V", chosen_pairs(lytro)) == known.TableComparison(same=True)
