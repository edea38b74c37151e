"""Pictures into files: whole or not at all, with their levels and what stood beside them; nothing that is read is replaced."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.filebytes import same_file
from ufafuse.runtime.pictures import quick
from ufafuse.runtime.pictures.metadata import Metadata, with_metadata
from ufafuse.runtime.texts import suffix_words
from ufafuse.runtime.values import check_fields, check_value, is_switch
from ufafuse.runtime.writing import already_there, atomic_write, check_name, check_parent

_JPEG, _TIFF, _WEBP = frozenset((".jpg", ".jpeg")), frozenset((".tif", ".tiff")), frozenset((".webp",))
WRITTEN = frozenset((".png", ".bmp")) | _JPEG | _TIFF | _WEBP
WITH_QUALITY = _JPEG | _WEBP
_SIXTEEN_BIT = _TIFF | {".png"}
_WITH_ALPHA = _TIFF | _WEBP | {".png"}
_LONGEST_SIDE = {".jpg": 65_535, ".jpeg": 65_535, ".webp": 16_383}
_QUALITY, _LOSSLESS = 97, 101  # what OpenCV calls WebP without loss
_TIFF_PACKING = {"none": ("none", None), "fast": ("deflate", 1), "small": ("deflate", 9)}
_PNG_LEVELS = {"none": 0, "fast": 1, "small": 9}
COMPRESSIONS = ("none", "fast", "small", "lzw", "zstd")


@dataclass(frozen=True)
class WriteOptions:
    """How results are stored.

    Args:
        quality: Of JPEG (97 without) and WebP (without: no loss), 1 to 100.
        compression: ``"none"``, ``"fast"`` or ``"small"``, of PNG and TIFF; ``"lzw"`` or ``"zstd"``, of TIFF with the extra
            ``tiff``. None: PNG fast (by isal, otherwise as OpenCV does it), TIFF with Deflate.

    Raises:
        InputError: A value that is not known.
    """

    quality: int | None = None
    compression: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no format knows."""
        check_fields(self)
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise InputError(f"a quality of {self.quality} is not known: give one from 1 to 100.")
        if self.compression is not None and self.compression not in COMPRESSIONS:
            raise InputError(f"the compression {self.compression!r} is not known: choose one of {', '.join(COMPRESSIONS)}.")

    def check_for(self, path: Path) -> None:
        """Refuse options that the format of ``path`` does not have (`OutputError`)."""
        suffix = path.suffix.lower()
        if self.quality is not None and suffix not in WITH_QUALITY:
            raise OutputError(f"{path} has no quality to choose: end it in .jpg or .webp, or omit the quality.")
        if self.compression is not None and suffix not in _TIFF | {".png"}:
            raise OutputError(f"{path} has no compression to choose: end it in .png or .tif, or omit the compression.")
        if self.compression in ("lzw", "zstd") and suffix not in _TIFF:
            raise OutputError(f"{path} cannot be compressed with {self.compression}: that is for .tif.")
        if self.compression in ("lzw", "zstd") and not _has_imagecodecs():
            raise OutputError(
                f"{path} cannot be compressed with {self.compression}: pip install 'ufafuse[tiff]', or omit the compression."
            )


def _has_imagecodecs() -> bool:
    try:
        return importlib.util.find_spec("imagecodecs") is not None
    except ValueError:  # it was made unimportable
        return False


def check_output(
    path: Path,
    *,
    force: bool,
    image: Array | None = None,
    inputs: Iterable[Path] = (),
    options: WriteOptions | None = None,
) -> None:
    """Refuse an output that could not be written, before any work is spent on it.

    Args:
        path: Where a result goes.
        force: Existing files are replaced.
        image: A picture of the result's shape and dtype, where that is known.
        inputs: What is read: never replaced, with ``force`` or without.
        options: How it is stored.

    Raises:
        OutputError: Unknown suffix, existing file without ``force``, one of the inputs, missing folder, or a format that
            cannot hold ``image``'s depth, alpha or size.
    """
    check_value("force", force, is_switch)
    check_name(path)
    check_no_folder(path)
    check_format(path)
    check_parent(path)
    for source in inputs:
        if same_file(path, source):
            raise OutputError(f"{path} is one of the frames that are read: name another file, outside of their folder.")
    if not force and os.path.lexists(path):  # a link to nowhere is something
        raise OutputError(already_there(path))
    if options is not None:
        options.check_for(path)
    if image is not None:
        check_holds(path, image.shape, image.dtype)


def check_no_folder(path: Path) -> None:
    """Refuse a picture that a folder has the name of, whatever that is called (`OutputError`)."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name an image file in it, such as {path / 'fused.png'}.")


def check_format(path: Path) -> None:
    """Refuse a suffix that is of no format which is written (`OutputError`)."""
    if path.suffix.lower() not in WRITTEN:
        raise OutputError(f"{suffix_words(path)}: end it in .png, .jpg, .tif, .bmp or .webp.")


def check_holds(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse a format that cannot hold a picture of this shape and dtype (`OutputError`)."""
    suffix = path.suffix.lower()
    if dtype == np.float32 and suffix not in _TIFF:
        raise OutputError(f"{path} cannot hold the frames' float levels: end it in .tif.")
    if dtype != np.uint8 and suffix not in _SIXTEEN_BIT:
        raise OutputError(f"{path} cannot hold the 16-bit levels of the frames: end it in .png or .tif.")
    if len(shape) == 3 and shape[2] == 4 and suffix not in _WITH_ALPHA:
        raise OutputError(f"{path} cannot hold the frames' alpha: end it in .png, .tif or .webp.")
    longest = _LONGEST_SIDE.get(suffix)
    if longest is not None and max(shape[:2]) > longest:
        raise OutputError(
            f"{path} cannot hold {shape[0]} x {shape[1]} pixels, {suffix} ends at {longest} a side: end it in .png or .tif."
        )


def lost_samples(path: Path, image: Array) -> str:
    """What the format of ``path`` does not keep of a picture's samples, in words; empty: nothing, but for its quality."""
    hidden = path.suffix.lower() in _WEBP and image.ndim == 3 and image.shape[2] == 4 and image[image[..., 3] == 0].any()
    return "the colours where alpha is 0" if hidden else ""


def write_image(
    path: Path,
    image: Array,
    *,
    force: bool = False,
    metadata: Metadata | None = None,
    inputs: Iterable[Path] = (),
    options: WriteOptions | None = None,
) -> None:
    """Encode a picture by the suffix of ``path``; whole or not at all.

    Args:
        path: .png, .jpg, .tif, .bmp or .webp.
        image: uint8, uint16 (PNG, TIFF) or float32 (TIFF); grey, BGR or BGRA.
        force: Replace an existing file.
        metadata: What to store beside the pixels (BMP holds none).
        inputs: As `check_output`.
        options: Quality and compression.

    Raises:
        OutputError: As `check_output`, and when the folder is not writable or the disk is full.
    """
    path, options = Path(path), options or WriteOptions()
    check_output(path, force=force, image=image, inputs=inputs, options=options)
    data = encoded(path, image, metadata, options)
    with atomic_write(path, force=force) as temporary:
        temporary.write_bytes(data)


def encoded(path: Path, image: Array, metadata: Metadata | None, options: WriteOptions) -> bytes:
    """A picture as the bytes of a file of this name; nothing is written.

    Args:
        path: Its suffix is the format; the name stands in the errors.
        image, metadata, options: As `write_image`; the format holds the image (`check_holds`).

    Raises:
        OutputError: It cannot be encoded so.
    """
    suffix = path.suffix.lower()
    if suffix in _TIFF:
        from ufafuse.runtime.pictures.tiffwrite import tiff_bytes

        compression, level = _TIFF_PACKING.get(options.compression or "", (options.compression or "deflate", None))
        try:
            return tiff_bytes(image, metadata, compression=compression, level=level)
        except InputError as error:
            raise OutputError(f"{path} cannot be written: {error}") from error
    if suffix == ".png" and options.compression in (None, "fast") and quick.writes_png():
        return _beside(quick.png_bytes(image), image, metadata)
    try:
        done, data = cv2.imencode(suffix, image, _codec_options(suffix, options))
    except cv2.error as error:
        raise OutputError(f"{path} cannot be encoded as {suffix}: {error.err or error}.") from error
    if not done:
        raise OutputError(f"{path} cannot be encoded as {suffix}: choose .png.")
    return _beside(data.tobytes(), image, metadata)


def _beside(data: bytes, image: Array, metadata: Metadata | None) -> bytes:
    """An encoded picture with what belongs beside its pixels."""
    if metadata is None:
        return data
    alpha = image.ndim == 3 and image.shape[2] == 4
    return with_metadata(data, metadata, size=(image.shape[0], image.shape[1]), alpha=alpha)


def _codec_options(suffix: str, options: WriteOptions) -> list[int]:
    if suffix in _JPEG:
        return [cv2.IMWRITE_JPEG_QUALITY, options.quality or _QUALITY]
    if suffix in _WEBP:
        return [cv2.IMWRITE_WEBP_QUALITY, options.quality or _LOSSLESS]
    if suffix == ".png" and options.compression is not None:
        return [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVELS[options.compression]]
    return []
