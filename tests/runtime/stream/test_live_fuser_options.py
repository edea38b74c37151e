"""`ufa stream` knows what `ufa fuse` knows: raw frames, matched exposure, maps and heights."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from ufafuse.commands.schema import schema_of
from ufafuse.runtime.bayer import demosaiced
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.registration.live_gain import LiveGain
from ufafuse.runtime.stream.judge import Judge
from ufafuse.runtime.stream.live_fuser import LiveFuser, LiveFuserOptions
from ufafuse.runtime.stream.messages import Frame, FusedPair, Pair
from ufafuse.runtime.stream.sinks import FolderSink
from ufafuse.runtime.stream.sinks.beside import BesideSink

BYTES = FrameKind(np.dtype(np.uint8), 3, 255.0, "bgr")


def scene(seed=0, size=(120, 160)):
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.integers(20, 236, (*size, 3), np.uint8), (0, 0), 2)


def fuser(**options):
    return LiveFuser(LiveFuserOptions(model="copy", **options), wants_map=lambda: False, report=print)


class TestGain:
    def test_it_is_held_steady_though_single_estimates_are_not(self):
        rng, near, gain = np.random.default_rng(1), scene(), LiveGain()
        applied = []
        for _ in range(120):
            noise = rng.normal(0, 6, near.shape)
            other = np.clip(near * 0.8 * (1 + rng.normal(0, 0.008)) + noise, 0, 255).astype(np.uint8)
            gain.matched(near, other, BYTES)
            applied.append(gain.gains.copy())
        assert np.stack(applied).mean(axis=0) == pytest.approx([1.25] * 3, rel=0.02)
        assert np.abs(np.diff(np.stack(applied[30:]), axis=0)).max() < 0.003, "no flicker"

    def test_a_change_of_the_light_is_followed_within_three_pairs(self):
        near, gain = scene(), LiveGain()
        for _ in range(40):
            gain.matched(near, cv2.convertScaleAbs(near, alpha=0.8), BYTES)
        darker = cv2.convertScaleAbs(near, alpha=0.6)
        results = [gain.matched(near, darker, BYTES) for _ in range(3)]
        assert np.abs(results[-1].astype(int) - near).mean() < 1.5

    def test_one_frame_that_is_odd_changes_nothing(self):
        near, gain = scene(), LiveGain()
        for _ in range(30):
            gain.matched(near, near, BYTES)
        before = gain.gains.copy()
        gain.matched(near, cv2.convertScaleAbs(near, alpha=0.5), BYTES)
        np.testing.assert_array_equal(gain.gains, before)

    @pytest.mark.parametrize("kind", ["grey", "sixteen bits", "alpha"])
    def test_any_kind(self, kind):
        near, gain = scene(), LiveGain()
        if kind == "grey":
            near, what = near[..., 1], FrameKind(np.dtype(np.uint8), 0, 255.0, "bgr")
        elif kind == "alpha":
            near, what = np.dstack([near, near[..., :1]]), FrameKind(np.dtype(np.uint8), 4, 255.0, "bgr")
        else:
            near, what = near.astype(np.uint16) * 16, FrameKind(np.dtype(np.uint16), 3, 4095.0, "bgr")
        other = np.rint(near * 0.8).astype(near.dtype)
        if kind == "alpha":
            other[..., 3] = near[..., 3]
        matched = gain.matched(near, other, what)
        assert matched.dtype == near.dtype
        assert np.abs(matched.astype(int) - near).max() <= (2 if near.dtype == np.uint8 else 8)


def test_raw_frames_become_colour_before_anything_else():
    raw = np.random.default_rng(2).integers(0, 256, (32, 40), np.uint8)
    with fuser(bayer="BayerGB8") as made:
        np.testing.assert_array_equal(made.fuse(raw, raw), demosaiced(raw, "gbrg"))
    twelve = np.random.default_rng(3).integers(0, 4096, (32, 40)).astype(np.uint16)
    with fuser(bayer="rggb", white=4095) as made:
        np.testing.assert_array_equal(made.fuse(twelve, twelve), demosaiced(twelve, "rggb", white=4095))
    with fuser(bayer="rggb") as made:
        assert made.fuse(twelve, twelve).max() <= 4095
    with fuser(bayer="rggb") as made, pytest.raises(InputError, match="no Bayer mosaic"):
        made.fuse(scene(), scene())


def test_matched_frames_reach_the_network_and_the_report(monkeypatch):
    near = scene()
    with fuser(match_gain=True) as made:
        _, other = made._comparable([near, cv2.convertScaleAbs(near, alpha=0.8)])
        assert np.abs(other.astype(int) - near).mean() < 1.5
        assert made.to_json()["gains"] == [pytest.approx([1.25] * 3, rel=0.02)]


def test_heights_need_a_network_that_has_them():
    with pytest.raises(InputError, match="`depth` needs a network that sees all frames at once, and copy does not"):
        fuser(depth=True)


def test_mosaics_are_judged_by_their_green_pixels():
    sharp = scene(5)
    mosaic = np.zeros(sharp.shape[:2], np.uint8)  # grbg
    mosaic[::2, ::2], mosaic[::2, 1::2] = sharp[::2, ::2, 1], 255
    mosaic[1::2, ::2], mosaic[1::2, 1::2] = 0, sharp[1::2, 1::2, 1]
    frames = Frame(mosaic, 0, 0.0, 0.0), Frame(mosaic, 0, 0.0, 0.0)
    item = Judge(bayer="grbg").judged(FusedPair(Pair(*frames), mosaic, None, 0, 0.0, 50.0))
    assert item.quality.brightness[0] == pytest.approx(sharp[::2, ::2, 1].mean() / 255, abs=0.03)


def item(number, *, won=None, depth=None):
    frame = Frame(scene(), number, number / 30, 0.0)
    return FusedPair(Pair(frame, frame), frame.array, won, number, 0.0, depth=depth)


def test_maps_and_heights_go_beside_the_pictures(tmp_path):
    folders = {name: tmp_path / name for name in ("out", "map", "depth")}
    sink = BesideSink(FolderSink(folders["out"]), {name: FolderSink(folders[name]) for name in ("map", "depth")})
    told = []
    sink.tell = told.append
    sink.open()
    ramp = np.linspace(0, 1, 120 * 160, dtype=np.float32).reshape(120, 160)
    sink.write(item(3, won=ramp, depth=ramp))
    sink.write(item(4, depth=ramp))
    sink.write(item(5, depth=ramp))
    sink.close()
    assert [len(list(folder.glob("*.png"))) for folder in folders.values()] == [3, 1, 3]
    assert told == ["the network gives no map: none is written"]
    shown = cv2.imread(str(folders["map"] / "00000003.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(shown, np.rint(ramp * 255).astype(np.uint8))
    heights = cv2.imread(str(folders["depth"] / "00000003.png"), cv2.IMREAD_UNCHANGED)
    assert (heights.dtype, heights.min(), heights.max()) == (np.uint16, 0, 65535)
    assert sink.outputs == list(folders.values())


def test_every_sink_is_finished_though_one_fails():
    class Sinks(FolderSink):
        def close(self):
            closed.append(self)
            raise OutputError("the disk is full.")

    closed = []
    sink = BesideSink(Sinks("a"), {"map": Sinks("b")})
    with pytest.raises(OutputError, match="the disk is full"):
        sink.close()
    assert len(closed) == 2


def ufa(*arguments):
    command = [sys.executable, "-m", "ufafuse", "stream", "-q", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done, json.loads(done.stdout)


def test_three_settings_with_map_and_heights_through_the_command(tmp_path):
    pytest.importorskip("onnxruntime")
    done, summary = ufa(
        "--alternating", "sim:?size=96x192&focus=alternate&planes=3&rate=5&speed=0", "--planes", "3", "--frames", "2",
        "--when-late", "block", "--match-gain", "--map", str(tmp_path / "map"), "--depth", str(tmp_path / "depth/*.png"),
        "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pytest.importorskip("jsonschema").validate(summary, schema_of("stream"))
    assert summary["fused"] == 2
    assert len(summary["gains"]) == 2
    for name in ("map", "depth", "out"):
        assert len(list((tmp_path / name).glob("*.png"))) == 2, name


def test_the_command_refuses_two_results_in_one_place(tmp_path):
    done, summary = ufa("--near", "sim:", "--far", "sim:", "--model", "copy", "--out", str(tmp_path), "--map", str(tmp_path))
    assert done.returncode == 2
    assert "two results would be written to" in summary["error"]
    done, summary = ufa("--near", "sim:", "--far", "sim:", "--model", "copy", "--map", "m.doc")
    assert done.returncode == 2
    assert "--map m.doc has the suffix .doc" in summary["error"]
