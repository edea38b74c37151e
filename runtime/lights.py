"""Pairs whose clipped levels tell a network for two frames the wrong thing, and which `ufa-stack` fuses better.

Clipped lights that bloom: out of focus a light beyond white becomes a white disc that covers what lies around it. Where the
other frame shows dark, sharp texture, a network that compares two frames at every pixel takes the disc's sharp rim for detail;
`ufa-stack`, which sees farther, does not. On a made pair whose truth is known (0.5 % of it bloomed) `ufa-edge` came within
21 dB of the truth, `ufa-stack` within 43; on pairs without such lights it is the other way round.

Stark pairs: rulers, bars and test targets in nothing but black and white, far out of focus. Their even parts are clipped in
the frame that has them sharp, and grey in the other one, which looks like the detail there. Of stripes of 8 to 24 pixels,
blurred by 3 and 6 (sigma), `ufa-edge` came within 11 to 31 dB of the truth, where the frames themselves are at 8 to 22, and
`ufa-stack` within 29 to 44. At 30 and 220 instead of 0 and 255 nothing of the kind happens.
"""

import functools
from typing import NamedTuple

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.frames import FrameKind, colours_of, for_opencv, reduced_size
from ufafuse.runtime.registration.glance import halved

_PIXELS = 524_288
_WHITE, _DARK = 0.98, 0.63  # of white
_PERHAPS_WHITE, _PERHAPS_DARK = 0.9, 0.75  # of white, in means of 4 x 4 pixels
_LEAST_SIDE = 64  # pixels, of a frame whose means tell anything
_SMOOTH = 1.5  # pixels: noise and single pixels are no disc
_BLACK, _GREY = 0.02, 0.16  # of white; and how far the other frame is from black or white where it is neither
_SAMPLED = 65_536  # pixels: a share is the same in a sample of them
STARK = 0.01  # share of the picture from which on it is stark: of 100 real and made pairs none has 0.0004, stripes have 0.02
BLOOMED = 0.0005  # share of the picture from which on lights bloom: of forty real and made pairs without them none has any


class Lights(NamedTuple):
    """What clipped levels do in a pair, in shares of the picture from 0 to 1; see the module.

    Attributes:
        bloomed: Where lights bloom.
        stark: Where black and where white turn grey in the other frame: the lesser of both.
    """

    bloomed: float = 0.0
    stark: float = 0.0

    def told(self) -> dict[str, float]:
        """The report's entry of what decides; empty where nothing does."""
        return {"lights": self.bloomed} if self.bloomed >= BLOOMED else {"stark": self.stark} if self.stark >= STARK else {}

    @property
    def why(self) -> str:
        """Why `ufa-stack` fuses the pair better, in a few words; empty where it does not."""
        if self.bloomed >= BLOOMED:
            return f"clipped lights bloom in {100 * self.bloomed:.1f} % of the picture"
        if self.stark >= STARK:
            return f"black and white of one frame are grey in the other in {100 * self.stark:.0f} % of the picture each"
        return ""


def lights_of(near: Array, far: Array, kind: FrameKind) -> Lights:
    """What clipped levels do in a pair, as `check_pair` passed it."""
    bloomed = bloomed_share(near, far, kind)
    return Lights(bloomed, stark_share(near, far, kind) if bloomed < BLOOMED else 0.0)


def stark_share(near: Array, far: Array, kind: FrameKind) -> float:
    """The share of the picture, 0 to 1, that is white in one frame and clearly less in the other, or of black, if that is less.

    Args:
        near, far: As `frames.check_pair` passed them.
        kind: What they are.
    """
    step = max(1, int((near.shape[0] * near.shape[1] / _SAMPLED) ** 0.5))
    a, b = (highest(for_opencv(frame)[::step, ::step], kind) for frame in (near, far))
    white, black, grey = _WHITE * kind.white, _BLACK * kind.white, _GREY * kind.white

    def turned(one: Array, other: Array) -> float:
        lighter = np.count_nonzero((one <= black) & (other > grey))
        return min(lighter, np.count_nonzero((one >= white) & (other < kind.white - grey))) / one.size

    return max(turned(a, b), turned(b, a))


def bloomed_share(near: Array, far: Array, kind: FrameKind) -> float:
    """The share of the picture, 0 to 1, that is white in one frame and dark in the other.

    Args:
        near, far: As `frames.check_pair` passed them.
        kind: What they are.
    """
    if max(float(colours_of(frame).max()) for frame in (near, far)) < _WHITE * kind.white:
        return 0.0  # means of what is darker than white are no white
    if not _may_bloom(near, far, kind):
        return 0.0
    a, b = (_brightest(frame, kind) for frame in (near, far))
    white, dark = _WHITE * kind.white, _DARK * kind.white
    shares = (np.count_nonzero((one >= white) & (other < dark)) for one, other in ((a, b), (b, a)))
    return max(shares) / a.size


def _may_bloom(near: Array, far: Array, kind: FrameKind) -> bool:
    """Whether means of 4 x 4 pixels leave it open, in a fifth of the time: discs that count are larger than those."""
    height, width = near.shape[:2]
    if min(height, width) < _LEAST_SIDE:
        return True
    a, b = (highest(halved(for_opencv(frame), (height // 4) * (width // 4)), kind) for frame in (near, far))
    white, dark = _PERHAPS_WHITE * kind.white, _PERHAPS_DARK * kind.white
    shares = (np.count_nonzero((one >= white) & (other < dark)) / a.size for one, other in ((a, b), (b, a)))
    return any(share >= BLOOMED / 2 for share in shares)


def highest(frame: Array, kind: FrameKind) -> Array:
    """The brightest channel at each pixel."""
    channels = np.ascontiguousarray(frame.reshape(*frame.shape[:2], -1)[..., : 1 if kind.grey else 3])
    return np.asarray(functools.reduce(cv2.max, cv2.split(channels)))


def _brightest(frame: Array, kind: FrameKind) -> Array:
    """The brightest channel of a reduced frame, in the frame's own dtype and levels: a blur of bytes takes half of the time."""
    enough = frame.shape[0] * frame.shape[1] <= _PIXELS
    side = reduced_size(frame.shape, _PIXELS)
    small = frame if enough else cv2.resize(for_opencv(frame), side, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(highest(small, kind), (0, 0), _SMOOTH))
