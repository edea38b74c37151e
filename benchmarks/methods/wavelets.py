"""Fusion in wavelet domains: DWT, SWT and the dual-tree complex wavelet transform, on PyWavelets."""

from functools import lru_cache
from typing import Any

import numpy as np
import pywt
from numpy.typing import NDArray

from ufafuse.benchmarks.methods.base import Method, by_channel, choose_larger, padded
from ufafuse.benchmarks.metrics.planes import Plane

LEVELS = 4
_DWT_WAVELET = "db2"
_SWT_WAVELET = "db2"
_WINDOW = 5

# Kingsbury's ten-tap q-shift low pass: half a sample of delay between it and its time reverse, which is the other tree's.
_QSHIFT = (0.0, 0.0, -0.11430184, 0.0, 0.58751830, 0.76027237, 0.23389032, -0.08832942, 0.0, 0.03516384)
_FIRST_LEVEL = "bior4.4"  # the symmetric 9/7 pair

_Bands = list[list[NDArray[Any]]]


def fuse_dwt(near: Plane, far: Plane) -> Plane:
    """Decimated wavelets: larger activity in a 5 x 5 window with consistency verification; low pass averaged."""
    size = near.shape
    wavelet = pywt.Wavelet(_DWT_WAVELET)  # pyright: ignore[reportAttributeAccessIssue] - of a compiled module
    shortest = 2**LEVELS * (wavelet.dec_len - 1)  # so that the coarsest band is as long as the filter
    planes = (padded(plane, 2**LEVELS, least=shortest) for plane in (near, far))
    first, second = (pywt.wavedec2(plane, _DWT_WAVELET, "periodization", LEVELS) for plane in planes)
    fused = [(first[0] + second[0]) / 2]
    fused += [
        tuple(choose_larger(a, b, window=_WINDOW, verify=True) for a, b in zip(*details, strict=True))
        for details in zip(first[1:], second[1:], strict=True)
    ]
    return pywt.waverec2(fused, _DWT_WAVELET, "periodization")[: size[0], : size[1]]


def fuse_swt(near: Plane, far: Plane) -> Plane:
    """Undecimated wavelets: the coefficient of larger magnitude; low pass averaged."""
    size = near.shape
    first, second = (pywt.swt2(padded(plane, 2**LEVELS), _SWT_WAVELET, LEVELS, trim_approx=True) for plane in (near, far))
    fused = [(first[0] + second[0]) / 2]
    fused += [
        tuple(choose_larger(a, b) for a, b in zip(*details, strict=True)) for details in zip(first[1:], second[1:], strict=True)
    ]
    return np.asarray(pywt.iswt2(fused, _SWT_WAVELET), np.float64)[: size[0], : size[1]]


def fuse_dtcwt(near: Plane, far: Plane) -> Plane:
    """Dual-tree complex wavelets: the complex coefficient of larger magnitude; low pass averaged."""
    size = near.shape
    (low_near, first), (low_far, second) = (dual_tree(padded(plane, 2**LEVELS)) for plane in (near, far))
    lows = {tree: (low_near[tree] + low_far[tree]) / 2 for tree in low_near}
    bands = [[choose_larger(a, b) for a, b in zip(*level, strict=True)] for level in zip(first, second, strict=True)]
    return inverse_dual_tree(lows, bands)[: size[0], : size[1]]


_TREES = ((0, 0), (0, 1), (1, 0), (1, 1))  # tree a or b along the rows and along the columns


@lru_cache(maxsize=1)
def _qshift_wavelets() -> tuple[Any, Any]:
    low = np.array(_QSHIFT) / np.linalg.norm(_QSHIFT)
    first, second = (pywt.orthogonal_filter_bank(taps) for taps in (low, low[::-1]))
    wavelet = pywt.Wavelet  # pyright: ignore[reportAttributeAccessIssue] - of a compiled module
    return wavelet("q-shift a", filter_bank=first), wavelet("q-shift b", filter_bank=second)


def dual_tree(plane: Plane) -> tuple[dict[tuple[int, int], Plane], _Bands]:
    """The 2-D dual-tree complex wavelet transform, four trees of real orthonormal wavelets.

    The trees differ by one sample at the first level and by half a sample after it (q-shift filters), in rows and columns.

    Args:
        plane: H x W, sides multiples of ``2**LEVELS``.

    Returns:
        The low pass of each tree, and for each level, finest first, the six complex bands (about +-15, +-45, +-75 degrees).
        Its inverse is `inverse_dual_tree`.

    Source: Selesnick, Baraniuk and Kingsbury, "The dual-tree complex wavelet transform", IEEE Signal Processing Magazine
    22(6), 2005.
    """
    filters = _qshift_wavelets()
    lows, levels = {}, []
    for tree in _TREES:
        low = np.roll(plane, tree, axis=(0, 1))
        details = []
        for level in range(LEVELS):
            wavelets = tuple(filters[part] for part in tree) if level else (_FIRST_LEVEL, _FIRST_LEVEL)
            low, bands = pywt.dwt2(low, wavelets, mode="periodization")
            details.append(bands)
        lows[tree] = low
        levels.append(details)
    bands = [[band for three in zip(*trees, strict=True) for band in _to_complex(three)] for trees in zip(*levels, strict=True)]
    return lows, bands


def inverse_dual_tree(lows: dict[tuple[int, int], Plane], bands: _Bands) -> Plane:
    """The plane that `dual_tree` took apart: the mean of the four trees' reconstructions."""
    filters = _qshift_wavelets()
    by_tree = [[_to_real(level[at], level[at + 1]) for at in range(0, 6, 2)] for level in bands]
    planes = []
    for number, tree in enumerate(_TREES):
        low = lows[tree]
        for level in reversed(range(LEVELS)):
            wavelets = tuple(filters[part] for part in tree) if level else (_FIRST_LEVEL, _FIRST_LEVEL)
            details = tuple(band[number] for band in by_tree[level])
            low = pywt.idwt2((low, details), wavelets, mode="periodization")
        planes.append(np.roll(low, (-tree[0], -tree[1]), axis=(0, 1)))
    return np.mean(planes, axis=0)


def _to_complex(trees: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Two oriented bands from one band of the trees (aa, ab, ba, bb), a being the real and b the imaginary part."""
    aa, ab, ba, bb = trees
    return ((aa - bb) + 1j * (ab + ba)) / 2, ((aa + bb) + 1j * (ba - ab)) / 2


def _to_real(first: NDArray[Any], second: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    return (
        np.real(first) + np.real(second),
        np.imag(first) - np.imag(second),
        np.imag(first) + np.imag(second),
        np.real(second) - np.real(first),
    )


METHODS = (
    Method(
        "dwt",
        "DWT",
        "Li, Manjunath and Mitra, Multisensor image fusion using the wavelet transform, Graphical Models and Image Processing "
        "57(3), 1995",
        by_channel(fuse_dwt),
        {"wavelet": _DWT_WAVELET, "levels": LEVELS, "window": _WINDOW, "consistency": 3},
    ),
    Method(
        "swt",
        "SWT",
        "Rockinger, Image sequence fusion using a shift-invariant wavelet transform, ICIP 1997",
        by_channel(fuse_swt),
        {"wavelet": _SWT_WAVELET, "levels": LEVELS},
    ),
    Method(
        "dtcwt",
        "DTCWT",
        "Lewis, O'Callaghan, Nikolov, Bull and Canagarajah, Pixel- and region-based image fusion with complex wavelets, "
        "Information Fusion 8(2), 2007",
        by_channel(fuse_dtcwt),
        {"first level": _FIRST_LEVEL, "q-shift taps": len(_QSHIFT), "levels": LEVELS},
        note="the pixel-based rule of the paper",
    ),
)
