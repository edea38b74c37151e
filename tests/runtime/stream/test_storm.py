"""Storms: everything goes wrong at once, for minutes; afterwards the sums are checked.

``pytest -m slow tests/runtime/stream/test_storm.py -o log_cli=true -o log_cli_level=INFO`` shows the figures.
UFAFUSE_STORM_SECONDS sets the length, 60 by default; UFAFUSE_STORM_SEED another storm.
"""

import contextlib
import logging
import os
import random
import socket
import threading
import time
import urllib.request

import cv2
import numpy as np
import pytest

from ufafuse.runtime.stream.messages import FAR, NEAR, Frame
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.reader import RetryPolicy
from ufafuse.runtime.stream.sinks import MatroskaSink
from ufafuse.runtime.stream.sources import BrokenFrame, SimSettings, SimSource, SourceLost
from ufafuse.runtime.stream.stats import resident_mib
from ufafuse.runtime.stream.web.view import View

pytestmark = pytest.mark.slow
LOG = logging.getLogger(__name__)
SECONDS = float(os.environ.get("UFAFUSE_STORM_SECONDS", "60"))
SEED = int(os.environ.get("UFAFUSE_STORM_SEED", "0"))
SIZE = (240, 320)
ERRORS = [OSError(5, "Input/output error"), ValueError("a\n\x1b[2Jb"), RuntimeError(), KeyError("node"), MemoryError()]


class Stormy(SimSource):
    """A simulated camera whose frames get lost, damaged, mistimed; that raises, hangs, goes and stays away for a while."""

    def __init__(self, side, clock):
        super().__init__(None, side, SimSettings(size=SIZE, rate=60, jitter=1, drop=0.01, broken=0.01, seed=SEED + side))
        self.clock = clock
        self.chance = random.Random(SEED * 2 + side)
        self.until = 0.0
        self.given = self.damaged = 0

    def open(self):
        if time.monotonic() < self.until:
            raise self.chance.choice([SourceLost("away"), *ERRORS])
        super().open()

    def read(self, timeout):
        draw = self.chance.random()
        if draw < 0.0007:
            self.until = time.monotonic() + self.chance.uniform(0, 2)
            error = self.chance.choice([SourceLost("went away"), *ERRORS])
            self.damaged += not isinstance(error, SourceLost)  # what else is raised instead of a frame counts as broken
            raise error
        if draw < 0.001:
            time.sleep(self.chance.uniform(0.2, 1.5))
        try:
            frame = super().read(timeout)
        except BrokenFrame:
            self.damaged += 1
            raise
        if frame is None:
            return None
        if draw < 0.002:
            self.damaged += 1
            raise BrokenFrame("torn")
        stamp = frame.timestamp + self.clock.offset
        if draw < 0.004:
            stamp = self.chance.choice([float("nan"), float("inf"), stamp + 1e6, stamp - 1e6])
        self.given += 1
        return Frame(frame.array, frame.index, stamp, frame.arrived)


class Clock:
    """Both cameras' clock; it is set now and then."""

    offset = 0.0


class Viewers(threading.Thread):
    """Browsers that come and go, slow ones, strangers, scanners."""

    def __init__(self, address, over):
        super().__init__(daemon=True)
        self.address, self.over = address, over
        self.chance = random.Random(SEED + 7)
        self.health = []

    def run(self):
        held = []
        while not self.over.is_set():
            with contextlib.suppress(OSError):
                client = socket.create_connection(self.address, timeout=2)
                client.sendall(self.chance.choice(self.asked()))
                held.append(client)
            while len(held) > 40 or (held and self.chance.random() < 0.4):
                held.pop(self.chance.randrange(len(held))).close()
            if self.chance.random() < 0.2:
                self.ask_for_health()
            time.sleep(0.05)
        for client in held:
            client.close()

    def asked(self):
        host = b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        return [
            b"",
            b"GET /",
            b"GET /near.mjpeg?token=storm" + host,
            b"GET /fused.mjpeg?token=storm" + host,
            b"\x16\x03\x01" * 20,
            b"GET /" + host,
        ]

    def ask_for_health(self):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.address[1]}/health", headers={"Authorization": "Bearer storm"}
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                self.health.append(answer.status)
        except OSError as error:
            self.health.append(getattr(error, "code", str(error)))


def pictures_in(path):
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while video.grab():
        count += 1
    video.release()
    return count


def test_nothing_is_lost_but_what_is_counted_as_lost(fuse_marks, numbers_in, tmp_path):
    clock, over, mixed = Clock(), threading.Event(), []
    sources = [Stormy(side, clock) for side in (NEAR, FAR)]
    view = View(("127.0.0.1", 0), token="storm")

    def slow(near, far):
        time.sleep(random.Random(time.monotonic_ns()).choice([0.0, 0.0, 0.01, 0.04]))
        return fuse_marks(near, far)

    def check(item):
        view.show(item)
        indices = item.pair.near.index, item.pair.far.index
        if numbers_in(item.fused) != indices:
            mixed.append(indices)

    def set_clock():
        chance = random.Random(SEED + 3)
        while not over.wait(chance.uniform(3, 8)):
            clock.offset += chance.choice([-60, 60, -0.5, 3600 * 24, -3600 * 24])

    options = PipelineOptions(seconds=SECONDS, retry=RetryPolicy(first=0.05, longest=1.0))
    sink = MatroskaSink(tmp_path / "storm-%H%M%S.mkv", segment=7)
    pipeline = Pipeline(*sources, slow, sink, on_frame=check, options=options)
    viewers = Viewers(view.server.address, over)
    pipeline.start()
    view.start(pipeline)
    for thread in (viewers, threading.Thread(target=set_clock, daemon=True)):
        thread.start()
    levels = []
    while not pipeline.wait(1.0):
        levels.append(resident_mib())
    over.set()
    viewers.join(10)
    view.stop()
    assert pipeline.error is None
    summary = pipeline.summary()
    files = {path.name: pictures_in(path) for path in sink.outputs}
    settled = levels[len(levels) // 4]
    figures = {key: summary[key] for key in ("frames_in", "fused", "written", "dropped", "unmatched", "broken", "reconnects")}
    LOG.info(
        "%s; %d files; health %s; MiB %s, %s, %s", figures, len(files), len(viewers.health), levels[0], settled, max(levels)
    )
    for side in (NEAR, FAR):
        accounted = summary["fused"] + summary["dropped"] + summary["unmatched_by_side"][side]
        assert summary["frames_in"][side] == accounted
        # Each frame that a camera gave came in or was refused for its time; the last one may have come too late.
        refused = summary["broken"][side] - sources[side].damaged
        assert sources[side].given - summary["frames_in"][side] - refused in (0, 1)
    assert not mixed
    assert sum(files.values()) == summary["written"] == summary["fused"]
    assert min(files.values()) > 0
    assert min(summary["reconnects"]) > 0
    assert summary["fused"] > 5 * SECONDS
    assert all(status in (200, 503) for status in viewers.health), viewers.health
    assert len(viewers.health) > SECONDS / 4
    # Queues and buffers fill for the first time at any moment: as many frames as may be under way.
    buffers = 30 * np.prod(SIZE) * 3 / 2**20
    assert max(levels) < settled * 1.05 + buffers


def test_a_disk_that_fills_in_a_storm_costs_what_is_said(fuse_marks, tmp_path):
    """The kernel stops the file at a limit; everything until then plays, and the counts say how much that is."""
    import resource
    import signal

    clock = Clock()
    sources = [Stormy(side, clock) for side in (NEAR, FAR)]
    sink = MatroskaSink(tmp_path / "full.mkv")
    pipeline = Pipeline(
        *sources, fuse_marks, sink, options=PipelineOptions(seconds=60, retry=RetryPolicy(first=0.05, longest=0.2))
    )
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, hard))
    try:
        pipeline.start()
        assert pipeline.wait(60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot be written (File too large)" in str(pipeline.error)
    summary = pipeline.summary()
    assert pictures_in(tmp_path / "full.mkv") == summary["written"] > 10
    for side in (NEAR, FAR):
        assert summary["frames_in"][side] == summary["fused"] + summary["dropped"] + summary["unmatched_by_side"][side]
