"""Confidence is high where a frame shows detail and low where none does."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.registration.sharpness import confidence


@pytest.fixture
def textured(rng):
    return cv2.resize(rng.integers(0, 256, (100, 120), dtype=np.uint8), (240, 200), interpolation=cv2.INTER_CUBIC)


def test_where_neither_frame_is_sharp(textured, rng):
    blurred = cv2.GaussianBlur(textured, (0, 0), 8)
    near, far = textured.copy(), textured.copy()
    near[:, 80:] = blurred[:, 80:]
    far[:, :160] = blurred[:, :160]  # columns 80 to 160: sharp in neither
    noise = rng.normal(0, 1, (2, *near.shape))
    near, far = (np.clip(frame + n, 0, 255).astype(np.uint8) for frame, n in zip((near, far), noise, strict=True))
    found = confidence(near, far, check_pair(near, far))
    assert found.shape == near.shape
    assert found.dtype == np.float32
    assert found[:, :60].min() > 0.9
    assert found[:, 180:].min() > 0.9
    assert found[:, 95:145].mean() < 0.3


@pytest.mark.parametrize("value", [0, 90])
def test_nothing_to_see(value):
    flat = np.full((40, 50, 3), value, np.uint8)
    assert confidence(flat, flat, check_pair(flat, flat)).max() < 1e-3


def test_large_frames_are_gone_through_in_tiles(textured, monkeypatch):
    whole = confidence(textured, textured, check_pair(textured, textured))
    monkeypatch.setattr("ufafuse.runtime.registration.sharpness._STRIP", 64)
    np.testing.assert_allclose(confidence(textured, textured, check_pair(textured, textured)), whole, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3, 3), (5, 4, 4)])
def test_tiny_frames(shape):
    tiny = np.ones(shape, np.uint16)
    found = confidence(tiny, tiny, check_pair(tiny, tiny))
    assert found.shape == shape[:2]
    assert np.isfinite(found).all()
