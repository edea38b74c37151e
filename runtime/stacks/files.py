"""One focus stack from files to files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.frames import Frame, FrameKind, white_level
from ufafuse.runtime.jobs import Outcome, make_folder
from ufafuse.runtime.pictures.source import FrameSource
from ufafuse.runtime.pictures.write import check_output, write_image
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import Stacked, StackOptions
from ufafuse.runtime.stacks.registering import Covered
from ufafuse.runtime.stacks.relief import (
    HeightOptions,
    check_height_path,
    known_or_filled,
    write_heights,
    write_mesh,
    write_view,
)

if TYPE_CHECKING:
    from ufafuse.runtime.fuser import Fuser

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class StackOutputs:
    """Where the results of a stack go; None: not wanted.

    Args:
        fused: The picture.
        map: Which frame weighs most: white for the first, black for the last.
        confidence: Where any frame is sharp.
        depth: The height map, ``.png`` or ``.tif``.
        depth_view: A shaded view of it.
        mesh: The relief as ``.ply``.
        aligned: A folder for the registered frames, with what they cover as alpha.
        height: How heights are written.

    Raises:
        InputError: Two results in one file, or a format that cannot hold one.
    """

    fused: Path
    map: Path | None = None
    confidence: Path | None = None
    depth: Path | None = None
    depth_view: Path | None = None
    mesh: Path | None = None
    aligned: Path | None = None
    height: HeightOptions = field(default_factory=HeightOptions)

    def __post_init__(self) -> None:
        paths = [path.resolve() for path in self.files()]
        if len(set(paths)) < len(paths):
            raise InputError(f"two results would be written to {self.fused}: give each a name of its own.")
        if self.depth is not None:
            check_height_path(self.depth)
        if self.mesh is not None and self.mesh.suffix.lower() != ".ply":
            raise InputError(f"{self.mesh}: meshes are written as .ply.")

    def files(self) -> list[Path]:
        """Those that are wanted, without the folder."""
        wanted = (self.fused, self.map, self.confidence, self.depth, self.depth_view, self.mesh)
        return [path for path in wanted if path is not None]

    @property
    def wants_height(self) -> bool:
        """Whether heights have to be found."""
        return any(path is not None for path in (self.depth, self.depth_view, self.mesh))

    @property
    def wants_more(self) -> bool:
        """Whether something is wanted that only the fusion of whole stacks gives."""
        return self.wants_height or self.aligned is not None


def by_one_rule(fuser: Fuser, count: int, options: StackOptions, outputs: StackOutputs) -> bool:
    """Whether `count` frames are fused by one rule over all of them, read when they are needed.

    Raises:
        InputError: Something is wanted that a fold of pairs does not give.
    """
    if options.method == "pyramid":
        if outputs.wants_height:
            raise InputError("the pyramid gives no heights: take the method 'network'.")
        return True
    if not fuser.gathers and outputs.wants_more:
        raise InputError(
            f"{fuser.model.name} folds a stack pair by pair, which gives no heights and no aligned frames: take the model "
            "ufa-stack."
        )
    return fuser.gathers and (count > 2 or outputs.wants_more)


def fuse_stack_files(
    fuser: Fuser,
    sources: Sequence[FrameSource],
    outputs: StackOutputs,
    options: StackOptions,
    *,
    force: bool = False,
    on_step: OnStep = lambda _done, _total: None,
) -> Outcome:
    """Fuse a stack and write its results; nothing is written before the picture is there, but for the aligned frames.

    Args:
        fuser: As `fuse_sources`.
        sources: The frames.
        outputs: Where the results go.
        options: As `fuse_sources`; what is wanted beside the picture follows from ``outputs``.
        force: Replace existing files.
        on_step: As `fuse_sources`.

    Raises:
        InputError, ModelError, BackendError: As `fuse_sources`.
        OutputError: A result cannot be written.
    """
    inputs = [source.path for source in sources if source.path is not None]
    for path in outputs.files():
        if path != outputs.mesh:
            check_output(path, force=force, inputs=inputs)
        elif path.exists() and not force:
            raise OutputError(f"{path} exists already: choose another name, or add --force to replace it.")
    chosen = replace(
        options,
        want_map=outputs.map is not None,
        want_confidence=outputs.confidence is not None,
        want_height=outputs.wants_height,
        on_aligned=None if outputs.aligned is None else _saver(outputs.aligned, sources, force=force),
    )
    result = fuse_sources(fuser, sources, chosen, on_step)
    result = result.cut() if options.crop else result
    details = _decided(result, sources, options) | _written(result, outputs, len(sources), options, force=force)
    size, ms, names = list(result.fused.shape[:2]), round(result.ms, 3), [Path(source.name) for source in sources]
    return Outcome(names[0], names[1], outputs.fused, size, ms, details=details, warnings=result.warnings)


def _decided(result: Stacked, sources: Sequence[FrameSource], options: StackOptions) -> dict[str, Any]:
    """What was decided for the user."""
    told: dict[str, Any] = {"more": [source.name for source in sources[2:]], "method": options.method}
    if options.align != "off":
        told["alignment"] = [alignment.to_json() for alignment in result.alignments]
        told["crop"] = list(result.crop)
    told["reference"] = sources[result.reference].name
    if result.order:
        told["order"] = [sources[index].name for index in result.order]
    if result.left_out:
        told["left_out"] = {sources[index].name: why for index, why in result.left_out.items()}
    if result.hot_pixels:
        told["hot_pixels"] = result.hot_pixels
    if options.match_gain:
        told["gain"] = [[round(factor, 4) for factor in factors] for factors in result.gains]
    if result.grid is not None:
        told["tiles"] = {"count": len(result.grid), "window": list(result.grid.window), "work": round(result.grid.work, 3)}
    return told


def _written(result: Stacked, outputs: StackOutputs, frames: int, options: StackOptions, *, force: bool) -> dict[str, Any]:
    write_image(outputs.fused, result.fused, force=force)
    told: dict[str, Any] = {}
    for name, path, plane in (("map", outputs.map, result.map), ("confidence", outputs.confidence, result.confidence)):
        if path is not None and plane is not None:
            write_image(path, np.rint(plane * np.float32(255)).astype(np.uint8), force=force)
            told[name] = str(path)
    if result.height is None:
        return told
    fused = result.fused
    channels = fused.shape[2] if fused.ndim == 3 else 0
    kind = FrameKind(fused.dtype, channels, white_level(fused.dtype, options.white), options.order)
    if outputs.depth is not None:
        heights = known_or_filled(result.height, fused, kind, outputs.height)
        told["depth"] = write_heights(outputs.depth, heights, frames=frames, options=outputs.height, force=force)
    if outputs.depth_view is not None:
        write_view(outputs.depth_view, result.height, fused, kind, force=force)
        told["depth_view"] = str(outputs.depth_view)
    if outputs.mesh is not None:
        write_mesh(outputs.mesh, result.height, fused, kind, frames=frames, options=outputs.height, force=force)
        told["mesh"] = str(outputs.mesh)
    return told


def _saver(folder: Path, sources: Sequence[FrameSource], *, force: bool) -> Callable[[int, Frame, Covered | None], None]:
    """Writes each registered frame, numbered in the order of focus, with what it covers as alpha."""
    make_folder(folder)
    digits = max(3, len(str(len(sources))))

    def save(index: int, frame: Frame, covered: Covered | None) -> None:
        top = 1.0 if frame.dtype == np.float32 else float(np.iinfo(frame.dtype).max)
        shown = np.ones(frame.shape[:2], np.uint8) if covered is None else covered
        colour = np.repeat(frame.reshape(*shown.shape, 1), 3, 2) if frame.ndim == 2 or frame.shape[2] == 1 else frame[..., :3]
        alpha = (shown * np.float32(top)).astype(frame.dtype)
        suffix = ".tif" if frame.dtype == np.float32 else ".png"
        write_image(folder / f"{index:0{digits}d}{suffix}", np.dstack([colour, alpha]), force=force)

    return save
