"""Where only noise makes a frame stand out no height is known, however sure the network is."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.stacks.height import ScorePeaks

SIZE = (160, 320)
KNOWN = 0.35
FLAT, TEXTURED = np.s_[:, 192:], np.s_[:, :128]


def white(sigma):
    return lambda level, rng: level + rng.normal(0, sigma, level.shape)


def of_light(level, rng):
    return level + rng.normal(size=level.shape) * np.sqrt(0.1 * np.maximum(level, 0) + 0.5)


def demosaiced(level, rng):
    return level + 4 * cv2.GaussianBlur(rng.normal(size=level.shape), (0, 0), 0.8)


NOISES = {"none": white(0), "0.5": white(0.5), "2": white(2), "5": white(5), "of light": of_light, "demosaiced": demosaiced}


def peaks_of(frames):
    """Scored by who takes the strongest detail for the sharpest, and is sure of it."""
    peaks = ScorePeaks(SIZE)
    greys = [np.clip(np.rint(frame), 0, 255).astype(np.float32) / 255 for frame in frames]
    fine = [cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 0.8), cv2.CV_32F) for grey in greys]
    energies = np.log([cv2.GaussianBlur(detail * detail, (0, 0), 3) + 1e-7 for detail in fine])
    for index, (grey, score) in enumerate(zip(greys, 40 * (energies - energies.mean(0)), strict=True)):
        peaks.add(index, np.exp(np.clip(score, -80, 80)).astype(np.float32), None, grey)
    return peaks


def half_flat(make_texture, count, noise, *, contrast=1.0, step=1.0):
    """A slope with detail on the left; on the right a surface without any, from dark to bright."""
    rng = np.random.default_rng(4)
    detail = (make_texture(*SIZE, seed=2)[..., 1].astype(np.float32) - 128) * contrast
    depth = np.linspace(0.5, count - 1.5, SIZE[0])[:, None]
    sigmas = np.array([0.05, 0.5, 1, 2, 4, 8])
    blurred = np.stack([cv2.GaussianBlur(detail, (0, 0), sigma) for sigma in sigmas])
    ramp = np.linspace(60, 200, SIZE[0])[:, None] * np.ones(SIZE)
    shown = np.clip((160 - np.arange(SIZE[1])) / 8 + 0.5, 0, 1)
    for index in range(count):
        place = np.interp(step * np.abs(depth - index), sigmas, np.arange(len(sigmas)))
        shares = np.clip(1 - np.abs(place[None] - np.arange(len(sigmas))[:, None, None]), 0, 1)
        yield NOISES[noise](ramp + shown * (shares * blurred).sum(0), rng)


@pytest.mark.parametrize("count", [3, 6, 24])
@pytest.mark.parametrize("noise", NOISES)
def test_a_flat_surface_has_no_height_and_a_textured_one_keeps_its_own(make_texture, noise, count):
    height = peaks_of(half_flat(make_texture, count, noise)).height()
    known = height.confidence >= KNOWN
    assert known[FLAT].mean() < 0.03
    assert known[TEXTURED].mean() > 0.97


@pytest.mark.parametrize("step", [0.3, 2.0])
def test_faint_detail_keeps_its_height(make_texture, step):
    """Its contrast is a few levels, the noise half of one; of small steps of focus no frame shows it quite out of focus."""
    height = peaks_of(half_flat(make_texture, 6, "0.5", contrast=0.15, step=step)).height()
    known = height.confidence >= KNOWN
    assert known[TEXTURED].mean() > 0.9
    assert known[FLAT].mean() < 0.03


def test_frames_that_show_nothing_leave_nothing_known():
    height = peaks_of([np.full(SIZE, 100.0)] * 4).height()
    assert height.confidence.max() == 0
