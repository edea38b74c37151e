"""Which layers can be int8: what each costs alone, and the fewest to leave out so that the rest holds a PSNR."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.errors import CheckFailed

Evaluate = Callable[[Collection[str]], float]
_LEAST_GAIN = 0.01  # of a file's time: less is not faster


@dataclass(frozen=True)
class LayerChoice:
    """What a search came to.

    Args:
        int8: Layers to quantise, in the order of the network.
        kept: Layers left in high precision, likewise.
        psnr: Worst PSNR in dB of this choice.
        psnr_all: Worst PSNR with every layer quantised.
    """

    int8: tuple[str, ...]
    kept: tuple[str, ...]
    psnr: float
    psnr_all: float


def sensitivity(names: Sequence[str], evaluate: Evaluate, *, done: Callable[[str], None] = ignored) -> dict[str, float]:
    """Worst PSNR in dB with each layer quantised alone."""
    table = {}
    for name in names:
        table[name] = evaluate([name])
        done(name)
    return table


def fewest_kept(
    names: Sequence[str],
    alone: Mapping[str, float],
    evaluate: Evaluate,
    *,
    min_psnr: float,
    keep: Collection[str] = (),
    shares: Mapping[str, float] | None = None,
) -> LayerChoice:
    """Leave out the most sensitive layers until the rest holds ``min_psnr``, then take back those that were not needed.

    Args:
        names: All layers, in order.
        alone: Their `sensitivity`.
        evaluate: Worst PSNR with the given layers quantised.
        min_psnr: In dB.
        keep: Layers to leave in high precision whatever they cost.
        shares: Of the work by layer; of layers that could be taken back the one with most work is tried first.

    Raises:
        CheckFailed: Not even one layer can be quantised.
    """
    candidates = [name for name in sorted(names, key=alone.__getitem__) if name not in keep]
    psnr_all = evaluate(candidates)
    left_out = 0 if psnr_all >= min_psnr else _enough(candidates, evaluate, min_psnr)
    # Least sensitive first, or, where the work is known, most work first.
    work = shares or {}
    again = sorted(candidates[:left_out], key=lambda name: (-work.get(name, 0.0), -alone[name]))
    chosen, reached = _taken_back(again, candidates[left_out:], evaluate, min_psnr)
    if not chosen:
        best = max(candidates, key=alone.__getitem__, default="")
        raise CheckFailed(
            f"no layer can be int8 at {min_psnr:g} dB: with every layer it is {psnr_all:.1f} dB, with {best} alone "
            f"{alone.get(best, 0):.1f} dB. Lower `min_psnr`, or train a network that is less sensitive."
        )
    return LayerChoice(
        int8=tuple(name for name in names if name in chosen),
        kept=tuple(name for name in names if name not in chosen),
        psnr=reached,
        psnr_all=psnr_all,
    )


def _enough(candidates: Sequence[str], evaluate: Evaluate, min_psnr: float) -> int:
    """How many of the most sensitive layers have to be left out, by bisection; all of them if need be."""
    too_few, enough = 0, len(candidates)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if evaluate(candidates[middle:]) >= min_psnr:
            enough = middle
        else:
            too_few = middle
    return enough


def _taken_back(left_out: Sequence[str], chosen: list[str], evaluate: Evaluate, min_psnr: float) -> tuple[list[str], float]:
    """Quantise again, in this order, each left-out layer that costs too little to matter."""
    reached = evaluate(chosen) if chosen else float("inf")
    for name in left_out:
        tried = evaluate([*chosen, name])
        if tried >= min_psnr:
            chosen, reached = [*chosen, name], tried
    return chosen, reached


def part_of(name: str) -> str:
    """The part of the network that a layer belongs to: ``"merge"``, ``"attention"``, or one scale of encoder or decoder.

    One small layer's time is lost in the noise of a measurement, that of all of its kind is not.
    """
    first, *rest = name.split(".")
    return f"{first}.{rest[0]}" if first in ("encoder", "decoder") else first


def without_slow(
    choice: LayerChoice,
    shares: Mapping[str, float],
    gain: Callable[[Collection[str], Collection[str]], float],
    evaluate: Evaluate,
    *,
    min_psnr: float,
) -> LayerChoice:
    """Take back to high precision the parts whose int8 makes the file slower: converting to it costs more than it saves.

    Args:
        choice: What holds the quality.
        shares: Of the work by layer; the part with the least work is tried first.
        gain: By what fraction the second set of int8 layers is faster than the first.
        evaluate: Worst PSNR with the given layers quantised.
        min_psnr: In dB; a faster choice that does not hold it is not taken.
    """
    work: dict[str, float] = {}
    for name in choice.int8:
        work[part_of(name)] = work.get(part_of(name), 0.0) + shares[name]
    int8, reached = choice.int8, choice.psnr
    for part in sorted(work, key=work.__getitem__):
        fewer = tuple(name for name in int8 if part_of(name) != part)
        if fewer and gain(int8, fewer) >= _LEAST_GAIN and (psnr := evaluate(fewer)) >= min_psnr:
            int8, reached = fewer, psnr
    names = sorted((*choice.int8, *choice.kept), key=list(shares).index)
    return LayerChoice(int8, tuple(name for name in names if name not in int8), reached, choice.psnr_all)
