"""What was decided about a stack's frames, said in the numbers of the frames as they were given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ufafuse.runtime.frames import in_text
from ufafuse.runtime.registration.gain import exposure_words

if TYPE_CHECKING:
    from ufafuse.runtime.stacks.options import Stacked
    from ufafuse.runtime.stacks.preparing import Prepared

_BRIGHTNESS_STEP = 1.04  # from here on a change of exposure between frames is told


def tell(result: Stacked, stack: Prepared, numbers: list[int]) -> None:
    """Write order, reference, frames left out and mended pixels into a result.

    Args:
        result: Of the fusion; its reference is a number of `stack.sources`.
        stack: The frames as they were taken.
        numbers: Of each of `stack.sources` its number as it was given.
    """
    if numbers != sorted(numbers):
        result.order, result.reordered = numbers, stack.reordered
        result.warnings.append(f"the frames were taken in another order than given, {stack.reordered}.")
    result.reference = numbers[stack.reference]
    for index, move in sorted(stack.moves.items()):
        if move.left_out:
            result.left_out[numbers[index]] = move.left_out
            result.warnings.append(f"{in_text(stack.sources[index].name)} was left out of the fusion: {move.left_out}.")
        elif move.alignment.refused and stack.wishes.align != "off":
            partner = in_text(stack.sources[move.beside].name) if move.beside is not None else "its neighbour"
            result.warnings.append(f"{in_text(stack.sources[index].name)} was placed like {partner}: {move.alignment.refused}.")
        elif move.beside is not None and abs(move.beside - index) > 1:
            result.beside[numbers[index]] = numbers[move.beside]
    if result.hot_pixels:
        result.warnings.append(f"{result.hot_pixels} pixels of the sensor that stand still in all frames were mended.")


def tell_exposure(result: Stacked, brightness: Iterable[float]) -> None:
    """Warn where the frames' brightness, a number each, changes from one to another."""
    levels = [level for level in brightness if level > 0]
    if len(levels) >= 2 and (step := max(levels) / min(levels)) > _BRIGHTNESS_STEP:
        result.warnings.append(exposure_words(step))
