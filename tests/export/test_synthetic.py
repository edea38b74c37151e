"""Made frames: the same everywhere, and as different as they should be."""

import numpy as np
import pytest

from ufafuse.export.synthetic import check_sizes, stress_frames, synthetic_pair, synthetic_scene


def test_scenes_are_repeatable_and_differ_by_seed():
    assert np.array_equal(synthetic_scene(20, 30, seed=1), synthetic_scene(20, 30, seed=1))
    assert not np.array_equal(synthetic_scene(20, 30, seed=1), synthetic_scene(20, 30, seed=2))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (65, 130)])
def test_each_half_is_sharp_in_one_frame(size):
    near, far = synthetic_pair(*size)
    scene, middle = synthetic_scene(*size), (size[1] + 1) // 2
    assert near.shape == far.shape == (*size, 3)
    assert np.array_equal(near[:, :middle], scene[:, :middle])
    assert np.array_equal(far[:, middle:], scene[:, middle:])


def test_stress_frames_reach_both_ends():
    for near, far in stress_frames(4, 6).values():
        assert near.shape == far.shape == (4, 6, 3)
    assert {near.min() for near, _ in stress_frames(4, 6).values()} >= {0, 255}


def test_sizes_to_check_hold_the_smallest_and_odd_ones():
    sizes = check_sizes(32)
    assert {(1, 1), (32, 32), (33, 65)} <= set(sizes)
