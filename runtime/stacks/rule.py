"""Whether a stack is fused by one rule over all of its frames, or folded pair by pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stacks.options import MOST_RESTORED

if TYPE_CHECKING:
    from ufafuse.runtime.fuser import Fuser
    from ufafuse.runtime.stacks.options import StackOptions


def by_one_rule(fuser: Fuser, count: int, options: StackOptions, *, aligned: bool = False) -> bool:
    """Whether `count` frames are fused by one rule over all of them, and so may be read one after the other.

    ``aligned``: registered frames are wanted, as ``options.on_aligned`` says it too.

    Raises:
        InputError: Something is wanted that only such a rule gives, of a network that has none.
    """
    smoothed = options.smoothing not in (None, 1)
    if options.restore not in (1, MOST_RESTORED) and (options.method == "pyramid" or not fuser.gathers):
        raise InputError(
            "`restore` is for a network that sees the whole stack, of three frames or more: omit it, or take `model=ufa-stack`."
        )
    more = options.want_height or options.on_aligned is not None or aligned or smoothed
    if options.method == "pyramid":
        if options.want_height or options.want_map:
            raise InputError(f"the pyramid gives no {'heights' if options.want_height else 'map'}: take `method=network`.")
        if smoothed:
            raise InputError(
                "the pyramid takes one frame at each place, and has no `smoothing`: omit it, or take `method=network`."
            )
        return True
    if more and not fuser.gathers:
        without = "without `smoothing`" if smoothed else "without heights or aligned frames"
        raise InputError(f"{fuser.model.name} folds a stack pair by pair, {without}: take `model=ufa-stack`.")
    return fuser.gathers and (count > 2 or more)
