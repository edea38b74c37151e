"""Files that are looked into for damage beside the fusion of their frames; where its memory is bounded, behind it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Future

from ufafuse.runtime.memory.usage import resident_bytes
from ufafuse.runtime.pictures.picture import damage_words
from ufafuse.runtime.pictures.source import FrameSource


class Looking:
    """What is found inside the files of a stack, once its frames are fused.

    Args:
        frames: Those that have a `FrameSource.looker` are looked into.
        limit: Bytes that the process may hold. What a fusion takes is measured, which nothing else may disturb, so then all is
            looked into afterwards, one file after the other.
    """

    def __init__(self, frames: Sequence[FrameSource], limit: float | None) -> None:
        self._frames = [frame for frame in frames if frame.looker is not None]
        self._limit = limit
        self._begun: list[Future[str]] = []
        if limit is None:
            self._begun = [frame.looker.submit(frame.look_inside) for frame in self._frames if frame.looker is not None]

    def found(self, told: Collection[str]) -> dict[str, None]:
        """Which files are damaged inside, where that is not ``told`` already, and which were too large to be looked into."""
        known = " ".join(told)
        if self._limit is None:
            said: list[str | None] = [coming.result() for coming in self._begun]
        else:
            said = [frame.look_inside() if self._has_room(frame) else None for frame in self._frames]
        sentences = dict[str, None]()
        for frame, damage in zip(self._frames, said, strict=True):
            if damage is None:
                sentences[
                    f"{frame.name} was not looked into for damage, for which `max_memory` leaves too little: see `strict`."
                ] = None
            elif damage and frame.name not in known:
                sentences[damage_words(frame.name, damage)] = None
        return sentences

    def _has_room(self, frame: FrameSource) -> bool:
        assert self._limit is not None
        return resident_bytes() + frame.looking_takes <= self._limit
