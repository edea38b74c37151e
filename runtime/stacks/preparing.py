"""The frames of a stack on their way to the network, twice: read, mended, brought into one geometry, matched in exposure.

`Held` keeps the frames of a stack that fits into the memory; `Passing`, in a file of its own, reads each frame for each pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import FrameKind, in_text
from ufafuse.runtime.levels import GIVEN, Levels, kind_with_levels
from ufafuse.runtime.pictures.source import FrameSource
from ufafuse.runtime.registration.align import unmoved
from ufafuse.runtime.registration.gain import MOST_GAIN, curve_between, gains_to
from ufafuse.runtime.stacks.banding import Banding, find_banding
from ufafuse.runtime.stacks.dust import Spot, find_dust, without_dust
from ufafuse.runtime.stacks.exposure import FEWEST, Exposures, Match, relative, stands_out, to_be_matched
from ufafuse.runtime.stacks.hot import find_hot_pixels, looked_at, without_hot_pixels
from ufafuse.runtime.stacks.noise import FrameNoise, is_noisier, without_noise
from ufafuse.runtime.stacks.order import BY_SHARPNESS, by_sharpness
from ufafuse.runtime.stacks.registering import Covered, Move, along_agreement, moved, registered

T = TypeVar("T")
R = TypeVar("R")

_MOST_COMPARED_WITH_ALL = 300  # frames: their glances take 20 MB


@dataclass(frozen=True)
class Seen:
    """One frame as it is fused.

    Attributes:
        index: Its number in the order of focus.
        frame: Itself.
        covered: Where it shows something (None: everywhere).
        noise: Its noise, in its own levels, where that is so much more than the others' that it looks like detail; else 0.
    """

    index: int
    frame: Array
    covered: Covered | None
    noise: float = 0.0

    @property
    def judged(self) -> Array:
        """What the network judges it by."""
        return without_noise(self.frame, self.noise) if self.noise else self.frame


@dataclass
class Wishes:
    """What is done to the frames.

    Attributes:
        load: Reads a source as a frame.
        order: Channel order.
        white: The level of white; None: it is found.
        white_from: By what it is known.
        align: A key of `MOTIONS`, or "off".
        match_gain: Match the frames' levels to the reference's; None: to the middle of all, where they differ.
        reference: The number of the reference; None: it is chosen.
        keep_unregistered: Frames that cannot be registered take part all the same.
        threads: How many frames are worked on side by side.
        ahead: Frames that are held are moved one ahead, beside the network's work: where the memory has no bound.
    """

    load: Callable[[FrameSource], Array]
    order: str = "bgr"
    white: float | None = None
    align: str = "off"
    match_gain: bool | None = None
    reference: int | None = None
    keep_unregistered: bool = False
    threads: int = 1
    ahead: bool = True
    white_from: str = GIVEN

    @property
    def headroom(self) -> float:
        """How much brighter frames may become before they are fused."""
        return MOST_GAIN if self.match_gain else 1.0


@dataclass
class Prepared(ABC):
    """The frames of a stack, ready for two passes.

    Attributes:
        sources: In the order of focus.
        kind, size: What the frames are; their levels are found by `begin`.
        levels: The levels that were found.
        wishes: What is done to them.
        reference: The frame whose geometry and exposure the others take.
        moves: How each frame is moved; complete after the first pass.
        exposures: How frames are exposed; known after `begin`.
        uneven: Whether those that `begin` looked at differ in exposure by a factor.
        bent: Whether any of them differs by more than that.
        matches: How each frame's levels were matched, of those that were; complete after the first pass.
        brightness: How bright each frame is to the middle of all, once it is matched; of those that tell, after the first pass.
        quietest: The most that the noise of the quietest of the frames that `begin` looked at can be, in levels of 255.
        noises: That of frames that have so much more that it looks like detail; complete after the first pass.
        banding: The bands of light that differ from frame to frame; None: there are none.
        hot: The sensor's faulty pixels, N x 2.
        dust: The spots of dust on it.
        reordered: Whether the frames came in another order than that of focus, and by what it was seen; empty if not.
        dropped: Frames that were taken from `sources` before all else, and why.
        places: Where each of `sources` stands in the stack, from 0: what was dropped has its place too, unless another order
            than the one given was found without it.
        last_place: Where the stack ends.
    """

    sources: list[FrameSource]
    kind: FrameKind
    size: tuple[int, int]
    wishes: Wishes
    levels: Levels | None = None
    reference: int = 0
    moves: dict[int, Move] = field(default_factory=dict)
    exposures: Exposures = field(init=False)
    uneven: bool = False
    bent: bool = False
    matches: dict[int, Match] = field(default_factory=dict)
    brightness: dict[int, float] = field(default_factory=dict)
    quietest: float = 0.0
    noises: dict[int, float] = field(default_factory=dict)
    curve: float = 1.0
    banding: Banding | None = None
    hot: NDArray[np.intp] = field(default_factory=lambda: np.empty((0, 2), np.intp))
    dust: list[Spot] = field(default_factory=list)
    reordered: str = ""
    dropped: list[tuple[FrameSource, str]] = field(default_factory=list)
    places: list[int] = field(init=False)
    last_place: int = field(init=False)
    _target: Match | Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Nothing is dropped yet."""
        self._number_places()

    def _number_places(self) -> None:
        self.places = list(range(len(self.sources)))
        self.last_place = len(self.sources) - 1

    @property
    def numbers(self) -> list[int]:
        """The frames that take part, in the order of focus."""
        return [index for index in range(len(self.sources)) if not (index in self.moves and self.moves[index].left_out)]

    @property
    def gains(self) -> dict[int, tuple[float, ...]]:
        """What each frame was multiplied by, of those that were; where that was a curve, what white was."""
        return {index: match.gains for index, match in self.matches.items()}

    @abstractmethod
    def begin(self) -> None:
        """Read what has to be known before the first pass: levels, order, reference. Raises: InputError."""

    @abstractmethod
    def first_pass(self) -> Iterator[Seen]:
        """Every frame that takes part, in any order."""

    @abstractmethod
    def second_pass(self) -> Iterator[Seen]:
        """Every frame that takes part, in the order of focus."""

    def _find_levels(self, frames: Sequence[Array]) -> None:
        self.kind, self.levels = kind_with_levels(
            frames,
            order=self.wishes.order,
            white=self.wishes.white,
            white_from=self.wishes.white_from,
            headroom=self.wishes.headroom,
        )

    def _drop(self, why: Sequence[str]) -> None:
        """Take sources out of the stack: those for which there is a reason."""
        asked = self.wishes.reference
        if asked is not None:
            check_reference(self.sources[asked], why[asked])
            self.wishes.reference = asked - sum(map(bool, why[:asked]))
        self.dropped = [(source, reason) for source, reason in zip(self.sources, why, strict=True) if reason]
        self.places = [place for place, reason in enumerate(why) if not reason]
        self.sources[:] = [source for source, reason in zip(self.sources, why, strict=True) if not reason]

    def _take_in_order(self, order: Sequence[int]) -> None:
        """Take the sources in the order in which they are sharp, by their numbers."""
        self.reordered = BY_SHARPNESS
        self.sources[:] = [self.sources[index] for index in order]
        self._number_places()
        if self.wishes.reference is not None:
            self.wishes.reference = order.index(self.wishes.reference)

    def _without_banding(self, frame: Array) -> Array:
        """A frame that was read, as all else is done to it."""
        return frame if self.banding is None else self.banding.evened(frame)

    def _look_for_differences(self, frames: Sequence[Array]) -> None:
        """How noisy the quietest of these frames is, and whether any differs in exposure, so that all are to be matched."""
        self.quietest = min((FrameNoise(self.size, self.kind).at_most(frame) for frame in frames), default=np.inf)
        found = [self.exposures.match(frame) for frame in frames] if self.wishes.match_gain is None else []
        self.uneven, self.bent = any(map(stands_out, found)), any(match.curves for match in found)

    def _match_to(self, reference: Array) -> None:
        """Know the exposure that all frames take where the reference's was asked for."""
        if self.wishes.match_gain:
            self._target = self._own_match(reference) or reference

    def _own_match(self, frame: Array) -> Match | None:
        """How a frame that was read is matched to be exposed like the middle of all; None: there is none."""
        asked = self.wishes.match_gain
        if asked is False or not self.exposures.known:
            return None
        return self.exposures.match(frame, sure=not asked)

    def _noise_of(self, index: int, frame: Array) -> float:
        """What `Seen.noise` is of a frame that was read, not yet moved nor matched, from its levels as they were matched."""
        gain = float(np.mean(self.matches[index].gains)) if index in self.matches else 1.0
        sigma = FrameNoise(self.size, self.kind).of(frame) * gain
        if len(self.sources) < FEWEST or not is_noisier(sigma, self.quietest):
            return 0.0
        self.noises[index] = sigma
        return self._noise_in_levels(index)

    def _noise_in_levels(self, index: int) -> float:
        return self.noises.get(index, 0.0) * self.kind.unit / 255

    def _matched(self, index: int, frame: Array, own: Match | None) -> Array:
        """A frame in its place, with the levels of the reference or of the middle of the frames, as was asked for."""
        match = self._match(index, frame, own)
        if own is not None and (left := own.left(match)) is not None:
            self.brightness[index] = left
        if match is None:
            return frame
        self.matches[index] = match
        beside = self._target if self.wishes.match_gain and isinstance(self._target, np.ndarray) else None
        made = match.of(frame, self.kind, beside=beside)
        if beside is not None:
            self.curve = max(self.curve, curve_between(beside, made, self.kind))
        return made

    def _match(self, index: int, frame: Array, own: Match | None) -> Match | None:
        if self.wishes.match_gain is None:
            return own if own is not None and to_be_matched(own, every=self.uneven) else None
        if not self.wishes.match_gain or index == self.reference:
            return None
        if own is not None and isinstance(self._target, Match):
            return relative(own, self._target)
        assert not isinstance(self._target, Match)
        return Match(gains_to(self._target, frame, self.kind))  # of two frames there is no middle

    def _unmoved(self) -> Move:
        return Move(unmoved(self.size, 1.0, ""))


class Held(Prepared):
    """A stack whose frames are kept in memory between the passes."""

    def begin(self) -> None:
        """Read all frames."""
        with ThreadPoolExecutor(self.wishes.threads) as pool:
            self._frames = list(pool.map(self.wishes.load, self.sources))
        self._find_levels(self._frames)
        self._drop_failed()

    def _drop_failed(self) -> None:
        """Let go of the frames whose exposure failed."""
        self.exposures = Exposures(self._frames, self.kind)
        why = [self.exposures.failed(frame) for frame in self._frames]
        given = self._frames
        self._drop(why)
        self._frames = [frame for frame, reason in zip(self._frames, why, strict=True) if not reason]
        if self.dropped and self._frames:
            self._find_levels(self._frames)
        # The same few as where frames are not kept, so that the picture is the same.
        looked = looked_at(len(self.sources) + len(self.dropped)) or range(len(why))
        fit = [frame for index, frame in enumerate(given) if index in looked and not why[index]]
        del given
        self.banding = find_banding(fit, self.kind)
        if self.banding is not None:
            fit = [self._without_banding(frame) for frame in fit]
            for index, frame in enumerate(self._frames):  # one after the other: as many again would be held
                self._frames[index] = self._without_banding(frame)
            self.exposures = Exposures(self._frames, self.kind)
        self._look_for_differences(fit)

    def first_pass(self) -> Iterator[Seen]:
        """Find the order, the motions and the exposures, and give every frame."""
        frames = self._frames
        if self.wishes.align != "off":
            frames = self._in_order(frames)
            frames = self._mended(frames)
            self._register(frames)
            looked = [index for index in looked_at(len(frames)) if not self.moves[index].left_out]
            lie = [self.moves[index].alignment.matrix for index in looked]
            self.dust = find_dust([frames[index] for index in looked], self.kind, lie)
        else:
            self.reference = self.wishes.reference or 0
            self.moves = {index: self._unmoved() for index in range(len(frames))}
        self._frames = frames
        self._seen: list[Seen | None] = [None] * len(frames)
        self._match_to(frames[self.reference])

        def placed(index: int) -> Seen:
            frame, frames[index] = frames[index], np.empty(0, self.kind.dtype)
            own = self._own_match(frame)
            shown, covered = moved(without_dust(frame, self.dust, self.kind), self.moves[index].alignment, self.kind)
            matched = self._matched(index, shown, own)
            return Seen(index, matched, covered, self._noise_of(index, frame))

        for seen in (ahead if self.wishes.ahead else map)(placed, self.numbers):
            self._seen[seen.index] = seen
            yield seen

    def second_pass(self) -> Iterator[Seen]:
        """Give the same frames again; each is let go afterwards."""
        for index in range(len(self._seen)):
            seen, self._seen[index] = self._seen[index], None
            if seen is not None:
                yield seen

    def _in_order(self, frames: list[Array]) -> list[Array]:
        order = None if self.reordered else by_sharpness(frames, self.kind)
        if order is None:
            return frames
        self._take_in_order(order)
        return [frames[index] for index in order]

    def _mended(self, frames: list[Array]) -> list[Array]:
        looked = looked_at(len(frames))
        if looked:
            self.hot = find_hot_pixels([frames[index] for index in looked], self.kind)
        return [without_hot_pixels(frame, self.hot) for frame in frames]

    def _register(self, frames: list[Array]) -> None:
        asked = self.wishes.reference
        order: list[tuple[int, int | None]] | None = None
        if len(frames) <= _MOST_COMPARED_WITH_ALL:
            order, _ = along_agreement(frames, self.kind, asked if len(frames) > 2 else asked or 0)
        self.reference, self.moves = registered(
            frames,
            self.kind,
            self.wishes.align,
            reference=asked,
            order=order,
            keep=self.wishes.keep_unregistered,
            threads=self.wishes.threads,
        )


def check_reference(source: FrameSource, failed: str) -> None:
    """Refuse a reference that was asked for and whose exposure failed. Raises: InputError."""
    if failed:
        raise InputError(f"`reference` asks for {in_text(source.name)}, which can be none: {failed}. Choose another.")


def ahead(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results of `work`, one item ahead of who takes them."""
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for item in items:
            coming = pool.submit(work, item)
            if waiting is not None:
                yield waiting.result()
            waiting = coming
        if waiting is not None:
            yield waiting.result()
