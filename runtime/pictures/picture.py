"""What a file gave, and the few words for it that all readers share."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.pictures.metadata import Metadata

_SIXTEEN = 65_535
# What has to be done to stored rows and columns so that they stand upright, by EXIF's orientation.
_TURNS: dict[int, tuple[int | None, int | None]] = {
    1: (None, None),
    2: (None, 1),
    3: (cv2.ROTATE_180, None),
    4: (None, 0),
    5: (cv2.ROTATE_90_CLOCKWISE, 1),
    6: (cv2.ROTATE_90_CLOCKWISE, None),
    7: (cv2.ROTATE_90_CLOCKWISE, 0),
    8: (cv2.ROTATE_90_COUNTERCLOCKWISE, None),
}


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Args:
        array: H x W (grey), H x W x 3 (BGR) or H x W x 4 (BGRA, alpha not multiplied in); uint8, uint16 or float32; upright.
        metadata: What stood beside the pixels.
        warnings: What the user should know: what was left out or converted.
        damage: What is wrong inside the file, where a decoder went on all the same; empty: nothing was found.
        white: The level of white where the file says so (12 bits in uint16: 4095); None: the dtype's own, or not known.
        kind: The format's name, such as ``"PNG"``.
    """

    array: Array
    metadata: Metadata = field(default_factory=Metadata)
    warnings: tuple[str, ...] = ()
    damage: str = ""
    white: float | None = None
    kind: str = ""

    def told(self, name: str) -> list[str]:
        """What the user should know of the file, which is called ``name``: damage and warnings, a sentence each."""
        damaged = [damage_words(name, self.damage)] if self.damage else []
        return damaged + [f"{name}: {warning}." for warning in self.warnings]


def damage_words(name: str, damage: str) -> str:
    """What the user is told of a file that is damaged inside."""
    return f"{name} is damaged inside ({damage}): parts of it are wrong; record or copy it again."


def whole_alpha(alpha: Array, white: float | None) -> Array:
    """Alpha as it is stored beside colours whose white is ``white``: at its dtype's greatest value it is opaque.

    Args:
        alpha: Of uint8, uint16 or float32; of 10 to 14 bits in uint16 as the colours are.
        white: As `Picture.white`.
    """
    if white is None or alpha.dtype != np.uint16:
        return alpha
    return np.rint(np.minimum(alpha, white) * np.float32(_SIXTEEN / white)).astype(np.uint16)


def upright(array: Array, orientation: int) -> Array:
    """Stored rows and columns turned as EXIF's orientation (1 to 8) says."""
    turn, flip = _TURNS.get(orientation, (None, None))
    if turn is not None:
        array = cv2.rotate(array, turn)
    if flip is not None:
        array = cv2.flip(array, flip)
    return np.ascontiguousarray(array)
