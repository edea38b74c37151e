"""Raising detail that lies between the planes of focus, and in how much of the picture that was done."""

import numpy as np

from ufafuse.runtime.stacks.gaps import FocusGaps
from ufafuse.runtime.stacks.inverse import inverses
from ufafuse.runtime.stacks.octaves import OctaveSums
from ufafuse.runtime.stacks.options import Stacked

_WORTH_TELLING = 0.05  # more of the detail
_SEEN = 2 / 255  # of white: where less was added and taken away there is noise, or nothing that could be seen


def restore(result: Stacked, gaps: FocusGaps, sums: OctaveSums, most: float) -> None:
    """Raise detail in the fused picture, in place, and note where.

    Args:
        result: Whose picture is fused of ``sums``.
        gaps: What the frames say of the planes between them.
        sums: As `OctaveSums.fused` left them.
        most: The factor by which no detail is raised more, above 1.
    """
    shares = gaps.shares(result.fused if result.smoothing == 1 else None)
    if not shares.any():
        return
    filters = inverses(most)
    changed = sums.raise_detail(result.fused, shares, [each.kernel for each in filters])
    factor = 1 + shares @ np.array([each.gain - 1 for each in filters], np.float32)
    # A factor is one of nothing where a surface is even: the fit asks for any there, because none does harm.
    raised = (factor >= 1 + _WORTH_TELLING) & (changed >= _SEEN)
    if raised.any():
        result.restored = float(raised.mean()), float(factor[raised].max())
