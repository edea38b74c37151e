"""Formats whose readers are extras: raw files, HEIF, OpenEXR."""

from __future__ import annotations

import importlib
import io
from typing import Any

import numpy as np

from ufafuse.runtime.errors import NOT_ENOUGH, InputError, is_shortage
from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures.boxes import read_boxes
from ufafuse.runtime.pictures.damage import damage_in
from ufafuse.runtime.pictures.metadata import Metadata, metadata_of, resolution_in
from ufafuse.runtime.pictures.picture import Picture
from ufafuse.runtime.pictures.rawnotes import notes_of_raw
from ufafuse.runtime.pictures.rawparts import fault_in_parts, fault_inside, is_dng
from ufafuse.runtime.pictures.xmp import gain_map_note
from ufafuse.runtime.pixels import check_pixels

# What these readers raise over a damaged file, besides their own errors.
_BROKEN = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OSError, EOFError, MemoryError, SyntaxError,
           ArithmeticError)  # fmt: skip

_BT_709 = (
    0.64,
    0.33,
    0.30,
    0.60,
    0.15,
    0.06,
    0.3127,
    0.3290,
)  # x and y of red, green, blue and white: OpenEXR's without a word


def _module(name: str, extra: str, what: str, file: str) -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{file} is {what}: pip install 'ufafuse[{extra}]' to read it.") from error


def _check_memory(error: Exception, name: str) -> None:
    """A file that there is no room for is not broken. Raises: InputError."""
    if is_shortage(error):
        raise InputError(f"{name} cannot be read: {NOT_ENOUGH} for it.") from error


def read_raw(data: bytes, name: str, most: int | None = None, *, inside: bool = False) -> Picture:
    """A sensor's picture, developed with the camera's own white balance and without any stretching of its levels.

    Args:
        data: The file.
        name: What messages call it.
        most: Pixels that it may declare.
        inside: Look for damage inside a DNG's parts, too, which LibRaw passes over; that is a warning.

    Returns:
        BGR, uint16, sRGB.

    Raises:
        InputError: The extra ``raw`` is not installed, the file is damaged, or LibRaw does not know or cannot read it.
    """
    rawpy = _module("rawpy", "raw", "a camera's raw file", name)
    fault = fault_in_parts(data)
    if fault and is_dng(data):  # what other kinds list may be meant otherwise
        raise InputError(f"{name} is damaged ({fault}): record or copy it again.")
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            check_pixels((raw.sizes.height, raw.sizes.width), name, most)
            developed = raw.postprocess(output_bps=16, use_camera_wb=True, no_auto_bright=True)
    except (rawpy.LibRawError, *_BROKEN) as error:
        _check_memory(error, name)
        text = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise InputError(f"{name} is a raw file that LibRaw cannot read ({text}): develop it to a 16-bit TIFF.") from error
    if not developed.any():  # which no sensor gives
        raise InputError(f"{name} is a raw file in which LibRaw finds nothing but black: develop it to a 16-bit TIFF.")
    fault = fault or (fault_inside(data) if inside else "")
    return Picture(np.ascontiguousarray(developed[..., ::-1]), notes_of_raw(data), damage=fault, kind="raw")


def read_heif(data: bytes, name: str, most: int | None = None) -> Picture:
    """The primary picture of a HEIC or HEIF file: BGR or BGRA, uint8, or uint16 for 10 and 12 bits. Raises: InputError."""
    heif = _module("pillow_heif", "heif", "a HEIC picture", name)
    if damage := damage_in(data):
        raise InputError(f"{name} is damaged ({damage}): record or copy it again.")
    try:
        found = heif.open_heif(data, convert_hdr_to_8bit=False)
        check_pixels(found.size[::-1], name, most)
        array = np.asarray(found)
    except _BROKEN as error:
        _check_memory(error, name)
        raise InputError(f"{name} is a HEIC file that cannot be read ({error}): copy it again.") from error
    exif = found.info.get("exif")
    exif = exif.removeprefix(b"Exif\0\0") if exif else None
    metadata = Metadata(found.info.get("icc_profile") or None, exif, found.info.get("xmp") or None)
    resolution, colour = resolution_in(ex.parse_exif(exif or b"")), metadata_of(data).colour
    metadata = Metadata(metadata.icc, exif, metadata.xmp, resolution, colour)
    warnings = [f"of the {len(found)} pictures in it the primary one is read"] if len(found) > 1 else []
    warnings += [note for note in (read_boxes(data).note, gain_map_note(data)) if note]
    if array.ndim == 3:
        array = array[..., [2, 1, 0, 3][: array.shape[2]]] if array.shape[2] >= 3 else array[..., 0]
    return Picture(np.ascontiguousarray(array), metadata, tuple(warnings), kind="HEIF")  # libheif turned it upright


def read_exr(data: bytes, name: str, most: int | None = None) -> Picture:
    """An OpenEXR picture: grey, BGR or BGRA float32, linear. Raises: InputError."""
    exr = _module("OpenEXR", "exr", "an OpenEXR picture", name)
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:  # its reader takes names only
        path = Path(folder) / "x.exr"
        path.write_bytes(data)
        try:
            header = exr.File(str(path), header_only=True).header()
            low, high = header["dataWindow"]
            check_pixels((int(high[1]) - int(low[1]) + 1, int(high[0]) - int(low[0]) + 1), name, most)
            parts, channels = _exr_parts(exr, str(path))
        except _BROKEN as error:
            _check_memory(error, name)
            raise InputError(f"{name} is an OpenEXR file that cannot be read ({error}): write or copy it again.") from error
    planes = {key: channel.pixels for key, channel in channels.items()}
    order = next((keys for keys in ("BGR", "Y") if all(key in planes for key in keys)), "")
    if not order:
        raise InputError(f"{name} is an OpenEXR file with the channels {', '.join(planes)}: give one with R, G and B, or Y.")
    warnings = _exr_notes(header, parts)
    if left_out := [key for key in planes if key not in order + "A"]:
        warnings.append(f"its channels {', '.join(left_out)} are left out")
    if "A" in planes:
        order = (order if len(order) == 3 else order * 3) + "A"
    picked = [np.asarray(planes[key], np.float32) for key in order]
    if any(plane.shape != picked[0].shape for plane in picked):
        raise InputError(f"{name} is an OpenEXR file with channels of several sizes: write it without subsampling.")
    array = picked[0] if len(picked) == 1 else np.dstack(picked)
    if "A" in planes:
        share = np.maximum(array[..., 3:], np.float32(1e-9))
        array[..., :3] = np.where(array[..., 3:] > 0, array[..., :3] / share, array[..., :3])
    return Picture(np.ascontiguousarray(array), warnings=tuple(warnings), kind="OpenEXR")


def _exr_parts(exr: Any, path: str) -> tuple[int, dict[str, Any]]:  # noqa: ANN401 - a module without types
    """How many parts there are, and the first one's channels. Raises: ValueError: Its pixels cannot be read."""
    try:
        file = exr.File(path, separate_channels=True)
    except (RuntimeError, ValueError) as error:  # releases before 3.5 raise what their decoder was about
        if is_shortage(error):
            raise
        file = None
    if file is None or not file.parts:  # later ones leave out what cannot be unpacked
        raise ValueError("its pixels end early or cannot be unpacked")
    return len(file.parts), file.channels()


def _exr_notes(header: dict[str, Any], parts: int) -> list[str]:
    """What of an OpenEXR picture's header no result has."""
    notes = [f"of its {parts} parts the first is read"] if parts > 1 else []
    primaries = np.asarray(header.get("chromaticities", _BT_709), np.float64).reshape(-1)
    if primaries.size == len(_BT_709) and not np.allclose(primaries, _BT_709, atol=0.01):
        notes.append("its primaries are other than those of sRGB, which the result does not say")
    (left, top), _ = header["dataWindow"]
    (window_left, window_top), _ = header.get("displayWindow", header["dataWindow"])
    if (int(left), int(top)) != (int(window_left), int(window_top)):
        notes.append(
            f"its pixels begin at column {int(left)}, row {int(top)} of its window: they are read without the rest of it"
        )
    return notes
