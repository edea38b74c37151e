"""How much of a stack's detail a fused picture keeps, and how much it shows that no frame has; no truth is needed.

What is compared is the local RMS of the fine structure (a picture's luma minus its Gaussian blur of 2 pixels) in a Gaussian
window of about 15 pixels. At each place the sharpest registered frame is the one of largest RMS. The places where it is above
the noise are halved by it: the *sharp* part, and the *low*-contrast part, which is lost first. A place is kept where the
fused picture has at least 70 % of it.

What makes that honest:

- **Noise** has an RMS too, the largest of many frames' the more so, and a picture that averages it away loses nothing. At every
  place a stack has a frame that is out of focus and shows the noise alone: the lowest RMS of all frames. It is taken off both
  sides, and only places whose largest RMS is at least twice the lowest take part; elsewhere the frames do not differ in
  focus, or by nothing but noise.
- **Halos**: around a blurred edge or light, the frame of largest RMS may be one that is out of focus. Blur leaves little in
  the finest band beside what it leaves in the next one (2 to 8 pixels); where the frame's fine structure is less than a fifth
  of that, it is the skirt of something coarser and no detail.
  What shines through the blurred edge of something near cannot be told so, nor the rim of a light that blooms; where a truth is
  known, only detail that the truth has too takes part. Of the places that ufa-stack loses on a real slide lit from behind, at
  nine in ten the frame of largest RMS is more than 4 levels brighter or darker than the picture: of the others 94 % are kept.
- **Misregistration**: contours of neighbouring frames lie a pixel apart, pictures of other programs too. The fused picture
  may have its detail up to 2 pixels aside.
- **Uncovered margins** take no part: only what all frames show does.

RMS says nothing of where structure comes from: speckle, rings and mottling have much of it. So structure that is *added* counts
against a picture: the share of places where it has, at either scale, 1.4 times the largest RMS of all frames.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Floats, Mask
from ufafuse.runtime.registration.covering import Crop

FINE, MIDDLE = 2.0, 8.0  # pixels: sigma of the blurs between which structure is fine, and middle
WINDOW = 3.75  # sigma of the window: of about 15 pixels
KEPT = 0.7
ADDED = 1.4
_ABOVE_NOISE = 2.0
_SKIRT = 0.2
_ASIDE = 2
_LEAST_NOISE = 0.35  # levels: what rounding to 8 bits leaves of a flat surface, and a little
_FAR_FROM_ALL = 3.0  # levels beyond the noise, before structure counts as added


@dataclass(frozen=True)
class Structure:
    """Local RMS of a picture's structure at two scales: H x W float32, in levels of 8 bits."""

    fine: Floats
    middle: Floats


def structure_of(luma: Floats) -> Structure:
    """The structure of a picture's luma, H x W in levels 0..255."""
    blurred, coarse = (np.asarray(cv2.GaussianBlur(luma, (0, 0), sigma), np.float32) for sigma in (FINE, MIDDLE))
    return Structure(_rms(luma - blurred), _rms(blurred - coarse))


def _rms(band: Floats) -> Floats:
    power = np.asarray(cv2.GaussianBlur(band * band, (0, 0), WINDOW), np.float32)
    return np.sqrt(np.maximum(power, 0))


class SharpestFrames:
    """What is remembered of a stack's registered frames, which come one after the other.

    Args:
        size: (height, width).
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._fine, self._beside = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._middle = np.zeros(size, np.float32)
        self._lowest = np.full(size, np.inf, np.float32)
        self._shown: Mask = np.ones(size, np.bool_)

    def add(self, luma: Floats, covered: NDArray[np.uint8] | None) -> Mask:
        """Add a frame: its luma in levels 0..255, and where it shows something (None: everywhere).

        Returns:
            Where it is the sharpest so far, H x W.
        """
        found = structure_of(luma)
        better = found.fine > self._fine
        np.copyto(self._fine, found.fine, where=better)
        np.copyto(self._beside, found.middle, where=better)
        np.maximum(self._middle, found.middle, out=self._middle)
        np.minimum(self._lowest, found.fine, out=self._lowest)
        if covered is not None:
            self._shown &= covered > 0
        return np.asarray(better)

    def detail(self) -> "ShownDetail":
        """What the frames have to offer, once all were added."""
        shown = _without_rim(self._shown)
        noise = np.maximum(self._lowest, np.float32(_LEAST_NOISE))
        counted = shown & (self._fine >= _ABOVE_NOISE * noise) & (self._fine >= _SKIRT * self._beside)
        middle = np.float32(np.median(self._fine[counted])) if counted.any() else np.float32(0)
        sharp = counted & (self._fine >= middle)
        return ShownDetail(self._fine, self._fine, self._middle, noise, shown, sharp, counted & ~sharp)


def _without_rim(shown: Mask) -> Mask:
    """Without the places whose window sees something that a frame does not show."""
    reach = 2 * int(np.ceil(WINDOW)) + 1
    if shown.all():
        return shown
    eroded = cv2.erode(shown.astype(np.uint8), np.ones((reach, reach), np.uint8), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(eroded > 0)


@dataclass(frozen=True)
class ShownDetail:
    """What the registered frames of a stack have to offer.

    Attributes:
        fine: The largest fine RMS of all frames, H x W float32, in levels.
        most_fine, most_middle: The most structure that a picture may have without having added some, likewise.
        noise: The noise's fine RMS, likewise.
        shown: What all frames show, without the rim, H x W bool.
        sharp, low: The parts where there is detail: of more than the median RMS, and of less.
    """

    fine: Floats
    most_fine: Floats
    most_middle: Floats
    noise: Floats
    shown: Mask
    sharp: Mask
    low: Mask

    def confirmed(self, truth: Floats) -> "ShownDetail":
        """Without the detail that the truth (its luma, H x W in levels 0..255) does not have; its own is not added detail."""
        found = structure_of(truth)
        kept = self._kept(found)
        fine, middle = np.maximum(self.most_fine, found.fine), np.maximum(self.most_middle, found.middle)
        return replace(self, sharp=self.sharp & kept, low=self.low & kept, most_fine=fine, most_middle=middle)

    def kept(self, luma: Floats, crop: Crop | None = None) -> dict[str, float]:
        """How much of it a fused picture keeps.

        Args:
            luma: The picture's, H x W in levels 0..255.
            crop: What it shows of the frames; None: all.

        Returns:
            ``detail_sharp`` and ``detail_low``: shares of the two parts that are kept, 0 to 1; ``detail_added``: the share of
            all places that have more structure than any frame, 0 at best. NaN where there is no such part.
        """
        found = structure_of(luma)
        kept = self._kept(found)
        most_fine, most_middle = (_around(rms) for rms in (self.most_fine, self.most_middle))
        more = (found.fine > ADDED * most_fine + _FAR_FROM_ALL) | (found.middle > ADDED * most_middle + _FAR_FROM_ALL)
        seen = self.shown if crop is None else self.shown & _without_rim(_inside(crop, self.shown.shape))
        return {
            "detail_sharp": _share(kept, self.sharp & seen),
            "detail_low": _share(kept, self.low & seen),
            "detail_added": _share(more, seen),
        }

    def _kept(self, found: Structure) -> Mask:
        around, power = _around(found.fine), self.noise * self.noise
        kept = np.maximum(around * around - power, 0) >= KEPT**2 * (self.fine * self.fine - power)
        return np.asarray(kept)


def _around(rms: Floats) -> Floats:
    """The largest within the distance at which contours may lie."""
    return np.asarray(cv2.dilate(rms, np.ones((2 * _ASIDE + 1,) * 2, np.uint8)), np.float32)


def _inside(crop: Crop, size: tuple[int, ...]) -> Mask:
    mask = np.zeros(size, np.bool_)
    mask[crop.slices] = True
    return mask


def _share(what: Mask, where: Mask) -> float:
    count = int(where.sum())
    return float((what & where).sum() / count) if count else float("nan")
