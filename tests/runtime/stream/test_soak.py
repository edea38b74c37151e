"""Long runs and rates: ``pytest -m slow -o log_cli=true -o log_cli_level=INFO`` shows the figures.

UFAFUSE_SOAK_SECONDS sets the length of the long runs, 60 by default; UFAFUSE_SOAK_MODEL what the command fuses with, a copy by
default (a network's name, or none for the default network, also has the numbers read back from the videos).
"""

import itertools
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ufafuse.runtime.errors import UfaError
from ufafuse.runtime.memory.malloc import keep_heap
from ufafuse.runtime.stream.messages import FAR, NEAR
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.reader import RetryPolicy
from ufafuse.runtime.stream.sinks import MatroskaSink
from ufafuse.runtime.stream.sources import IterableSource, SimSettings, SimSource
from ufafuse.runtime.stream.stats import resident_mib

pytestmark = pytest.mark.slow
LOG = logging.getLogger(__name__)

SECONDS = float(os.environ.get("UFAFUSE_SOAK_SECONDS", "60"))
MODEL = os.environ.get("UFAFUSE_SOAK_MODEL", "copy")
UFA = [sys.executable, "-c", "from ufafuse.commands.cli import main; main()", "stream"]


def resident_by_second(process):
    """(seconds before the end, MiB) of another process, about each second until it ends."""
    levels = []
    while process.poll() is None:
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1] or 0)
        levels.append((time.monotonic(), pages * os.sysconf("SC_PAGE_SIZE") / 2**20))
        time.sleep(1)
    end = time.monotonic()
    return [(end - when, level) for when, level in levels[:-1]]


def mixed_pairs(videos, pictures_of, numbers_in):
    """Fused pictures that show two numbers which are not one, and how many show both."""
    shown = [numbers_in(picture) for video in videos for picture in pictures_of(video)]
    read = [numbers for numbers in shown if None not in numbers]
    return [numbers for numbers in read if numbers[0] != numbers[1]], len(read)


def test_the_commands_memory_stands_still_from_the_first_seconds_on(pictures_of, numbers_in, tmp_path):
    """`ufa stream` at 640 x 480 above what the machine can do, with drop-outs, a stall and a loss."""
    copy = MODEL == "copy"
    line = f"sim:?rate={200 if copy else 60}&drop=0.02&broken=0.01&jitter=1"
    near, far = f"{line}&stall={SECONDS / 3:.0f}:4", f"{line}&seed=1&lost={SECONDS / 2:.0f}:5"
    sources = ["--near", near, "--far", far, "--max-skew", "3", "--seconds", str(SECONDS)]
    model = [] if MODEL == "none" else ["--model", MODEL]
    sink = ["--out", str(tmp_path / "x.mkv"), "--segment", "20", "--quality", "90", "--json", "-q"]
    sink += ["--log", str(tmp_path / "frames.jsonl"), "--alarm", "usual"]
    process = subprocess.Popen([*UFA, *sources, *model, *sink], stdout=subprocess.PIPE, text=True)
    levels = resident_by_second(process)
    summary = json.loads(process.stdout.read())
    assert process.returncode == 0, summary  # no alarm among other things: nothing is wrong with what the frames show
    assert len((tmp_path / "frames.jsonl").read_text().splitlines()) == summary["written"]
    # By the clock: on a busy machine a second's sleep takes longer, and the start would be counted in.
    during = [level for before, level in levels if before < summary["seconds"] - 10]
    growth = max(during) / during[0] - 1
    LOG.info("%s; MiB after 10 s and about each 30 s: %s, growth %.2f %%", summary, during[::30], growth * 100)
    assert growth < 0.05
    for side in (NEAR, FAR):
        accounted = summary["fused"] + summary["dropped"] + summary["unmatched_by_side"][side]
        assert summary["frames_in"][side] == accounted
    assert summary["reconnects"] == [0, 1]
    if not copy:
        mixed, read = mixed_pairs(map(Path, summary["outputs"]), pictures_of, numbers_in)
        LOG.info("%d of %d pictures show both numbers", read, summary["written"])
        assert not mixed
        assert read > summary["written"] / 2


def test_memory_stays_flat_and_nothing_is_mixed_above_capacity(fuse_marks, numbers_in, tmp_path):
    """Frames come faster than they can be fused, some are lost or broken, one side stalls, one goes away and comes back."""
    mixed = []

    def slow(near, far):
        time.sleep(0.03)
        return fuse_marks(near, far)

    def check(item):
        indices = item.pair.near.index, item.pair.far.index
        if numbers_in(item.fused) != indices or indices[0] != indices[1]:
            mixed.append(indices)

    settings = {"size": (240, 320), "rate": 60, "drop": 0.02, "broken": 0.01, "jitter": 2}
    near = SimSource(None, NEAR, SimSettings(**settings, stall=[(SECONDS / 3, 4.0)]))
    far = SimSource(None, FAR, SimSettings(**settings, seed=1, lost=[(SECONDS / 2, 5.0)]))
    options = PipelineOptions(seconds=SECONDS, max_skew=0.006, retry=RetryPolicy(longest=1.0))
    pipeline = Pipeline(near, far, slow, MatroskaSink(tmp_path / "x.mkv", segment=20), on_frame=check, options=options)
    pipeline.start()
    pipeline.wait(SECONDS / 6)
    settled = resident_mib()
    pipeline.wait()
    assert pipeline.error is None
    summary = pipeline.summary()
    for side in (NEAR, FAR):
        accounted = summary["fused"] + summary["dropped"] + summary["unmatched_by_side"][side]
        assert summary["frames_in"][side] == accounted
    assert not mixed
    assert summary["dropped"] > summary["fused"] / 10
    assert summary["reconnects"] == [0, 1]
    # The bounded buffers may hold this many frames at worst, and fill for the first time at any moment of the run.
    buffers = 20 * 240 * 320 * 3 / 2**20
    assert resident_mib() < settled * 1.05 + buffers, f"{settled} MiB grew to {resident_mib()} MiB"
    figures = {key: summary[key] for key in ("frames_in", "fused", "dropped", "unmatched", "broken", "latency_ms")}
    LOG.info("%s, memory %s MiB, then %s MiB", figures, settled, resident_mib())


def test_a_copy_passes_at_least_300_pairs_a_second():
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    near, far = (IterableSource(itertools.repeat(picture, 3000)) for _ in range(2))
    summary = Pipeline(near, far, lambda near, far: near.copy()).run()
    LOG.info("%s pairs a second", summary["fps"])
    assert summary["fused"] == 3000
    assert summary["fps"] >= 300


def test_a_real_run_spends_its_time_in_the_session():
    from ufafuse.runtime.fuser import Fuser

    try:
        fuser = Fuser()
    except UfaError as error:
        pytest.skip(f"the bundled network does not run here: {error}")
    inside = []
    session_run = fuser.session.run

    def timed(near, far):
        begun = time.perf_counter()
        try:
            return session_run(near, far)
        finally:
            inside.append((begun, time.perf_counter()))

    fuser.session.run = timed
    keep_heap()  # as the command does: page faults would be half of what is outside
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    for _ in range(12):
        fuser.fuse(picture, picture)
    possible = 1 / np.median([end - begun for begun, end in inside[2:]])
    inside.clear()
    settings = SimSettings(size=(480, 640), rate=1.3 * possible)  # more than can be fused
    sources = [SimSource(None, side, settings) for side in (NEAR, FAR)]
    with fuser:
        summary = Pipeline(*sources, fuser.fuse, options=PipelineOptions(frames=100)).run()
    # Pair by pair, for where a camera was late the pipeline waited: the middle pair waited for nothing.
    outside = np.median([after[0] - before[1] for before, after in itertools.pairwise(inside)])
    share = outside / (outside + np.median([end - begun for begun, end in inside]))
    LOG.info("%.2f ms a pair outside of the session, %.2f %%; %d dropped", outside * 1e3, share * 100, summary["dropped"])
    if summary["dropped"] < 10:
        pytest.skip("the network kept up with the camera, so the rest of the time was waiting")
    assert share < 0.05
