"""The map of which frame won, judged as the picture that it makes of the two frames.

A weight matters by as much as the frames differ where it is: between equal pixels any will do. So the map is held to the
tolerances that pictures are held to, in levels and decibels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.checks.tolerances import compare, tolerance_for


def mixed(near: NDArray[np.uint8], far: NDArray[np.uint8], weight: NDArray[Any]) -> NDArray[np.float64]:
    """Weigh two frames, H x W x 3 uint8, by the near one's weight, H x W; in 8-bit levels."""
    near_levels, far_levels = near.astype(np.float64), far.astype(np.float64)
    return far_levels + weight.astype(np.float64)[..., None] * (near_levels - far_levels)


def compare_maps(
    found: NDArray[Any],
    expected: NDArray[Any],
    frames: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    *,
    arithmetic: str,
    noise: float,
) -> dict[str, Any]:
    """How far a map lies from PyTorch's, as what is `mixed` by either.

    Args:
        found, expected: H x W, the near frame's weight.
        frames: Near and far, H x W x 3 uint8.
        arithmetic: As `tolerance_for` takes it; maps are float32 in every io.
        noise: How far PyTorch's own float32 is uncertain, in levels.

    Returns:
        ``max_abs`` in levels, ``psnr``, ``finite``, ``noise``, ``ok``. A map of another size is as far away as can be.
    """
    fits = found.shape == expected.shape
    row = compare(mixed(*frames, found if fits else np.full_like(expected, np.nan)), mixed(*frames, expected))
    kept = {key: row[key] for key in ("max_abs", "psnr", "finite")} | {"noise": noise}
    return {**kept, "ok": tolerance_for(arithmetic, "float").met_by(kept)}
