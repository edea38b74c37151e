"""Qmi and Qncie: what the fused picture and its sources tell of one another, from the joint histograms of their grey levels."""

import numpy as np
from numpy.typing import NDArray

from ufafuse.benchmarks.metrics.planes import Plane, stretched

_LEVELS = 256


class JointEntropies:
    """The entropies, in bits, of two sources and their fused picture, of each and of each two together.

    Args:
        near, far, fused: H x W planes on any scale: each is stretched to 0..255 and rounded first.
    """

    def __init__(self, near: Plane, far: Plane, fused: Plane) -> None:
        levels = [stretched(plane).astype(np.intp).ravel() for plane in (near, far, fused)]
        self.sources, self.near_and_fused, self.far_and_fused = (
            _entropies(levels[one], levels[other]) for one, other in ((0, 1), (0, 2), (1, 2))
        )


def shared_and_correlated(near: Plane, far: Plane, fused: Plane) -> tuple[float, float]:
    """Qmi and Qncie of three planes, whose joint histograms are made once."""
    entropies = JointEntropies(near, far, fused)
    return shared_information(entropies), nonlinear_correlation(entropies)


def shared_information(entropies: JointEntropies) -> float:
    """Qmi: mutual information with each source over the mean of the two entropies, summed; 0..2, more is better.

    NaN where a source and the fused picture both have one level alone. It is the normalised form, of Hossny et al., that
    reference implementations have, and not the plain sum of both, which favours pictures with a large entropy. It rewards
    taking pixels over unchanged: the mean of the sources, which has other levels than either, scores low however good it looks.

    Source: Hossny, Nahavandi and Creighton, "Comments on 'Information measure for performance of image fusion'", Electronics
    Letters 44(18), 2008; on Qu, Zhang and Yan, Electronics Letters 38(7), 2002.
    """
    parts = []
    for own, others, joint in (entropies.near_and_fused, entropies.far_and_fused):
        parts.append(2 * (own + others - joint) / (own + others) if own + others > 0 else float("nan"))
    return sum(parts)


def nonlinear_correlation(entropies: JointEntropies) -> float:
    """Qncie: the nonlinear correlation information entropy of the three pictures together; 0..1, more is better.

    Between two pictures the nonlinear correlation is their mutual information, in digits of base 256; Qncie is 1 minus the
    entropy, in the same digits, of the eigenvalues of the 3 x 3 matrix of correlations. Three pictures that have nothing in
    common give 1 - log256(3), 0.802, so that differences are in the third digit. The correlation of the two sources is in it
    too: compare methods on the same pairs.

    Source: Wang, Shen and Jin, "Performance evaluation of image fusion techniques", chapter 19 of Stathaki (editor), Image
    Fusion: Algorithms and Applications, 2008.
    """
    correlations = np.eye(3)
    pairs = {(0, 1): entropies.sources, (0, 2): entropies.near_and_fused, (1, 2): entropies.far_and_fused}
    for (one, other), (own, others, joint) in pairs.items():
        correlations[one, other] = correlations[other, one] = (own + others - joint) / np.log2(_LEVELS)
    shares = np.linalg.eigvalsh(correlations) / 3
    shares = shares[shares > 0]
    return float(1 + np.sum(shares * np.log2(shares)) / np.log2(_LEVELS))


def _entropies(first: NDArray[np.intp], second: NDArray[np.intp]) -> tuple[float, float, float]:
    """The entropies of both, and that of both together, in bits."""
    joint = np.bincount(first * _LEVELS + second, minlength=_LEVELS**2).reshape(_LEVELS, _LEVELS)
    return _entropy(joint.sum(axis=1)), _entropy(joint.sum(axis=0)), _entropy(joint.ravel())


def _entropy(counts: NDArray[np.intp]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-np.sum(share * np.log2(share)))
