"""Where the results of a fusion go, and how those beside the picture are written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.artefact import tool_versions
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.filebytes import real_path
from ufafuse.runtime.frames import FrameKind, white_level
from ufafuse.runtime.pictures.frames_among import REGISTERED
from ufafuse.runtime.pictures.metadata import OURS, Metadata
from ufafuse.runtime.pictures.source import FrameSource
from ufafuse.runtime.pictures.write import WriteOptions, check_output, write_image
from ufafuse.runtime.stacks.options import Stacked
from ufafuse.runtime.stacks.registering import Covered
from ufafuse.runtime.stacks.relief import (
    HeightOptions,
    check_height_path,
    heights_everywhere,
    known_or_filled,
    write_heights,
    write_mesh,
    write_view,
)
from ufafuse.runtime.texts import examples
from ufafuse.runtime.underway import current
from ufafuse.runtime.values import check_fields
from ufafuse.runtime.writing import check_can_lie, check_new, check_parent, make_folder

_NUMBERED = re.compile(r"\d{3,}\.(png|tif)")  # as registered frames are called


@dataclass(frozen=True)
class Outputs:
    """Where the results of one fusion go; None: not wanted.

    Args:
        fused: The picture.
        map: Which frame won; of a stack white for the first, black for the last.
        confidence: Where any frame is sharp.
        conflicts: Where frames show different things.
        depth: A stack's height map, ``.png`` or ``.tif``.
        depth_view: A shaded view of it.
        mesh: The relief as ``.ply``.
        aligned: A folder for a stack's registered frames, with what they cover as alpha.
        height: How heights are written.

    Raises:
        InputError: Two results in one file, or a format that cannot hold one.
    """

    fused: Path
    map: Path | None = None
    confidence: Path | None = None
    conflicts: Path | None = None
    depth: Path | None = None
    depth_view: Path | None = None
    mesh: Path | None = None
    aligned: Path | None = None
    height: HeightOptions = field(default_factory=HeightOptions)

    def __post_init__(self) -> None:
        check_fields(self)
        places = Counter(real_path(path) for path in self.all())
        if twice := [path for path in self.all() if places[real_path(path)] > 1]:
            raise InputError(f"two results would be written to {twice[0]}: give each a name of its own.")
        if self.depth is not None:
            check_height_path(self.depth)
        if self.mesh is not None and self.mesh.suffix.lower() != ".ply":
            raise InputError(f"{self.mesh}: meshes are written as .ply.")

    def all(self) -> list[Path]:
        """The files that are wanted."""
        wanted = (self.fused, self.map, self.confidence, self.conflicts, self.depth, self.depth_view, self.mesh)
        return [path for path in wanted if path is not None]

    @property
    def wants_height(self) -> bool:
        """Whether heights have to be found."""
        return any(path is not None for path in (self.depth, self.depth_view, self.mesh))

    @property
    def of_stack(self) -> bool:
        """Whether something is wanted that only the fusion of a whole stack gives."""
        return self.wants_height or self.aligned is not None

    def check(self, *, force: bool, inputs: Sequence[Path], store: WriteOptions) -> None:
        """Refuse what could not be written, before any work is spent on it. Raises: OutputError."""
        for path in self.all():
            if path != self.mesh:
                check_output(path, force=force, inputs=inputs, options=store if path == self.fused else None)
                continue
            check_parent(path)
            check_new(path, force=force)


def write_beside(
    result: Stacked,
    outputs: Outputs,
    *,
    order: str,
    force: bool,
    inputs: Sequence[Path],
    dpi: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Write what is wanted beside the picture, of its resolution ``dpi``; returns what belongs into the report."""
    told: dict[str, Any] = {}
    size = result.fused.shape[0], result.fused.shape[1]
    noted = Metadata(dpi=dpi).of_result(size, software(), "")  # that they are no frames
    planes = (
        ("map", outputs.map, result.map),
        ("confidence", outputs.confidence, result.confidence),
        ("conflicts", outputs.conflicts, result.conflicts),
    )
    for name, path, plane in planes:
        if path is not None and plane is not None:
            write_image(path, as_levels(plane), force=force, inputs=inputs, metadata=noted)
            told[name] = str(path)
    if result.height is None or not outputs.wants_height:
        return told
    fused, kind, frames = result.fused, _kind_of(result, order), result.last_place + 1
    position = heights_everywhere(result.height, fused, kind)
    if outputs.depth is not None:
        heights = known_or_filled(position, result.height, outputs.height)
        told["heights"] = write_heights(
            outputs.depth, heights, frames=frames, options=outputs.height, force=force, metadata=noted
        )
        told["depth"] = str(outputs.depth)
    if outputs.depth_view is not None:
        write_view(outputs.depth_view, position, force=force, metadata=noted)
        told["depth_view"] = str(outputs.depth_view)
    if outputs.mesh is not None:
        write_mesh(outputs.mesh, position, fused, kind, frames=frames, options=outputs.height, force=force)
        told["mesh"] = str(outputs.mesh)
    return told


def as_levels(plane: NDArray[np.float32]) -> NDArray[np.uint8]:
    """H x W float32 in [0, 1] as a grey picture of 8 bits."""
    return np.rint(plane * np.float32(255)).astype(np.uint8)


def _kind_of(result: Stacked, order: str) -> FrameKind:
    fused = result.fused
    kind = FrameKind(fused.dtype, fused.shape[2] if fused.ndim == 3 else 0, white_level(fused.dtype, None), order)
    return kind if result.levels is None else result.levels.of(kind)


def software() -> str:
    """What results say that they were made with."""
    return f"{OURS} {tool_versions().get('ufafuse', '')}".strip()


def aligned_saver(
    outputs: Outputs, frames: Sequence[FrameSource], written: list[Path], *, force: bool
) -> Callable[[int, int, Array, Covered | None], None]:
    """What writes each registered frame, numbered in the order of focus, with what it covers as alpha and what its file says.

    It is called as `fuse_sources` calls its ``on_placed``.

    Args:
        outputs: The folder is ``outputs.aligned``, made if need be.
        frames: As they are given to be fused, all of one shape and dtype.
        written: Takes the files, as they are written.
        force: Replace existing files (never a frame).

    Raises:
        OutputError: The folder cannot be made or written to, a file in it exists, is a frame or another result, or (when
            called) cannot be written.
    """
    assert outputs.aligned is not None
    folder, suffix = outputs.aligned, ".tif" if frames[0].dtype == np.float32 else ".png"
    digits = max(3, len(str(len(frames))))
    paths = [folder / f"{number:0{digits}d}{suffix}" for number in range(1, len(frames) + 1)]
    others = {real_path(path) for path in outputs.all()}
    if real_path(folder) in others or (folder.exists() and not folder.is_dir()):
        raise OutputError(f"{folder} is no folder, or another result: give the registered frames a folder of their own.")
    check_can_lie(folder)
    for path in paths if folder.is_dir() else ():
        if real_path(path) in others:
            raise OutputError(f"{path} would be a registered frame and another result: give the frames a folder of their own.")
        check_output(path, force=force, inputs=[frame.path for frame in frames if frame.path is not None])

    run = current()

    def save(place: int, number: int, frame: Array, covered: Covered | None) -> None:
        top = 1.0 if frame.dtype == np.float32 else float(np.iinfo(frame.dtype).max)
        shown = np.ones(frame.shape[:2], np.uint8) if covered is None else covered
        grey = frame.ndim == 2 or frame.shape[2] == 1
        colour = np.repeat(frame.reshape(*shown.shape, 1), 3, 2) if grey else frame[..., :3]
        alpha = (shown * np.float32(top)).astype(frame.dtype)
        note = f"{REGISTERED} {place + 1} of {len(frames)} ({Path(frames[number].name).name})"
        said = frames[number].metadata
        said = said if said.profile_fits(colour=True) else replace(said, icc=None)
        metadata = said.of_result((frame.shape[0], frame.shape[1]), software(), note)
        with nullcontext() if run is None else run.entered():  # frames may come from another thread
            make_folder(folder)  # not before there is something to put in
            write_image(paths[place], np.dstack([colour, alpha]), force=force, metadata=metadata)
        written.append(paths[place])

    return save


def left_among_aligned(folder: Path, written: Sequence[Path], frames: Sequence[FrameSource]) -> list[str]:
    """What to tell of a folder of registered frames that holds more that are called like them; often nothing.

    Args:
        folder: Where they are written.
        written: Those of this run.
        frames: That were given; they may lie there too.
    """
    own = {real_path(path) for path in (*written, *(frame.path for frame in frames if frame.path is not None))}
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    others = [path.name for path in there if _NUMBERED.fullmatch(path.name) and real_path(path) not in own]
    if not others:
        return []
    which = "was there before and is" if len(others) == 1 else "were there before and are"
    return [f"{folder} also holds {examples(others)}, which {which} no part of this stack: remove what is not to stay."]
