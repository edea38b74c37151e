"""Height maps into files: a picture of levels, of floats, a shaded view, a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Floats
from ufafuse.runtime.artefact import atomic_write
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.pictures.metadata import Metadata
from ufafuse.runtime.pictures.write import write_image
from ufafuse.runtime.stacks.height import SURE, Height, filled, shaded
from ufafuse.runtime.values import check_values, is_number, is_switch, is_text

_MOST_VERTICES = 1_000_000
_RELIEF_SHARE = 1 / 6  # of the picture's width: how deep a mesh is whose units are not known
_TOP = 65_535
_LEAST_SIZE, _MOST_SIZE = 1e-30, 1e30  # float32 holds 65,535 of the one, and a hundred thousandth of the other


@dataclass(frozen=True)
class HeightOptions:
    """How heights are written.

    Args:
        fill: Fill in what is not known, along the surfaces of the picture; otherwise it is 0 in a PNG and NaN in a TIFF.
        z_step: What lies between two frames, in units; None: heights are in frames.
        z_unit: The name of the unit, for the reports.
        pixel_size: The side of a pixel in the same unit, for the mesh; None: a pixel is one, and the depth is drawn to a sixth
            of the picture's width.

    Raises:
        InputError: A step or a pixel of no size, or of one that float32 does not hold.
    """

    fill: bool = False
    z_step: float | None = None
    z_unit: str = ""
    pixel_size: float | None = None

    def __post_init__(self) -> None:
        optional = {"z_step": is_number, "pixel_size": is_number}
        check_values(self, {"fill": is_switch, "z_unit": is_text}, optional=optional)
        for name, value in (("z_step", self.z_step), ("pixel_size", self.pixel_size)):
            if value is not None and not _LEAST_SIZE <= value <= _MOST_SIZE:  # nor NaN
                allowed = f"a number above 0, from {_LEAST_SIZE:g} to {_MOST_SIZE:g}"
                raise InputError(f"`{name}={value:g}` is no size: give {allowed}.")

    @property
    def unit(self) -> str:
        """What heights are counted in."""
        return "frames" if self.z_step is None else self.z_unit or "units"


def check_height_path(path: Path) -> None:
    """Raises: InputError unless heights can be written in the format of this name."""
    if path.suffix.lower() not in (".png", ".tif", ".tiff"):
        raise InputError(f"{path}: heights are written as .png (16 bit) or .tif (32-bit floats).")


def heights_everywhere(height: Height, fused: Array, kind: FrameKind) -> Floats:
    """Heights in frames, those of neighbours on a surface brought together, filled in: made once for all that is written."""
    return filled(height, _bytes(fused, kind))


def known_or_filled(position: Floats, height: Height, options: HeightOptions) -> Floats:
    """The heights in units: ``position``, that is `heights_everywhere`, or NaN where ``height`` is not sure."""
    if not options.fill:
        position = np.where(height.confidence >= SURE, position, np.float32(np.nan)).astype(np.float32)
    return position if options.z_step is None else np.asarray(position * np.float32(options.z_step), np.float32)


def write_heights(
    path: Path, heights: Floats, *, frames: int, options: HeightOptions, force: bool, metadata: Metadata | None = None
) -> dict[str, Any]:
    """Write a height map.

    Args:
        path: ``.tif``: float32, in units, NaN where nothing is known. ``.png``: 16 bit; 1 is the first frame, 65535 the last,
            0 where nothing is known.
        heights: H x W, in units.
        frames: How many there are.
        options: See `HeightOptions`.
        force: Replace an existing file.
        metadata: What to store beside them.

    Returns:
        For the report: ``unit``, ``first`` and ``last`` (the heights of the first and last frame), ``per_level``
        (PNG: what one level is), ``known`` (the share of pixels that have a height).
    """
    last = (frames - 1) * (options.z_step or 1.0)
    known = np.isfinite(heights)
    told: dict[str, Any] = {"unit": options.unit, "first": 0.0, "last": last, "known": round(float(known.mean()), 4)}
    if path.suffix.lower() == ".png":
        levels = np.nan_to_num(heights) / np.float32(last or 1) * (_TOP - 1) + 1
        write_image(
            path, np.where(known, np.clip(np.rint(levels), 1, _TOP), 0).astype(np.uint16), force=force, metadata=metadata
        )
        return told | {"per_level": last / (_TOP - 1)}
    write_image(path, heights, force=force, metadata=metadata)
    return told


def write_view(path: Path, position: Floats, *, force: bool, metadata: Metadata | None = None) -> None:
    """Write a shaded view of the relief (`heights_everywhere`)."""
    write_image(path, shaded(position), force=force, metadata=metadata)


def write_mesh(
    path: Path, position: Floats, fused: Array, kind: FrameKind, *, frames: int, options: HeightOptions, force: bool
) -> None:
    """Write the relief as a mesh with the picture's colours: a binary PLY file.

    Large pictures are thinned out to a million vertices. The last frame's plane is on top, as in the height map.

    Args:
        path: Ends in ``.ply``.
        position: `heights_everywhere`.
        fused: The picture.
        kind: What it is.
        frames: How many there are.
        options: Units, see `HeightOptions`.
        force: Replace an existing file.
    """
    rows, columns = position.shape
    step = max(1, int(np.ceil(np.sqrt(rows * columns / _MOST_VERTICES))))
    z = position[::step, ::step]
    colours = _bytes(fused, kind)[::step, ::step]
    y, x = np.mgrid[:rows:step, :columns:step].astype(np.float32)
    side = np.float32(options.pixel_size or 1)
    deep = options.z_step if options.z_step and options.pixel_size else columns * _RELIEF_SHARE / max(1, frames - 1)
    vertices = np.empty(z.size, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    vertices["xyz"] = np.stack([x * side, (rows - 1 - y) * side, z * np.float32(deep)], -1).reshape(-1, 3)
    vertices["rgb"] = colours[..., ::-1].reshape(-1, 3)
    faces = _faces(*z.shape)
    unit = options.unit if options.z_step and options.pixel_size else "pixels"
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"comment ufafuse relief, {unit}\n"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    with atomic_write(path, force=force) as temporary:
        temporary.write_bytes(header.encode() + vertices.tobytes() + faces.tobytes())


def _faces(rows: int, columns: int) -> NDArray[Any]:
    """Two triangles for each square of four vertices."""
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)[None]).ravel()
    faces = np.empty(2 * corner.size, [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"] = 3
    faces["corners"][0::2] = np.stack([corner, corner + columns, corner + 1], -1)
    faces["corners"][1::2] = np.stack([corner + 1, corner + columns, corner + columns + 1], -1)
    return faces


def _bytes(fused: Array, kind: FrameKind) -> NDArray[np.uint8]:
    """The picture as 8-bit BGR."""
    picture = np.clip(np.rint(fused.astype(np.float32) * np.float32(255 / kind.full)), 0, 255).astype(np.uint8)
    if kind.grey:
        return np.asarray(cv2.cvtColor(picture.reshape(picture.shape[:2]), cv2.COLOR_GRAY2BGR), np.uint8)
    return np.asarray(picture[..., 2::-1] if kind.order == "rgb" else picture[..., :3], np.uint8)
