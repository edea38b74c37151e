"""Image files in and out, with the levels they have and never half of them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.artefact import atomic_write
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.pairs import IMAGE_SUFFIXES
from ufafuse.runtime.pictures.decode import decode_picture, read_picture

Image = NDArray[Any]

_SIXTEEN_BIT = frozenset({".png", ".tif", ".tiff"})
_WITH_ALPHA = frozenset({".png", ".tif", ".tiff", ".webp"})
_OPTIONS = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 97],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 97],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101],  # above 100 means lossless
}


def read_image(path: Path, *, most: int | None = None) -> Image:
    """Decode a picture file, upright; see `ufafuse.runtime.pictures.decode.read_picture`, which also gives what stands beside it.

    Args:
        path: The file.
        most: Pixels that it may declare; None: as `pixels.most_pixels` says for this machine.

    Returns:
        H x W (grey), H x W x 3 (BGR) or H x W x 4 (BGRA); uint8, uint16 or float32 as in the file.

    Raises:
        InputError: The file is missing, empty, truncated, no picture, too large, or has samples that are not read.
    """
    return read_picture(path, most=most).array


def decode_image(data: bytes, name: str, *, most: int | None = None) -> Image:
    """Decode a picture file's bytes, of ``most`` pixels at most; ``name`` stands in the errors. As `read_image`."""
    return decode_picture(data, name, most=most).array


def check_output(path: Path, *, force: bool, image: Image | None = None) -> None:
    """Refuse an output that could not be written, before any work is spent on it.

    Raises:
        OutputError: Unknown suffix, existing file without ``force``, missing folder, or a format that cannot hold
            ``image``'s depth or alpha.
    """
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise OutputError(f"{path} has the suffix {path.suffix or 'none'!r}: end it in .png, .jpg, .tif, .bmp or .webp.")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent} is not a folder: make it first (mkdir -p {path.parent}).")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name an image file.")
    if path.exists() and not force:
        raise OutputError(f"{path} exists already: choose another name, or add --force to replace it.")
    if image is None:
        return
    if image.dtype != np.uint8 and suffix not in _SIXTEEN_BIT:
        raise OutputError(f"{path} cannot hold the 16-bit levels of the frames: end it in .png or .tif.")
    if image.ndim == 3 and image.shape[2] == 4 and suffix not in _WITH_ALPHA:
        raise OutputError(f"{path} cannot hold the frames' alpha: end it in .png, .tif or .webp.")


def write_image(path: Path, image: Image, *, force: bool = False) -> None:
    """Encode ``image`` (as `read_image` returns it) by the suffix of ``path``; whole or not at all.

    JPEG is written at quality 97, WebP without loss.

    Raises:
        OutputError: As `check_output`, and when the folder is not writable or the disk is full.
    """
    path = Path(path)
    check_output(path, force=force, image=image)
    suffix = path.suffix.lower()
    try:
        done, data = cv2.imencode(suffix, image, _OPTIONS.get(suffix, []))
    except cv2.error as error:
        raise OutputError(f"{path} cannot be encoded as {suffix}: {error.err or error}.") from error
    if not done:
        raise OutputError(f"{path} cannot be encoded as {suffix}: choose .png.")
    with atomic_write(path, force=force) as temporary:
        temporary.write_bytes(data.data)
