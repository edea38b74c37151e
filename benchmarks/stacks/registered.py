"""A stack's registered frames, seen once: what they have to offer, and what every contestant is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.benchmarks.metrics.white import White
from ufafuse.benchmarks.stacks.detail import SharpestFrames, ShownDetail
from ufafuse.benchmarks.stacks.levels import alike, luma, white_of_stack
from ufafuse.runtime.arrays import Array, Bytes, Matrix
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.pictures.source import FrameSource
from ufafuse.runtime.registration.align import comparable, compared_pixels, estimate_pictures
from ufafuse.runtime.registration.covering import Crop
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import Stacked, StackOptions
from ufafuse.runtime.stacks.registering import Covered

if TYPE_CHECKING:
    from ufafuse.runtime.fuser import Fuser

BESTS = {"best frame": 1, "best window": 7}
"""What could be had at best: of each pixel the frame closest to the truth in so many pixels around it. One pixel alone is
close to the truth by luck too: of many frames one has the noise that ends a blur. A window leaves that out."""


@dataclass
class Registered:
    """A stack's frames in one geometry.

    Attributes:
        name: The stack's.
        sources: The frames as they were given.
        align: How they are registered: "off", or a key of `MOTIONS`.
        near, far: The first and the last frame that take part, registered, 8-bit levels.
        sharpest: At each pixel the frame of the strongest fine structure, likewise: to look at, seams and all.
        detail: What the frames have to offer.
        pyramid: What `runtime.stacks.pyramid` makes of them, and the time that took.
        crop: What all frames, and the truth, show.
        white: The level of white.
        frames: All that take part, registered; what they do not show is the reference's, or another one's where that does not
            show it either. Empty unless asked for.
        bests: By the names of `BESTS`: of each pixel the frame closest to the truth, 8-bit levels; empty without a truth.
        truth: In the frames' geometry, 8-bit levels; None where there is none.
        truth_moved: How it was brought there (`Placed.matrix`), and what lies as it did has to be.
        notes: What the user should know.
    """

    name: str
    sources: Sequence[FrameSource]
    align: str
    near: Bytes
    far: Bytes
    sharpest: Bytes
    detail: ShownDetail
    pyramid: Stacked
    crop: Crop
    white: White
    frames: list[Array] = field(default_factory=list)
    bests: dict[str, Bytes] = field(default_factory=dict)
    truth: Bytes | None = None
    truth_moved: Matrix | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.near.shape[0], self.near.shape[1]

    @property
    def target(self) -> Bytes:
        """A picture sharp everywhere in the frames' geometry, to register others to."""
        return self.truth if self.truth is not None else self.white.bytes(self.pyramid.fused)


class _Looking:
    """Looks at each registered frame as it comes."""

    def __init__(self, size: tuple[int, int], white: White, *, keep: bool) -> None:
        self._white = white
        self.sharpest = SharpestFrames(size)
        self.near: Bytes | None = None
        self.far: Bytes | None = None
        self.best: Bytes | None = None
        self.kept: list[tuple[Array, Covered | None]] = []
        self._keep = keep

    def __call__(self, _: int, frame: Array, covered: Covered | None) -> None:
        self.far = self._white.bytes(frame).copy()
        self.near = self.far if self.near is None else self.near
        better = self.sharpest.add(luma(frame, self._white.of(frame)), covered)
        self.best = self.far.copy() if self.best is None else self.best
        self.best[better] = self.far[better]
        if self._keep:
            self.kept.append((frame.copy(), covered))


def registered(
    name: str, sources: Sequence[FrameSource], *, align: str, truth: NDArray[Any] | None = None, keep: bool = False
) -> Registered:
    """Register a stack's frames and look at each of them.

    Args:
        name: The stack's.
        sources: Its frames.
        align: "off", or a key of `MOTIONS`.
        truth: The all-in-focus picture. Where the frames are registered, it is too.
        keep: Keep all registered frames, as folding pair by pair needs.

    Raises:
        InputError: Frames that cannot be used, or a truth of another size.
    """
    size = sources[0].shape[0], sources[0].shape[1]
    white = white_of_stack(sources)
    looking = _Looking(size, white, keep=keep or truth is not None)
    # The pyramid needs no network, so that pictures of other programs can be compared where no engine is installed.
    nothing = cast("Fuser", SimpleNamespace(threads=usable_cores(), memory_limit=None, gathers=False))
    pyramid = fuse_sources(nothing, sources, StackOptions(align=align, method="pyramid", on_aligned=looking))
    assert looking.near is not None
    assert looking.far is not None
    assert looking.best is not None
    seen = looking.near, looking.far, looking.best
    found = Registered(name, sources, align, *seen, looking.sharpest.detail(), pyramid, pyramid.crop, white)
    found.notes = [text for text in pyramid.warnings if "`match_gain`" not in text]
    if truth is not None:
        place = placed(truth, found.target, f"the truth of {name}", white=white, move=align != "off")
        found.truth, found.crop, found.truth_moved = place.levels, found.crop.within(place.crop), place.matrix
        found.bests = {name: _best(looking.kept, found.truth, white, side) for name, side in BESTS.items()}
        found.notes += [f"the truth was {place.note}"] if place.note else []
        found.notes += white.told("the truth", truth)
    if keep:
        found.frames = _filled(looking.kept, sources[pyramid.reference])
    return found


def _best(kept: list[tuple[Array, Covered | None]], truth: Bytes, white: White, side: int) -> Bytes:
    """Of each pixel the frame closest to the truth in the side x side pixels around it."""
    best = white.bytes(kept[0][0]).copy()
    least = np.full(truth.shape[:2], np.inf, np.float32)
    for frame, covered in kept:
        levels = white.bytes(frame)
        apart = alike(levels, truth).astype(np.float32) - truth
        error = cv2.boxFilter((apart * apart).reshape(*truth.shape[:2], -1).sum(2), -1, (side, side))
        if covered is not None:
            error[covered == 0] = np.inf
        closer = error < least
        np.copyto(least, error, where=closer)
        best[closer] = levels[closer]
    return best


def _filled(kept: list[tuple[Array, Covered | None]], reference: FrameSource) -> list[Array]:
    """The frames; where one shows nothing, the reference's pixels, as a fold takes them; where that does not, another's."""
    if all(covered is None for _, covered in kept):
        return [frame for frame, _ in kept]
    behind = reference.read()
    shown = behind[..., 3] > 0 if behind.ndim == 3 and behind.shape[2] == 4 else np.ones(behind.shape[:2], np.bool_)
    for frame, covered in kept:
        more = ~shown if covered is None else ~shown & (covered > 0)
        behind[more] = frame[more]
        shown |= more
    for frame, covered in kept:
        if covered is not None:
            frame[covered == 0] = behind[covered == 0]
    return [frame for frame, _ in kept]


class Placed(NamedTuple):
    """A picture in the frames' geometry.

    Args:
        levels: 8-bit levels.
        crop: What it shows of them.
        note: What was done; empty where it lay there already.
        matrix: Where each point of the frames' geometry lies in the picture as it was; None: it was not moved.
    """

    levels: Bytes
    crop: Crop
    note: str
    matrix: Matrix | None = None


def placed(picture: NDArray[Any], target: Bytes, name: str, *, white: White, move: bool = True) -> Placed:
    """Bring a picture that was made elsewhere into the frames' geometry.

    Args:
        picture: As its file has it.
        target: Of the same scene in the frames' geometry, sharp everywhere.
        name: The picture's, for messages.
        white: The level of white of the frames.
        move: Register it; otherwise only its size is checked.

    Raises:
        InputError: It has another size.
    """
    size = target.shape[0], target.shape[1]
    if picture.shape[:2] != size:
        raise InputError(
            f"{name} is {picture.shape[0]} x {picture.shape[1]}, the frames are {size[0]} x {size[1]}: have it written whole, "
            "neither cropped nor enlarged."
        )
    levels, whole = white.bytes(picture), Crop(0, size[0], 0, size[1])
    if not move:
        return Placed(levels, whole, "")
    pixels = compared_pixels(size)
    near, other = (comparable(shown, _kind(shown), pixels) for shown in (target, levels))
    found = estimate_pictures(near, other, size, "affine")
    if found.motion == "none":
        return Placed(levels, whole, "")
    # Lanczos: of what OpenCV has it costs the picture the least of its fine structure.
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(levels, found.matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    note = f"registered to the frames first, by up to {found.moved:.1f} pixels, which costs a little of its detail"
    return Placed(np.asarray(moved, np.uint8), found.crop, note, found.matrix)


def _kind(levels: Bytes) -> FrameKind:
    return FrameKind(levels.dtype, levels.shape[2] if levels.ndim == 3 else 0, 255.0, "bgr")
