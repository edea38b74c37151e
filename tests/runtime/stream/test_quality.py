"""The figures of each result: what they say of frames that are good, and of those that are not."""

import json
import os
import resource
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.stream.judge import CURVES, Judge
from ufafuse.runtime.stream.messages import Frame, FusedPair, Pair
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.quality import FIGURES, QualityMeter
from ufafuse.runtime.stream.sources import IterableSource


@pytest.fixture(name="pair")
def _pair():
    """A scene with detail of every size, its left half sharp in one frame, its right half in the other."""
    rng = np.random.default_rng(5)
    scene = np.zeros((480, 640, 3), np.float32)
    for cell in (2, 4, 8, 16, 32):
        noise = rng.random((480 // cell + 2, 640 // cell + 2, 3), np.float32)
        scene += cv2.resize(noise, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)[:480, :640]
    scene = (scene * 40).clip(0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(scene, (0, 0), 3)
    left = (np.arange(640) < 320)[np.newaxis, :, np.newaxis]
    return np.where(left, scene, blurred), np.where(left, blurred, scene)


def blurred(frame, sigma):
    return cv2.GaussianBlur(frame, (0, 0), sigma)


def judge(*frames):
    return QualityMeter().judge(frames)


def test_good_frames(pair):
    quality = judge(*pair)
    assert quality.sharp > 0.9
    assert quality.wins == pytest.approx((0.5, 0.5), abs=0.1)
    assert sum(quality.wins) == pytest.approx(1)
    assert quality.exposure < 0.02
    assert quality.shift < 0.5
    assert quality.disagreement < 0.1
    assert quality.frozen == 0
    assert quality.brightness == pytest.approx([frame.mean() / 255 for frame in pair], abs=0.05)


def test_a_lens_out_of_focus(pair):
    near, far = pair
    good, one, both = judge(near, far), judge(blurred(near, 2), far), judge(blurred(near, 1.5), blurred(far, 1.5))
    assert one.sharp < 0.65 * good.sharp
    assert one.sharpness[0] < 0.65 * good.sharpness[0]
    assert one.sharpness[1] == good.sharpness[1]
    assert both.sharp < 0.4


def test_exposure_shift_and_something_that_moved(pair):
    near, far = pair
    assert judge(near, cv2.convertScaleAbs(far, alpha=0.7)).exposure == pytest.approx(1 / 0.7 - 1, rel=0.05)
    shifts = [judge(near, np.roll(far, pixels, axis=1)).shift for pixels in (0, 1, 2, 4)]
    assert shifts == sorted(shifts)
    assert shifts[2] > shifts[0] + 0.8
    moved = far.copy()
    moved[:, :400] = 255 - moved[:, :400]
    assert judge(near, moved).disagreement > 0.4


def test_a_hand_before_one_lens(pair):
    near, far = pair
    quality = judge(np.full_like(near, 12), far)
    assert quality.wins == (0.0, 1.0)
    assert quality.figure("sharpness") == 0
    assert quality.figure("brightness") < 0.06
    assert quality.exposure > 1


def test_one_camera_that_stands_still(pair):
    near, far = pair
    meter = QualityMeter()
    found = [meter.judge((near, np.roll(far, step, axis=1))).frozen for step in range(5)]
    assert found == [0, 1, 2, 3, 4]
    assert meter.judge((np.roll(near, 1, axis=1), far)).frozen == 0
    still = QualityMeter()
    assert [still.judge((near, far)).frozen for _ in range(3)] == [0, 0, 0], "where nothing moves, none stands still"


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("kind", ["grey", "colour", "grey 12 bits", "colour 16 bits"])
def test_any_kind_and_number_of_frames(pair, kind, count):
    frames = [pair[place % 2] for place in range(count)]
    if "grey" in kind:
        frames = [frame[..., 1] for frame in frames]
    if "bits" in kind:
        frames = [frame.astype(np.uint16) * (16 if "12" in kind else 257) for frame in frames]
    quality = judge(*frames)
    assert quality.sharp > 0.85
    assert [len(values) for values in (quality.wins, quality.sharpness, quality.brightness)] == [count] * 3
    assert quality.figure("brightness") == pytest.approx(pair[0].mean() / 255, abs=0.06)
    assert set(quality.to_json()) == set(FIGURES)
    json.dumps(quality.to_json())


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (16, 200), (24, 24), (70, 90), (97, 131)])
def test_pictures_of_any_size_and_without_detail(size):
    flat = np.full((*size, 3), 90, np.uint8)
    quality = judge(flat, flat)
    assert (quality.sharp, quality.exposure, quality.shift, quality.disagreement) == (1.0, 0.0, 0.0, 0.0)
    judge(np.zeros_like(flat), np.full_like(flat, 255))


def items(pair, count):
    for number in range(count):
        near, far = (Frame(frame, number, number / 30, time.monotonic()) for frame in pair)
        yield FusedPair(Pair(near, far), near.array, None, number, time.monotonic(), fuse_ms=1000.0)


def test_the_log_has_a_line_for_each_result(pair, tmp_path):
    log = tmp_path / "frames.jsonl"
    pipeline = Pipeline(
        IterableSource([pair[0]] * 12), IterableSource([pair[1]] * 12), lambda near, far: near.copy(), judge=Judge(log=log)
    )
    summary = pipeline.run()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["number"] for line in lines] == list(range(12))
    assert [line["frames"] for line in lines] == [[number, number] for number in range(12)]
    assert lines[0].items() >= {"skew_ms": 0.0, "seconds": 0.0, "exposure": lines[0]["exposure"]}.items()
    assert all(line["latency_ms"] > 0 and line["time"] > 1e9 for line in lines)
    assert summary["quality"]["sharp"] > 0.9
    with pytest.raises(OutputError, match=r"frames\.jsonl exists"):
        Judge(log=log).open()
    Judge(log=log, force=True).open()


def test_a_log_on_a_full_disk_ends_the_run_with_one_sentence(pair):
    from pathlib import Path

    pipeline = Pipeline(
        IterableSource([pair[0]] * 3),
        IterableSource([pair[1]] * 3),
        lambda near, far: near.copy(),
        judge=Judge(log=Path("/dev/full"), force=True),
        options=PipelineOptions(seconds=10),
    )
    with pytest.raises(OutputError, match="/dev/full cannot be written: No space left"):
        pipeline.run()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a file's size stands for a disk that gets full")
def test_where_a_log_ends_in_between_each_line_before_is_whole(tmp_path):
    frames = "sim:?size=96x192"
    command = [sys.executable, "-m", "ufafuse", "stream", "--near", frames, "--far", frames, "--model", "copy"]
    done = subprocess.run(
        [*command, "--seconds", "30", "--log", "frames.jsonl"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},  # Python's own files would be cut short too, and stay so
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000)),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in (1, 2)
    assert done.stderr.strip().splitlines()[-1].endswith("error: frames.jsonl cannot be written: File too large.")
    lines = (tmp_path / "frames.jsonl").read_text().splitlines()[:-1]
    assert [json.loads(line)["number"] for line in lines] == list(range(len(lines)))
    assert len(lines) > 3


def test_judging_takes_its_share_and_no_more(pair):
    """Every result where the fusion takes as long as one does; of faster ones, ten a second at least."""
    slow, fast = Judge(), Judge()
    judged = [slow.judged(item).quality for item in items(pair, 20)]
    assert all(quality is not None for quality in judged)
    for item in items(pair, 200):
        fast.judged(FusedPair(item.pair, item.fused, None, item.number, item.started, fuse_ms=0.001))
    assert fast.figures()["judging_share"] > 0.02
    quick = [FusedPair(it.pair, it.fused, None, it.number, it.started, fuse_ms=0.001) for it in items(pair, 50)]
    count = sum(fast.judged(item).quality is not None for item in quick)
    assert count <= 3
    assert slow.figures()["judging_share"] < 0.1


def test_the_curves_keep_ten_minutes_and_the_worst_of_each_second(pair, monkeypatch):
    from ufafuse.runtime.stream import judge as judging

    now = [1000.0]
    monkeypatch.setattr(judging.time, "monotonic", lambda: now[0])
    history = judging.History()
    for second in range(700):
        now[0] = 1000.0 + second
        for sharp in (0.9, 0.4, 0.8):
            history.add(dict.fromkeys(CURVES, 1.0) | {"sharp": sharp})
    curves = history.to_json()
    assert set(curves) == {"ago", *CURVES}
    assert len(curves["ago"]) == 600
    assert (curves["ago"][0], curves["ago"][-1]) == (599.0, 0.0)
    assert set(curves["sharp"]) == {0.4}
