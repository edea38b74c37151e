"""bfloat16 numbers in NumPy, which has no type for them: uint16 arrays of their bits, the upper half of a float32's."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats

Bits = NDArray[np.uint16]

_STRIP = 65_536  # numbers; what is made of them stays in the cache


def widened(values: Array) -> Floats:
    """bfloat16 bits as float32 numbers, exactly; float32 arrays are returned as they are."""
    if values.dtype != np.uint16:
        return values
    return np.left_shift(values, 16, dtype=np.uint32).view(np.float32)


def narrowed(values: Floats) -> Bits:
    """float32 numbers rounded to the nearest bfloat16, away from zero between two; the array's bits, contiguous.

    Infinities stay what they are; NaN is not looked for.
    """
    result = np.empty(values.shape, np.uint16)
    for rows in strips(values.shape):
        bits = np.ascontiguousarray(values[rows], np.float32).view(np.uint32)
        result[rows] = (bits + np.uint32(0x8000)) >> 16
    return result


def strips(shape: tuple[int, ...]) -> Iterator[slice]:
    """Ranges of the first axis that hold some 65,000 numbers each."""
    step = max(1, _STRIP * shape[0] // max(1, int(np.prod(shape))))
    return (slice(first, min(first + step, shape[0])) for first in range(0, shape[0], step))
