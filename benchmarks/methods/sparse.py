"""Fusion by sparse representation: each patch as a few atoms of a cosine dictionary, the more active one kept."""

import numpy as np
from numpy.typing import NDArray

from ufafuse.benchmarks.methods.base import Method, by_channel
from ufafuse.benchmarks.metrics.planes import Plane
from ufafuse.runtime.arrays import Matrix

_PATCH = 8
_ATOMS_PER_SIDE = 16
_STEP = 2
_TOLERANCE = 8.0
_MOST_ATOMS = 24
_CHUNK = 512


def fuse_sparse(near: Plane, far: Plane) -> Plane:
    """For each 8 x 8 patch the code of larger L1 norm, with its patch's mean; overlapping patches averaged. Planes H x W."""
    dictionary = cosine_dictionary(_PATCH, _ATOMS_PER_SIDE)
    places = [(top, left) for top in _starts(near.shape[0]) for left in _starts(near.shape[1])]
    total, count = np.zeros_like(near), np.zeros_like(near)
    for start in range(0, len(places), _CHUNK):
        chunk = places[start : start + _CHUNK]
        (fused_near, activity_near), (fused_far, activity_far) = (
            _approximated(_patches(plane, chunk), dictionary) for plane in (near, far)
        )
        fused = np.where((activity_near >= activity_far)[:, None], fused_near, fused_far).reshape(-1, _PATCH, _PATCH)
        for (top, left), patch in zip(chunk, fused, strict=True):
            total[top : top + _PATCH, left : left + _PATCH] += patch
            count[top : top + _PATCH, left : left + _PATCH] += 1
    return total / count


def _starts(side: int) -> list[int]:
    last = side - _PATCH
    return sorted({*range(0, last + 1, _STEP), last})


def _patches(plane: Plane, places: list[tuple[int, int]]) -> Matrix:
    windows = np.lib.stride_tricks.sliding_window_view(plane, (_PATCH, _PATCH))
    rows, columns = np.array(places).T
    return windows[rows, columns].reshape(len(places), -1)


def _approximated(patches: Matrix, dictionary: Matrix) -> tuple[Matrix, NDArray[np.float64]]:
    """(sparse approximation with the mean put back, L1 norm of the code) of each row."""
    means = patches.mean(axis=1, keepdims=True)
    approximation, norms = matching_pursuit(patches - means, dictionary, tolerance=_TOLERANCE, most_atoms=_MOST_ATOMS)
    return approximation + means, norms


def cosine_dictionary(side: int, atoms_per_side: int) -> Matrix:
    """Overcomplete separable cosine dictionary: (atoms_per_side**2) x (side**2), rows of unit norm, zero mean but the first."""
    phases = np.outer(np.arange(side) + 0.5, np.arange(atoms_per_side)) * np.pi / atoms_per_side
    atoms: Matrix = np.cos(phases)
    atoms[:, 1:] -= atoms[:, 1:].mean(axis=0)
    atoms /= np.linalg.norm(atoms, axis=0)
    return np.ascontiguousarray(np.kron(atoms, atoms).T, np.float64)


def matching_pursuit(
    signals: Matrix, dictionary: Matrix, *, tolerance: float, most_atoms: int
) -> tuple[Matrix, NDArray[np.float64]]:
    """Orthogonal matching pursuit of many signals at once.

    Args:
        signals: N x d.
        dictionary: K x d, rows of unit norm.
        tolerance: Stop a signal when the norm of its residual is at most this.
        most_atoms: ... or when it has this many atoms.

    Returns:
        The approximations N x d, and the L1 norm of each code (N).
    """
    basis = np.zeros((len(signals), most_atoms, signals.shape[1]))  # the chosen atoms, made orthonormal one by one
    chosen = np.zeros((len(signals), most_atoms), dtype=np.intp)
    used = np.zeros(len(signals), dtype=np.intp)
    residual = signals.copy()
    active = np.flatnonzero(np.linalg.norm(residual, axis=1) > tolerance)
    for count in range(most_atoms):
        if active.size == 0:
            break
        remains = residual[active]
        best = np.abs(remains @ dictionary.T).argmax(axis=1)
        earlier = basis[active, :count]
        fresh = dictionary[best]
        fresh = fresh - np.einsum("nk,nkd->nd", np.einsum("nkd,nd->nk", earlier, fresh), earlier)
        fresh /= np.maximum(np.linalg.norm(fresh, axis=1, keepdims=True), 1e-12)
        remains = remains - np.sum(fresh * remains, axis=1, keepdims=True) * fresh
        basis[active, count], chosen[active, count], residual[active] = fresh, best, remains
        used[active] = count + 1
        active = active[np.linalg.norm(remains, axis=1) > tolerance]
    return signals - residual, _code_norms(signals, dictionary, basis, chosen, used)


def _code_norms(
    signals: Matrix, dictionary: Matrix, basis: Matrix, chosen: NDArray[np.intp], used: NDArray[np.intp]
) -> NDArray[np.float64]:
    """L1 norms of the codes: the triangular system that expresses each approximation in its atoms, solved once per count."""
    norms = np.zeros(len(signals))
    for count in range(1, int(used.max(initial=0)) + 1):
        of_count = np.flatnonzero(used == count)
        span = basis[of_count, :count]
        triangle = span @ dictionary[chosen[of_count, :count]].transpose(0, 2, 1)
        # The tiny ridge keeps two nearly equal atoms from making the system singular.
        triangle += 1e-9 * np.eye(count)
        coordinates = np.einsum("nkd,nd->nk", span, signals[of_count])
        norms[of_count] = np.abs(np.linalg.solve(triangle, coordinates[..., None])).sum(axis=(1, 2))
    return norms


METHODS = (
    Method(
        "sr",
        "SR",
        "Yang and Li, Multifocus image fusion and restoration with sparse representation, IEEE Transactions on Instrumentation "
        "and Measurement 59(4), 2010",
        by_channel(fuse_sparse),
        {
            "patch": _PATCH,
            "step": _STEP,
            "atoms": _ATOMS_PER_SIDE**2,
            "tolerance": _TOLERANCE,
            "most atoms": _MOST_ATOMS,
        },
        note="patches at every second pixel, where the paper takes every pixel: a quarter of the time; tolerance in levels",
    ),
)
