"""Fusing a frame tile by tile with exactly the whole frame's result.

The network weighs its channels by averages over the whole frame, so a tile alone comes out differently. Two graphs beside
``X.onnx`` mend that: ``X.means.onnx`` sums a tile's features, ``X.tile.onnx`` fuses a tile with given averages. The frame is
gone through twice. Keeping the features of the first pass for the second would save 0.8 of a pass, but for the paper's network
they take 512 bytes a pixel (two frames, 64 float32 each) where a whole run takes 1,100 (ONNX Runtime) to 1,400 (OpenVINO):
they fit only frames that are less than three times too large, at 24 megapixels they would take 12 GB. So they are not kept.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.artefact import Manifest, read_manifest
from ufafuse.runtime.callbacks import OnCount, ignored
from ufafuse.runtime.errors import ModelError
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.kinds import beside
from ufafuse.runtime.memory.tiling import Grid, round_up
from ufafuse.runtime.packing import BYTE_PLANES, pack, unpack, with_beyond
from ufafuse.runtime.session import Fused, Session, SessionOptions, check_fused, open_session


def layout_for(session: Session, kind: FrameKind) -> str:
    """How the session best takes frames of this kind: `BYTE_PLANES`, or its manifest's io."""
    return BYTE_PLANES if session.takes_byte_planes and kind.plain and not kind.grey else session.manifest.io


def companion_paths(model: Path) -> tuple[Path, Path]:
    """Where the means graph and the tile graph of a model lie: ``X.means.onnx`` and ``X.tile.onnx``, or ``.engine``."""
    return beside(model, "means"), beside(model, "tile")


class TiledModel:
    """A model's graphs for tiles.

    Args:
        tile: Fuses a tile: the tile graph, or the whole-frame graph of a network without global averages.
        means: The means graph, or None for such a network.
        own: Whether `close` closes them.

    Raises:
        ModelError: A manifest says too little about the network's reach and scales.
    """

    def __init__(self, tile: Session, means: Session | None, *, own: bool = True) -> None:
        self._tile, self._means, self._own = tile, means, own
        try:
            extra = tile.manifest.extra
            self.halo, self.stride = int(extra["halo"]), int(extra["stride"])
            self._strides: Sequence[int] = extra["strides"]
            self._widths: Sequence[int] = extra["widths"]
        except KeyError as error:
            raise ModelError(f"the manifest of the tile graph lacks {error}: run `ufa export --tiles` again.") from error

    @classmethod
    def beside(cls, model: Path, session: Session, *, backend: str, options: SessionOptions) -> "TiledModel":
        """Open the companions of ``model``.

        Args:
            model: The whole-frame model's file.
            session: That model, opened.
            backend: As `open_session`.
            options: As `open_session`.

        Raises:
            ModelError: They are not there, or were made from other weights.
            BackendError: The engine refuses one.
        """
        if session.manifest.extra.get("global_means", True) is False:
            return cls(session, None, own=False)
        means_path, tile_path = companion_paths(model)
        missing = [path.name for path in (means_path, tile_path) if not path.is_file()]
        if missing:
            build = " and `ufa build` on both" if model.suffix == ".engine" else ""
            raise ModelError(
                f"a frame this large needs tiles, and beside {model} there is no {' and no '.join(missing)}: run "
                f"`ufa export --tiles`{build}, or use `tile=off` where the memory allows it."
            )
        for path in (means_path, tile_path):
            check_same_weights(path, read_manifest(path), model, session.manifest)
        with contextlib.ExitStack() as opened:
            means = opened.enter_context(open_session(means_path, backend=backend, options=options))
            tile = opened.enter_context(open_session(tile_path, backend=backend, options=options))
            made = cls(tile, means)
            opened.pop_all()
        return made

    def fuse(
        self,
        near: Array,
        far: Array,
        kind: FrameKind,
        grid: Grid,
        out: Array,
        weights: NDArray[np.float32] | None = None,
        on_tile: OnCount = ignored,
    ) -> bool:
        """Fuse a pair tile by tile.

        Args:
            near, far: As `frames.check_pair` passed them.
            kind: What they are.
            grid: The tiles.
            out: Like ``near``, and not overlapping it in memory; filled.
            weights: H x W float32; filled with the near frame's weight.
            on_tile: Told after each step how many of how many are done.

        Returns:
            Whether the model gives weights: without, ``weights`` is left as it was.
        """
        layout = layout_for(self._tile, kind)
        steps = len(grid) * (1 if self._means is None else 3)
        done, has_map = 0, False

        def advance() -> None:
            nonlocal done
            done += 1
            on_tile(done, steps)

        means = {}
        if self._means is not None:
            means = {
                f"means_{name}": self._averages(frame, kind, grid, advance) for name, frame in (("near", near), ("far", far))
            }
        for tile in grid:
            views = near[tile.window], far[tile.window]
            inputs = {"near": pack(views[0], kind, layout), "far": pack(views[1], kind, layout), **means}
            outputs = self._tile.infer(inputs)
            result = Fused(outputs["fused"], outputs.get("map"))
            check_fused(result.fused, inputs["near"])
            fused = unpack(result.fused, kind, views[0], layout)
            if kind.beyond and result.map is not None:
                fused = with_beyond(fused, *views, result.map[0, 0], kind)
            out[tile.core] = fused[tile.inner]
            has_map = result.map is not None
            if weights is not None and result.map is not None:
                weights[tile.core] = result.map[0, 0][tile.inner]
            advance()
        return has_map

    def _averages(self, frame: Array, kind: FrameKind, grid: Grid, advance: Callable[[], None]) -> NDArray[np.float32]:
        """The channel attention's averages over the whole frame, 1 x C, summed in float64 from each tile's float32 sums."""
        assert self._means is not None
        layout = layout_for(self._means, kind)
        sums = np.zeros(sum(self._widths), np.float64)
        for tile in grid:
            view = frame[tile.window]
            mask = np.zeros((1, 1, *view.shape[:2]), np.float32)
            mask[0, 0][tile.inner] = 1
            sums += self._means.infer({"frame": pack(view, kind, layout), "mask": mask})["sums"][0]
            advance()
        height, width = (round_up(side, self.stride) for side in grid.size)
        counts = [(height // stride) * (width // stride) for stride in self._strides]
        return (sums / np.repeat(counts, self._widths)).astype(np.float32)[np.newaxis]

    def close(self) -> None:
        """Free the engines; may be called twice."""
        for session in (self._tile, self._means):
            if self._own and session is not None:
                session.close()


# What the manifest of an int8 file says of how it came about; all graphs of one `ufa calibrate` say the same.
CALIBRATION = ("rest", "kept", "source_sha256", "ranges_sha256", "weight_bits", "outputs_quantised", "equalised")


def check_same_weights(path: Path, found: Manifest, model: Path, wanted: Manifest) -> None:
    """Raises: ModelError unless a companion at ``path`` was made with ``model``: of its weights, io, precision, calibration."""
    entries = {what: (getattr(found, what), getattr(wanted, what)) for what in ("weights_sha256", "io", "precision")}
    entries |= {what: (found.extra.get(what), wanted.extra.get(what)) for what in CALIBRATION}
    differing = next((what for what, (its, models) in entries.items() if its != models), None)
    if differing is None:
        return
    its, models = entries[differing]
    if model.suffix == ".engine":
        again = "Run `ufa build --force` on each again, from files made together"
    elif wanted.precision == "int8":
        again = "Run `ufa calibrate --force` again, on a file whose own companions lie beside it"
    else:
        of_tiles = found.role in ("means", "tile")
        again = f"Run {'`ufa export --tiles --force`' if of_tiles else '`ufa export --force`'} again"
    raise ModelError(f"{path} was not made with {model.name}: its {differing} is {its!s:.40} and not {models!s:.40}. {again}.")
