"""A gathering network's two graphs, and what is kept of the frames between the first pass over them and the second.

``X.encode.onnx`` gives one frame's features and how much attention each deserves; their weighed mean and maximum over all
frames is gathered. ``X.score.onnx`` compares one frame with what was gathered, and gives its weight in every octave at every
pixel. Both run on windows of a frame where the memory asks for it; the results are those of the whole frame.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import BackendError, ModelError
from ufafuse.runtime.frames import FrameKind, pack
from ufafuse.runtime.memory.tiled import check_same_weights, layout_for
from ufafuse.runtime.memory.tiling import Grid, grid_of_step, round_up
from ufafuse.runtime.session import Session, SessionOptions, open_session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_HALF_MOST = 60_000.0  # half precision ends at 65,504


def stack_paths(model: Path) -> tuple[Path, Path]:
    """Where the graphs for stacks of ``X.onnx`` lie: ``X.encode.onnx`` and ``X.score.onnx``, or ``.engine``."""
    return tuple(model.with_name(f"{model.stem}.{role}{model.suffix}") for role in ("encode", "score"))  # type: ignore[return-value]


class StackModel:
    """A gathering network's graphs for any number of frames.

    Args:
        encode, score: The two graphs.

    Raises:
        ModelError: A manifest says too little about the network's reach and scales.
    """

    def __init__(self, encode: Session, score: Session) -> None:
        self.encode, self.score = encode, score
        try:
            extra = score.manifest.extra
            self.stride = int(extra["stride"])
            self.strides: Sequence[int] = [int(stride) for stride in extra["strides"]]
            self.widths: Sequence[int] = [int(width) for width in extra["widths"]]
            self.octaves: Sequence[int] = [int(size) for size in extra["octaves"]]
            self.score_halo, self.encode_halo = int(extra["score_halo"]), int(extra["encode_halo"])
        except KeyError as error:
            raise ModelError(f"the manifest of the score graph lacks {error}: run `ufa export` again.") from error

    @classmethod
    def beside(cls, model: Path, session: Session, *, backend: str, options: SessionOptions) -> StackModel:
        """Open the two graphs of ``model``.

        Args:
            model: The file of the network's graph for pairs.
            session: That graph, opened.
            backend: As `open_session`.
            options: As `open_session`.

        Raises:
            ModelError: They are missing, or were made from other weights.
            BackendError: The engine refuses one.
        """
        paths = stack_paths(model)
        if missing := [path.name for path in paths if not path.is_file()]:
            build = " and `ufa build` on each" if model.suffix == ".engine" else ""
            raise ModelError(
                f"a stack needs {' and '.join(missing)} beside {model}: run `ufa export`{build}, or choose another `model`."
            )
        for path in paths:
            check_same_weights(path, read_manifest(path), model, session.manifest)
        with contextlib.ExitStack() as opened:
            sessions = [opened.enter_context(open_session(path, backend=backend, options=options)) for path in paths]
            made = cls(*sessions)
            opened.pop_all()
        return made

    def prepare(self, size: tuple[int, int], kind: FrameKind) -> None:
        """Make both engines ready for windows of this (height, width). Raises: BackendError."""
        height, width = (round_up(side, self.stride) for side in size)
        for session, more in ((self.encode, False), (self.score, True)):
            layout = layout_for(session, kind)
            frame = (1, *size, 3) if layout == "uint8" else (1, 3, *size)
            inputs = {"frame": (frame, "float32" if layout == "float" else "uint8")}
            if more:
                inputs |= {"mean": ((1, 3, *size), "float32"), "count": ((1, 1, *size), "float32")}
                for scale, (channels, stride) in enumerate(zip(self.widths, self.strides, strict=True)):
                    inputs[f"gathered_{scale}"] = ((1, 2 * channels, height // stride, width // stride), "float32")
            session.prepare_inputs(inputs)

    def whole(self, size: tuple[int, int]) -> Grid:
        """One window, the frame itself."""
        return grid_of_step(size, max(size), halo=self.score_halo, stride=self.stride)

    def close(self) -> None:
        """Free the engines; may be called twice."""
        for session in (self.encode, self.score):
            session.close()


class Gathering:
    """What is kept of a stack's frames between the two passes: sums and maxima, whatever their number.

    Args:
        model: The network.
        kind: What the frames are.
        grid: The windows in which frames are seen.
    """

    def __init__(self, model: StackModel, kind: FrameKind, grid: Grid) -> None:
        self._model, self._kind, self._grid = model, kind, grid
        self._padded = round_up(grid.size[0], model.stride), round_up(grid.size[1], model.stride)
        sizes = [(self._padded[0] // stride, self._padded[1] // stride) for stride in model.strides]
        # Of each scale the weighed sum (later the mean) of the features, then their maximum: as the score graph takes them.
        self._gathered: list[NDArray[Any]] = []
        for width, size in zip(model.widths, sizes, strict=True):
            self._gathered.append(np.zeros((1, 2 * width, *size), np.float32))
        for gathered, width in zip(self._gathered, model.widths, strict=True):
            gathered[:, width:] = -np.inf
        self._attention = [np.zeros((1, 1, *size), np.float32) for size in sizes]
        self._light = np.zeros((*grid.size, 1 if kind.grey else 3), np.float32)
        self._mean: NDArray[Any] = self._light
        self._everywhere = 0  # frames that cover all
        self._here: NDArray[np.uint16] | None = None  # how many of the others cover each pixel
        self._whole: dict[str, NDArray[Any]] | None = None
        self._finished = False

    @staticmethod
    def bytes_per_pixel(model: StackModel) -> tuple[float, float]:
        """What an object of this class takes for each pixel of a frame, in bytes: in the first pass and in the second."""
        features = sum(2 * width / stride**2 for width, stride in zip(model.widths, model.strides, strict=True))
        attention = sum(1 / stride**2 for stride in model.strides)
        return 4.0 * (features + attention + 3) + 2, 2.0 * (features + 4)

    def add(
        self,
        frame: Array,
        covered: NDArray[np.uint8] | None,
        do: Callable[[Callable[[], None]], None] = lambda work: work(),
    ) -> None:
        """Gather one frame's features.

        Args:
            frame: H x W [x 1, 3 or 4].
            covered: H x W: 0 where the frame shows nothing; None: it shows something everywhere.
            do: What is left when the network has run is given to it, and done in that order before `finish`.

        Raises:
            BackendError: The engine failed.
        """
        assert not self._finished
        layout = layout_for(self._model.encode, self._kind)
        masks = None if covered is None else self._masks(covered)
        for tile in self._grid:
            outputs = self._model.encode.infer({"frame": pack(frame[tile.window], self._kind, layout)})
            do(partial(self._gather_scales, tile, outputs, masks))
        do(partial(self._add_light, frame, covered))

    def _gather_scales(self, tile: Any, outputs: dict[str, Any], masks: list[Floats] | None) -> None:  # noqa: ANN401 - a Tile
        for scale, stride in enumerate(self._model.strides):
            self._gather(scale, stride, tile, outputs, None if masks is None else masks[scale])

    def _gather(self, scale: int, stride: int, tile: Any, outputs: dict[str, Any], mask: Floats | None) -> None:  # noqa: ANN401 - a Tile
        (rows, columns), (inner_rows, inner_columns) = (self._cells(area, stride) for area in (tile.core, tile.inner))
        features = outputs[f"features_{scale}"][0][:, inner_rows, inner_columns]
        attention = outputs[f"attention_{scale}"][0][:, inner_rows, inner_columns]
        width, gathered = self._model.widths[scale], self._gathered[scale][0]
        weighed, greatest = gathered[:width, rows, columns], gathered[width:, rows, columns]
        if mask is not None:
            shown = mask[rows, columns]
            attention = attention * shown
            np.maximum(greatest, features * shown, out=greatest)
        else:
            np.maximum(greatest, features, out=greatest)
        self._attention[scale][0][:, rows, columns] += attention
        weighed += features * attention

    def _cells(self, area: tuple[slice, slice], stride: int) -> tuple[slice, slice]:
        """A part of the frame in cells of a scale; what ends with the frame ends with the padding."""
        rows, columns = (slice(span.start // stride, round_up(span.stop, self._model.stride) // stride) for span in area)
        return rows, columns

    def _masks(self, covered: NDArray[np.uint8]) -> list[Floats]:
        """The share of each cell that a frame covers, a scale each."""
        down, right = (padded - side for padded, side in zip(self._padded, covered.shape, strict=True))
        padded = cv2.copyMakeBorder(covered.astype(np.float32), 0, down, 0, right, cv2.BORDER_REPLICATE)
        sizes = [(self._padded[1] // stride, self._padded[0] // stride) for stride in self._model.strides]
        return [np.asarray(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), np.float32) for size in sizes]

    def _add_light(self, frame: Array, covered: NDArray[np.uint8] | None) -> None:
        """Add to the sum of all frames, in the frames' own levels and layout."""
        picture = frame.reshape(*self._grid.size, -1)[..., : self._light.shape[2]]
        mask = None if covered is None else covered
        cv2.accumulate(np.ascontiguousarray(picture), self._light, mask)
        if covered is None:
            self._everywhere += 1
        else:
            self._here = np.zeros(self._grid.size, np.uint16) if self._here is None else self._here
            self._here += covered

    def finish(self) -> None:
        """Turn sums into means, in half precision: after the last frame of the first pass."""
        for scale, width in enumerate(self._model.widths):
            gathered = self._gathered[scale]
            gathered[:, :width] /= np.maximum(self._attention[scale], 1e-12)
            np.clip(gathered, -_HALF_MOST, _HALF_MOST, out=gathered)
            self._gathered[scale] = gathered.astype(np.float16)
        if self._here is not None:
            count = np.maximum(self._here + np.float32(self._everywhere), 1)
            self._light /= count[..., None]
        else:
            self._light /= np.float32(max(1, self._everywhere))
        self._mean = self._light.astype(np.float16 if self._kind.dtype == np.uint8 else np.float32)
        self._light = np.empty((0, 0, 0), np.float32)
        self._attention.clear()
        self._finished = True

    def weights(self, frame: Array) -> Iterator[tuple[tuple[slice, slice], Floats]]:
        """Score one frame in the second pass, window by window.

        Args:
            frame: As `add`.

        Yields:
            Rows and columns of the frame, and its weights there, octaves x h x w float32, above 0.

        Raises:
            BackendError: The engine failed.
        """
        assert self._finished
        layout = layout_for(self._model.score, self._kind)
        for tile in self._grid:
            common = self._common_of(tile.window) if len(self._grid) > 1 else self._whole
            if common is None:
                common = self._whole = self._common_of(tile.window)  # the same for every frame
            inputs = {"frame": pack(frame[tile.window], self._kind, layout), **common}
            weights = self._model.score.infer(inputs)["weights"][0]
            if not np.isfinite(weights.sum()):  # sums of exponentials that float32 holds
                raise BackendError(
                    f"{self._model.score.backend} computed weights that are no numbers: choose another precision."
                )
            yield tile.core, weights[(slice(None), *tile.inner)]

    def _common_of(self, window: tuple[slice, slice]) -> dict[str, NDArray[Any]]:
        """What the score graph is given beside a window of a frame, float32."""
        rows, columns = window
        mean = self._mean[rows, columns].astype(np.float32)
        inputs = {"mean": pack(mean, replace(self._kind, dtype=np.dtype(np.float32), channels=mean.shape[2]), "float")}
        if self._here is None:
            inputs["count"] = np.full((1, 1, *mean.shape[:2]), max(1, self._everywhere), np.float32)
        else:
            inputs["count"] = np.maximum(self._here[rows, columns] + np.float32(self._everywhere), 1)[None, None]
        for scale, stride in enumerate(self._model.strides):
            down, right = self._cells(window, stride)
            inputs[f"gathered_{scale}"] = self._gathered[scale][:, :, down, right].astype(np.float32, order="C")
        return inputs
