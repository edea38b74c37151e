"""Fusing a stack with a rule over all frames: one pass gathers, one merges; the memory does not grow with the frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.callbacks import OnCount, ignored
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.fixed import check_size
from ufafuse.runtime.frames import check_count, colours_of, to_grey
from ufafuse.runtime.manifest_entries import STACK_ROLES
from ufafuse.runtime.memory.tiling import Grid
from ufafuse.runtime.memory.usage import available_bytes
from ufafuse.runtime.pictures.source import FrameSource, check_alike
from ufafuse.runtime.registration.conflict import Conflicts
from ufafuse.runtime.registration.covering import Crop
from ufafuse.runtime.registration.glance import unaligned_by
from ufafuse.runtime.registration.sharpness import confidence
from ufafuse.runtime.stacks.aside import Aside
from ufafuse.runtime.stacks.blooms import Blooms
from ufafuse.runtime.stacks.exposure import is_uneven
from ufafuse.runtime.stacks.gaps import CELL, FEWEST, FocusGaps
from ufafuse.runtime.stacks.height import ScorePeaks
from ufafuse.runtime.stacks.model import Gathering, StackModel
from ufafuse.runtime.stacks.noise import FrameNoise, smoothing_for
from ufafuse.runtime.stacks.octaves import OctaveSums
from ufafuse.runtime.stacks.options import Stacked, StackOptions
from ufafuse.runtime.stacks.order import BY_NUMBER, by_number
from ufafuse.runtime.stacks.preparing import Held, Prepared, Seen
from ufafuse.runtime.stacks.pyramid import PyramidMaximum
from ufafuse.runtime.stacks.registering import Covered, joint_crop
from ufafuse.runtime.stacks.restoring import restore
from ufafuse.runtime.stacks.room import prepared, room_for_features, state_bytes
from ufafuse.runtime.stacks.scenes import WORTH_A_LOOK, scenes_among, scenes_words
from ufafuse.runtime.stacks.strays import Strays, shown_without
from ufafuse.runtime.stacks.telling import tell, tell_exposure
from ufafuse.runtime.stacks.trials import StackTrials

if TYPE_CHECKING:
    from ufafuse.runtime.fuser import Fuser


OnPlaced = Callable[[int, int, Array, Covered | None], None]

_BYTES_ASIDE = 48  # of each pixel: the results that wait while the network makes the next ones
_SHARE_ASIDE = 0.1  # of the memory that the system has left


def fuse_sources(
    fuser: Fuser,
    sources: Sequence[FrameSource],
    options: StackOptions,
    on_step: OnCount = ignored,
    *,
    on_placed: OnPlaced | None = None,
) -> Stacked:
    """Fuse a stack whose frames are read when they are needed.

    Args:
        fuser: Of a network that gathers (`Fuser.gathers`); with the method ``"pyramid"`` any.
        sources: Two or more, in the order of focus or of their names.
        options: See `StackOptions`.
        on_step: Told after each frame of each pass how many of how many steps are done.
        on_placed: As `StackOptions.on_aligned`, with the frame's place in the order of focus before its number as it was given.

    Raises:
        InputError: Frames that differ, or cannot be read; the memory budget is too small.
        ModelError, BackendError: As `Fuser.fuse`.
    """
    sources = list(sources)
    check_count(len(sources))
    options.check_reference(len(sources))
    check_alike(sources)
    given = list(sources)
    order = by_number([source.name for source in sources])
    if order is not None:
        sources = [sources[index] for index in order]
    stack = prepared(fuser, sources, options)
    if order is not None:
        stack.reordered = BY_NUMBER
        if options.reference is not None:
            stack.wishes.reference = order.index(options.reference)
    result = _Fusion(fuser, stack, options, on_step, _handed_on(stack, given, options, on_placed)).run()
    tell(result, stack, given)
    return result.cut() if options.crop else result


def _handed_on(
    stack: Prepared, given: list[FrameSource], options: StackOptions, on_placed: OnPlaced | None
) -> Callable[[Seen], None] | None:
    """What gives frames to who wants to see them, by their numbers as they were given; None: nobody does."""
    if options.on_aligned is None and on_placed is None:
        return None

    def hand_on(seen: Seen) -> None:
        frame = seen.frame.view()
        frame.flags.writeable = False  # it may be the caller's own, and is fused afterwards
        number = given.index(stack.sources[seen.index])
        if options.on_aligned is not None:
            options.on_aligned(number, frame, seen.covered)
        if on_placed is not None:
            on_placed(stack.places[seen.index], number, frame, seen.covered)

    return hand_on


class _Fusion:
    """One stack on its way."""

    def __init__(
        self,
        fuser: Fuser,
        stack: Prepared,
        options: StackOptions,
        on_step: OnCount,
        hand_on: Callable[[Seen], None] | None = None,
    ) -> None:
        self._fuser, self._stack, self._options, self._on_step, self._hand_on = fuser, stack, options, on_step, hand_on
        self._steps = 2 * len(stack.sources)
        self._done = 0
        self._ms = 0.0
        self._brightness: dict[int, float] = {}
        self._differs = False  # where nothing is matched
        self._reference: Array | None = None
        self._moved = 0.0
        self._before: Seen | None = None
        self._compared: int | None = None

    @cached_property
    def _conflicts(self) -> Conflicts:
        """Made when the first frame is looked at: the levels of the frames are known from there on, and not before."""
        return Conflicts(self._stack.size, self._stack.kind, mapped=self._options.want_conflicts)

    @cached_property
    def _strays(self) -> Strays:
        return Strays(self._stack.size, self._stack.kind)

    @cached_property
    def _blooms(self) -> Blooms:
        kind, levels = self._stack.kind, self._stack.levels
        return Blooms(self._stack.size, kind, kind.full if levels is None else min(kind.full, levels.white))

    @cached_property
    def _noise(self) -> FrameNoise:
        return FrameNoise(self._stack.size, self._stack.kind)

    def run(self) -> Stacked:
        if self._options.method == "pyramid":
            return self._with_pyramid()
        stack, size = self._stack, self._stack.size
        check_size(self._fuser.model, self._fuser.session.manifest, size)
        frame_bytes = int(np.prod((*size, max(1, stack.kind.channels)))) * stack.kind.dtype.itemsize
        state = state_bytes(self._fuser, size, stack.kind, frame_bytes, self._options)
        if isinstance(stack, Held):
            state += frame_bytes * len(stack.sources)
        room = room_for_features(self._fuser, stack, state)
        if self._fuser.memory_limit is not None:
            state += room
        with self._fuser.planned_stack(size, state, StackTrials(self._fuser, stack.kind)) as grid:
            model = self._fuser.stack_model()
            return self._with_network(model, grid or model.whole(size), room)

    def _with_network(self, model: StackModel, grid: Grid, room: float) -> Stacked:
        stack, size, options = self._stack, self._stack.size, self._options
        gathering = self._gathered(model, grid, room)
        beside = self._works_aside(grid)
        sums = self._between(model, gathering, beside=beside)
        peaks = ScorePeaks(size) if options.want_height or options.want_map else None
        scores = np.empty(size, np.float32) if peaks is not None else None
        sharp = np.zeros(size, np.float32) if options.want_confidence else None
        restores = options.restore > 1 and len(stack.numbers) >= FEWEST and model.octaves[-1] == CELL
        gaps = FocusGaps(size, stack.kind) if restores else None
        before: Seen | None = None
        strayed = {} if self._moved else self._strays.found()
        if not self._moved:
            self._blooms.find(self._strays.order, strayed)
        noise = self._noise.sigma() if options.smoothing is None else 0.0
        smoothing = smoothing_for(noise) if options.smoothing is None else float(options.smoothing)
        lift = self._blooms.lift
        with Aside(beside=beside) as aside:
            for seen in stack.second_pass():
                if self._hand_on is not None:
                    self._hand_on(seen)
                shown = replace(seen, covered=shown_without(seen.covered, strayed.get(seen.index)))
                aside.do(partial(self._look_aside, seen, shown, gaps))
                bound = self._blooms.bound(seen.index, seen.frame, stack.gains)
                self._timed(lambda s=shown, most=bound: _merge(s, gathering, sums, scores, aside, smoothing, most, lift))  # type: ignore[misc]
                if peaks is not None and scores is not None:
                    peaks.add(stack.places[seen.index], scores, shown.covered, to_grey(seen.frame, stack.kind))
                before = self._sharpen(sharp, before, seen)
                self._step()
        assert self._reference is not None
        result = self._result(sums.fused(self._reference))
        result.smoothing, result.noise = smoothing, noise if smoothing > 1 else 0.0
        if gaps is not None:
            self._timed(partial(restore, result, gaps, sums, options.restore))
        result.grid = grid if len(grid) > 1 else None
        result.confidence = sharp
        result.strayed = {index: float(where.mean()) for index, where in strayed.items()}
        if peaks is not None:
            last = np.float32(max(1, stack.last_place))
            result.map = (1 - peaks.winner().astype(np.float32) / last) if options.want_map else None
            result.height = peaks.height() if options.want_height else None
        return result

    def _between(self, model: StackModel, gathering: Gathering, *, beside: bool) -> OctaveSums:
        """End the first pass, and set up the sums of the second."""
        stack, threads = self._stack, self._fuser.threads

        def empty() -> OctaveSums:
            return OctaveSums(stack.size, stack.kind, model.octaves, stride=model.stride, threads=threads, beside=beside)

        taken = OctaveSums.bytes_per_pixel(stack.kind, model.octaves) * stack.size[0] * stack.size[1]
        if self._fuser.memory_limit is not None or taken > _SHARE_ASIDE * available_bytes():
            # What was gathered is to go before the sums come.
            self._timed(gathering.finish)
            return empty()
        with ThreadPoolExecutor(1) as pool:
            # Setting up 54 bytes for each pixel takes a core about as long as the graph between the passes leaves one idle.
            sums = pool.submit(empty)
            self._timed(gathering.finish)
            return sums.result()

    def _gathered(self, model: StackModel, grid: Grid, room: float) -> Gathering:
        """The first pass."""
        stack = self._stack
        with ThreadPoolExecutor(1) as pool:
            # Compiled beside all that comes before they are needed; with a bound of the memory before the sums take theirs.
            engines = {role: pool.submit(model.prepare, role, grid.window, stack.kind) for role in STACK_ROLES}
            stack.begin()
            if self._fuser.memory_limit is not None:
                wait(engines.values())
            gathering = Gathering(model, stack.kind, grid, room=room)
            with Aside(beside=self._works_aside(grid)) as aside:
                for seen in stack.first_pass():
                    self._look_at(seen)
                    engines["encode"].result()
                    self._timed(lambda seen=seen: gathering.add(seen.index, seen.judged, seen.covered, aside.do))  # type: ignore[misc]
                    self._step()
            self._check_enough()
            for engine in engines.values():
                engine.result()
        return gathering

    def _works_aside(self, grid: Grid) -> bool:
        """Whether sums are made beside the network: unless a bound of the memory or a large frame leaves no room for it."""
        waiting = _BYTES_ASIDE * self._stack.size[0] * self._stack.size[1]
        room = self._fuser.memory_limit is None and waiting < _SHARE_ASIDE * available_bytes()
        return room and len(grid) == 1 and usable_cores() > 1

    def _with_pyramid(self) -> Stacked:
        stack = self._stack
        stack.begin()
        pyramid = PyramidMaximum(stack.size, stack.kind)
        self._steps = len(stack.sources)
        sharp = np.zeros(stack.size, np.float32) if self._options.want_confidence else None
        before: Seen | None = None
        for seen in stack.first_pass():
            self._look_at(seen)
            if self._hand_on is not None:
                self._hand_on(seen)
            self._compare(seen)
            self._timed(lambda seen=seen: pyramid.add(seen.frame, seen.covered))  # type: ignore[misc]
            before = self._sharpen(sharp, before, seen)
            self._step()
        self._check_enough()
        assert self._reference is not None
        result = self._result(pyramid.fused(self._reference, stack.kind.white))
        result.confidence = sharp
        return result

    def _look_at(self, seen: Seen) -> None:
        """Notice what the user should know, in the first pass."""
        stack = self._stack
        if seen.index == stack.reference:
            self._reference = seen.frame
        self._strays.look_at(seen.index, seen.frame, seen.covered)
        if self._options.method == "network":
            self._blooms.look_at(seen.index, seen.frame, seen.covered, stack.gains)
            if self._options.smoothing is None:
                self._noise.add(seen.frame, seen.covered, moved=stack.moves[seen.index].alignment.moved > 0)
        sample = colours_of(seen.frame)[::8, ::8]
        shown = sample if seen.covered is None else sample[seen.covered[::8, ::8] > 0]
        if shown.size:
            self._brightness[seen.index] = float(shown.mean())
        if self._options.match_gain is False and stack.exposures.known:
            match = stack.exposures.match(seen.frame)
            self._differs |= bool(match.curves) or is_uneven(match.gains)
            if (left := match.left(None)) is not None:
                stack.brightness[seen.index] = left
        if self._options.align == "off" and self._before is not None:
            self._moved = max(self._moved, unaligned_by(self._before.frame, seen.frame, stack.kind))
        self._before = seen if self._options.align == "off" else None

    def _compare(self, seen: Seen) -> None:
        """Look for what moved, between frames that were registered to each other."""
        moves, before = self._stack.moves, self._compared
        if before is not None and self._options.align != "off":
            partners = {moves[seen.index].beside, moves[before].beside}
            if not partners & {before, seen.index}:
                self._conflicts.begin_anew()
        self._conflicts.add(seen.frame, seen.covered)
        self._compared = seen.index

    def _look_aside(self, seen: Seen, shown: Seen, gaps: FocusGaps | None) -> None:
        """All that a frame is looked at for in the second pass, in one piece: of pieces only a few may wait."""
        self._compare(seen)
        if gaps is not None:
            gaps.add(shown.frame, shown.covered)

    def _sharpen(self, sharp: NDArray[np.float32] | None, before: Seen | None, seen: Seen) -> Seen | None:
        """Note in ``sharp`` where a frame, or the one before it, shows detail; gives the frame that is before the next."""
        if sharp is None:
            return None
        if before is not None:
            np.maximum(sharp, confidence(before.frame, seen.frame, self._stack.kind), out=sharp)
        return seen

    def _timed(self, work: Callable[[], None]) -> None:
        start = time.perf_counter()
        work()
        self._ms += (time.perf_counter() - start) * 1e3

    def _step(self) -> None:
        self._done += 1
        self._on_step(min(self._done, self._steps), self._steps)

    def _check_enough(self) -> None:
        if len(self._stack.numbers) < 2:
            raise InputError(
                "no two of the frames can be registered to each other: they do not show one scene, or too little of it to tell "
                "(`keep_unregistered` fuses them all the same)."
            )

    def _apart(self) -> dict[int, float]:
        """How bright frames are: all that is shown, or places that tell of the exposure, whichever changes less.

        Light spreads as it goes out of focus, and what of it is cut off at white is shown where it is spread.
        """
        levels, told = self._brightness, self._stack.brightness
        if not levels.keys() <= told.keys() or min(levels.values(), default=0.0) <= 0:
            return levels
        told = {index: told[index] for index in levels}
        return min(levels, told, key=lambda each: max(each.values()) / min(each.values()))

    def _result(self, fused: Array) -> Stacked:
        stack = self._stack
        others = [index for index in stack.numbers if index != stack.reference]
        moves = [stack.moves[index].alignment for index in others]
        result = Stacked(
            fused, Crop(0, stack.size[0], 0, stack.size[1]), reference=stack.reference, ms=self._ms, levels=stack.levels
        )
        if self._options.align != "off":
            result.alignments = moves
            result.crop = joint_crop(moves, stack.size)
        if self._options.match_gain:
            result.gains = [stack.gains[index] for index in others if index in stack.gains]
        result.banding = stack.banding
        result.hot_pixels, result.dust, result.last_place = len(stack.hot), len(stack.dust), stack.last_place
        if self._moved:
            result.warnings.append(
                f"neighbouring frames lie up to {self._moved:.1f} pixels apart: "
                "register them with `align=affine` (or translation)."
            )
        result.tell_conflicts(self._conflicts, wanted=self._options.want_conflicts, unaligned=bool(self._moved))
        if result.disagreement >= WORTH_A_LOOK and (scenes := scenes_among(self._strays.pictures)):
            names = [[stack.sources[index].name for index in scene] for scene in scenes]
            result.warnings.append(scenes_words(names, registered=self._options.align != "off"))
        brightness = {stack.sources[index].name: level for index, level in self._apart().items()}
        even = stack.exposures.known and not stack.gains and not self._differs
        tell_exposure(result, brightness, matched=bool(stack.gains), even=even, curve=stack.curve)
        return result


def _merge(
    seen: Seen,
    gathering: Gathering,
    sums: OctaveSums,
    scores: NDArray[np.float32] | None,
    aside: Aside,
    smoothing: float,
    bound: Floats | None,
    lift: float,
) -> None:
    """Score a frame, and add it to the sums; `scores` takes its weights in the middle octave, which heights are found by."""
    aside.do(partial(sums.begin, seen.frame, seen.covered))
    for area, found in gathering.weights(seen.index, seen.judged):
        weights = found if lift == 1 else found * np.float32(lift)
        if bound is not None:
            weights = np.minimum(weights, bound[area][..., None])
        if scores is not None:
            scores[area] = weights[..., min(1, weights.shape[2] - 1)]
        smoothed = weights
        if smoothing != 1:  # the coarsest octave has no noise worth it, and is mixed already
            smoothed = np.asarray(cv2.pow(weights, 1 / smoothing), np.float32)
            if weights.shape[2] > 1:
                smoothed[..., -1] = weights[..., -1]
        aside.do(partial(sums.add, area, smoothed))
