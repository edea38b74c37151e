"""Drawn stacks to calibrate and to judge a network that gathers on: pairs show it two frames, never more.

The graphs that encode and score a frame are quantised with the layers and ranges of the pairs' graph (their convolutions
have the same names), widened by what these stacks show. A choice of layers is judged by the stacks' fused pictures as well.
The graph between them runs once for a stack and stays in float.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ufafuse.calibration.crops import drawn_frames
from ufafuse.calibration.equalise import Factors, equalised
from ufafuse.calibration.judge import agreement
from ufafuse.calibration.quantizers import Range
from ufafuse.calibration.ranges import Inputs, RangeMethod, layer_ranges
from ufafuse.export.onnx_export import Companions
from ufafuse.export.onnx_file import load_graph, stamped
from ufafuse.export.stack_check import channels_first, gathered_inputs, scoring_inputs, weighed
from ufafuse.runtime.arrays import Bytes
from ufafuse.runtime.artefact import Manifest, read_manifest
from ufafuse.runtime.errors import ModelError
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.manifest_entries import STACK_ROLES
from ufafuse.runtime.packing import pack, to_planes
from ufafuse.runtime.session import Session, SessionOptions, open_session

if TYPE_CHECKING:
    from onnx import ModelProto

ROLES = ("encode", "score")
_CALIBRATE, _JUDGE = (3, 6, 10), (3, 5, 9)  # frames of each stack


def drawn_stacks(counts: Sequence[int], side: int, seed: int) -> list[Bytes]:
    """Stacks of so many frames each, K x side x side x 3 uint8, BGR."""
    draw = np.random.default_rng(seed)
    return [drawn_frames(draw, side, count) for count in counts]


class Stacks:
    """The graphs for stacks beside a model that is calibrated, and stacks for them.

    Args:
        onnx: The model; its companions lie beside it.
        manifest: Its manifest.
        side: Of the stacks' frames, in pixels.
        seed: Draws them.
        threads: CPU threads. None: the engines choose.

    Raises:
        ModelError: A companion is missing.
    """

    def __init__(self, onnx: Path, manifest: Manifest, *, side: int, seed: int, threads: int | None = None) -> None:
        beside = Companions.of(onnx)
        self.paths = {"encode": beside.encode, "score": beside.score}
        self._common = beside.common
        if missing := [path.name for path in (*self.paths.values(), self._common) if not path.is_file()]:
            raise ModelError(f"{' and '.join(missing)} must lie beside {onnx}: run `ufa export` again, it writes them.")
        self._models = {role: load_graph(path) for role, path in self.paths.items()}
        self._manifests = {role: read_manifest(path) for role, path in self.paths.items()}
        self._io, self._stride = manifest.io, int(manifest.extra["stride"])
        self._options = SessionOptions(threads=threads)
        self.judged = drawn_stacks(_JUDGE, side, seed + 1)
        self._drawn = drawn_stacks(_CALIBRATE, side, seed)
        self._expected: list[NDArray[np.float32]] = []

    @property
    def described(self) -> str:
        """What is calibrated on, in words."""
        *first, last = (str(len(frames)) for frames in self._drawn)
        return f"{len(self._drawn)} drawn stacks of {', '.join(first)} and {last} frames"

    def ranges(self, factors: Factors, method: RangeMethod) -> dict[str, Range]:
        """What the layers of the graphs that are quantised see, after `equalised` with these factors."""
        found: dict[str, Range] = {}
        inputs: dict[str, list[Inputs]] = {"encode": [], "score": []}
        with self._opened({"encode": self.paths["encode"]}, "onnxruntime") as (encode, common):
            for frames in self._drawn:
                inputs["encode"].append({"frame": self._packed(frames)})
                inputs["score"].append(self._scoring(encode, common, frames))
        for role, model in self._models.items():
            for name, seen in layer_ranges(equalised(model, factors), inputs[role], method).items():
                found[name] = seen.joined(found[name]) if name in found else seen
        return found

    def worst(self, quantised: "Callable[[ModelProto, Manifest], ModelProto]", engines: Sequence[str]) -> float:
        """Worst PSNR in dB, against the float files, of the stacks kept back, with those graphs quantised.

        Args:
            quantised: Makes a float graph and its manifest into the graph to judge.
            engines: Backends' names.
        """
        with tempfile.TemporaryDirectory(prefix="ufafuse-") as folder:
            paths = {role: Path(folder) / f"{role}.onnx" for role in ROLES}
            for role, path in paths.items():
                path.write_bytes(stamped(quantised(self._models[role], self._manifests[role])))
            return min(self.on_engine(paths, engine) for engine in engines)

    def on_engine(self, paths: dict[str, Path], engine: str) -> float:
        """Worst PSNR in dB of the files of both roles on one engine."""
        if not self._expected:
            with self._opened(self.paths, "onnxruntime") as sessions:
                self._expected = [self._fused(sessions, frames) for frames in self.judged]
        with self._opened(paths, engine) as sessions:
            results = [self._fused(sessions, frames) for frames in self.judged]
        return min(agreement(result, expected) for result, expected in zip(results, self._expected, strict=True))

    @contextlib.contextmanager
    def _opened(self, paths: dict[str, Path], engine: str) -> Iterator[tuple[Session, ...]]:
        """The session that encodes, the one between, and the one that scores where there is one."""
        with contextlib.ExitStack() as opened:
            files = {**paths, "common": self._common}
            yield tuple(
                opened.enter_context(open_session(files[role], backend=engine, options=self._options))
                for role in STACK_ROLES
                if role in files
            )

    def _packed(self, frames: Bytes) -> NDArray[Any]:
        return np.concatenate([pack(frame, check_pair(frame, frame), self._io) for frame in frames])

    def _scoring(self, encode: Session, common: Session, frames: Bytes) -> Inputs:
        """What the scoring graph takes for all frames of a stack, as one batch."""
        packed, planes = self._packed(frames), _planes(frames)
        encoded = encode.infer({"frame": packed})
        gathered = gathered_inputs(encoded, planes, torch.ones_like(planes[:, :1]), self._stride)
        return {"frame": packed, **scoring_inputs(encoded, gathered, common.infer(gathered))}

    def _fused(self, sessions: Sequence[Session], frames: Bytes) -> NDArray[np.float32]:
        """The fused picture in levels, 1 x 3 x H x W, of the three sessions."""
        encode, common, score = sessions
        weights = channels_first(score.infer(self._scoring(encode, common, frames))["weights"])
        planes = _planes(frames)
        fused: NDArray[np.float32] = weighed(planes, torch.ones_like(planes[:, :1]), weights, self._stride).numpy()
        return fused * np.float32(255)


def _planes(frames: Bytes) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([to_planes(frame, check_pair(frame, frame)) for frame in frames]))
