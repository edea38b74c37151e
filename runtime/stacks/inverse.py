"""Filters that undo a lens's blur of a known radius: Wiener's, as small ones.

Blur of a disc's shape multiplies each wave by a known factor; dividing by it would raise noise beyond measure where little is
left. Wiener's filter (1949) weighs both: response / (response squared + noise / signal), where a picture's power falls off
with the square of the frequency. Here no wave is raised by more than asked, none is turned over, and evenness stays to the last
bit (the differences add up to 0). The filters are those of 11 x 11 pixels that come nearest to it.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from ufafuse.runtime.arrays import Doubles, Floats
from ufafuse.runtime.stacks.growth import LENS, disc_response

REACH = 5  # pixels that a filter sees to each side
RADII = (1.4, 2.6)  # of the blur, in pixels; what lies between is mixed
NOISES = (0.004, 0.02)  # power of noise to that of the picture, at an eighth of a cycle a pixel
COUNT = len(RADII) * len(NOISES)
_SAME_POWER = 1 / 8  # cycles a pixel
_EVEN = 1e-4  # square of the frequency below which power grows no more
_GRID = 48  # frequencies from 0 to the finest


@dataclass(frozen=True)
class Inverse:
    """A filter.

    Attributes:
        kernel: what it adds to the picture, 11 x 11 float32, in sum 0.
        gain: the greatest factor by which it raises a wave.
    """

    kernel: Floats
    gain: float


@cache
def inverses(most: float) -> tuple[Inverse, ...]:
    """The filters, `COUNT` of them.

    Args:
        most: The factor by which no wave is raised more, above 1.
    """
    return tuple(_inverse(radius, noise, most) for noise in NOISES for radius in RADII)


def _inverse(radius: float, noise: float, most: float) -> Inverse:
    side = np.linspace(0, 0.5, _GRID + 1)
    down, right = np.meshgrid(side, side, indexing="ij")
    frequency = np.hypot(down, right)
    response = disc_response(radius, frequency) * np.exp(-2 * (np.pi * frequency * LENS) ** 2)
    signal, noisy = 1 / (frequency**2 + _EVEN), noise / _SAME_POWER**2
    strength = signal * response**2 + noisy
    wanted = np.clip(signal * response / strength, 0, most)
    ends = np.where((side == 0) | (side == side[-1]), 1.0, 2.0)  # of the other half of the frequencies
    weight = (strength * np.outer(ends, ends)).ravel()
    places = [(y, x) for y in range(REACH + 1) for x in range(y + 1) if y * y + x * x <= (REACH + 0.5) ** 2]
    waves = np.stack([_wave(down, right, y, x) + _wave(down, right, x, y) for y, x in places], -1).reshape(-1, len(places))
    # Least squares, with the factor of what is even held at 1.
    count = len(places)
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = waves.T @ (waves * weight[:, None])
    system[count, :count] = system[:count, count] = 2.0
    found = np.linalg.solve(system, np.append(waves.T @ (weight * wanted.ravel()), 1.0))[:count]
    gain = float((waves @ found).max())
    share = min(1.0, (most - 1) / (gain - 1))
    return Inverse(_kernel(places, np.asarray(found * share, np.float64)), 1 + (gain - 1) * share)


def _wave(down: Doubles, right: Doubles, y: int, x: int) -> Doubles:
    return np.asarray(np.cos(2 * np.pi * down * y) * np.cos(2 * np.pi * right * x))


def _kernel(places: list[tuple[int, int]], values: Doubles) -> Floats:
    """The kernel that has these values at these places, at all that mirrors and turns make of them, and adds up to 0."""
    kernel = np.zeros((2 * REACH + 1, 2 * REACH + 1))
    for (y, x), value in zip(places, values, strict=True):
        for down, right in ((y, x), (x, y)):
            mirrored = {(a * down, b * right) for a in (-1, 1) for b in (-1, 1)}
            for row, column in mirrored:
                kernel[REACH + row, REACH + column] += value / len(mirrored)
    kernel = kernel.astype(np.float32).astype(np.float64)
    kernel[REACH, REACH] -= kernel.sum()
    return kernel.astype(np.float32)
