"""How large a pixel is where a microscope's program says it in words of its own, as pixels an inch.

Sources: ImageJ's TiffEncoder, the OME-XML schema.
"""

from __future__ import annotations

import re
from typing import Any

_INCH = {"nm": 25.4e6, "um": 25_400.0, "micron": 25_400.0, "mm": 25.4, "cm": 2.54, "inch": 1.0, "pm": 25.4e9, "m": 0.0254}
_MICRO = re.compile("^(\u00b5|\u03bc|\\\\u00b5)", re.IGNORECASE)
_SIZE = re.compile(r'PhysicalSize([XY])(Unit)?="([^"]*)"')


def dpi_in(file: Any, across: float | None, down: float | None) -> tuple[float, float] | None:  # noqa: ANN401 - tifffile's file
    """Pixels an inch, across and down; None where ImageJ or OME do not say it.

    Args:
        file: The TIFF.
        across, down: Its resolution, which ImageJ means in pixels a unit of its own.
    """
    if file.is_imagej:
        inch = _inch_in(str((file.imagej_metadata or {}).get("unit", "")))
        return (across * inch, down * inch) if inch and across and down else None
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
