"""What a run of `ufa stream` fuses with."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.levels import Levels
from ufafuse.runtime.models import default_for
from ufafuse.runtime.registration.live import Registration
from ufafuse.runtime.stack import StackOptions, fuse_stack
from ufafuse.runtime.stream.frames import Array

COPY = "copy"
OFF = "off"


@dataclass(frozen=True)
class EngineOptions:
    """What to fuse with.

    Args:
        model: As `Fuser` takes it, or ``"copy"``: no network, the near frame passes through. None: the default network for so
            many ``planes``.
        planes: Frames that are fused into one.
        fuser: Backend, precision, threads, memory, ...: `Fuser`'s other arguments.
        align: ``"off"``, or how the other frames may lie to the near ones (`ufafuse.runtime.registration.align.MOTIONS`).
        align_every: Seconds after which that is estimated anew; None keeps the first estimate.
        white: Level of white of 16-bit frames, such as 4095 for 12 bits; None: it is found in each pair.
    """

    model: str | None = None
    planes: int = 2
    fuser: dict[str, Any] = field(default_factory=dict)
    align: str = OFF
    align_every: float | None = None
    white: float | None = None


class Engine:
    """A loaded network (or none), with registration before it where asked for.

    Args:
        options: What to fuse with.
        wants_map: Asked before each pair whether the map is worth computing.
        report: Told what the registration found, and what a stack's fusion warns of.

    Raises:
        InputError, ModelError, BackendError: As `Fuser`.
    """

    def __init__(self, options: EngineOptions, *, wants_map: Callable[[], bool], report: Callable[[str], None]) -> None:
        self._wants_map = wants_map
        self._report = report
        others = options.planes - 1 if options.align != OFF else 0
        self._registrations = [Registration(options.align, every=options.align_every, report=report) for _ in range(others)]
        self._white = options.white
        self._levels: Levels | None = None
        self._planes = options.planes
        self._warned: set[str] = set()
        model = options.model or default_for(options.planes)
        self._fuser = None if options.model == COPY else Fuser(model, **options.fuser)

    def fuse(self, *frames: Array) -> Array | tuple[Array, Array | None]:
        """Fuse the frames of one moment: the fused frame, or (fused, map) where the map is wanted.

        Args:
            frames: From near to far, two or as many as there are planes.
        """
        near, *others = frames
        if self._registrations:
            moved = zip(self._registrations, others, strict=True)
            others = [registration.moved(near, other) for registration, other in moved]
        if self._fuser is None:
            return np.array(near)
        wants_map = self._wants_map()
        white = self._white if near.dtype == np.uint16 else None
        if len(others) == 1:
            pair = self._fuser.fuse_pair(near, others[0], white=white, want_map=wants_map)
            fused, won, levels = pair.fused, pair.map, pair.levels
        else:
            stack = fuse_stack(self._fuser, [near, *others], StackOptions(white=white, want_map=wants_map))
            fused, won, levels = stack.fused, stack.map, stack.levels
            self._warn(stack.warnings)
        if levels is not None and (self._levels is None or levels.white > self._levels.white):
            self._levels = levels
        return (fused, won) if wants_map else fused

    def _warn(self, warnings: list[str]) -> None:
        """Tell each kind of warning once: a stack has them, and the next one a moment later has them again."""
        for text in warnings:
            kind = re.sub(r"[0-9.]+", "", text)
            if kind not in self._warned:
                self._warned.add(kind)
                self._report(text)

    def warm(self, size: tuple[int, int]) -> None:
        """Let the engine compile for frames of this height and width, and find its memory, before the first pair comes."""
        if self._fuser is None:
            return
        dark = np.zeros((*size, 3), np.uint8)
        if self._planes == 2:
            self._fuser.fuse(dark, dark)
        else:
            fuse_stack(self._fuser, [dark] * self._planes)

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
        return engine

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._fuser is not None:
            self._fuser.close()
