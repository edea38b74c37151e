"""The cycle of one camera that moves its focus: how many frames it lasts, which of them are settled, and where it is now.

A lens needs a frame or more to come to rest after each step, and some drivers hold each setting for several frames. What the
frames show says how it is: where each part of the picture is sharp comes again after one cycle, and frames between two
settings lie between them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array

MOST_PER_STEP = 8  # frames of one setting, those that settle among them
_COMES_AGAIN = 0.35  # of what frames of other moments differ by: so much may those differ that a cycle lies between
_SURELY = 0.03  # likewise: below, it is the cycle for sure
_WAIT_FOR_SURE = 3  # times the frames that are needed
_REAL = 0.15**2  # mean square change of log sharpness below which nothing moved its focus
_AS_FAR = 0.9  # of the greatest distance between settings: such frames are settled as well
_SETTLED = 0.1  # of the mean square change since the step: so far from rest is near enough
_LEAST_COMPARED = 4
_MOTION_FROM = 6  # frames that say how fast the scene moves
_FARTHEST = (
    0.5 / 8
)  # of the picture, that the scene may move in one cycle: half a cell; what moves faster has a cycle of its own
_EFFECTIVE_CELLS = 3.0  # the grid's cells go together, most of all where the scene moves: they are worth as many alone
_FOLLOW_SCENE, _FOLLOW_FOCUS, _FOLLOW_NOISE = 0.5, 0.6, 0.2
_LEAST_NOISE = 0.02**2
_SLIPS = (0.01, 0.1)  # chance that the order does not hold: at least, and until the frames have said how often
_LOST = (0.4, 0.2)  # of those: one or two frames more are missing than is known; otherwise the cycle is anywhere
_SURE = 0.95  # chance from which a frame's place is believed
_BLIND = 0.6  # of what settings differ by: with so much noise the pictures say nothing
_MISSTEPS, _FOLLOW_MISSTEPS = 0.12, 0.02  # of the frames, that come out of turn: this is not the cycle


@dataclass(frozen=True)
class Cycle:
    """What a camera does again and again.

    Args:
        planes: Focus settings in it.
        step: Frames of each setting, those that settle among them.
        used: The place of the frame that is taken of the first setting; that of the next is ``step`` places on.
        focus: Where each frame of the cycle is sharp, less what all have in common: frames x cells.
        noise: Mean square by which frames of one place in the cycle differ.
        back: After the last setting those between come again, in reverse (0 1 2 1), and are passed over.
    """

    planes: int
    step: int
    used: int
    focus: Array
    noise: float
    back: bool = False

    @property
    def frames(self) -> int:
        """Frames in one cycle."""
        return _visits(self.planes, back=self.back) * self.step

    def from_the_other_end(self) -> Cycle:
        """Of one that goes back: with the last setting as the first, and the way back as the way."""
        return replace(self, used=(self.used + (self.planes - 1) * self.step) % self.frames)

    def plane_at(self, place: int) -> int | None:
        """The setting whose settled frame stands at ``place`` of the cycle; None where frames settle or come again."""
        at = (place - self.used) % self.frames
        return at // self.step if at % self.step == 0 and at < self.planes * self.step else None


def _visits(planes: int, *, back: bool) -> int:
    return 2 * (planes - 1) if back else planes


class CycleLearner:
    """Looks at frame after frame until it knows the cycle.

    Args:
        planes: Focus settings in it.
        least_step: Frames of each setting at least.
        strict: Frames have to fit well, however long that takes.
    """

    def __init__(self, planes: int, least_step: int = 1, *, strict: bool = False) -> None:
        self._planes = planes
        self._strict = strict
        most = max(MOST_PER_STEP, least_step)
        longest = planes * most
        self._most_for_sure = _WAIT_FOR_SURE * 2 * longest
        # By length. Of one length, that which goes back is looked for first: it has to be as its own mirror image.
        shapes = [(step, back) for step in range(least_step, most + 1) for back in (True, False) if planes > 2 or not back]
        lengths = {shape: _visits(planes, back=shape[1]) * shape[0] for shape in shapes}
        self._shapes = sorted((shape for shape in shapes if lengths[shape] <= longest), key=lengths.__getitem__)
        self._lengths = sorted({lengths[shape] for shape in self._shapes})
        self._of_length = {length: [it for it in self._shapes if lengths[it] == length] for length in self._lengths}
        self._seen: deque[Array] = deque(maxlen=max(2 * longest, longest + _LEAST_COMPARED))
        self._small: deque[Array | None] = deque(maxlen=_MOTION_FROM)
        self.looked_at = 0

    @property
    def patience(self) -> int:
        """Frames within which a cycle is found where there is one, lost frames and all."""
        return 2 * self._most_for_sure

    def look(self, sharpness: Array, small: Array | None = None) -> Cycle | None:
        """Take one frame; the cycle once it is known, this frame being its last place.

        Args:
            sharpness: Where it is sharp (`sharpness_of`).
            small: What it shows (`small_of`); None: the scene stands still.
        """
        self._seen.append(sharpness.reshape(-1))
        self._small.append(small)
        self.looked_at += 1
        unlike = self._unlike(stop_below=_SURELY)
        likely, sure = None, bool(unlike) and unlike[-1][1] <= _SURELY
        if sure:
            likely = unlike[-1][0]
        elif not self._strict and self.looked_at > self._most_for_sure:
            # A lost frame spoils what is learnt from it, and a scene that moves does so all the time.
            # Whether it goes back is not to be seen then.
            unlike = [(length, value) for length, value in unlike if length % self._planes == 0]
            least = min(value for _, value in unlike)
            likely = next(length for length, value in unlike if value <= 1.5 * least) if least <= _COMES_AGAIN else None
        seen = None if likely is None or self._scene_moved(likely) else self._seen_for(likely)
        if likely is None or seen is None:
            return None
        made = (self._made(seen, step, back=back) for step, back in self._of_length[likely] if sure or not back)
        return next((cycle for cycle in made if cycle is not None), None)

    def _scene_moved(self, length: int) -> bool:
        """Whether the scene went so far in one cycle that what is seen may be its own structure that passes by."""
        shown = [small for small in list(self._small)[-_MOTION_FROM:] if small is not None]
        if len(shown) < 2:
            return False
        moved = float(np.median([_moved(then, now) for then, now in pairwise(shown)]))
        return moved * length > _FARTHEST * shown[0].shape[0]

    def _unlike(self, stop_below: float) -> list[tuple[int, float]]:
        """For each length of a cycle, how unlike frames are between which one would lie: in parts of what others are.

        Args:
            stop_below: The first that is as like as that is the last.
        """
        found = []
        for length in self._lengths:
            seen = self._seen_for(length)
            if seen is None:
                break
            again = _mean_square(seen[length:] - seen[:-length])
            others = float(np.mean([_mean_square(seen[length:] - seen[length - lag : -lag]) for lag in range(1, length)]))
            found.append((length, again / others if others >= _REAL else np.inf))
            if found[-1][1] <= stop_below:
                break
        return found

    def _seen_for(self, length: int) -> Array | None:
        """The frames that a cycle of ``length`` frames is judged by; None where they are not there yet."""
        needed = length + max(length, _LEAST_COMPARED)
        return np.stack(list(self._seen)[-needed:]) if len(self._seen) >= needed else None

    def _made(self, seen: Array, step: int, *, back: bool) -> Cycle | None:
        length = _visits(self._planes, back=back) * step
        again = _mean_square(seen[length:] - seen[:-length])
        # The last frame stands at the last place.
        focus = seen[-2 * length :].reshape(2, length, -1).mean(axis=0)
        focus = focus - focus.mean(axis=0)
        used = _settled(focus, step)
        chosen = focus[used::step]
        end, unlike = _turning_point(chosen) if back else (0, 0.0)
        chosen = np.roll(chosen, -end, axis=0)[: self._planes]
        apart = min(_mean_square(chosen[i] - chosen[j]) for i in range(self._planes) for j in range(i))
        if apart < max(_REAL, again) or unlike > _COMES_AGAIN * apart:
            return None  # two settings that look alike: the cycle has other settings than these
        return Cycle(self._planes, step, used + end * step, focus, max(again / 2, _LEAST_NOISE), back)


def _turning_point(visits: Array) -> tuple[int, float]:
    """Where a way there and back turns for the first time, and by how much what stands around it is no mirror image.

    Args:
        visits: The settings in the order in which the focus comes to them: the ends once, those between twice.
    """
    count = len(visits)
    unlike = []
    for end in range(count // 2):  # at the other end it turns too
        way = np.roll(visits, -end, axis=0)
        unlike.append(max(_mean_square(way[place] - way[-place]) for place in range(1, count // 2)))
    end = int(np.argmin(unlike))
    return end, unlike[end]


def _settled(focus: Array, step: int) -> int:
    """Which frame of each step is the most settled: where settings lie farthest apart, and the last of those that do."""
    spread = np.array([_spread(focus[offset::step]) for offset in range(step)])
    good = spread >= _AS_FAR * spread.max()
    if good.all():  # the step begins where frames change most
        change = np.square(focus - np.roll(focus, 1, axis=0)).mean(axis=1).reshape(-1, step).sum(axis=0)
        return int(np.argmax(change) - 1) % step
    ends = [offset for offset in range(step) if good[offset] and not good[(offset + 1) % step]]
    return max(ends, key=lambda offset: spread[offset])


def settled_after(seen: Sequence[Array]) -> int:
    """How many of the frames of one setting, given by their sharpness, come before the first that shows what the last does."""
    last = seen[-1]
    away = [_mean_square(sharpness - last) for sharpness in seen]
    near = max(_REAL / 4, max(away) * _SETTLED)
    return next(place for place in range(len(seen)) if max(away[place:]) <= near)


def _moved(then: Array, now: Array) -> float:
    """Pixels by which what is shown went on, along the side where that is more; an eighth of the picture, or less, is seen."""
    margin = then.shape[0] // 8
    middle = then[margin:-margin, margin:-margin]
    found = cv2.minMaxLoc(cv2.matchTemplate(now, middle, cv2.TM_CCOEFF_NORMED))[3]
    return float(max(abs(place - margin) for place in found))


def _spread(points: Array) -> float:
    return float(np.square(points - points.mean(axis=0)).sum())


def _mean_square(values: Array) -> float:
    return float(np.square(values).mean())


class CycleTracker:
    """Says of each frame at which place of the cycle it stands, by the order and by what it shows.

    A hidden Markov model: frames go on by one place, or by as many as are known to be missing; sometimes more are lost than
    is known. What the frame shows speaks the louder, the better the places could be told apart until now. The scene's
    own change, which all places share, is followed and taken out.

    Args:
        cycle: What was learnt.
        scene: The sharpness of the last frame, which stands at the cycle's last place.
        by_order: Whether the order counts; otherwise any place may follow any other.
    """

    def __init__(self, cycle: Cycle, scene: Array, *, by_order: bool = True) -> None:
        self.cycle = cycle
        self._by_order = by_order
        self._focus = cycle.focus.copy()
        self._noise = cycle.noise
        self._place = cycle.frames - 1
        self._chance = np.zeros(cycle.frames)
        self._chance[-1] = 1.0
        self._slips = _SLIPS[1]
        self._scene = scene.reshape(-1) - self._focus[-1]
        self._blind_for = 0
        self._missteps = 0.0

    @property
    def astray(self) -> bool:
        """Whether for several cycles the frames have not been what was learnt, or come out of turn: it is another cycle."""
        return self._blind_for > 4 * self.cycle.frames or (self._by_order and self._missteps > _MISSTEPS)

    def place_of(self, sharpness: Array, steps: int) -> int:
        """The place of the next frame.

        Args:
            sharpness: Where it is sharp.
            steps: Frames since the last one, itself counted: more than 1 where some are known to be missing.
        """
        seen = sharpness.reshape(-1) - self._scene
        distance = np.square(seen - self._focus).mean(axis=1)
        likely = np.exp(-_EFFECTIVE_CELLS * (distance - distance.min()) / (2 * self._noise))
        place = self._followed(likely + 1e-12, steps)
        out_of_turn = place != (self._place + steps) % self.cycle.frames
        self._missteps += _FOLLOW_MISSTEPS * (out_of_turn - self._missteps)
        self._place = place
        self._learn(seen, place, float(distance[place]))
        return place

    @property
    def sure(self) -> bool:
        """Whether the focus of the last frame is beyond doubt; what is not is better passed over than fused."""
        apart = np.square(self._focus - self._focus[self._place]).mean(axis=1)
        return float(self._chance[apart <= _SETTLED * apart.max()].sum()) >= _SURE

    def _followed(self, likely: Array, steps: int) -> int:
        """The most likely place by what the frame shows and what the order says; how often the order fails is learnt."""
        before = self._chance
        if self._by_order:
            in_turn = (1 - self._slips) * np.roll(before, steps) * likely
            slipped = (1 - sum(_LOST)) / before.size + sum(
                chance * np.roll(before, steps + more) for more, chance in enumerate(_LOST, start=1)
            )
            chance = in_turn + self._slips * slipped * likely
            slip = 1 - float(in_turn.sum() / chance.sum())
            self._slips = float(np.clip(self._slips + _FOLLOW_MISSTEPS * (slip - self._slips), *_SLIPS))
        else:
            chance = likely
        self._chance = chance / chance.sum()
        return int(np.argmax(self._chance))

    def _learn(self, seen: Array, place: int, distance: float) -> None:
        self._noise = max(_LEAST_NOISE, self._noise + _FOLLOW_NOISE * (distance - self._noise))
        blind = self._noise > _BLIND * float(np.square(self._focus).mean())
        self._blind_for = self._blind_for + 1 if blind else 0
        rest = seen - self._focus[place]
        self._focus[place] += _FOLLOW_FOCUS * (rest - rest.mean())
        self._scene = self._scene + _FOLLOW_SCENE * rest
