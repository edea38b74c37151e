"""A stack whose frames do not all fit into the memory: each is read for each pass, and let go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats, Matrix
from ufafuse.runtime.levels import Peak, levels_from, peak_of
from ufafuse.runtime.pictures.source import FrameSource
from ufafuse.runtime.registration.align import Alignment, comparable, compared_pixels, estimate_pictures
from ufafuse.runtime.registration.steady import shows_something_else, steadied
from ufafuse.runtime.stacks.banding import find_banding
from ufafuse.runtime.stacks.dust import lightened, proven, shades_of, without_dust
from ufafuse.runtime.stacks.exposure import Exposures
from ufafuse.runtime.stacks.hot import FEWEST_FRAMES, find_hot_pixels, looked_at, without_hot_pixels
from ufafuse.runtime.stacks.order import FEWEST_ORDERED, by_maps, sharpness_map
from ufafuse.runtime.stacks.preparing import Prepared, Seen, ahead, check_reference
from ufafuse.runtime.stacks.registering import Chain, both_ways, likely_reference, moved, outwards

_TOP = 65_535.0
_FARTHER = (2, 4, 8)  # frames between two that are compared where neighbours lie alike: they may breathe slowly
_MOST_COMPARED = 300  # frames: small pictures of theirs take 20 MB


class _Steps:
    """How each frame but the first lies to the one before it, from pictures that come one after the other."""

    def __init__(self, size: tuple[int, int], motion: str) -> None:
        self._size, self._motion = size, motion
        self._before: Array | None = None
        self.found: list[Alignment] = []

    def add(self, picture: Array) -> None:
        if self._before is not None:
            self.found.append(estimate_pictures(self._before, picture, self._size, self._motion))
        self._before = picture


class Passing(Prepared):
    """A stack whose frames are read anew for the second pass: the memory does not grow with their number."""

    def begin(self) -> None:
        """Look at frames from all over the stack: for levels, hot pixels, and which frame the others cover best.

        Frames that are registered are all looked at, one after the other, for the order in which they are sharp.
        """
        self._known: dict[tuple[int, int], Alignment] = {}
        count, registers = len(self.sources), self.wishes.align != "off"
        looked = {index: self.wishes.load(self.sources[index]) for index in looked_at(count) or range(count)}
        self._find_levels(list(looked.values()))
        self.exposures = Exposures(list(looked.values()), self.kind)
        verdicts = {self.sources[index]: self.exposures.failed(frame) for index, frame in looked.items()}
        fit = [frame for index, frame in looked.items() if not verdicts[self.sources[index]]]
        if fit and len(fit) < len(looked):
            self._find_levels(fit)
        self.banding = find_banding(fit, self.kind)
        if self.banding is not None:
            load = self.wishes.load
            self.wishes.load = lambda source: self._without_banding(load(source))
            del fit  # or both would be held
            for index, frame in looked.items():
                looked[index] = self._without_banding(frame)
            self.exposures = Exposures(looked.values(), self.kind)
            fit = [frame for index, frame in looked.items() if not verdicts[self.sources[index]]]
        self._look_for_differences(fit)
        if self.uneven or self.bent:
            # The middle of a few is not that of all, whose exposure the picture would have where the frames are kept.
            every = -(-count // _MOST_COMPARED)
            self.exposures = Exposures(ahead(self.wishes.load, self.sources[::every]), self.kind)
        if registers and len(looked) >= FEWEST_FRAMES:
            self.hot = find_hot_pixels(list(looked.values()), self.kind)
        sources = [self.sources[index] for index in looked if not verdicts[self.sources[index]]]
        shades = shades_of((without_hot_pixels(frame, self.hot) for frame in fit), self.kind) if registers else []
        del looked, fit
        if registers:
            self._look_at_all()
            self._look_for_dust(sources, shades)
        if self.wishes.white is None and self.kind.dtype == np.uint16:
            # A frame that was not looked at may be brighter: until all were read, nothing is cut off that the file can hold.
            self.kind = replace(self.kind, white=_TOP)
        self.reference = self.wishes.reference or 0
        if registers and self.wishes.reference is None and len(self.sources) > 2:
            self.reference = self._likely_reference()
        self._check_reference(verdicts)

    def _look_at_all(self) -> None:
        """Find the order in which the frames are sharp, and how each lies to the one before it."""
        if len(self.sources) < FEWEST_ORDERED:
            return

        def look(source: FrameSource) -> tuple[str, NDArray[np.float32], Array]:
            frame = self.wishes.load(source)
            return self.exposures.failed(frame), sharpness_map(frame, self.kind), self._compared_by(frame)

        failed, maps, steps = list[str](), list[NDArray[np.float32]](), _Steps(self.size, self.wishes.align)
        for why, seen, picture in ahead(look, self.sources):
            failed.append(why)
            if not why:
                maps.append(seen)
                steps.add(picture)
        self._drop(failed)
        order = None if self.reordered or len(maps) < FEWEST_ORDERED else by_maps(maps)
        if order is not None:
            self._take_in_order(order)
            steps = _Steps(self.size, self.wishes.align)
            for picture in ahead(lambda source: self._compared_by(self.wishes.load(source)), self.sources):
                steps.add(picture)
        self._known = both_ways(steadied(steps.found, self.size, self.wishes.align), self.size)

    def _look_for_dust(self, looked: Sequence[FrameSource], shades: Sequence[Floats]) -> None:
        """Find the dust on the sensor; only where there is any, the frames that were looked at are read once more."""
        if len(shades) < FEWEST_FRAMES:
            return
        moves: list[Matrix] = [np.eye(3)]
        for index in range(len(self.sources) - 1):
            step = self._step(index)
            if shows_something_else(step):
                return
            moves.append(step.matrix @ moves[-1])
        numbers = [self.sources.index(source) for source in looked]
        spots = proven(shades, self.size, [moves[number] for number in numbers])
        if spots:
            self.dust = lightened(spots, shades[0].shape, [self._read(number) for number in numbers], self.kind)

    def _compared_by(self, frame: Array) -> Array:
        return comparable(without_hot_pixels(frame, self.hot), self.kind, compared_pixels(self.size))

    def _check_reference(self, verdicts: Mapping[FrameSource, str]) -> None:
        """See to it that the reference is no frame whose exposure failed: else the nearest after it is taken."""
        count = len(self.sources)
        for index in (number % count for number in range(self.reference, self.reference + count)):
            source = self.sources[index]
            why = verdicts[source] if source in verdicts else self.exposures.failed(self.wishes.load(source))
            if self.wishes.reference is not None:
                check_reference(source, why)
            if not why:
                self.reference = index
                return

    def first_pass(self) -> Iterator[Seen]:
        """Read and register the frames from the reference outwards."""
        count = len(self.sources)
        if self.wishes.align == "off":
            self.moves = {index: self._unmoved() for index in range(count)}
            order: list[tuple[int, int | None]] = [(self.reference, None)]
            order += [(index, None) for index in range(count) if index != self.reference]
        else:
            order = list(outwards(count, self.reference))
        chain = Chain(self.size, self.kind, self.wishes.align, keep=self.wishes.keep_unregistered, known=self._known)
        highest = 0.0
        for (index, neighbour), frame in zip(order, ahead(self._read, [index for index, _ in order]), strict=True):
            if self.wishes.align != "off":
                self.moves[index] = chain.add(index, neighbour, frame)
            if why := self.exposures.failed(frame):
                self.moves[index] = replace(self.moves[index], left_out=why)
            if self.moves[index].left_out:
                continue
            if self.kind.dtype == np.uint16:
                highest = max(highest, peak_of(frame).top)
            own = self._own_match(frame)
            shown, covered = moved(frame, self.moves[index].alignment, self.kind)
            if index == order[0][0]:
                self._match_to(shown)
            matched = self._matched(index, shown, own)
            yield Seen(index, matched, covered, self._noise_of(index, frame))
        self._find_white(highest)

    def _find_white(self, highest: float) -> None:
        """Now that all frames were read, know what results may reach, from their highest level."""
        if self.wishes.white is not None or self.kind.dtype != np.uint16 or self.levels is None:
            return
        found = levels_from(Peak(highest, highest), self.kind.dtype, headroom=self.wishes.headroom)
        self.levels = replace(self.levels, white=found.white, ceiling=found.ceiling, why=found.why)
        self.kind = replace(self.kind, white=found.ceiling)

    def second_pass(self) -> Iterator[Seen]:
        """Read, mend, move and match again."""

        def again(index: int) -> Seen:
            frame, covered = moved(self._read(index), self.moves[index].alignment, self.kind)
            if index in self.matches:
                frame = self.matches[index].of(frame, self.kind)
            return Seen(index, frame, covered, self._noise_in_levels(index))

        yield from ahead(again, self.numbers)

    def _read(self, index: int) -> Array:
        return without_dust(without_hot_pixels(self.wishes.load(self.sources[index]), self.hot), self.dust, self.kind)

    def _likely_reference(self) -> int:
        """A black frame, or one of another scene, is no reference, though it is the first."""
        steps = range(len(self.sources) - 1)
        first, last = self._first_of_one_scene(steps), self._first_of_one_scene(steps[::-1])
        if first is None or last is None:
            return 0
        begin, end = first[0], last[0] + 1
        steps_of = (self._seen_from_afar(begin, first[1], begin, end), self._seen_from_afar(end, last[1], begin, end))
        return begin + likely_reference(*steps_of, end + 1 - begin, self.size)

    def _seen_from_afar(self, end: int, step: Alignment, low: int, high: int) -> Alignment:
        """A step at one end of the frames `low` to `high`; where it is too small to be told, an even share of several."""
        for away in _FARTHER:
            if step.motion != "none" or step.refused or away > high - low:
                break
            step = self._step(low if end == low else high - away, away)
            step = replace(step, matrix=np.eye(3) + (step.matrix - np.eye(3)) / away)
        return step

    def _first_of_one_scene(self, indices: Iterable[int]) -> tuple[int, Alignment] | None:
        steps = ((index, self._step(index)) for index in indices)
        return next((step for step in steps if not shows_something_else(step[1])), None)

    def _step(self, index: int, away: int = 1) -> Alignment:
        if (index, index + away) in self._known:
            return self._known[index, index + away]
        pixels = compared_pixels(self.size)
        a, b = (comparable(self._read(number), self.kind, pixels) for number in (index, index + away))
        return estimate_pictures(a, b, self.size, self.wishes.align)
