"""The level of white that pictures share, so that 12 bits in 16 and floats beyond 1 are judged as what they show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.benchmarks.metrics.planes import as_levels, check_samples
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.levels import joined_peak, levels_from, mean_level, peak_of, white_as_bright

OWN_WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
"""Of each type of samples."""


@dataclass(frozen=True)
class White:
    """The level of white of a scene's frames, which pictures of the same type share: 12 bits in 16, floats beyond 1.

    Args:
        dtype: The frames'.
        level: Theirs of white.
        why: How it was found, in a few words; empty where it is the type's own.
        mean: What the frames have of it on the average, by which that of a picture of another type is told; 0: not known.
    """

    dtype: np.dtype[Any]
    level: float
    why: str = ""
    mean: float = 0.0

    @classmethod
    def of_frames(cls, frames: Sequence[NDArray[Any]]) -> "White":
        """As a fusion of the frames finds it, in those that have the first one's type. Raises: InputError, as `bytes`."""
        for frame in frames:
            check_samples(frame)
        dtype = frames[0].dtype
        alike = [frame for frame in frames if frame.dtype == dtype]
        mean = float(np.mean([mean_level(frame) for frame in alike]))
        if dtype == np.uint8 or dtype not in OWN_WHITE:
            white = OWN_WHITE.get(dtype, 1.0)
            return cls(dtype, white, mean=mean / white)
        found = levels_from(joined_peak(peak_of(frame) for frame in alike), dtype)
        return cls(dtype, found.white, "" if found.white == OWN_WHITE[dtype] else found.why, mean / found.white)

    @property
    def note(self) -> str:
        """What to tell of it; empty where there is nothing."""
        return f"white is {self.level:.6g} ({self.why})" if self.why else ""

    def of(self, picture: NDArray[Any]) -> float:
        """A picture's level of white; of one of another type than the frames the one by which it is as bright as they are.

        Raises: InputError for what no metric is defined on.
        """
        check_samples(picture)
        if picture.dtype == self.dtype:
            return self.level
        return white_as_bright(picture, self.mean) or OWN_WHITE.get(picture.dtype, 1.0)

    def told(self, name: str, picture: NDArray[Any]) -> list[str]:
        """What to tell of a picture of another type whose white is not that type's own; often nothing."""
        white = self.of(picture)
        if picture.dtype == self.dtype or white == OWN_WHITE.get(picture.dtype, white):
            return []
        return [f"{name}: white was taken to be {white:g}, by which it is as bright as the frames"]

    def bytes(self, picture: NDArray[Any]) -> Bytes:
        """H x W (grey) or H x W x 3 uint8, rounded. Raises: InputError, as `as_levels`."""
        white = self.of(picture)
        if white == OWN_WHITE.get(picture.dtype, white):
            return as_levels(picture)
        return as_levels(np.clip(picture.astype(np.float32) / np.float32(white), 0, 1))
