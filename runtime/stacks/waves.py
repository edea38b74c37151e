"""Waves along the rows of frames that all columns have: which one stands out, and how large it is in each frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Doubles, Floats

Waves = NDArray[np.complex128]  # size and phase of a wave

LEAST_PERIOD = 3.0  # in rows
LEAST_DEPTH, _MOST_DEPTH = 0.01, 0.5  # of a logarithm, either way
FEWEST_BLOCKS = 8
USABLE = 0.5  # of the rows of a block, that must be of use
_FEWEST_CYCLES = 2.5  # from one end to the other
_CYCLES_IN_HALVES = 8.0  # from here on each half of the rows tells by itself
_FINER = 16  # steps of the frequency within one of the spectrum
_OFF_CIRCLE = 0.1  # of its radius
# Mean of the phases' unit vectors: 1 where all begin at one place. Of lines that move with the scene: 0.7 up.
_IN_STEP = 0.85


class RowLogarithms:
    """Logarithms of the levels of frames, of which sums over rows are made; laid out so that these are products of matrices.

    Args:
        logarithms: Frames x rows x blocks of a row x channels; NaN where they are of no use.
    """

    def __init__(self, logarithms: Floats) -> None:
        frames, self._rows, blocks, channels = logarithms.shape
        self._shape = frames, channels, blocks
        ordered = logarithms.transpose(1, 0, 3, 2)
        usable = np.isfinite(ordered)
        self._usable = usable.astype(np.float32, order="C").reshape(self._rows, -1)
        self._shown = np.where(usable, ordered, np.float32(0)).astype(np.float32, order="C").reshape(self._rows, -1)

    def strongest(self) -> float | None:
        """How many periods there are of the wave that stands out most, all frames and channels together; None: it is small."""
        first, last = int(2 * _FEWEST_CYCLES), int(2 * self._rows / LEAST_PERIOD)
        if last <= first:
            return None
        shown, counts = (each.reshape(self._rows, *self._shape).sum(axis=3) for each in (self._shown, self._usable))
        window = np.hanning(self._rows)
        means = (shown / np.maximum(counts, 1)).reshape(self._rows, -1).T * window  # of a row; frames and channels, rows
        spectrum = np.abs(np.fft.rfft(means, n=2 * self._rows, axis=1)).reshape(*self._shape[:2], -1)
        power = np.median(spectrum, axis=0).max(axis=0)  # a frame alone may have an edge at its row
        coarse = (first + int(power[first:last].argmax())) / 2
        finer = coarse + np.arange(-_FINER, _FINER + 1) / (2 * _FINER)
        turning = np.exp(-2j * np.pi * np.arange(self._rows)[:, None] * finer / self._rows)
        sizes = (np.abs(means @ turning) * 2 / window.sum()).reshape(*self._shape[:2], -1)
        best = int((sizes**2).sum(axis=(0, 1)).argmax())
        return float(finer[best]) if np.median(sizes[..., best], axis=0).max() >= LEAST_DEPTH / 2 else None

    def waves(self, cycles: float) -> tuple[Waves, Doubles]:
        """The wave of so many cycles that most blocks of a row have, and how far blocks are from it, as a share of its size.

        Args:
            cycles: From the first row to the last.

        Returns:
            Frames x channels each; infinitely far where too few blocks tell.
        """
        parts = np.array_split(np.arange(self._rows), 2 if cycles >= _CYCLES_IN_HALVES else 1)
        blocks = np.concatenate([self._of_blocks(slice(part[0], part[-1] + 1), cycles) for part in parts], axis=2)
        enough = np.isfinite(blocks).sum(axis=2) >= FEWEST_BLOCKS
        blocks[~enough] = 0  # of which nothing is told
        wave = np.asarray(_median(blocks.real) + 1j * _median(blocks.imag))
        astray = _median(np.abs(blocks - wave[..., None])) / np.maximum(np.abs(wave), 1e-9)
        return wave, np.where(enough, astray, np.inf)

    def _of_blocks(self, rows: slice, cycles: float) -> Waves:
        """Of each block by itself, frames x channels x blocks; NaN where too few rows are of use."""
        window = np.hanning(rows.stop - rows.start)
        angles = 2 * np.pi * cycles / self._rows * np.arange(rows.start, rows.stop)
        summed = np.stack([window, window * np.cos(angles), -window * np.sin(angles)]).astype(np.float32)
        weights, known_real, known_imag = (summed @ self._usable[rows]).astype(np.float64)
        level, real, imag = (summed @ self._shown[rows]).astype(np.float64)
        level /= np.maximum(weights, 1e-9)
        turned = (real - level * known_real) + 1j * (imag - level * known_imag)
        blocks = 2 * turned / np.maximum(weights, 1e-9)
        blocks[weights < USABLE * window.sum()] = complex(np.nan, np.nan)  # a NaN alone would leave the other part at 0
        return np.asarray(blocks.reshape(self._shape))


def _median(values: Doubles) -> Doubles:
    """Along the last axis, of what is no NaN: numpy's own takes 20 times as long for short rows."""
    ordered = np.sort(values, axis=-1)
    known = np.isfinite(ordered).sum(axis=-1, keepdims=True)
    lower, upper = (np.take_along_axis(ordered, np.maximum(index, 0), axis=-1) for index in ((known - 1) // 2, known // 2))
    return np.asarray((lower + upper)[..., 0] / 2, np.float64)


def middle_of_circle(waves: Waves) -> tuple[complex, float] | None:
    """Middle and radius of the circle on which waves of one size lie that begin at different places; None: they do not."""
    unknown = np.stack([2 * waves.real, 2 * waves.imag, np.ones(len(waves))], axis=1)
    (x, y, rest), *_ = np.linalg.lstsq(unknown, np.abs(waves) ** 2, rcond=None)
    middle, radius = complex(x, y), float(np.sqrt(max(0.0, rest + x * x + y * y)))
    if not LEAST_DEPTH <= radius <= _MOST_DEPTH:
        return None
    around = waves - middle
    off = float(np.sqrt(np.mean((np.abs(around) - radius) ** 2)))
    in_step = float(np.abs(np.mean(around / np.maximum(np.abs(around), 1e-9))))
    return (middle, radius) if off <= _OFF_CIRCLE * radius and in_step <= _IN_STEP else None
