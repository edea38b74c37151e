"""The frames of a stack on their way to the network, twice: read, mended, brought into one geometry, matched in exposure.

`Held` keeps the frames of a stack that fits into the memory; `Passing` reads each frame for each pass, and lets it go.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.levels import Levels, kind_with_levels
from ufafuse.runtime.pictures.source import FrameSource
from ufafuse.runtime.registration.align import (
    Alignment,
    best_covered,
    chained,
    comparable,
    compared_pixels,
    estimate_neighbours,
    estimate_pictures,
    unmoved,
)
from ufafuse.runtime.registration.gain import MOST_GAIN, gains_to, multiplied
from ufafuse.runtime.stacks.hot import FEWEST_FRAMES, find_hot_pixels, looked_at, without_hot_pixels
from ufafuse.runtime.stacks.order import FEWEST_ORDERED, by_maps, by_sharpness, sharpness_map
from ufafuse.runtime.stacks.registering import (
    Chain,
    Covered,
    Move,
    along_agreement,
    likely_reference,
    moved,
    outwards,
    rebased,
    shows_something_else,
)

T = TypeVar("T")
R = TypeVar("R")

_TOP = 65_535.0
_MOST_COMPARED_WITH_ALL = 300  # frames: their glances take 20 MB


@dataclass(frozen=True)
class Seen:
    """One frame as the network sees it: its number in the order of focus, itself, and where it shows something (None: all)."""

    index: int
    frame: Array
    covered: Covered | None


@dataclass
class Wishes:
    """What is done to the frames.

    Attributes:
        load: Reads a source as a frame.
        order: Channel order.
        white: The level of white; None: it is found.
        align: A key of `MOTIONS`, or "off".
        match_gain: Match the frames' levels to the reference's.
        reference: The number of the reference; None: it is chosen.
        keep_unregistered: Frames that cannot be registered take part all the same.
        threads: How many frames are worked on side by side.
        ahead: Frames that are held are moved one ahead, beside the network's work: where the memory has no bound.
    """

    load: Callable[[FrameSource], Array]
    order: str = "bgr"
    white: float | None = None
    align: str = "off"
    match_gain: bool = False
    reference: int | None = None
    keep_unregistered: bool = False
    threads: int = 1
    ahead: bool = True


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
        gains: What each frame was multiplied by; complete after the first pass.
        hot: The sensor's faulty pixels, N x 2.
        reordered: Whether the frames came in another order than that of focus, and by what it was seen; empty if not.
    """

    sources: list[FrameSource]
    kind: FrameKind
    size: tuple[int, int]
    wishes: Wishes
    levels: Levels | None = None
    reference: int = 0
    moves: dict[int, Move] = field(default_factory=dict)
    gains: dict[int, tuple[float, ...]] = field(default_factory=dict)
    hot: NDArray[np.intp] = field(default_factory=lambda: np.empty((0, 2), np.intp))
    reordered: str = ""

    @property
    def numbers(self) -> list[int]:
        """The frames that take part, in the order of focus."""
        return [index for index in range(len(self.sources)) if not (index in self.moves and self.moves[index].left_out)]

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
        headroom = MOST_GAIN if self.wishes.match_gain else 1.0
        self.kind, self.levels = kind_with_levels(frames, order=self.wishes.order, white=self.wishes.white, headroom=headroom)

    def _take_in_order(self, order: Sequence[int]) -> None:
        """Take the sources in the order in which they are sharp, by their numbers."""
        self.reordered = "by where they are sharp"
        self.sources[:] = [self.sources[index] for index in order]
        if self.wishes.reference is not None:
            self.wishes.reference = order.index(self.wishes.reference)

    def _unmoved(self) -> Move:
        return Move(unmoved(self.size, 1.0, ""))


class Held(Prepared):
    """A stack whose frames are kept in memory between the passes."""

    def begin(self) -> None:
        """Read all frames."""
        with ThreadPoolExecutor(self.wishes.threads) as pool:
            self._frames = list(pool.map(self.wishes.load, self.sources))
        self._find_levels(self._frames)

    def first_pass(self) -> Iterator[Seen]:
        """Find the order, the motions and the exposures, and give every frame."""
        frames = self._frames
        if self.wishes.align != "off":
            frames = self._in_order(frames)
            frames = self._mended(frames)
            self._register(frames)
        else:
            self.reference = self.wishes.reference or 0
            self.moves = {index: self._unmoved() for index in range(len(frames))}
        self._frames = frames
        self._seen: list[Seen | None] = [None] * len(frames)
        reference = frames[self.reference]

        def placed(index: int) -> Seen:
            frame, frames[index] = frames[index], np.empty(0, self.kind.dtype)
            frame, covered = moved(frame, self.moves[index].alignment, self.kind)
            return Seen(index, _matched(self, index, frame, reference), covered)

        for seen in (_ahead if self.wishes.ahead else map)(placed, self.numbers):
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
            order, in_line = along_agreement(frames, self.kind, asked)
            if not in_line:
                self._along(order, frames, asked)
                return
        steps = estimate_neighbours(frames, self.kind, self.wishes.align, threads=self.wishes.threads)
        if asked is not None:
            self.reference = asked
        else:
            self.reference = best_covered(steps, self.size) if len(frames) > 2 else 0
        if any(step.refused for step in steps):
            # One that shows something else stands between two that belong together: compared anew, past it. It must not be
            # the first, for then the others would be left out: a black frame, for instance.
            if order is not None:
                self._along(order, frames, asked)
            else:
                self._along(list(outwards(len(frames), self.reference)), frames, self.reference)
            return
        others = [index for index in range(len(frames)) if index != self.reference]
        found = dict(zip(others, chained(steps, self.size, self.reference), strict=True))
        self.moves = {self.reference: self._unmoved()}
        for index, alignment in found.items():
            self.moves[index] = Move(alignment, beside=index + 1 if index < self.reference else index - 1)

    def _along(self, order: list[tuple[int, int | None]], frames: list[Array], reference: int | None) -> None:
        """Register the frames in this order; without a `reference`, into the geometry of the one that is covered best."""
        chain = Chain(self.size, self.kind, self.wishes.align, keep=self.wishes.keep_unregistered, most=None)
        moves = {index: chain.add(index, partner, frames[index]) for index, partner in order}
        if reference is None:
            reference, moves = rebased(moves, self.size)
        self.reference, self.moves = reference, dict(sorted(moves.items()))


class Passing(Prepared):
    """A stack whose frames are read anew for the second pass: the memory does not grow with their number."""

    def begin(self) -> None:
        """Look at frames from all over the stack: for levels, hot pixels, and which frame the others cover best.

        Frames that are registered are all looked at, one after the other, for the order in which they are sharp.
        """
        count, registers = len(self.sources), self.wishes.align != "off"
        looked = [self.wishes.load(self.sources[index]) for index in looked_at(count) or range(count)]
        self._find_levels(looked)
        if registers and len(looked) >= FEWEST_FRAMES:
            self.hot = find_hot_pixels(looked, self.kind)
        del looked
        if registers:
            self._find_order()
        if self.wishes.white is None and self.kind.dtype == np.uint16:
            # A frame that was not looked at may be brighter: nothing is cut off that the file can hold.
            self.kind = replace(self.kind, white=_TOP)
        asked = self.wishes.reference
        self.reference = asked or 0
        if registers and asked is None and count > 2:
            self.reference = self._likely_reference()

    def _find_order(self) -> None:
        if self.reordered or len(self.sources) < FEWEST_ORDERED:
            return
        order = by_maps(list(_ahead(lambda source: sharpness_map(self.wishes.load(source), self.kind), self.sources)))
        if order is not None:
            self._take_in_order(order)

    def first_pass(self) -> Iterator[Seen]:
        """Read and register the frames from the reference outwards."""
        count = len(self.sources)
        if self.wishes.align == "off":
            self.moves = {index: self._unmoved() for index in range(count)}
            order: list[tuple[int, int | None]] = [(self.reference, None)]
            order += [(index, None) for index in range(count) if index != self.reference]
        else:
            order = list(outwards(count, self.reference))
        chain = Chain(self.size, self.kind, self.wishes.align, keep=self.wishes.keep_unregistered)
        reference: Array | None = None
        for (index, neighbour), frame in zip(order, _ahead(self._read, [index for index, _ in order]), strict=True):
            if self.wishes.align != "off":
                self.moves[index] = chain.add(index, neighbour, frame)
            if self.moves[index].left_out:
                continue
            shown, covered = moved(frame, self.moves[index].alignment, self.kind)
            reference = shown if reference is None and self.wishes.match_gain else reference
            yield Seen(index, _matched(self, index, shown, reference), covered)

    def second_pass(self) -> Iterator[Seen]:
        """Read, mend, move and match again."""

        def again(index: int) -> Seen:
            frame, covered = moved(self._read(index), self.moves[index].alignment, self.kind)
            if index in self.gains:
                frame = multiplied(frame, self.gains[index], self.kind)
            return Seen(index, frame, covered)

        yield from _ahead(again, self.numbers)

    def _read(self, index: int) -> Array:
        return without_hot_pixels(self.wishes.load(self.sources[index]), self.hot)

    def _likely_reference(self) -> int:
        """A black frame, or one of another scene, is no reference, though it is the first."""
        steps = range(len(self.sources) - 1)
        first, last = self._first_of_one_scene(steps), self._first_of_one_scene(steps[::-1])
        if first is None or last is None:
            return 0
        return first[0] + likely_reference(first[1], last[1], last[0] + 2 - first[0], self.size)

    def _first_of_one_scene(self, indices: Iterable[int]) -> tuple[int, Alignment] | None:
        steps = ((index, self._step(index)) for index in indices)
        return next((step for step in steps if not shows_something_else(step[1])), None)

    def _step(self, index: int) -> Alignment:
        pixels = compared_pixels(self.size)
        a, b = (comparable(self._read(number), self.kind, pixels) for number in (index, index + 1))
        return estimate_pictures(a, b, self.size, self.wishes.align)


def _matched(stack: Prepared, index: int, frame: Array, reference: Array | None) -> Array:
    if not stack.wishes.match_gain or index == stack.reference or reference is None:
        return frame
    stack.gains[index] = gains_to(reference, frame, stack.kind)
    return multiplied(frame, stack.gains[index], stack.kind)


def _ahead(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
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
