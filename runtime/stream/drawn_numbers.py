"""Frame numbers drawn into pictures, so that a machine can read them back after fusion, JPEG and video.

A number is a row of cells across the picture: 32 bits and 8 bits of CRC. A one is a cell that goes from white to black, a zero
one that goes from black to white: every cell has an edge, so a fusion sees sharpness all along the row. The row is drawn at
the top and again at the bottom, so a torn frame reads as none. Near frames use one row and leave the other flat grey, far
frames the reverse; a fusion keeps the sharper of the two, so a fused frame shows both numbers.
"""

import binascii

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError

CELLS = 32 + 8
LEAST_WIDTH, LEAST_HEIGHT = 4 * CELLS, 48
_GREY = 128
_LEAST_CONTRAST = 20.0


def _row_height(height: int) -> int:
    return max(6, height // 30)


def _halves(number: int) -> Array:
    """The levels of the cells' halves from left to right."""
    data = (number & 0xFFFFFFFF).to_bytes(4, "big")
    bits = np.unpackbits(np.frombuffer(data + bytes([_check(data)]), np.uint8))
    return np.stack([bits, 1 - bits], axis=1).reshape(-1) * np.uint8(255)


def _check(data: bytes) -> int:
    return binascii.crc_hqx(data, 0) & 0xFF


def _tops(height: int, band: int) -> tuple[int, int]:
    """First rows of a band's two copies."""
    row = _row_height(height)
    return band * row, height - (2 - band) * row


def draw_number(image: Array, number: int, band: int) -> None:
    """Draw ``number`` into ``image``, in place.

    Args:
        image: H x W or H x W x 3, uint8, at least 48 x 160.
        number: 0 to 2**32 - 1; larger ones wrap.
        band: 0 for near frames, 1 for far ones; the other row becomes flat grey.

    Raises:
        InputError: The image is too small to hold the cells.
    """
    height, width = image.shape[:2]
    if height < LEAST_HEIGHT or width < LEAST_WIDTH:
        raise InputError(f"a picture of {height}x{width} is too small for a frame number: use {LEAST_HEIGHT}x{LEAST_WIDTH}.")
    row = _row_height(height)
    line = np.repeat(_halves(number), width // (2 * CELLS))
    for own, other in zip(_tops(height, band), _tops(height, 1 - band), strict=True):
        image[other : other + row] = _GREY
        image[own : own + row] = _GREY
        image[own : own + row, : line.size] = line if image.ndim == 2 else line[:, np.newaxis]


def clear_numbers(image: Array) -> None:
    """Make both rows flat grey, in place: a frame that carries no number."""
    row = _row_height(image.shape[0])
    for top in (*_tops(image.shape[0], 0), *_tops(image.shape[0], 1)):
        image[top : top + row] = _GREY


def read_number(image: Array, band: int) -> int | None:
    """The number in one band of ``image``, or None when it is not there, damaged, or differs between top and bottom."""
    height, width = image.shape[:2]
    if height < LEAST_HEIGHT or width < LEAST_WIDTH:
        return None
    top, bottom = (_read_row(image, start) for start in _tops(height, band))
    return top if top == bottom else None


def _read_row(image: Array, start: int) -> int | None:
    row, half = _row_height(image.shape[0]), image.shape[1] // (2 * CELLS)
    # The middle of each half: its edges are where JPEG and defocus blur one into the next.
    strip = image[start + row // 4 : start + row - row // 4, : half * 2 * CELLS]
    grey = cv2.cvtColor(np.ascontiguousarray(strip[..., :3]), cv2.COLOR_BGR2GRAY) if strip.ndim == 3 else strip
    middle = grey.reshape(grey.shape[0], CELLS, 2, half)[..., half // 4 : half - half // 4]
    levels = middle.mean(axis=(0, 3))
    contrast = levels[:, 0] - levels[:, 1]
    if np.abs(contrast).min() < _LEAST_CONTRAST:
        return None
    bits = np.packbits(contrast > 0).tobytes()
    return int.from_bytes(bits[:4], "big") if bits[4] == _check(bits[:4]) else None
