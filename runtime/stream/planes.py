"""Which focus setting each frame of one camera that moves its focus was taken with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.stream.cycle import Cycle, CycleLearner, CycleTracker
from ufafuse.runtime.stream.focus import Steps, sharpness_of, small_of
from ufafuse.runtime.stream.messages import Frame
from ufafuse.runtime.stream.sorters import AUTO, ByNumber, InTurn, OfTwo, SettledFrames, Sorter

Settle = int | str | None
_KEPT_BYTES = 128 << 20  # of a recording's frames that wait until its cycle is known
_GIVE_UP_AFTER = 400  # frames after which nobody looks any more for a cycle that nobody spoke of


class ByCycle(Sorter):
    """By the cycle that the pictures show (`CycleLearner`, `CycleTracker`), and until it is known by another sorter, or not.

    Args:
        planes, settle: See `sorter_for`.
        until: Sorts the frames until then.
        wait: Frames have no setting until then: they are passed over, or kept and sorted afterwards.
        keep: Keep them: they are a recording's. At most 128 MiB of them.
        by_order: Whether the order says where in the cycle a frame stands, together with what it shows.
        by_index: As for `InTurn`.
        tell: Takes a sentence for people.
    """

    def __init__(
        self,
        planes: int,
        settle: Settle,
        *,
        until: Sorter,
        wait: bool,
        keep: bool,
        by_order: bool,
        by_index: bool,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._planes, self._settle = planes, settle
        self._least_step = settle + 1 if isinstance(settle, int) else 1
        self._until = until
        self._wait, self._keep = wait, keep
        self._by_order, self._by_index = by_order, by_index
        self._tell = tell
        self._learner: CycleLearner | None = CycleLearner(planes, self._least_step)
        self._tracker: CycleTracker | None = None
        self._first = 0  # the setting that is called the first
        self._steps = Steps(by_index=by_index)
        self._kept: deque[tuple[Frame, Array, int]] = deque()
        self._kept_bytes = 0

    @property
    def step(self) -> int | None:
        """Of the cycle that was found, and until then of how frames are sorted."""
        return self._until.step if self._tracker is None else self._tracker.cycle.step

    def take(self, frame: Frame) -> SettledFrames:
        """Settled at once where the cycle is known."""
        steps = self._steps.to(frame)
        if self._learner is None and self._tracker is None:
            return self._until.take(frame)
        sharpness = sharpness_of(frame.array)
        if self._tracker is not None:
            plane = self._plane(self._tracker.place_of(sharpness, steps))
            if plane is not None and not self._tracker.sure:
                plane = None
                self.in_doubt += 1
            if self._tracker.astray or self._learner is not None:
                self._learn_anew(frame, sharpness, plane)
            return [(frame, plane)]
        return self._learning(frame, sharpness, steps)

    def _learning(self, frame: Frame, sharpness: Array, steps: int) -> SettledFrames:
        assert self._learner is not None
        out: SettledFrames = []
        if self._keep:
            out = self._kept_with(frame, sharpness, steps)
        elif self._wait:
            out = [(frame, None)]
        else:
            out = self._until.take(frame)
        found = self._learner.look(sharpness, small_of(frame.array))
        if found is not None:
            self._learner = None
            return self._begin(found, sharpness, out)
        return out + self._patiently()

    def _patiently(self) -> SettledFrames:
        """What is sorted because nobody waits for a cycle any more."""
        assert self._learner is not None
        out: SettledFrames = []
        if self._learner.looked_at == self._learner.patience:
            if self._settle == AUTO:
                self._tell(
                    f"no cycle of {self._planes} focus settings can be seen in {self._learner.looked_at} frames: they are "
                    "taken in turn until one is seen"
                )
            self._wait = self._keep = False
            out += self._replayed(self._until)
        if self._learner.looked_at >= _GIVE_UP_AFTER and self._settle != AUTO:
            self._learner = None
        return out

    def _begin(self, found: Cycle, sharpness: Array, out: SettledFrames) -> SettledFrames:
        """Go on by the cycle that was found; what was kept is sorted by it too, ``out`` is what was sorted before."""
        kept = list(self._kept)
        self._kept.clear()
        if found.step == 1 and isinstance(self._until, OfTwo):
            return out + [entry for frame, _, _ in kept for entry in self._until.take(frame)]  # it sees as much
        self._tracker = CycleTracker(found, sharpness, by_order=self._by_order)
        self._say(found)
        if not kept:
            self._first = self._called_first(found, out[-1][1])
            return out
        places = self._places_back(found, kept)
        self._first = next((plane for plane in map(found.plane_at, places) if plane is not None), 0)
        if found.back:
            self._first = 0
            other = found.from_the_other_end()
            ends = ((found.plane_at(place), other.plane_at(place)) for place in places)
            if next((way for way in ends if 0 in way), (0, 0))[0] != 0:  # it came to the other end first
                self._tracker.cycle = other
        return out + [(frame, self._plane(place)) for (frame, _, _), place in zip(kept, places, strict=True)]

    @staticmethod
    def _called_first(found: Cycle, last: int | None) -> int:
        """Which setting is called the first: as it was until now, or the next that comes.

        Args:
            found: The frame at its last place has come.
            last: The setting that this frame was said to be of.
        """
        if found.back:
            return 0  # an end, wherever it began
        now = found.plane_at(found.frames - 1)
        if now is not None and last is not None:
            return (now - last) % found.planes
        return next(plane for plane in map(found.plane_at, range(found.frames)) if plane is not None)

    def _places_back(self, found: Cycle, kept: list[tuple[Frame, Array, int]]) -> list[int]:
        """The places of the frames that led to ``found``, the last of which stands at its last place."""
        mirrored = replace(found, focus=found.focus[::-1].copy())
        # Read backwards, with the cycle backwards, the last frame is the place before the first one.
        back = CycleTracker(mirrored, kept[-1][1].reshape(-1) - found.focus[-1] + mirrored.focus[-1])
        places = []
        steps = 1
        for _, sharpness, after in reversed(kept):
            places.append(found.frames - 1 - back.place_of(sharpness, steps))
            steps = after
        return places[::-1]

    def _plane(self, place: int) -> int | None:
        assert self._tracker is not None
        plane = self._tracker.cycle.plane_at(place)
        return None if plane is None else (plane - self._first) % self._planes

    def _kept_with(self, frame: Frame, sharpness: Array, steps: int) -> SettledFrames:
        self._kept.append((frame, sharpness, steps))
        self._kept_bytes += frame.array.nbytes
        out: SettledFrames = []
        while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
            oldest = self._kept.popleft()[0]
            self._kept_bytes -= oldest.array.nbytes
            out += self._until.take(oldest)
        return out

    def _replayed(self, by: Sorter) -> SettledFrames:
        frames = [frame for frame, _, _ in self._kept]
        self._kept.clear()
        return [entry for frame in frames for entry in by.take(frame)]

    def _learn_anew(self, frame: Frame, sharpness: Array, last: int | None) -> None:
        self._learner = self._learner or CycleLearner(self._planes, self._least_step, strict=True)
        found = self._learner.look(sharpness, small_of(frame.array))
        if found is not None:
            self._learner = None
            if found.back and self._tracker is not None:
                found = _same_way_round(found, self._tracker.cycle)
            self._tracker = CycleTracker(found, sharpness, by_order=self._by_order)
            self._first = self._called_first(found, last)
            self._say(found)

    def _say(self, found: Cycle) -> None:
        if (self._told.get("frames"), self._told.get("back", False)) == (found.frames, found.back):
            return
        self._told = {"frames": found.frames, "frames_a_plane": found.step} | ({"back": True} if found.back else {})
        assumed = self._settle + 1 if isinstance(self._settle, int) else 1
        if found.step != assumed or self._settle == AUTO or found.back:
            passed = found.step - 1
            self._tell(
                f"the focus moves {'there and back ' if found.back else ''}in a cycle of {found.frames} frames, {found.step} "
                f"at each of {found.planes} settings: {passed or 'none'} of them {'is' if passed == 1 else 'are'} passed over"
                + (", and all on the way back" if found.back else "")
            )

    def quiet(self) -> SettledFrames:
        """A folder in which frames appear is no recording, though it may begin with one: from here on it is taken as it comes.

        Where frames have no setting before the cycle is known, they wait for it.
        """
        if self._wait or not self._keep:
            return []
        self._keep = False
        return self._replayed(self._until)

    def end(self) -> SettledFrames:
        """What was kept is taken in turn where no cycle was found."""
        return self._replayed(self._until)


def _same_way_round(found: Cycle, before: Cycle) -> Cycle:
    """``found``, with that end as the first one that was so before."""
    if not before.back:
        return found
    first, last = before.focus[before.used], before.focus[before.from_the_other_end().used]
    here = found.focus[found.used]
    return found if np.square(here - first).mean() <= np.square(here - last).mean() else found.from_the_other_end()


def sorter_for(planes: int, settle: Settle, by: str, *, live: bool, by_index: bool, tell: Callable[[str], None]) -> Sorter:
    """The sorter for one camera.

    Args:
        planes: Focus settings.
        settle: Frames to pass over after each step; ``"auto"``: as many as they show; None: none, unless they show otherwise.
        by: ``"order"``, ``"sharpness"`` or ``"number"``.
        live: Frames cannot be kept until the cycle is known.
        by_index: Frames are counted by `Frame.index`, not by their times.
        tell: Takes a sentence for people.
    """
    assumed = settle if isinstance(settle, int) else 0
    by_index = by_index or by == "number"
    two = by == "sharpness" and planes == 2 and not assumed
    until: Sorter = OfTwo() if two else InTurn(planes, assumed, by_index=by_index)
    if by == "number" and settle != AUTO:
        return ByNumber(planes, assumed, without=until, tell=tell)
    sorter: Sorter = ByCycle(
        planes,
        settle,
        until=until,
        wait=settle == AUTO or (by == "sharpness" and not two),
        keep=not live,
        by_order=by != "sharpness",
        by_index=by_index,
        tell=tell,
    )
    if by == "sharpness":
        return sorter
    # What a source tells of its focus counts more than its order.
    return ByNumber(planes, AUTO if settle == AUTO else assumed, without=sorter, tell=tell)
