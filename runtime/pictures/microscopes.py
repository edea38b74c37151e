"""What a microscope's program says of a TIFF in words of its own: which axes its pictures have, how large a pixel is.

Sources: ImageJ's TiffEncoder, the OME-XML schema, MetaMorph's STK, Zeiss's LSM, tifffile's own descriptions.
"""

from __future__ import annotations

import re
from typing import Any

from ufafuse.runtime.errors import InputError

_INCH = {"nm": 25.4e6, "um": 25_400.0, "micron": 25_400.0, "mm": 25.4, "cm": 2.54, "inch": 1.0, "pm": 25.4e9, "m": 0.0254}
_MICRO = re.compile("^(\u00b5|\u03bc|\\\\u00b5)", re.IGNORECASE)
_SIZE = re.compile(r'PhysicalSize([XY])(Unit)?="([^"]*)"')


def check_axes(file: Any, name: str) -> None:  # noqa: ANN401 - tifffile's file
    """Refuse channels on pages of their own, which are no frames at other focus, and frames that have no page (`InputError`).

    Args:
        file: The TIFF.
        name: What messages call it.
    """
    kinds = (
        ("an OME", file.is_ome),
        ("an ImageJ", file.is_imagej),
        ("a MetaMorph", file.is_stk),
        ("a Zeiss LSM", file.is_lsm and len(file.pages) > 1),  # behind each page there is a small one
        ("a FluoView", file.is_fluoview and "Dimensions" in (file.fluoview_metadata or {})),
        ("a tifffile", file.is_shaped),
    )
    for kind in (kind for kind, is_it in kinds if is_it):
        series, pages = file.series[0], len(file.pages)
        outer = _outer_axes(series)
        if len(outer) > 1 or any(axis == "C" for axis, _ in outer):
            named = ", ".join(f"{axis}: {length}" for axis, length in zip(series.axes, series.shape, strict=True) if length > 1)
            raise InputError(f"{name} is {kind} TIFF of several axes ({named}): save one channel and one moment as a stack.")
        frames = outer[0][1] if outer else 1
        elsewhere = (file.is_ome or file.is_imagej) and len(series) != pages
        if outer and (elsewhere or frames > pages):  # ImageJ puts more than 4 GB behind one page, MetaMorph any stack
            found = f"{frames} frames have {pages} page{'s' * (pages > 1)}"
            raise InputError(f"{name} is {kind} TIFF whose {found}: save it as an image sequence.")


def _outer_axes(series: Any) -> list[tuple[str, int]]:  # noqa: ANN401 - tifffile's series
    """The axes, with their lengths, along which a series has one picture after another; those of length 1 are none."""
    found, rest = list[tuple[str, int]](), series.size // max(1, series.keyframe.size)
    for axis, length in zip(series.axes, series.shape, strict=True):
        if rest > 1 and length > 1:
            found.append((axis, length))
            rest //= length
    return found


def dpi_in(file: Any, across: float | None, down: float | None) -> tuple[float, float] | None:  # noqa: ANN401 - tifffile's file
    """Pixels an inch, across and down; None where ImageJ, OME or Zeiss do not say it.

    Args:
        file: The TIFF.
        across, down: Its resolution, which ImageJ means in pixels a unit of its own.
    """
    if file.is_imagej:
        inch = _inch_in(str((file.imagej_metadata or {}).get("unit", "")))
        return (across * inch, down * inch) if inch and across and down else None
    if file.is_lsm:
        metres = [(file.lsm_metadata or {}).get(f"VoxelSize{axis}", 0.0) for axis in "XY"]
        return (0.0254 / metres[0], 0.0254 / metres[1]) if min(metres) > 0 else None
    if not file.is_ome:
        return None
    said = {axis + unit: value for axis, unit, value in reversed(_SIZE.findall(file.ome_metadata or ""))}
    found = []
    for axis in "XY":
        try:
            size = float(said.get(axis, ""))
        except ValueError:
            return None
        inch = _inch_in(said.get(f"{axis}Unit", "um"))
        if not inch or not size > 0:
            return None
        found.append(inch / size)
    return found[0], found[1]


def _inch_in(unit: str) -> float:
    """How many of a unit are an inch; 0: it is not known."""
    unit = _MICRO.sub("u", unit.strip()).casefold()
    return _INCH.get(unit, _INCH.get(unit.removesuffix("s"), 0.0))
