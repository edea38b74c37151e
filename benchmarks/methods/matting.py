"""Fusion by image matting: sure regions from morphology, the border between them from the matting Laplacian."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import linalg

from ufafuse.benchmarks.methods.base import Channels, Method, grey_levels, without_small_regions
from ufafuse.runtime.arrays import Mask

_DISK = 5
_SMOOTHING = 11
_UNKNOWN_RADIUS = 10
_SMALL_REGION = 0.01
_EPSILON = 1e-5
_SOLVER_TOLERANCE = 1e-5
_SOLVER_STEPS = 2000

_OFFSETS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]


def fuse_matting(near: Channels, far: Channels) -> Channels:
    """Sure near and far regions by top-hat and bottom-hat; between them an alpha by closed-form matting of the near frame."""
    focus_near, focus_far = (_focus(channels) for channels in (near, far))
    from_near = without_small_regions(focus_near > focus_far, _SMALL_REGION * focus_near.size)
    unknown = _border(from_near)
    alpha = closed_form_alpha(near / 255, from_near.astype(np.float64), unknown)[..., None]
    return alpha * near + (1 - alpha) * far


def _focus(channels: Channels) -> NDArray[np.float64]:
    """Bright and dark details smaller than a disk, smoothed."""
    plane = grey_levels(channels)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_DISK, _DISK))
    hats = [cv2.morphologyEx(plane, operation, disk) for operation in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)]
    return ndimage.uniform_filter(np.maximum(*hats), _SMOOTHING)


def _border(mask: Mask) -> Mask:
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _UNKNOWN_RADIUS + 1,) * 2)
    levels = mask.astype(np.uint8)
    return cv2.dilate(levels, disk) != cv2.erode(levels, disk)


def closed_form_alpha(image: Channels, known: NDArray[np.float64], unknown: Mask) -> NDArray[np.float64]:
    """Alpha in [0, 1] that is ``known`` outside ``unknown`` and locally linear in the colours inside it.

    Args:
        image: H x W x C in [0, 1].
        known: H x W, 0 or 1.
        unknown: H x W.

    Source: Levin, Lischinski and Weiss, "A closed-form solution to natural image matting", IEEE TPAMI 30(2), 2008.
    """
    unknown = unknown.copy()
    unknown[[0, -1]] = unknown[:, [0, -1]] = False  # a pixel of the frame's own border has no full window
    if not unknown.any():
        return known
    laplacian = _matting_laplacian(image, np.asarray(ndimage.binary_dilation(unknown, np.ones((3, 3))), np.bool_))
    inside, outside = np.flatnonzero(unknown), np.flatnonzero(~unknown)
    rows = laplacian[inside]
    right = -rows[:, outside] @ known.ravel()[outside]
    system = rows[:, inside] + 1e-9 * sparse.identity(len(inside))
    inverse_diagonal = sparse.diags(1 / system.diagonal())
    start = known.ravel()[inside]
    solution, _ = linalg.cg(system, right, x0=start, rtol=_SOLVER_TOLERANCE, maxiter=_SOLVER_STEPS, M=inverse_diagonal)
    alpha = known.copy()
    alpha.flat[inside] = np.clip(solution, 0, 1)
    return alpha


def _matting_laplacian(image: Channels, region: Mask) -> sparse.csr_array:
    """The matting Laplacian summed over the 3 x 3 windows whose centres lie in ``region``: (H W) x (H W), sparse."""
    height, width, channels = image.shape
    centres = region.copy()
    centres[[0, -1]] = centres[:, [0, -1]] = False
    rows, columns = np.nonzero(centres)
    places = np.stack([(rows + down) * width + columns + right for down, right in _OFFSETS], axis=1)
    colours = image.reshape(-1, channels)[places]
    centred = colours - colours.mean(axis=1, keepdims=True)
    count = len(_OFFSETS)
    covariance = np.einsum("npi,npj->nij", centred, centred) / count + _EPSILON / count * np.eye(channels)
    affinity = (1 + np.einsum("npi,nij,nqj->npq", centred, np.linalg.inv(covariance), centred)) / count
    values = np.eye(count) - affinity
    first = np.repeat(places, count, axis=1).ravel()
    second = np.tile(places, (1, count)).ravel()
    size = height * width
    return sparse.csr_array(sparse.coo_matrix((values.ravel(), (first, second)), shape=(size, size)))


METHODS = (
    Method(
        "imf",
        "IMF",
        "Li, Kang, Hu and Yang, Image matting for fusion of multi-focus images in dynamic scenes, Information Fusion 14(2), "
        "2013",
        fuse_matting,
        {"disk": _DISK, "smoothing": _SMOOTHING, "unknown radius": _UNKNOWN_RADIUS, "epsilon": _EPSILON},
        note="closed-form matting (Levin et al. 2008) stands in for robust matting; the table cites a later method, "
        "with an edge model (Chen, Guan and Cham)",
    ),
)
