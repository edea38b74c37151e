"""The measure of kept detail, on made stacks whose answer is known."""

import cv2
import numpy as np
import pytest

from tests.benchmarks.stacks import steps, textured
from ufafuse.benchmarks.stacks.detail import SharpestFrames, structure_of
from ufafuse.benchmarks.stacks.levels import alike, luma
from ufafuse.runtime.registration.covering import Crop

SIZE = (120, 200)


def offered(frames, covered=None):
    sharpest = SharpestFrames(frames[0].shape[:2])
    for number, frame in enumerate(frames):
        sharpest.add(luma(frame), None if covered is None else covered[number])
    return sharpest.detail()


def halves(low=3.0, high=40.0):
    """A truth whose left half has little contrast and whose right half much, and two frames: sharp above, sharp below."""
    truth = textured(*SIZE, seed=1, contrast=high)
    truth[:, :100] = textured(SIZE[0], 100, seed=2, contrast=low)
    blurred = cv2.GaussianBlur(truth, (0, 0), 4)
    upper = np.where(np.arange(SIZE[0])[:, None, None] < 60, truth, blurred)
    lower = np.where(np.arange(SIZE[0])[:, None, None] < 60, blurred, truth)
    return truth, [upper, lower]


def as_bytes(picture):
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def test_the_truth_keeps_all_and_adds_nothing():
    truth = textured(*SIZE, seed=1)
    kept = offered(steps(truth, 5)).kept(luma(as_bytes(truth)))
    assert kept["detail_sharp"] > 0.99
    assert kept["detail_low"] > 0.99
    assert kept["detail_added"] < 0.01


def test_a_blurred_picture_keeps_nothing():
    truth = textured(*SIZE, seed=1)
    kept = offered(steps(truth, 5)).kept(luma(as_bytes(cv2.GaussianBlur(truth, (0, 0), 4))))
    assert kept["detail_sharp"] < 0.01
    assert kept["detail_low"] < 0.01


def test_the_parts_are_told_apart_by_contrast():
    truth, frames = halves()
    detail = offered([as_bytes(frame) for frame in frames])
    assert detail.low[:, :80].sum() > 20 * detail.low[:, 120:].sum() * 0.5
    assert detail.sharp[:, 120:].mean() > 0.8
    lost = truth.copy()
    lost[:, :100] = cv2.GaussianBlur(truth, (0, 0), 4)[:, :100]
    kept = detail.kept(luma(as_bytes(lost)))
    assert kept["detail_sharp"] > 0.95
    assert kept["detail_low"] < 0.2


@pytest.mark.parametrize(("factor", "kept"), [(0.8, True), (0.6, False)])
def test_seven_tenths_are_enough(factor, kept):
    truth = textured(*SIZE, seed=1)
    soft = cv2.GaussianBlur(truth, (0, 0), 6)
    found = offered(steps(truth, 3, step=5)).kept(luma(as_bytes(soft + factor * (truth - soft))))
    assert (found["detail_sharp"] > 0.95) is kept
    assert (found["detail_sharp"] < 0.05) is not kept


def test_noise_is_no_detail():
    flat = np.full((*SIZE, 3), 128, np.float32)
    rng = np.random.default_rng(0)
    frames = [as_bytes(flat + rng.normal(0, 4, flat.shape)) for _ in range(12)]
    detail = offered(frames)
    assert not (detail.sharp | detail.low).any()
    kept = detail.kept(luma(as_bytes(np.mean(frames, 0))))
    assert np.isnan(kept["detail_sharp"])
    assert np.isnan(kept["detail_low"])


def test_averaging_noise_away_costs_nothing_where_the_detail_stays():
    truth = textured(*SIZE, seed=1, contrast=60)
    kept = offered(steps(truth, 8, noise=4)).kept(luma(as_bytes(truth)))
    assert kept["detail_sharp"] > 0.99
    assert kept["detail_low"] > 0.95


def test_the_skirt_of_a_blurred_edge_is_no_detail():
    """A bright body before a flat ground: out of focus its edge leaves something on the ground, which is none of its detail."""
    sharp = np.full((160, 240, 3), 40, np.float32)
    sharp[:, :80] = 220
    frames = [as_bytes(cv2.GaussianBlur(sharp, (0, 0), sigma)) if sigma else as_bytes(sharp) for sigma in (0, 8, 14)]
    detail = offered(frames)
    assert not (detail.sharp | detail.low)[:, 100:].any()


@pytest.mark.parametrize("shift", [1, 2])
def test_two_pixels_of_misregistration_cost_next_to_nothing(shift):
    truth = np.full((120, 200, 3), 90, np.float32)
    truth[::24] = 200
    truth[:, ::30] = 200
    kept = offered(steps(truth, 3, step=4)).kept(luma(as_bytes(np.roll(truth, shift, 1))))
    assert kept["detail_sharp"] > 0.97


@pytest.mark.parametrize("size", [3, 12])
def test_structure_that_no_frame_has_is_told(size):
    """Speckle and mottling on a flat ground."""
    truth = np.full((160, 240, 3), 120, np.float32)
    truth[:, :120] = textured(160, 120, seed=1)
    frames, fused = steps(truth, 4), truth.copy()
    rng = np.random.default_rng(0)
    blobs = cv2.resize(rng.normal(0, 14, (120 // size, 90 // size)), (90, 120), interpolation=cv2.INTER_NEAREST)
    fused[20:140, 140:230] += blobs[..., None]
    detail = offered(frames)
    assert detail.kept(luma(as_bytes(truth)))["detail_added"] < 0.01
    assert detail.kept(luma(as_bytes(fused)))["detail_added"] > 0.15


def test_detail_that_the_truth_does_not_have_takes_no_part():
    """A near flat panel: beside its true edge, what shines through its blur looks sharper than the panel."""
    truth = textured(*SIZE, seed=1)
    ghost = steps(truth, 3)
    truth[30:90, 60:140] = 128
    detail = offered(ghost)
    assert detail.kept(luma(as_bytes(truth)))["detail_sharp"] < 0.9
    kept = detail.confirmed(luma(as_bytes(truth))).kept(luma(as_bytes(truth)))
    assert kept["detail_sharp"] == 1
    assert kept["detail_added"] == 0


def test_what_a_frame_does_not_show_takes_no_part():
    truth = textured(*SIZE, seed=1)
    frames = steps(truth, 3)
    covered = [np.ones(SIZE, np.uint8) for _ in frames]
    covered[2][:, :40] = 0
    detail = offered(frames, covered)
    assert not detail.shown[:, :44].any()
    assert detail.shown[:, 60:].all()
    fused = truth.copy()
    fused[:, :44] = 128
    assert detail.kept(luma(as_bytes(fused)))["detail_sharp"] > 0.99
    fused[:, 150:] = 128
    assert detail.kept(luma(as_bytes(fused)), Crop(0, SIZE[0], 0, 145))["detail_sharp"] > 0.99


def test_levels_are_the_same_for_every_kind_of_picture():
    levels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    expected = luma(levels)
    assert luma(levels.astype(np.uint16) * 257) == pytest.approx(expected, abs=1e-3)
    assert luma(levels.astype(np.float32) / 255) == pytest.approx(expected, abs=1e-3)
    assert luma(np.dstack([levels, levels[..., :1]])) == pytest.approx(expected)
    assert luma(levels[..., 0]) == pytest.approx(levels[..., 0])
    assert alike(levels[..., 0], levels).shape == levels.shape
    assert alike(levels, levels[..., 0]).shape == levels.shape[:2]


def test_structure_has_the_size_of_the_picture_and_is_zero_where_it_is_flat():
    found = structure_of(np.full((9, 7), 77, np.float32))
    assert found.fine.shape == (9, 7)
    assert found.fine.max() < 1e-3
    assert found.middle.max() < 1e-3
