"""Maps and heights beside the fused pictures, each in a sink of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.stream.messages import FusedPair
from ufafuse.runtime.stream.sinks.base import Sink

_PICTURES: Mapping[str, Callable[[FusedPair], Array | None]] = {"map": lambda item: item.map, "depth": lambda item: item.depth}
_TOPS = {"map": 255, "depth": 65_535}


class BesideSink(Sink):
    """Writes the fused pictures to one sink, and what belongs to them to others.

    Args:
        main: For the fused pictures; None: nowhere.
        beside: For ``"map"`` (8 bits, white: the near frame won) and ``"depth"`` (16 bits, black: the first setting, white: the
            last).
    """

    def __init__(self, main: Sink | None, beside: Mapping[str, Sink]) -> None:
        super().__init__()
        self._main = main
        self._beside = dict(beside)
        self._missed: set[str] = set()
        self.name = ", ".join(sink.name for sink in self._all())
        self.caution = " ".join(sink.caution for sink in self._all() if sink.caution)

    def _all(self) -> list[Sink]:
        return [*([self._main] if self._main is not None else []), *self._beside.values()]

    def places(self) -> list[Path]:
        """Of all."""
        return [path for sink in self._all() for path in sink.places()]

    def open(self) -> None:
        """Open all. Raises: OutputError."""
        for sink in self._all():
            sink.tell, sink.spares = self.tell, self.spares
            sink.open()
        self._gather()

    def write(self, item: FusedPair) -> None:
        """Write to all; what the network does not give is told once."""
        if self._main is not None:
            self._main.write(item)
        for name, sink in self._beside.items():
            plane = _PICTURES[name](item)
            if plane is not None:
                levels = np.rint(np.float32(_TOPS[name]) * plane)
                sink.write(replace(item, fused=levels.astype(np.uint8 if name == "map" else np.uint16)))
            elif name not in self._missed:
                self._missed.add(name)
                self.tell(f"the network gives no {name}: none is written")
        self._gather()

    def _gather(self) -> None:
        self.outputs = [path for sink in self._all() for path in sink.outputs]

    def close(self) -> None:
        """Finish all, each though another one fails. Raises: OutputError."""
        with contextlib.ExitStack() as stack:  # closes each of them, and raises what went wrong then
            for sink in self._all():
                stack.callback(sink.close)
        self._gather()
