"""How long graphs take beside each other: int8 that makes a file no faster is a loss for nothing."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.calibration.crops import PairCrop
from ufafuse.calibration.ranges import model_inputs
from ufafuse.runtime.session import Session, SessionOptions, open_session

SIZE = (520, 520)  # (height, width) of the pair, the paper's
_ROUNDS = 15


def race(files: Mapping[str, Path], engine: str, *, threads: int | None = None, rounds: int = _ROUNDS) -> dict[str, float]:
    """Time files on one engine, turn by turn, so that what else the machine does hits all of them alike.

    Args:
        files: Whole-frame ONNX files with manifests, by any name.
        engine: A backend's name; it computes as it would for `ufa fuse`.
        threads: CPU threads; None: the engine chooses.
        rounds: Runs of each after one that warms it.

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
        taken: dict[str, list[float]] = {name: [] for name in sessions}
        for _ in range(rounds + 1):
            for name, session in sessions.items():
                taken[name].append(_ms(session, inputs[name]))
    return {name: min(times[1:]) for name, times in taken.items()}


def _ms(session: Session, inputs: dict[str, NDArray[Any]]) -> float:
    started = time.perf_counter()
    session.infer(inputs)
    return (time.perf_counter() - started) * 1e3
