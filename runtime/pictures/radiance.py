"""Radiance's pictures (``.hdr``): OpenCV decodes their rows, all else is done here.

OpenCV passes over what the header says of levels and colours, knows one order of rows, and no runs of the older kind.

Source: Radiance's "Picture File Format" and its ``color.c``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import NOT_ENOUGH, InputError, is_shortage
from ufafuse.runtime.pictures.picture import Picture
from ufafuse.runtime.pictures.sizes import HDR_SIZE
from ufafuse.runtime.pixels import check_pixels

_HEAD = 1 << 16  # bytes in which a header ends
_RUNS = range(8, 32_768)  # columns of rows that may be stored as runs of the newer kind
_LEAST = 1e-18  # of what levels were multiplied by: they stay floats
_PRIMARIES = (  # without a word, and those of sRGB: x and y of red, green, blue and white
    (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, 0.333, 0.333),
    (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290),
)


@dataclass
class _Header:
    """What is said of the pixels: ``divisor`` is what their levels in BGR were multiplied by."""

    rows: int
    columns: int
    axes: tuple[bytes, bytes]
    start: int
    form: str = "32-bit_rle_rgbe"
    divisor: Array = field(default_factory=lambda: np.ones(3))
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, upright."""
        return (self.rows, self.columns) if self.axes[0][1:] == b"Y" else (self.columns, self.rows)


def read_radiance(data: bytes, name: str, most: int | None = None) -> Picture:
    """Decode a picture: BGR float32, upright, in the levels of the scene (EXPOSURE and COLORCORR are undone).

    Args:
        data: The file.
        name: What messages call it.
        most: Pixels that it may declare.

    Raises:
        InputError: It is too large, cut off, of XYZ colours, or says what cannot be.
    """
    header = _header(data[:_HEAD], name)
    check_pixels(header.size, name, most)
    if header.form != "32-bit_rle_rgbe":
        other = "XYZ colours" if header.form == "32-bit_rle_xyze" else f"the format {header.form!r}"
        raise InputError(f"{name} is a Radiance picture of {other}, which is not read: convert it to RGB (ra_xyze -r).")
    body = _without_old_runs(data[header.start :], header, name)
    usual = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {header.rows} +X {header.columns}\n".encode()
    try:
        stored = cv2.imdecode(np.frombuffer(usual + body, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError) as error:
        if is_shortage(error):
            raise InputError(f"{name} cannot be decoded: {NOT_ENOUGH} for it.") from error
        stored = None
    if stored is None or stored.shape[:2] != (header.rows, header.columns):
        raise InputError(f"{name} is damaged (its rows end early or are none): record or copy it again.")
    array = _upright(np.asarray(stored), header.axes)
    if (header.divisor != 1).any():
        array = array / header.divisor.astype(np.float32)
    return Picture(np.ascontiguousarray(array), warnings=tuple(header.notes), kind="Radiance HDR")


def _header(head: bytes, name: str) -> _Header:
    match = HDR_SIZE.search(head)
    if match is None or match[2] == match[5] or not (int(match[3]) and int(match[6])):
        raise InputError(f"{name} is damaged (it declares no size): record or copy it again.")
    header = _Header(int(match[3]), int(match[6]), (match[1] + match[2], match[4] + match[5]), match.end())
    for line in head[: match.start()].decode("latin-1").splitlines():
        key, _, value = line.strip().partition("=")
        if key == "FORMAT":
            header.form = value.strip()
        elif key in _MEANT:
            _take(key, value, header, name)
    return header


_MEANT = {"EXPOSURE": 1, "COLORCORR": 3, "PRIMARIES": 8, "GAMMA": 1, "PIXASPECT": 1}  # and how many numbers each has


def _take(key: str, value: str, header: _Header, name: str) -> None:
    """One line of the header, which may come again: what multiplied levels then multiplies them once more."""
    try:
        numbers = np.array([float(each) for each in value.split()])
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) != _MEANT[key] or not np.isfinite(numbers).all() or (key != "PRIMARIES" and (numbers <= 0).any()):
        raise InputError(f"{name} says {key}={value.strip()[:40]!r}, which is none: correct that line, or write it anew.")
    if key in ("EXPOSURE", "COLORCORR"):
        header.divisor = header.divisor * numbers[::-1]
        if not ((header.divisor > _LEAST) & (header.divisor < 1 / _LEAST)).all():
            raise InputError(f"{name} says that its levels were multiplied by {header.divisor.max():g}: correct its EXPOSURE.")
    elif key == "PRIMARIES":
        if not any(np.allclose(numbers, known, atol=0.01) for known in _PRIMARIES):
            header.notes.append("its primaries are other than those of sRGB, which the result does not say")
    elif numbers[0] != 1:
        what = "gamma" if key == "GAMMA" else "pixels' height by their width"
        header.notes.append(f"its {what}, {numbers[0]:g}, is passed over: it is read as if it were 1")


def _without_old_runs(body: bytes, header: _Header, name: str) -> bytes:
    """The pixels' bytes without runs of the older kind, in which a pixel 1 1 1 N says: N times the one before."""
    count = header.rows * header.columns
    if header.columns in _RUNS and body[:2] == b"\2\2" and body[2:3] < b"\x80":
        return body
    pixels = np.frombuffer(body, np.uint8, len(body) // 4 * 4).reshape(-1, 4)
    run = (pixels[:, :3] == 1).all(1)
    if len(body) == count * 4 or not run.any():
        whole, found = body, len(pixels)
    else:
        place = np.arange(len(pixels))
        pixel_before = np.maximum.accumulate(np.where(run, -1, place))
        digit = np.clip(place - pixel_before - 1, 0, 3)  # of runs one behind another, each is 256 times the one before
        times = np.where(run, np.minimum(pixels[:, 3].astype(np.int64) << 8 * digit, count), 1)
        ends = np.cumsum(times)
        needed = int(np.searchsorted(ends, count)) + 1
        found = int(ends[-1]) if pixel_before[0] == 0 else 0
        whole = pixels[np.repeat(pixel_before[:needed], times[:needed])[:count]].tobytes()
    if found < count:
        raise InputError(f"{name} is damaged (truncated, {found} of {count} pixels): record or copy it again.")
    return whole


def _upright(stored: Array, axes: tuple[bytes, bytes]) -> Array:
    """Rows from top to bottom and columns from left to right, of scanlines along and across `axes`."""
    if axes[0][1:] == b"X":
        stored, axes = stored.transpose(1, 0, 2), (axes[1], axes[0])
    stored = stored[::-1] if axes[0] == b"+Y" else stored
    return stored[:, ::-1] if axes[1] == b"-X" else stored
