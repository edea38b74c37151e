"""What a run of `ufa stream` fuses with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.levels import Levels
from ufafuse.runtime.registration.live import Registration
from ufafuse.runtime.stream.frames import Array

COPY = "copy"
OFF = "off"


@dataclass(frozen=True)
class EngineOptions:
    """What to fuse with.

    Args:
        model: As `Fuser` takes it, or ``"copy"``: no network, the near frame passes through.
        fuser: Backend, precision, threads, memory, ...: `Fuser`'s other arguments.
        align: ``"off"``, or how the far frames may lie to the near ones (`ufafuse.runtime.registration.align.MOTIONS`).
        align_every: Seconds after which that is estimated anew; None keeps the first estimate.
        white: Level of white of 16-bit frames, such as 4095 for 12 bits; None: it is found in each pair.
    """

    model: str | None = None
    fuser: dict[str, Any] = field(default_factory=dict)
    align: str = OFF
    align_every: float | None = None
    white: float | None = None


class Engine:
    """A loaded network (or none), with registration before it where asked for.

    Args:
        options: What to fuse with.
        wants_map: Asked before each pair whether the map is worth computing.
        report: Told what the registration found.

    Raises:
        InputError, ModelError, BackendError: As `Fuser`.
    """

    def __init__(self, options: EngineOptions, *, wants_map: Callable[[], bool], report: Callable[[str], None]) -> None:
        self._wants_map = wants_map
        aligned = options.align != OFF
        self._registration = Registration(options.align, every=options.align_every, report=report) if aligned else None
        self._white = options.white
        self._levels: Levels | None = None
        self._fuser = None if options.model == COPY else Fuser(options.model, **options.fuser)

    def fuse(self, near: Array, far: Array) -> Array | tuple[Array, Array | None]:
        """Fuse one pair: the fused frame, or (fused, map) where the map is wanted."""
        if self._registration is not None:
            far = self._registration.moved(near, far)
        if self._fuser is None:
            return np.array(near)
        wants_map = self._wants_map()
        white = self._white if near.dtype == np.uint16 else None
        made = self._fuser.fuse_pair(near, far, white=white, want_map=wants_map)
        if made.levels is not None and (self._levels is None or made.levels.white > self._levels.white):
            self._levels = made.levels
        return (made.fused, made.map) if wants_map else made.fused

    def warm(self, size: tuple[int, int]) -> None:
        """Let the engine compile for frames of this height and width, and find its memory, before the first pair comes."""
        if self._fuser is not None:
            dark = np.zeros((*size, 3), np.uint8)
            self._fuser.fuse(dark, dark)

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
        if self._registration is not None:
            alignment = self._registration.alignment
            engine["alignment"] = None if alignment is None else alignment.to_json()
        return engine

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._fuser is not None:
            self._fuser.close()
