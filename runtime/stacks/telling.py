"""What was decided about a stack's frames, said in the numbers of the frames as they were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ufafuse.runtime.frames import in_text
from ufafuse.runtime.registration.gain import UNMATCHED, curve_words, exposure_words, matched_words
from ufafuse.runtime.stacks.exposure import BLACK, black_words
from ufafuse.runtime.stacks.order import BY_SHARPNESS
from ufafuse.runtime.stacks.tones import bent_words
from ufafuse.runtime.texts import examples

if TYPE_CHECKING:
    from ufafuse.runtime.pictures.source import FrameSource
    from ufafuse.runtime.stacks.options import Stacked
    from ufafuse.runtime.stacks.preparing import Prepared

_MOST_NAMED = 5  # frames in one sentence
_BRIGHTNESS_STEP = 1.04  # from here on a change of exposure between frames is told


def tell(result: Stacked, stack: Prepared, given: list[FrameSource]) -> None:
    """Write order, reference, frames left out and mended pixels into a result.

    Args:
        result: Of the fusion; its reference is a number of `stack.sources`.
        stack: The frames as they were taken.
        given: The frames as they were given.
    """
    numbers = [given.index(source) for source in stack.sources]
    for source, why in stack.dropped:
        _tell_left_out(result, given.index(source), source, why)
    if numbers != sorted(numbers):
        result.order, result.reordered = numbers, stack.reordered
        result.warnings.append(f"the frames were taken in another order than given, {stack.reordered}.")
    result.reference = numbers[stack.reference]
    result.taken = [numbers[index] for index in stack.numbers]
    _tell_matched(result, stack, given)
    for index, move in sorted(stack.moves.items()):
        if move.left_out:
            _tell_left_out(result, numbers[index], stack.sources[index], move.left_out)
        elif move.alignment.refused and stack.wishes.align != "off":
            partner = in_text(stack.sources[move.beside].name) if move.beside is not None else "its neighbour"
            result.warnings.append(f"{in_text(stack.sources[index].name)} was placed like {partner}: {move.alignment.refused}.")
        elif move.beside is not None and abs(move.beside - index) > 1:
            result.beside[numbers[index]] = numbers[move.beside]
    _tell_placeless(result, stack, given)
    result.strayed = {numbers[index]: share for index, share in sorted(result.strayed.items())}
    if result.strayed:
        result.warnings.append(_strayed_words([in_text(given[number].name) for number in result.strayed]))
    _tell_mended(result)
    if stack.noises:
        names = [in_text(given[number].name) for number in sorted(numbers[index] for index in stack.noises)]
        result.warnings.append(_noisier_words(names, max(stack.noises.values()), stack.quietest))


def _tell_matched(result: Stacked, stack: Prepared, given: list[FrameSource]) -> None:
    """Say how levels were matched: by factors, where that was not asked for, and by curves."""
    for index, match in sorted(stack.matches.items()):
        number = given.index(stack.sources[index])
        if match.curves and index in stack.numbers:
            result.curves[number] = match.curves
        elif stack.wishes.match_gain is None and index in stack.numbers:
            result.matched[number] = match.gains
    if result.matched:
        result.warnings.append(matched_words(result.matched.values()))
    if result.curves:
        result.warnings.append(bent_words([in_text(given[number].name) for number in sorted(result.curves)]))


def _tell_mended(result: Stacked) -> None:
    """Say what of the faults of sensor and lamp was mended in the frames."""
    if result.banding is not None:
        result.warnings.append(result.banding.words())
    if result.hot_pixels:
        result.warnings.append(f"{result.hot_pixels} pixels of the sensor that stand still in all frames were mended.")
    if result.dust:
        spots = "1 dark spot that stands" if result.dust == 1 else f"{result.dust} dark spots that stand"
        result.warnings.append(f"{spots} still in all frames, as dust on the sensor does, were lightened: clean it.")


def _tell_placeless(result: Stacked, stack: Prepared, given: list[FrameSource]) -> None:
    """Say which frames have no place among the heights, because nothing tells where they belong."""
    if result.height is None or stack.reordered != BY_SHARPNESS or not result.left_out:
        return
    names = [in_text(given[number].name) for number in result.left_out]
    belong, them = ("belongs", "it") if len(names) == 1 else ("belong", "each of them")
    result.warnings.append(
        f"where {examples(names, _MOST_NAMED)} {belong} in the order of focus is not known: heights beyond {them} may be a "
        "frame off. Give the frames in their order."
    )


def _strayed_words(names: list[str]) -> str:
    return (
        f"something strayed into {examples(names, _MOST_NAMED)} that other frames do not show there, such as a shadow "
        "or an insect that flew by: it is left out where it is."
    )


def _noisier_words(names: list[str], most: float, quietest: float) -> str:
    have = "has" if len(names) == 1 else "have"
    return (
        f"{examples(names, _MOST_NAMED)} {have} much more noise than others (up to {most:.0f} levels of 255, where another has "
        f"{quietest:.0f}), which stays where nothing else is sharp: take the stack with one sensitivity (ISO) and one exposure."
    )


def _tell_left_out(result: Stacked, number: int, source: FrameSource, why: str) -> None:
    result.left_out[number] = why
    result.warnings.append(f"{in_text(source.name)} was left out of the fusion: {why}.")


def tell_exposure(
    result: Stacked, brightness: Mapping[str, float], *, matched: bool, even: bool = False, curve: float = 1.0
) -> None:
    """Warn where the frames' brightness, a number for each name, changes from one to another, though it may be ``matched``.

    Where places that tell of it say that the exposure is ``even``, a little of it comes of the focus: of light that blurs over
    the border, and over what is dark. ``curve`` is what `curve_between` found of a pair that was matched.
    """
    darkest = min(brightness, key=lambda name: brightness[name], default="")
    most = max(brightness.values(), default=0.0)
    pair = len(brightness) == 2
    if most > 0 and pair and brightness[darkest] < BLACK * most:
        result.warnings.append(black_words(darkest))
    elif most > 0 and brightness[darkest] <= 0:
        result.warnings.append(f"{in_text(darkest)} is black: take the stack without it.")
    elif most > 0 and (step := most / brightness[darkest]) > (UNMATCHED if matched or even else _BRIGHTNESS_STEP):
        result.warnings.append(exposure_words(step, darkest, matched=matched, pair=pair))
    elif words := curve_words(curve):
        result.warnings.append(words)
