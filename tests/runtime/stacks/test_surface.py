"""Heights along surfaces."""

import numpy as np
import pytest

from ufafuse.runtime.stacks.height import SURE, Height, filled
from ufafuse.runtime.stacks.surface import along_surfaces


def two_surfaces(*, contrast=100):
    """A picture with an edge at column 70, and the heights of what it shows: 2 and 6 frames."""
    picture = np.full((120, 160, 3), 60, np.uint8)
    picture[:, 70:] += np.uint8(contrast)
    heights = np.where(np.arange(160) < 70, 2, 6).astype(np.float32)
    return picture, np.tile(heights, (120, 1))


def off(found, expected, *, without=3):
    """How far off heights are, except beside the edge."""
    inner = np.abs(np.arange(expected.shape[1]) - 69.5) > without
    return np.abs(found - expected)[:, inner]


@pytest.mark.parametrize("contrast", [100, 12])
def test_a_step_stays_where_the_picture_shows_it(contrast):
    picture, heights = two_surfaces(contrast=contrast)
    rng = np.random.default_rng(1)
    noisy = heights + rng.normal(0, 0.3, heights.shape).astype(np.float32)
    picture = np.clip(picture + rng.normal(0, 0.5, picture.shape), 0, 255).round().astype(np.uint8)
    found = along_surfaces(noisy, np.ones_like(noisy), picture)
    assert off(found, heights).max() < 0.2
    assert off(found, heights).mean() < 0.2 * off(noisy, heights).mean()


def test_a_gap_has_the_height_of_its_surface():
    """It is larger than what is known of the surface, and the other one is nearer to most of it."""
    picture, heights = two_surfaces()
    weight = np.ones_like(heights)
    weight[10:110, 25:70] = 0
    found = along_surfaces(np.where(weight > 0, heights, np.float32(5)), weight, picture)
    assert off(found, heights, without=6).max() < 0.3
    assert off(found, heights, without=6).mean() < 0.02


@pytest.mark.parametrize("gap", ["a margin", "a corner", "a hole"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_gap_in_a_picture_full_of_edges_has_the_height_around_it(gap, mirrored):
    """Grain parts it from all that is known: it had the mean of all heights."""
    slope = np.tile(np.linspace(0, 12, 240, dtype=np.float32), (160, 1))
    picture = np.random.default_rng(6).integers(0, 256, (160, 240, 3)).astype(np.uint8)
    parts = {"a margin": np.s_[:, 216:], "a corner": np.s_[120:, 200:], "a hole": np.s_[50:100, 170:220]}
    weight = np.ones_like(slope)
    weight[parts[gap]] = 0
    given = slope * weight, weight, picture
    found = along_surfaces(*(plane[:, ::-1].copy() if mirrored else plane for plane in given))
    there = np.abs((found[:, ::-1] if mirrored else found) - slope)[weight == 0]
    assert there.mean() < 1
    assert there.max() < 2.5


@pytest.mark.parametrize("kind", ["single", "a patch of chance", "a corner"])
def test_what_is_there_by_chance_has_no_say(kind):
    picture, heights = two_surfaces()
    rng = np.random.default_rng(2)
    measured = heights.copy()
    if kind == "single":
        wrong = rng.random(heights.shape) < 0.05
        measured[wrong] = rng.uniform(0, 8, wrong.sum())
    else:
        part = (slice(30, 90), slice(90, 150)) if kind == "a patch of chance" else (slice(0, 40), slice(0, 40))
        blots = rng.uniform(0, 8, (120 // 10, 160 // 10)).repeat(10, 0).repeat(10, 1)
        measured[part] = blots[part]
    found = along_surfaces(measured.astype(np.float32), np.ones_like(heights), picture)
    assert off(measured, heights).mean() > 0.1
    assert off(found, heights).max() < (1.5 if kind == "a corner" else 0.5)
    assert off(found, heights).mean() < 0.1


@pytest.mark.parametrize("steep", [20, 60])
def test_slopes_stay_slopes_up_to_the_border(steep):
    """Nothing in the picture parts heights that differ by much: they are no chance all the same."""
    slope = np.tile(np.linspace(0, steep, 300, dtype=np.float32), (90, 1))
    found = along_surfaces(slope, np.ones_like(slope), np.full((90, 300, 3), 90, np.uint8))
    assert np.abs(found - slope).max() < steep / 40
    assert np.abs(found - slope)[:, 20:-20].max() < steep / 200


@pytest.mark.parametrize("offset", [-20, 65_000])
def test_heights_may_begin_anywhere(offset):
    picture, heights = two_surfaces()
    measured = heights + np.random.default_rng(3).normal(0, 0.2, heights.shape).astype(np.float32)
    weight = (np.random.default_rng(4).random(heights.shape) < 0.3).astype(np.float32)
    expected = along_surfaces(measured, weight, picture)
    found = along_surfaces(measured + np.float32(offset), weight, picture)
    np.testing.assert_allclose(found - np.float32(offset), expected, atol=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 50), (41, 37)])
@pytest.mark.parametrize("known", [0, 0.02, 1])
def test_any_size_and_any_share_that_is_known(shape, known):
    rng = np.random.default_rng(5)
    position = rng.uniform(0, 6, shape).astype(np.float32)
    weight = (rng.random(shape) < known).astype(np.float32)
    picture = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    given = position.copy(), weight.copy(), picture.copy()
    found = along_surfaces(position, weight, picture)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    if weight.any():
        assert position[weight > 0].min() - 1e-3 <= found.min() <= found.max() <= position[weight > 0].max() + 1e-3
    for before, after in zip(given, (position, weight, picture), strict=True):
        np.testing.assert_array_equal(before, after)


def test_only_what_is_sure_counts():
    picture, heights = two_surfaces()
    confidence = np.full(heights.shape, 0.9, np.float32)
    confidence[:, 100:] = SURE / 2
    found = filled(Height(np.where(confidence > SURE, heights, np.float32(np.nan)), confidence), picture)
    assert off(found, heights).max() < 0.1
