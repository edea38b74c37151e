"""Clipped lights that bloom: out of focus a light beyond white becomes a white disc that covers what lies around it.

Where the other frame shows dark, sharp texture, a network that compares two frames at every pixel takes the disc's sharp rim
for detail; `ufa-stack`, which sees farther, does not. On a made pair whose truth is known (0.5 % of it bloomed) `ufa-edge`
came within 21 dB of the truth, `ufa-stack` within 43; on pairs without such lights it is the other way round.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.frames import Frame, FrameKind

_PIXELS = 524_288
_WHITE, _DARK = 0.98, 0.63  # of white
_SMOOTH = 1.5  # pixels: noise and single pixels are no disc
BLOOMED = 0.0005  # share of the picture from which on lights bloom: of forty real and made pairs without them none has any


def bloomed_share(near: Frame, far: Frame, kind: FrameKind) -> float:
    """The share of the picture, 0 to 1, that is white in one frame and dark in the other.

    Args:
        near, far: As `frames.check_pair` passed them.
        kind: What they are.
    """
    a, b = (_brightest(frame, kind) for frame in (near, far))
    return max(float(((one >= _WHITE) & (other < _DARK)).mean()) for one, other in ((a, b), (b, a)))


def _brightest(frame: Frame, kind: FrameKind) -> NDArray[np.float32]:
    """The brightest channel of a reduced frame, white = 1."""
    height, width = frame.shape[:2]
    factor = min(1.0, (_PIXELS / (height * width)) ** 0.5)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    channels = frame.reshape(height, width, -1)[..., : 1 if kind.grey else 3]
    small = np.asarray(cv2.resize(np.ascontiguousarray(channels), size, interpolation=cv2.INTER_AREA), np.float32)
    brightest = small.reshape(size[1], size[0], -1).max(2) / np.float32(kind.white)
    return np.asarray(cv2.GaussianBlur(brightest, (0, 0), _SMOOTH), np.float32)
