"""Long runs and rates: ``pytest -m slow -o log_cli=true -o log_cli_level=INFO`` shows the figures.

UFAFUSE_SOAK_SECONDS sets the length of the long run, 60 by default.
"""

import itertools
import logging
import os
import time

import numpy as np
import pytest

from ufafuse.runtime.errors import UfaError
from ufafuse.runtime.stream.feed import RetryPolicy
from ufafuse.runtime.stream.frames import FAR, NEAR
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.sinks import MatroskaSink
from ufafuse.runtime.stream.sources import IterableSource, SimSettings, SimSource
from ufafuse.runtime.stream.stats import resident_mib

pytestmark = pytest.mark.slow
LOG = logging.getLogger(__name__)

SECONDS = float(os.environ.get("UFAFUSE_SOAK_SECONDS", "60"))


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
    session_run = fuser.session.infer

    def timed(inputs):
        begun = time.perf_counter()
        try:
            return session_run(inputs)
        finally:
            inside.append((begun, time.perf_counter()))

    fuser.session.infer = timed
    settings = SimSettings(size=(240, 320), rate=30)
    sources = [SimSource(None, side, settings) for side in (NEAR, FAR)]
    with fuser:
        summary = Pipeline(*sources, fuser.fuse, options=PipelineOptions(frames=40)).run()
    # From the first inference's end to the last one's, so that loading and warming up do not count.
    total = inside[-1][1] - inside[0][1]
    share = 1 - sum(end - begun for begun, end in inside[1:]) / total
    LOG.info("%.2f %% of %.1f s outside of the session, %d dropped", share * 100, total, summary["dropped"])
    if not summary["dropped"]:
        pytest.skip("the network kept up with the camera, so the rest of the time was waiting")
    assert share < 0.05
