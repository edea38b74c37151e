"""What a run of `ufa stream` fuses with."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.bayer import demosaiced, pattern_from
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import check_frames
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.levels import Levels, kind_with_levels, white_of_mosaics
from ufafuse.runtime.lights import lights_of
from ufafuse.runtime.models import STACKS, default_for
from ufafuse.runtime.registration.gain import MOST_GAIN
from ufafuse.runtime.registration.live import Registration
from ufafuse.runtime.registration.live_gain import LiveGain
from ufafuse.runtime.stack import Stacked, StackOptions, completed, fuse_stack
from ufafuse.runtime.stacks.relief import heights_everywhere

COPY = "copy"
OFF = "off"
_LIGHTS_EVERY = 10.0  # seconds


@dataclass(frozen=True)
class LiveFuserOptions:
    """What to fuse with.

    Args:
        model: As `Fuser` takes it, or ``"copy"``: no network, the near frame passes through. None: the default network for so
            many ``planes``.
        planes: Frames that are fused into one.
        arguments: Backend, precision, threads, memory, ...: `Fuser`'s other arguments.
        align: ``"off"``, or how the other frames may lie to the near ones (`ufafuse.runtime.registration.guesses.MOTIONS`).
        align_every: Seconds after which that is estimated anew; None keeps the first estimate.
        white: Level of white of 16-bit frames, such as 4095 for 12 bits; None: it is found in each pair.
        bayer: The pattern of raw frames (H x W); the results have colour.
        match_gain: Multiply the other frames' levels to match the near ones', by factors that are held steady.
        depth: Find heights too; for a network that gathers (`Fuser.gathers`).
    """

    model: str | None = None
    planes: int = 2
    arguments: dict[str, Any] = field(default_factory=dict)
    align: str = OFF
    align_every: float | None = None
    white: float | None = None
    bayer: str | None = None
    match_gain: bool = False
    depth: bool = False


class LiveFuser:
    """A loaded network (or none), with registration before it where asked for.

    Args:
        options: What to fuse with.
        wants_map: Asked before each pair whether the map is worth computing.
        report: Told what the registration found.
        warn: Told what a stack's fusion warns of, and of pairs that another network fuses better; None: ``report``.

    Raises:
        InputError, ModelError, BackendError: As `Fuser`.
    """

    def __init__(
        self,
        options: LiveFuserOptions,
        *,
        wants_map: Callable[[], bool],
        report: Callable[[str], None],
        warn: Callable[[str], None] | None = None,
    ) -> None:
        if options.align_every is not None and options.align == OFF:
            raise InputError("`align_every` is about registered frames: add `align`.")
        self._wants_map = wants_map
        self._caution = warn or report
        others = options.planes - 1 if options.align != OFF else 0
        self._registrations = [Registration(options.align, every=options.align_every, report=report) for _ in range(others)]
        self._gains = [LiveGain() for _ in range(options.planes - 1)] if options.match_gain else []
        self._bayer = None if options.bayer is None else pattern_from(options.bayer)
        self._depth = options.depth
        self._white = options.white
        self._sensor_white = options.white
        self._levels: Levels | None = None
        self._matched: Levels | None = None
        self._lights_due = -math.inf
        self._planes = options.planes
        self._warned: set[str] = set()
        model = options.model or default_for(options.planes, of_stack=options.depth)
        self._fuser = None if options.model == COPY else Fuser(model, **options.arguments)
        if options.depth and (self._fuser is None or not self._fuser.gathers):
            self.close()
            raise InputError(
                f"`depth` needs a network that sees all frames at once, and {model} does not: take `model=ufa-stack`."
            )

    def fuse(self, *frames: Array) -> Array | tuple[Array, Array | None] | tuple[Array, Array | None, Array | None]:
        """Fuse the frames of one moment: the fused frame; with its map where that is wanted; with its heights likewise.

        Args:
            frames: From near to far, two or as many as there are planes.
        """
        check_white(frames, self._white)
        near, *others = self._comparable(list(frames))
        if self._fuser is None:
            return np.array(near)
        wants_map = self._wants_map()
        white = self._white if near.dtype == np.uint16 else None
        depth = None
        if len(others) == 1 and not self._depth:
            pair = self._fuser.fuse_pair(near, others[0], white=white, levels=self._matched, want_map=wants_map)
            self._look_for_lights(near, others[0], pair.levels)
            fused, won, levels = pair.fused, pair.map, pair.levels
        else:
            # Exposures are matched where that was asked for, by factors that are held: others would flicker.
            options = StackOptions(white=white, want_map=wants_map, want_height=self._depth, match_gain=False)
            stack = fuse_stack(self._fuser, [near, *others], options)
            fused, won, levels = stack.fused, stack.map, stack.levels
            depth = _depth_of(stack, len(frames)) if self._depth else None
            self._warn(stack.warnings)
        if levels is not None and (self._levels is None or levels.white > self._levels.white):
            self._levels = levels
        if self._depth:
            return fused, won, depth
        return (fused, won) if wants_map else fused

    def _comparable(self, frames: list[Array]) -> list[Array]:
        """The frames in colour, in the near one's geometry and as bright as it, as far as that is asked for."""
        if self._bayer is not None:
            frames = [self._in_colour(frame, self._bayer) for frame in frames]
        near, *others = completed(frames)
        if self._registrations:
            moved = zip(self._registrations, others, strict=True)
            others = [registration.moved(near, other) for registration, other in moved]
        if self._gains:
            white = self._white if near.dtype == np.uint16 else None
            # As bright as they may be made: at the white of dark frames the lights of what is multiplied would be cut off.
            kind, self._matched = kind_with_levels([near, *others], white=white, headroom=MOST_GAIN)
            others = [gain.matched(near, other, kind) for gain, other in zip(self._gains, others, strict=True)]
        return [near, *others]

    def _in_colour(self, mosaic: Array, pattern: str) -> Array:
        if mosaic.dtype != np.uint16:
            return demosaiced(mosaic, pattern)
        if self._white is None:  # the greatest so far: a level that comes and goes would flicker
            self._sensor_white = max(self._sensor_white or 0.0, white_of_mosaics([mosaic], None) or 0.0)
        return demosaiced(mosaic, pattern, white=self._sensor_white)

    def _look_for_lights(self, near: Array, far: Array, levels: Levels | None) -> None:
        """Tell, once, of pairs that another network fuses better; looked for now and then, until one is found."""
        now = time.monotonic()
        if levels is None or self._fuser is None or self._fuser.gathers or now < self._lights_due:
            return
        self._lights_due = now + _LIGHTS_EVERY
        why = lights_of(near, far, levels.of(check_frames([near, far], open_ended=True))).why
        if why:
            self._lights_due = math.inf
            self._caution(f"{why}: `model={STACKS}` fuses such pairs better")

    def _warn(self, warnings: list[str]) -> None:
        """Tell each kind of warning once: a stack has them, and the next one a moment later has them again."""
        for text in warnings:
            kind = re.sub(r"[0-9.]+", "", text)
            if kind not in self._warned:
                self._warned.add(kind)
                self._caution(text)

    def warm(self, size: tuple[int, int]) -> None:
        """Let the engine compile for frames of this height and width, and find its memory, before the first pair comes."""
        if self._fuser is None:
            return
        dark = np.zeros((*size, 3), np.uint8)
        if self._planes == 2 and not self._depth:
            self._fuser.fuse(dark, dark)
            self._fuser.prepare(size)  # for black that light spills into, too: it may come at any time
        else:
            fuse_stack(self._fuser, [dark] * self._planes, StackOptions(want_height=self._depth))

    def to_json(self) -> dict[str, Any]:
        """For the summary: backend, precision, model, and the registration in force."""
        if self._fuser is None:
            engine: dict[str, Any] = {"backend": COPY, "precision": None, "why": "no network: copy", "model": None}
        else:
            engine = {
                "backend": self._fuser.backend,
                "precision": self._fuser.precision,
                "why": self._fuser.why,
                "model": str(self._fuser.model),
            }
        if self._levels is not None:
            engine |= {"white": self._levels.white, "white_found": self._levels.why}
        found = [None if it.alignment is None else it.alignment.to_json() for it in self._registrations]
        if found:
            engine["alignment"] = found[-1]
        if len(found) > 1:
            engine["alignments"] = found
        if self._gains:
            held = [None if gain.gains is None else [round(float(one), 4) for one in gain.gains] for gain in self._gains]
            engine["gains"] = held
        return engine

    def about(self) -> dict[str, str]:
        """What is fused with, for people: ``model``, ``backend``, ``precision``."""
        if self._fuser is None:
            return {"model": "", "backend": COPY, "precision": ""}
        return {"model": self._fuser.model.stem, "backend": self._fuser.backend, "precision": str(self._fuser.precision or "")}

    def close(self) -> None:
        """Free the engine; may be called twice."""
        if self._fuser is not None:
            self._fuser.close()

    def __enter__(self) -> LiveFuser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def check_white(frames: Iterable[Array], white: float | None) -> None:
    """Refuse a level of white for frames of 8 bits, which have their own (`InputError`)."""
    if white not in (None, 255) and any(frame.dtype == np.uint8 for frame in frames):
        raise InputError(f"`white={white:g}` is the level of 16-bit frames, and these have 8 bits: omit it.")


def _depth_of(stack: Stacked, planes: int) -> Array:
    """H x W float32 in [0, 1], filled where nothing is known: 0 at the first of the settings, 1 at the last."""
    assert stack.height is not None
    assert stack.levels is not None
    kind = stack.levels.of(check_frames([stack.fused], open_ended=True))
    return np.clip(heights_everywhere(stack.height, stack.fused, kind) / np.float32(planes - 1), 0, 1)
