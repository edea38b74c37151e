"""What a fused picture holds by itself: AVG, STD and SEN, on the red channel in levels 0..255."""

import numpy as np

from ufafuse.benchmarks.metrics.planes import Plane


def average_gradient(fused: Plane) -> float:
    """AVG: the mean of sqrt((dv^2 + dh^2) / 2) over forward differences, borders left out.

    Source: Song et al., "Fusion of multispectral and panchromatic satellite images based on contourlet transform and local
    average gradient", Optical Engineering 46(2), 2007. Picture of H x W levels; result in levels, 0 or more.
    """
    down = fused[1:, :-1] - fused[:-1, :-1]
    right = fused[:-1, 1:] - fused[:-1, :-1]
    return float(np.mean(np.sqrt((down**2 + right**2) / 2)))


def standard_deviation(fused: Plane) -> float:
    """STD: the sample standard deviation (divisor N - 1) of all pixels, in levels.

    Source: Liu et al., "An image fusion method based on directional contrast and area-based standard deviation", 2005.
    """
    return float(np.std(fused, ddof=1))


def entropy(fused: Plane) -> float:
    """SEN: Shannon's entropy of the 256 levels, 0..8 bits.

    Source: Wax and Ziv, IEEE Transactions on Information Theory 23(4), 1977, as the paper cites it.
    """
    counts = np.bincount(np.rint(fused).astype(np.int64).ravel(), minlength=256)
    share = counts[counts > 0] / fused.size
    return float(-np.sum(share * np.log2(share)))
