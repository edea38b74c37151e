"""A picture of where a result differs from what it should be."""

import cv2
import numpy as np
from numpy.typing import NDArray

_BAR = 28  # pixels: height of the captions


def heat_map(result: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture of where a result differs: reference, result, and the greatest difference of the three channels.

    Args:
        result, reference: H x W x 3, BGR, 8-bit levels.

    Returns:
        (H + caption) x 3 W x 3 uint8. The difference is scaled so that its largest value is full colour; the caption
        says how many levels that is.
    """
    reference = np.nan_to_num(reference)
    difference = np.abs(np.nan_to_num(result, nan=255.0, posinf=255.0, neginf=255.0) - reference).max(axis=2)
    top = float(difference.max())
    scaled = (difference * (255 / top) if top > 0 else difference).astype(np.uint8)
    panels = (
        ("reference", np.clip(np.rint(reference), 0, 255).astype(np.uint8)),
        ("result", np.clip(np.rint(np.nan_to_num(result)), 0, 255).astype(np.uint8)),
        (f"full colour: {top:.3g} levels", cv2.applyColorMap(scaled, cv2.COLORMAP_INFERNO)),
    )
    return np.hstack([np.vstack([_caption(text, panel.shape[1]), panel]) for text, panel in panels])


def _caption(text: str, width: int) -> NDArray[np.uint8]:
    bar = np.zeros((_BAR, width, 3), np.uint8)
    cv2.putText(bar, text, (4, _BAR - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return bar
