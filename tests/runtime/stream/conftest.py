"""Helpers for the tests of live fusion; no network is needed by any of them."""

import os
import socket
import threading

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from ufafuse.runtime.stream.drawn_numbers import _row_height, _tops, draw_number, read_number
from ufafuse.runtime.stream.messages import FAR, NEAR, Frame, FusedPair
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.sources import SimSettings, SimSource


def fuse_marks(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """The near frame with the far frame's row of bits: what a fusion that keeps the sharper picture would show."""
    fused = near.copy()
    row = _row_height(near.shape[0])
    for top in _tops(near.shape[0], FAR):
        fused[top : top + row] = far[top : top + row]
    return fused


def numbers_in(picture: np.ndarray) -> tuple[int | None, int | None]:
    """The near and the far frame's number in a fused picture."""
    return read_number(picture, NEAR), read_number(picture, FAR)


def numbered_picture(number: int, side: int, size: tuple[int, int] = (96, 192)) -> np.ndarray:
    """A small picture that carries its number."""
    picture = np.full((*size, 3), 40 + number % 100, np.uint8)
    draw_number(picture, number, side)
    return picture


def pictures_of(path: Path) -> Iterator[np.ndarray]:
    """Every picture that a video player would show."""
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    while True:
        done, picture = video.read()
        if not done:
            video.release()
            return
        yield picture


def frame_at(timestamp: float, index: int = 0) -> Frame:
    """A tiny frame of a moment."""
    return Frame(np.zeros((2, 2, 3), np.uint8), index, timestamp, 0.0)


class Recorder:
    """Keeps what a pipeline hands to ``on_frame``: numbers in the fused pictures and the indices of the frames."""

    def __init__(self) -> None:
        self.items: list[tuple[tuple[int | None, int | None], tuple[int, int], float]] = []

    def __call__(self, item: FusedPair) -> None:
        indices = item.pair.near.index, item.pair.far.index
        self.items.append((numbers_in(item.fused), indices, item.pair.skew))

    def assert_none_mixed(self) -> None:
        assert self.items
        for numbers, indices, _ in self.items:
            assert numbers == indices


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(name="fuse_marks")
def _fuse_marks() -> Callable:
    return fuse_marks


@pytest.fixture(name="numbers_in")
def _numbers_in() -> Callable:
    return numbers_in


@pytest.fixture(name="numbered_picture")
def _numbered_picture() -> Callable:
    return numbered_picture


@pytest.fixture(name="pictures_of")
def _pictures_of() -> Callable:
    return pictures_of


@pytest.fixture(name="frame_at")
def _frame_at() -> Callable:
    return frame_at


def sim(side: int, **settings: object) -> SimSource:
    """A simulated camera of small pictures, 100 a second."""
    return SimSource(None, side, SimSettings(**{"size": (96, 192), "rate": 100, **settings}))


def assert_adds_up(summary: dict) -> None:
    """Every frame that came in was fused, dropped, or found no partner."""
    for side in (NEAR, FAR):
        accounted = summary["fused"] + summary["dropped"] + summary["unmatched_by_side"][side]
        assert summary["frames_in"][side] == accounted, summary
    assert summary["waiting"] == 0


def kinds(pipeline: Pipeline, side: int | None = None) -> list[str]:
    """What happened in a run, of one side or of all."""
    return [event.kind for event in pipeline.events if side in (None, event.side)]


@pytest.fixture(name="sim")
def _sim() -> Callable:
    return sim


@pytest.fixture(name="assert_adds_up")
def _assert_adds_up() -> Callable:
    return assert_adds_up


@pytest.fixture(name="kinds")
def _kinds() -> Callable:
    return kinds


def answering(talk: Callable[[socket.socket], None]) -> socket.socket:
    """A listener on this machine; ``talk`` is called with each client, in a thread of its own, until it is closed."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


@pytest.fixture(name="answering")
def _answering() -> Callable:
    return answering
