"""A gathering network's three graphs, and what is kept of the frames between the first pass over them and the second.

``X.encode.onnx`` gives one frame's features and how much attention each deserves; their weighed mean and maximum over all
frames is gathered. ``X.common.onnx`` brings that, once, into the form that frames are compared with. ``X.score.onnx``
compares one frame's features with it, and gives the frame's weight in every octave at every pixel. All run on windows of a
frame where the memory asks for it; the results are those of the whole frame. Where there is room, features are kept between
the passes; elsewhere a frame is encoded again.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.bfloat16 import narrowed, strips, widened
from ufafuse.runtime.errors import BackendError, ModelError
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.kinds import beside
from ufafuse.runtime.manifest_entries import STACK_ROLES
from ufafuse.runtime.memory.tiled import check_same_weights, layout_for
from ufafuse.runtime.memory.tiling import Grid, grid_of_step, round_up
from ufafuse.runtime.packing import pack
from ufafuse.runtime.session import Session, SessionOptions, is_carried, open_session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

Shape = tuple[int, ...]

_HALF_MOST = 60_000.0  # half precision ends at 65,504


def stack_paths(model: Path) -> list[Path]:
    """Where the graphs for stacks of ``X.onnx`` lie: ``X.encode.onnx``, ``X.common.onnx``, ``X.score.onnx``; of any format."""
    return [beside(model, role) for role in STACK_ROLES]


def shapes_between(
    size: tuple[int, int], stride: int, strides: Sequence[int], widths: Sequence[int]
) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """The shapes of what the graph between the passes takes, and of what a frame is scored beside.

    Args:
        size: (height, width) of a frame, or of a window of it.
        stride, strides, widths: As the graphs' manifests have them.
    """
    height, width = (round_up(side, stride) for side in size)
    planes: dict[str, Shape] = {"mean": (1, 3, *size), "count": (1, 1, *size)}
    gathered, told = dict(planes), dict(planes)
    told["stands_out"] = (1, height // strides[0], width // strides[0], strides[0] ** 2)
    for scale, (channels, step) in enumerate(zip(widths, strides, strict=True)):
        cells = height // step, width // step
        gathered |= {f"{what}_{scale}": (1, *cells, channels) for what in ("average", "greatest")}
        told |= {f"{what}_{scale}": (1, *cells, channels) for what in ("features", "common")}
    return gathered, told


class StackModel:
    """A gathering network's graphs for any number of frames.

    Args:
        encode, common, score: The three graphs.

    Raises:
        ModelError: A manifest says too little about the network's reach and scales.
    """

    def __init__(self, encode: Session, common: Session, score: Session) -> None:
        self.encode, self.common, self.score = encode, common, score
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
        """Open the graphs of ``model``.

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
                f"a stack needs {', '.join(missing)} beside {model}: run `ufa export`{build}, or choose another `model`."
            )
        for path in paths:
            check_same_weights(path, read_manifest(path), model, session.manifest)
        with contextlib.ExitStack() as opened:
            options = replace(options, carry=True)
            sessions = [opened.enter_context(open_session(path, backend=backend, options=options)) for path in paths]
            made = cls(*sessions)
            opened.pop_all()
        return made

    def prepare(self, role: str, size: tuple[int, int], kind: FrameKind) -> None:
        """Make the engine of a graph ready for windows of this (height, width). Raises: BackendError."""
        gathered, told = self.between(size)
        session = {"encode": self.encode, "common": self.common, "score": self.score}[role]
        shapes: dict[str, Shape] = {"encode": {}, "common": gathered, "score": told}[role]
        inputs = {name: (shape, self.dtype(name)) for name, shape in shapes.items()}
        if role != "common":
            layout = layout_for(session, kind)
            frame = (1, *size, 3) if layout == "uint8" else (1, 3, *size)
            inputs["frame"] = (frame, "float32" if layout == "float" else "uint8")
        session.prepare_inputs(inputs)

    def between(self, size: tuple[int, int]) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """As `shapes_between`, of this network."""
        return shapes_between(size, self.stride, self.strides, self.widths)

    def dtype(self, tensor: str) -> str:
        """Of what one graph takes from another; all graphs are run by one engine, in one arithmetic."""
        return self.score.carries if is_carried(tensor) else "float32"

    def feature_bytes(self, size: tuple[int, int]) -> int:
        """What the features of one frame of this (height, width) take."""
        shapes = self.between(size)[1].items()
        return sum(
            np.dtype(self.dtype(name)).itemsize * math.prod(shape) for name, shape in shapes if name.startswith("features")
        )

    def carried(self, values: NDArray[Any]) -> NDArray[Any]:
        """Numbers, float, as a graph takes those that another one gave."""
        return np.ascontiguousarray(values, np.float32) if self.score.carries == "float32" else narrowed(values)

    def whole(self, size: tuple[int, int]) -> Grid:
        """One window, the frame itself."""
        return grid_of_step(size, max(size), halo=self.score_halo, stride=self.stride)

    def close(self) -> None:
        """Free the engines; may be called twice."""
        for session in (self.encode, self.common, self.score):
            session.close()


class Gathering:
    """What is kept of a stack's frames between the two passes: sums and maxima, whatever their number.

    Args:
        model: The network.
        kind: What the frames are.
        grid: The windows in which frames are seen.
        room: Bytes that frames' features may be kept in until the second pass; of frames seen in several windows none are.
    """

    def __init__(self, model: StackModel, kind: FrameKind, grid: Grid, *, room: float = 0.0) -> None:
        self._model, self._kind, self._grid = model, kind, grid
        self._most_kept = int(room / model.feature_bytes(grid.size)) if len(grid) == 1 else 0
        self._kept: dict[int, dict[str, NDArray[Any]]] = {}
        self._padded = round_up(grid.size[0], model.stride), round_up(grid.size[1], model.stride)
        sizes = [(self._padded[0] // stride, self._padded[1] // stride) for stride in model.strides]
        # Of each scale the weighed sum (later the mean) of the features, their maximum, and the sum of the weights.
        shapes = [(*size, width) for width, size in zip(model.widths, sizes, strict=True)]
        self._weighed: list[NDArray[Any]] = [np.zeros(shape, np.float32) for shape in shapes]
        self._greatest: list[NDArray[Any]] = [np.full(shape, -np.inf, np.float32) for shape in shapes]
        self._attention = [np.zeros((*size, 1), np.float32) for size in sizes]
        self._light = np.zeros((*grid.size, 1 if kind.grey else 3), np.float32)
        self._mean: NDArray[Any] = self._light
        self._everywhere = 0  # frames that cover all
        self._here: NDArray[np.uint16] | None = None  # how many of the others cover each pixel
        self._common: list[NDArray[Any]] = []  # a scale each, then what stands out
        self._whole: dict[str, NDArray[Any]] = {}  # what a frame is scored beside, where that is one window
        self._finished = False

    @staticmethod
    def bytes_per_pixel(model: StackModel) -> tuple[float, float]:
        """What an object of this class takes for each pixel of a frame, in bytes: in the first pass and in the second."""
        features = sum(width / stride**2 for width, stride in zip(model.widths, model.strides, strict=True))
        attention = sum(1 / stride**2 for stride in model.strides)
        return 4.0 * (2 * features + attention + 3) + 2, 2.0 * (features + 2 + 4)

    def add(
        self,
        number: int,
        frame: Array,
        covered: NDArray[np.uint8] | None,
        do: Callable[[Callable[[], None]], None] = lambda work: work(),
    ) -> None:
        """Gather one frame's features.

        Args:
            number: The frame's own.
            frame: H x W [x 1, 3 or 4].
            covered: H x W: 0 where the frame shows nothing; None: it shows something everywhere.
            do: What is left when the network has run is given to it, and done in that order before `finish`.

        Raises:
            BackendError: The engine failed.
        """
        assert not self._finished
        masks = None if covered is None else self._masks(covered)
        for tile in self._grid:
            outputs = self._model.encode.infer(self._given(self._model.encode, frame[tile.window]))
            if len(self._kept) < self._most_kept:
                self._kept[number] = _features_of(outputs)
            do(partial(self._gather_scales, tile, outputs, masks))
        do(partial(self._add_light, frame, covered))

    def _gather_scales(self, tile: Any, outputs: dict[str, Any], masks: list[Floats] | None) -> None:  # noqa: ANN401 - a Tile
        for scale, stride in enumerate(self._model.strides):
            self._gather(scale, stride, tile, outputs, None if masks is None else masks[scale])

    def _gather(self, scale: int, stride: int, tile: Any, outputs: dict[str, Any], mask: Floats | None) -> None:  # noqa: ANN401 - a Tile
        (rows, columns), (inner_rows, inner_columns) = (self._cells(area, stride) for area in (tile.core, tile.inner))
        given = outputs[f"features_{scale}"][0][inner_rows, inner_columns]
        attention = outputs[f"attention_{scale}"][0][0, inner_rows, inner_columns, None]
        weighed, greatest = self._weighed[scale][rows, columns], self._greatest[scale][rows, columns]
        shown = None if mask is None else mask[rows, columns, None]
        if shown is not None:
            attention = attention * shown
        self._attention[scale][rows, columns] += attention
        for strip in strips(given.shape):
            features = widened(given[strip])
            np.maximum(greatest[strip], features if shown is None else features * shown[strip], out=greatest[strip])
            weighed[strip] += features * attention[strip]

    def _cells(self, area: tuple[slice, slice], stride: int) -> tuple[slice, slice]:
        """A part of the frame in cells of a scale; what ends with the frame ends with the padding."""
        rows, columns = (slice(span.start // stride, round_up(span.stop, self._model.stride) // stride) for span in area)
        return rows, columns

    def _masks(self, covered: NDArray[np.uint8]) -> list[Floats]:
        """The share of each cell that a frame covers, a scale each."""
        down, right = (padded - side for padded, side in zip(self._padded, covered.shape, strict=True))
        smaller = cv2.copyMakeBorder(covered, 0, down, 0, right, cv2.BORDER_REPLICATE).astype(np.float32)
        shares = []
        for stride in self._model.strides:  # each from the one before: shares of powers of two add up exactly
            size = self._padded[1] // stride, self._padded[0] // stride
            smaller = np.asarray(cv2.resize(smaller, size, interpolation=cv2.INTER_AREA), np.float32)
            shares.append(smaller)
        return shares

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
        """Turn sums into means, and bring them into the form that frames are compared with: after the first pass's last frame.

        Raises:
            BackendError: The engine failed.
        """
        for scale, weighed in enumerate(self._weighed):
            np.divide(weighed, np.maximum(self._attention[scale], 1e-12), out=weighed)
            if len(self._grid) > 1:  # or what comes of it would stand beside it in full
                self._weighed[scale], self._greatest[scale] = _halved(weighed), _halved(self._greatest[scale])
        if self._here is not None:
            count = np.maximum(self._here + np.float32(self._everywhere), 1)
            self._light /= count[..., None]
        else:
            self._light /= np.float32(max(1, self._everywhere))
        half = len(self._grid) > 1 and self._kind.dtype == np.uint8
        self._mean = self._light.astype(np.float16) if half else self._light
        self._light = np.empty((0, 0, 0), np.float32)
        self._attention.clear()
        self._run_between()
        self._model.common.release()
        if self._kept:
            self._model.encode.release()
        self._weighed.clear()
        self._greatest.clear()
        self._finished = True

    def _run_between(self) -> None:
        """Run the graph between the passes."""
        scales = range(len(self._model.strides))
        names = [*(f"common_{scale}" for scale in scales), "stands_out"]
        strides = [*self._model.strides, self._model.strides[0]]
        for tile in self._grid:
            planes = self._planes_of(tile.window)
            given = dict(planes)
            for scale, stride in enumerate(self._model.strides):
                cells = self._cells(tile.window, stride)
                for what, kept in (("average", self._weighed), ("greatest", self._greatest)):
                    given[f"{what}_{scale}"] = self._model.carried(kept[scale][cells])[None]
            found = self._model.common.infer(given)
            if len(self._grid) == 1:
                self._whole, self._mean = {**planes, **found}, np.empty((0, 0, 0), np.float32)
                break
            if not self._common:
                shapes = self._model.between(self._grid.size)[1]
                self._common = [np.empty(shapes[name], self._stored_as(name)) for name in names]
            for stored, name, stride in zip(self._common, names, strides, strict=True):
                core, inner = self._cells(tile.core, stride), self._cells(tile.inner, stride)
                part = found[name][(slice(None), *inner)]
                stored[(slice(None), *core)] = _halved(part) if stored.dtype == np.float16 else part

    def _stored_as(self, name: str) -> np.dtype[Any]:
        """Of what the graph between the passes gives, until windows are cut from it."""
        given = np.dtype(self._model.dtype(name))
        return np.dtype(np.float16) if given == np.float32 and name != "stands_out" else given

    def weights(self, number: int, frame: Array) -> Iterator[tuple[tuple[slice, slice], Floats]]:
        """Score one frame in the second pass, window by window.

        Args:
            number, frame: As `add`.

        Yields:
            Rows and columns of the frame, and its weights there, h x w x octaves float32, above 0.

        Raises:
            BackendError: The engine failed.
        """
        assert self._finished
        for tile in self._grid:
            told = self._whole or self._told_of(tile.window)
            features = self._kept.pop(number, None)
            if features is None:
                features = _features_of(self._model.encode.infer(self._given(self._model.encode, frame[tile.window])))
            given = self._given(self._model.score, frame[tile.window])
            weights = self._model.score.infer({**given, **told, **features})["weights"][0]
            if not np.isfinite(weights.max()):  # which NaN comes through; a sum of many large ones float32 does not hold
                raise BackendError(
                    f"{self._model.score.backend} computed weights that are no numbers: choose another precision."
                )
            yield tile.core, weights[tile.inner]

    def _given(self, session: Session, frame: Array) -> dict[str, NDArray[Any]]:
        return {"frame": pack(frame, self._kind, layout_for(session, self._kind))}

    def _told_of(self, window: tuple[slice, slice]) -> dict[str, NDArray[Any]]:
        """What a window of a frame is scored beside."""
        told, strides = self._planes_of(window), self._model.strides
        for scale, stride in enumerate(strides):
            told[f"common_{scale}"] = self._common[scale][(slice(None), *self._cells(window, stride))]
        told["stands_out"] = self._common[-1][(slice(None), *self._cells(window, strides[0]))]
        return {name: each.astype(self._model.dtype(name), order="C", copy=False) for name, each in told.items()}

    def _planes_of(self, window: tuple[slice, slice]) -> dict[str, NDArray[Any]]:
        """The frames' mean, and how many frames cover each pixel, float32."""
        rows, columns = window
        mean = self._mean[rows, columns].astype(np.float32, copy=False)
        planes = {"mean": pack(mean, replace(self._kind, dtype=np.dtype(np.float32), channels=mean.shape[2]), "float")}
        if self._here is None:
            planes["count"] = np.full((1, 1, *mean.shape[:2]), max(1, self._everywhere), np.float32)
        else:
            planes["count"] = np.maximum(self._here[rows, columns] + np.float32(self._everywhere), 1)[None, None]
        return planes


def _features_of(outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: value for name, value in outputs.items() if name.startswith("features")}


def _halved(values: NDArray[Any]) -> NDArray[np.float16]:
    return np.clip(values, -_HALF_MOST, _HALF_MOST).astype(np.float16)
