"""How long graphs take beside each other: int8 that makes a file no faster is a loss for nothing."""

import math
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ufafuse.calibration.crops import PairCrop
from ufafuse.calibration.ranges import model_inputs
from ufafuse.export.onnx_file import stamped
from ufafuse.export.timing import interleaved
from ufafuse.runtime.session import SessionOptions, open_session

if TYPE_CHECKING:
    import onnx

SIZE = (520, 520)  # (height, width) of the pair, the paper's
_ROUNDS = 15  # runs of each after one that warms it


def race(files: Mapping[str, Path], engine: str, *, threads: int | None = None) -> dict[str, float]:
    """Time files on one engine, turn by turn, so that what else the machine does hits all of them alike.

    Args:
        files: Whole-frame ONNX files with manifests, by any name.
        engine: A backend's name; it computes as it would for `ufa fuse`.
        threads: CPU threads; None: the engine chooses.

    Returns:
        The least time of each in ms, for one pair of `SIZE` that is noise.
    """
    frames = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)
    pair = PairCrop("noise", *frames)
    with ExitStack() as open_files:
        sessions = {
            name: open_files.enter_context(open_session(path, backend=engine, options=SessionOptions(threads=threads)))
            for name, path in files.items()
        }
        inputs = {name: model_inputs(pair, session.manifest.io) for name, session in sessions.items()}
        runs = {name: partial(session.infer, inputs[name]) for name, session in sessions.items()}
        taken = interleaved(runs, seconds=math.inf, most=_ROUNDS)
    return {name: min(samples.times_ms) for name, samples in taken.items()}


def race_graphs(graphs: Mapping[str, "onnx.ModelProto"], engine: str, *, threads: int | None = None) -> dict[str, float]:
    """`race` for graphs that are no files yet."""
    with tempfile.TemporaryDirectory(prefix="ufafuse-") as folder:
        files = {name: Path(folder) / f"{name}.onnx" for name in graphs}
        for name, path in files.items():
            path.write_bytes(stamped(graphs[name]))
        return race(files, engine, threads=threads)
