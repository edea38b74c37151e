"""What follows a decision map."""

import numpy as np

from ufafuse.network.rivals import maps


def test_small_regions_become_their_surroundings():
    mask = np.zeros((40, 40), bool)
    mask[:, 20:] = True
    whole = mask.copy()
    mask[5:8, 5:8] = True  # 9 of 1600 pixels
    mask[30:33, 30:33] = False
    assert (maps.without_small_regions(mask, 0.01) == whole).all()


def test_what_is_as_large_as_the_limit_stays():
    mask = np.zeros((40, 40), bool)
    mask[5:9, 5:9] = True  # 16 pixels: 0.01
    assert (maps.without_small_regions(mask, 0.01) == mask).all()


def test_opening_and_closing_clear_specks_and_holes_of_any_shape():
    mask = np.zeros((60, 60), bool)
    mask[:, 30:] = True
    clean = mask.copy()
    mask[10:13, 10:13] = True
    mask[40:43, 45:48] = False
    assert (maps.opened_and_closed(mask, 3) == clean).all()


def test_a_majority_turns_single_pixels():
    mask = np.zeros((20, 20), bool)
    mask[10, 10] = True
    assert not maps.majority(mask, 3).any()


def test_a_guided_map_follows_the_guides_edge():
    guide = np.zeros((60, 60), np.float32)
    guide[:, 31:] = 1
    decision = np.zeros((60, 60), np.float32)
    decision[:, 28:] = 1  # three pixels beside the edge
    smooth = maps.guided(guide, decision, 8, 1e-4)
    assert smooth[30, 29] < 0.5 < smooth[30, 31]
    assert np.allclose(maps.guided(guide, np.full_like(guide, 0.3), 8, 0.1), 0.3, atol=1e-6)


def test_a_guided_mix_lies_between_its_frames_and_is_either_far_from_the_edge():
    rng = np.random.default_rng(0)
    near, far = (rng.random((80, 80, 3), dtype=np.float32) for _ in range(2))
    mask = np.zeros((80, 80), bool)
    mask[:, 40:] = True
    fused = maps.guided_mix(near, far, mask, radius=4, epsilon=0.1)
    assert np.allclose(fused[:, :20], far[:, :20], atol=1e-5)
    assert np.allclose(fused[:, 60:], near[:, 60:], atol=1e-5)
    assert (fused >= np.minimum(near, far) - 1e-6).all()
    assert (fused <= np.maximum(near, far) + 1e-6).all()
