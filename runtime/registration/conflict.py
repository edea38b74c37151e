"""Where frames disagree by more than their focus: something moved between them, and a fused picture may show it twice or torn.

Two pictures are compared window by window by the correlation of their fine structure (normalised, so that no gain or offset
counts), the one or the other blurred by several amounts first: the largest correlation stands, for a difference in focus is
none in content. Windows that show no structure agree.

Measured on 24 real and made pairs in which nothing moved: at most 0.5 % of a picture counts as in disagreement, 0.02 % on
average; of a square that was replaced in one frame 94 %, of a textured one that slid by 12 to 30 pixels 69 %. Neighbouring
frames of drawn boards with wide defocus reach 1 %, at the outlines of what stands high. Twice the pixels find 2 % more in twice
the time, which a folder of pairs feels.

A lens blurs by a disc, which a Gaussian is like while it is small. A wide one turns fine structure into its negative: of six
photographs of 256 x 256 blurred by discs of 8 pixels 14 % counted as in disagreement, by hexagons 8 %, by a mirror lens's rings
45 %. So where much would be told, discs are tried too: 1.5, 0.6 and 2.4 %. And where two frames of a stack both have a place
far out of focus, no blur of the one is the other. So it counts in those that show a good part of the structure that any of them
has: of print on a slope, through a disc that grows by 3 and by 5 pixels a frame, 18 and 32 % were in disagreement, and none is.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.registration.glance import glanced
from ufafuse.runtime.registration.refine import detail_energy, share_of_near

_PIXELS = 32_768
_SMOOTH = 0.8  # sigma in pixels of the reduced pictures, as all below
_BLURS = (1.0, 2.2, 6.0)
_DISCS = (4.5, 6.0, 8.0, 11.0)  # radius
_COARSE = 3.7  # sigma: what is coarser than this is no structure
_WINDOW = 13
_FLAT = (1 / 255) ** 2  # added to every variance: below a level there is nothing to compare
_STRUCTURE = 4 / 255  # standard deviation that one of the two must show
_FAINT = 0.25  # of the variance that a place has in the frame that shows it best: with less it is out of focus
DISAGREE = 0.7  # correlation, below which a window disagrees
_WHITE, _DARK = 0.97, 0.63  # of white
_AROUND_BLOOMS = 29  # pixels
WORTH_A_WORD = 0.03  # share of the picture from which on somebody is told, and discs are tried


class Conflicts:
    """Finds where frames that come one after the other disagree, each with the one before it.

    Args:
        size: (height, width) of the frames, which lie in one geometry.
        kind: What they are.
        mapped: Whether `map` will be asked for; otherwise what agrees well enough is not looked at any further.
    """

    def __init__(self, size: tuple[int, int], kind: FrameKind, *, mapped: bool = True) -> None:
        self._size, self._kind, self._mapped = size, kind, mapped
        self._before: tuple[Floats, _Structure, Any] | None = None
        self._found: Floats | None = None
        self._seen_with: Floats | None = None  # the structure of the pair of frames that it was found in
        self._strongest: Floats | None = None  # and the strongest of all

    def add(self, frame: Array, covered: NDArray[np.uint8] | None = None) -> None:
        """Take the next frame.

        Args:
            frame: H x W [x 1, 3 or 4].
            covered: H x W, 0 where it shows nothing; None: it shows something everywhere.
        """
        picture = np.asarray(cv2.GaussianBlur(glanced(frame, self._kind, _PIXELS), (0, 0), _SMOOTH), np.float32)
        shown, structure = None if covered is None else _shown(covered, picture.shape), _Structure.of(picture)
        if self._before is not None:
            before, other, seen = self._before
            found = _disagreement((before, picture), (other, structure), enough=1.0 if self._mapped else DISAGREE)
            found *= _without_blooms(before, picture)
            for mask in (shown, seen):
                if mask is not None:
                    found = found * mask
            self._take(found, np.maximum(other.variance, structure.variance))
        self._before = picture, structure, shown

    def _take(self, found: Floats, structure: Floats) -> None:
        """Take what two frames disagree in, with how much structure one of them shows at each place."""
        if self._found is None or self._seen_with is None or self._strongest is None:
            self._found, self._seen_with, self._strongest = found, structure, structure
            return
        self._strongest = np.maximum(self._strongest, structure)
        least = _FAINT * self._strongest
        now, before = np.where(structure >= least, found, 0), np.where(self._seen_with >= least, self._found, 0)
        self._seen_with = np.where(now > before, structure, self._seen_with)
        self._found = np.maximum(now, before)

    def begin_anew(self) -> None:
        """The next frame is compared with none before it."""
        self._before = None

    @property
    def share(self) -> float:
        """The share of the picture that is in disagreement, 0 to 1."""
        return 0.0 if self._found is None else float((self._found > 1 - DISAGREE).mean())

    def map(self) -> Floats:
        """How much each place disagrees, H x W float32 in [0, 1]: 0 where frames correlate wholly, 1 where not at all."""
        if self._found is None:
            return np.zeros(self._size, np.float32)
        return np.asarray(np.clip(cv2.resize(self._found, self._size[::-1], interpolation=cv2.INTER_LINEAR), 0, 1), np.float32)


def disagreement(a: Floats, b: Floats, *, enough: float = 1.0) -> Floats:
    """One minus the largest correlation of two pictures' structure round each pixel, over differences in focus.

    Args:
        a, b: H x W float32, white = 1.
        enough: A correlation from which on it is no matter how large it is: where every pixel has it, nothing more is tried.

    Returns:
        H x W float32 in [0, 1]; 0 where neither shows structure.
    """
    return _disagreement((a, b), (_Structure.of(a), _Structure.of(b)), enough=enough)


def _disagreement(pictures: tuple[Floats, Floats], structures: tuple["_Structure", "_Structure"], *, enough: float) -> Floats:
    (a, b), (one, other) = pictures, structures
    best = one.correlation(other)
    best[np.maximum(one.variance, other.variance) < _STRUCTURE**2] = 1
    near = np.asarray(share_of_near(detail_energy(a), detail_energy(b)), np.float32)
    for blur, soften in (*((sigma, _blurred) for sigma in _BLURS), *((radius, _through_a_lens) for radius in _DISCS)):
        if soften is _through_a_lens and (best < DISAGREE).mean() < WORTH_A_WORD:
            break
        soft_a, soft_b = soften(a, blur), soften(b, blur)
        # At each place the sharper one is blurred: where two depths meet, neither is so throughout a window.
        mixed = np.asarray(a + near * (soft_a - a), np.float32), np.asarray(soft_b + near * (b - soft_b), np.float32)
        np.maximum(best, _Structure.of(mixed[0]).correlation(_Structure.of(mixed[1])), out=best)
        if best.min() >= enough:
            break
        np.maximum(best, _Structure.of(soft_a).correlation(other), out=best)
        np.maximum(best, one.correlation(_Structure.of(soft_b)), out=best)
    return np.clip(1 - best, 0, 1)


class _Structure(NamedTuple):
    """A picture without what is coarse, and its mean and variance in the window round each pixel."""

    fine: Floats
    mean: Floats
    variance: Floats

    @classmethod
    def of(cls, picture: Floats) -> "_Structure":
        fine = picture - _blurred(picture, _COARSE)
        mean = _mean(fine)
        variance = np.asarray(np.maximum(_mean(np.asarray(fine * fine, np.float32)) - mean * mean, 0), np.float32)
        return cls(fine, mean, variance)

    def correlation(self, other: "_Structure") -> Floats:
        both = _mean(np.asarray(self.fine * other.fine, np.float32)) - self.mean * other.mean
        norm = np.sqrt((self.variance + np.float32(_FLAT)) * (other.variance + np.float32(_FLAT)))
        return np.asarray((both + np.float32(_FLAT)) / norm, np.float32)


def _mean(picture: Floats) -> Floats:
    return np.asarray(cv2.boxFilter(picture, -1, (_WINDOW, _WINDOW), borderType=cv2.BORDER_REFLECT_101), np.float32)


def _blurred(picture: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def _through_a_lens(picture: Floats, radius: float) -> Floats:
    """The picture out of focus, each point a disc."""
    reach = int(np.ceil(radius))
    rows, columns = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.clip(radius + 0.5 - np.hypot(rows, columns), 0, 1)
    kernel = np.asarray(kernel / kernel.sum(), np.float32)
    return np.asarray(cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REFLECT_101), np.float32)


def _without_blooms(a: Floats, b: Floats) -> NDArray[np.bool_]:
    """All but the surroundings of a light beyond white that is a disc out of focus: another sight, but nothing moved."""
    bloomed = ((a >= _WHITE) & (b < _DARK)) | ((b >= _WHITE) & (a < _DARK))
    around = cv2.dilate(bloomed.astype(np.uint8), np.ones((_AROUND_BLOOMS, _AROUND_BLOOMS), np.uint8))
    return np.asarray(around == 0)


def _shown(covered: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Where a whole window of the reduced picture is covered; None: everywhere."""
    if covered.all():
        return None
    small = cv2.resize((covered > 0).astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(_mean(np.asarray(small, np.float32)) > 1 - 1e-4)
