"""What is asked of the fusion of a stack, and what it gives."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Brief
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import check_order
from ufafuse.runtime.levels import Levels
from ufafuse.runtime.memory.tiling import Grid
from ufafuse.runtime.registration.align import Alignment, check_motion
from ufafuse.runtime.registration.conflict import WORTH_A_WORD, Conflicts
from ufafuse.runtime.registration.covering import Crop
from ufafuse.runtime.registration.guesses import MOTIONS
from ufafuse.runtime.stacks.banding import Banding
from ufafuse.runtime.stacks.height import Height
from ufafuse.runtime.stacks.registering import Covered
from ufafuse.runtime.stacks.tones import Piecewise
from ufafuse.runtime.values import check_values, is_number, is_switch, is_text, is_whole

Weights = NDArray[np.float32]
METHODS = ("network", "pyramid")
MOST_SMOOTHING = 10.0
MOST_RESTORED = 2.2
_SWITCHES = ("crop", "want_map", "want_confidence", "want_conflicts", "want_height", "keep_unregistered")


@dataclass(frozen=True)
class StackOptions:
    """What is done to the frames before they are fused, and what is given beside the fused one.

    Args:
        order: Channel order, ``"bgr"`` or ``"rgb"``.
        white: The level of white where it is not the dtype's greatest.
        bayer: The pattern of raw frames.
        align: ``"off"``, or a key of `ufafuse.runtime.registration.guesses.MOTIONS`: the frames are registered to the
            first of two, or to the one of a stack that the others cover best.
        match_gain: Multiply the frames' levels to match the reference's; None: those of a stack of three frames or more are
            matched to the middle of them where their exposure differs by 6 % or more, of which the result tells.
        crop: Cut everything down to what all frames show.
        want_map: Give the map.
        want_confidence: Give the confidence.
        want_conflicts: Give the map of where frames disagree.
        want_height: Give the height map; for a network that gathers.
        method: ``"network"``, or ``"pyramid"``: the classical choice of the strongest detail in every octave.
        smoothing: How readily frames that show a place much alike are averaged there, 1 to `MOST_SMOOTHING`: less noise, and
            of a grain that many frames show less; for a network that gathers. The frames' weights are raised to one over it.
            None: as the noise of three frames or more asks for, see `ufafuse.runtime.stacks.noise`.
        restore: By what factor detail may be raised that lies between the planes of focus, 1 (not at all) to `MOST_RESTORED`;
            for a network that gathers, of three frames or more. See `ufafuse.runtime.stacks.gaps`.
        reference: The number of the frame, from 0, whose geometry and exposure the others take, of a pair too; None: it is
            chosen.
        keep_unregistered: Frames that cannot be registered take part all the same.
        on_aligned: Called with each frame that takes part as the network sees it: its number as it was given, from 0, the
            frame, and where it shows something (H x W uint8 of 0 and 1, or None: everywhere). The frame is not to be written
            to. What it raises ends the fusion.
    """

    order: str = "bgr"
    white: float | None = None
    bayer: str | None = None
    align: str = "off"
    match_gain: bool | None = None
    crop: bool = False
    want_map: bool = False
    want_confidence: bool = False
    want_conflicts: bool = False
    want_height: bool = False
    method: str = "network"
    smoothing: float | None = None
    restore: float = MOST_RESTORED
    reference: int | None = None
    keep_unregistered: bool = False
    on_aligned: Callable[[int, Array, Covered | None], None] | None = None

    def __post_init__(self) -> None:
        """Refuse options that are not what they should be, or do not go together (`InputError`)."""
        check_values(
            self,
            {
                **dict.fromkeys(("order", "align", "method"), is_text),
                **dict.fromkeys(_SWITCHES, is_switch),
                "restore": is_number,
            },
            optional={
                "match_gain": is_switch,
                "white": is_number,
                "smoothing": is_number,
                "bayer": is_text,
                "reference": is_whole,
                "on_aligned": callable,
            },
        )
        check_order(self.order)
        if self.align != "off":
            check_motion(self.align)
        else:
            self._check_unaligned()
        if self.method not in METHODS:
            raise InputError(f"`method={self.method}` is not known: choose {' or '.join(METHODS)}.")
        if self.smoothing is not None and not 1 <= self.smoothing <= MOST_SMOOTHING:  # nor NaN
            raise InputError(f"`smoothing={self.smoothing:g}` is not possible: give 1 (none) to {MOST_SMOOTHING:g}.")
        if not 1 <= self.restore <= MOST_RESTORED:  # nor NaN
            raise InputError(f"`restore={self.restore:g}` is not possible: give 1 (nothing is raised) to {MOST_RESTORED:g}.")
        if self.reference is not None and self.reference < 0:
            raise InputError(f"`reference={self.reference}` is no frame's number: they are counted from 0.")

    def _check_unaligned(self) -> None:
        """Refuse what would do nothing to frames that are not registered (`InputError`)."""
        if self.crop:
            raise InputError(f"`crop` cuts to what aligned frames share: add `align={' or '.join(MOTIONS)}`.")
        if self.keep_unregistered:
            raise InputError("`keep_unregistered` is about registered frames: add `align`.")
        if self.reference is not None and not self.match_gain:
            raise InputError("`reference` is what others are registered to: add `align`.")

    def check_reference(self, frames: int, *, first: int = 0) -> None:
        """Refuse a reference that is none of so many frames (`InputError`); ``first`` is what whoever asked calls the first."""
        if self.reference is not None and self.reference >= frames:
            raise InputError(f"`reference={self.reference + first}`: there are {frames} frames, counted from {first}.")


@dataclass(repr=False)
class Stacked(Brief):
    """A fused stack.

    Args:
        fused: A frame like the others (smaller with ``crop``), in the reference's geometry.
        reference: The number of the frame that the others were registered and matched to.
        map: H x W float32 in [0, 1]: of two frames the near one's weight; of more, which frame weighs most: 1 for the
            first, 0 for the last, the others evenly between. None where it was not asked for, or the model has none.
        confidence: H x W float32 in [0, 1], see `ufafuse.runtime.registration.sharpness`; None where it was not asked for.
        conflicts: H x W float32 in [0, 1]: where neighbouring frames disagree by more than their focus, see
            `ufafuse.runtime.registration.conflict`; None where it was not asked for.
        disagreement: The share of the picture where they do.
        crop: What all frames show, in pixels of the reference.
        taken: The numbers of the frames that took part, as they were given, in the order of focus.
        alignments: How each of these but the reference lies to it, in this order; empty without ``align``.
        gains: What each of these but the reference was multiplied by, in this order; empty without ``match_gain``.
        matched: What a frame, by its number as it was given, was multiplied by to be exposed like the middle of all, one factor
            or three; empty where they are exposed alike, and with ``match_gain``.
        curves: What the levels of a frame that differs by more than a factor, by its number as it was given, became: one curve
            or three, white at 1; with ``match_gain`` in the reference's exposure, and `gains` then holds what white became.
        warnings: What the user should know.
        grid: The tiles of each fusion; None when frames were fused whole.
        ms: Time of the fusions alone.
        levels: The level of white that was taken, and why.
        order: The numbers of the frames as they were given, in the order of focus in which they were taken; empty where that
            is the order given.
        reordered: By what that order was found.
        left_out: Why a frame, by its number as it was given, took no part.
        beside: To which frame one was registered that agrees with its neighbours less, by their numbers as they were given.
        hot_pixels: How many faulty pixels of the sensor were mended.
        banding: The bands of light that were evened, of a lamp that flickers; None: there were none.
        dust: How many spots of dust on the sensor were lightened.
        strayed: In which share of the picture a frame, by its number as it was given, took no part, because it shows something
            there that the frames before and after it do not.
        smoothing: How readily frames were averaged, as `StackOptions.smoothing` has it.
        noise: The frames' noise, in levels of 255 as the network sees them, where the smoothing was chosen by it; otherwise 0.
        restored: In which share of the picture detail between the planes of focus was raised so that it shows, and by what
            factor at most.
        height: The height map; None where it was not asked for.
        last_place: Which height the last frame has, the first one having 0: of all frames, but that those whose exposure failed
            have no place in an order that was found by where frames are sharp.
    """

    fused: Array
    crop: Crop
    reference: int = 0
    map: Weights | None = None
    confidence: Weights | None = None
    conflicts: Weights | None = None
    disagreement: float = 0.0
    alignments: list[Alignment] = field(default_factory=list)
    gains: list[tuple[float, ...]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    grid: Grid | None = None
    ms: float = 0.0
    levels: Levels | None = None
    order: list[int] = field(default_factory=list)
    reordered: str = ""
    left_out: dict[int, str] = field(default_factory=dict)
    beside: dict[int, int] = field(default_factory=dict)
    matched: dict[int, tuple[float, ...]] = field(default_factory=dict)
    curves: dict[int, tuple[Piecewise, ...]] = field(default_factory=dict)
    hot_pixels: int = 0
    banding: Banding | None = None
    dust: int = 0
    taken: list[int] = field(default_factory=list)
    strayed: dict[int, float] = field(default_factory=dict)
    smoothing: float = 1.0
    noise: float = 0.0
    restored: tuple[float, float] = (0.0, 1.0)
    height: Height | None = None
    last_place: int = 0

    def tell_conflicts(self, conflicts: Conflicts, *, wanted: bool, unaligned: bool) -> None:
        """Take what was found of frames that disagree.

        Args:
            conflicts: What was found.
            wanted: Keep the map.
            unaligned: It is known already that the frames are shifted, which explains it.
        """
        self.disagreement = conflicts.share
        self.conflicts = conflicts.map() if wanted else None
        if conflicts.share >= WORTH_A_WORD and not unaligned:
            self.warnings.append(
                f"in {100 * conflicts.share:.0f} % of the picture the frames show different things, as if something had moved: "
                "`conflicts` shows where."
            )

    def cut(self) -> "Stacked":
        """Cut everything down to `crop`; returns itself. What is cut already, as with the option ``crop``, stays as it is."""
        if self.fused.shape[:2] == (self.crop.bottom - self.crop.top, self.crop.right - self.crop.left):
            return self

        def cut(plane: NDArray[Any] | None) -> Any:  # noqa: ANN401 - an array, or None for None
            return None if plane is None else np.ascontiguousarray(plane[self.crop.slices])

        self.fused, self.map, self.confidence = (cut(plane) for plane in (self.fused, self.map, self.confidence))
        self.conflicts = cut(self.conflicts)
        if self.height is not None:
            self.height = Height(cut(self.height.position), cut(self.height.confidence))
        return self
