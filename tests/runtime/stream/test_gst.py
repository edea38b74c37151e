"""GStreamer pipelines as sources, through the real library where the system has it."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream.drawn_numbers import read_number
from ufafuse.runtime.stream.messages import FAR, NEAR
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.sources import EndOfSource, SourceLost, source_from_text

DEBIAN = Path("/usr/lib/python3/dist-packages/gi")
INSTALLED = importlib.util.find_spec("gi") is not None


@pytest.fixture(name="gst")
def _gst(tmp_path, monkeypatch):
    """Makes a source; Debian's PyGObject is found from an environment that does not see the system's packages."""
    if not INSTALLED and DEBIAN.is_dir():
        (tmp_path / "system").mkdir()
        (tmp_path / "system" / "gi").symlink_to(DEBIAN)
        monkeypatch.syspath_prepend(str(tmp_path / "system"))
    pytest.importorskip("gi", exc_type=ImportError)
    made = []

    def make(pipeline, side=NEAR):
        try:
            source = source_from_text(f"gst:{pipeline}", side)
        except InputError as error:
            pytest.skip(str(error))
        made.append(source)
        return source

    yield make
    for source in made:
        source.close()


def frames_of(source, count):
    found, until = [], time.monotonic() + 20
    while len(found) < count and time.monotonic() < until:
        frame = source.read(0.2)
        if frame is not None:
            found.append(frame)
    return found


@pytest.mark.parametrize("width", [64, 101])
def test_pictures_come_as_they_are_lines_padded_or_not(gst, width):
    caps = f"video/x-raw,width={width},height=48,framerate=30/1"
    colour = gst(f"videotestsrc pattern=solid-color foreground-color=0xff204060 ! {caps},format=BGR")
    colour.open()
    assert colour.size == (48, width)
    [frame] = frames_of(colour, 1)
    assert (frame.array.shape, frame.array.dtype) == ((48, width, 3), np.uint8)
    assert np.unique(frame.array.reshape(-1, 3), axis=0).tolist() == [[0x60, 0x40, 0x20]]
    for kind, dtype in (("GRAY8", np.uint8), ("GRAY16_LE", np.uint16)):
        grey = gst(f"videotestsrc pattern=gradient ! {caps},format={kind}")
        grey.open()
        [frame] = frames_of(grey, 1)
        assert (frame.array.shape, frame.array.dtype) == ((48, width), dtype)
        assert (frame.array == frame.array[:, :1]).all(), "each line has one level, whatever is behind it"
        assert len(np.unique(frame.array)) > 40


def test_raw_mosaics_come_in_colour_through_an_appsink_of_ones_own(gst):
    source = gst("videotestsrc pattern=red ! video/x-bayer,format=grbg,width=64,height=48,framerate=30/1 ! appsink")
    source.open()
    [frame] = frames_of(source, 1)
    assert frame.array.shape == (48, 64, 3)
    blue, green, red = frame.array[8:-8, 8:-8].reshape(-1, 3).mean(axis=0)
    assert red > 200
    assert max(blue, green) < 60


def test_a_live_pipelines_stamps_are_moments_of_the_machines_clock(gst):
    source = gst("videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=30/1")
    source.open()
    source.begin(time.monotonic())
    frames = frames_of(source, 20)
    assert [frame.index for frame in frames] == list(range(20))
    assert all(-0.05 <= frame.arrived - frame.timestamp < 0.5 for frame in frames)
    assert np.diff([frame.timestamp for frame in frames]) == pytest.approx(1 / 30, abs=1e-3)


def test_two_live_pipelines_make_pairs_and_none_is_dropped(gst):
    caps = "video/x-raw,width=160,height=120,framerate=30/1"
    sources = [
        gst(f"videotestsrc is-live=true pattern={pattern} ! {caps}", side) for side, pattern in enumerate(("ball", "smpte"))
    ]
    summary = Pipeline(*sources, lambda near, far: near.copy(), options=PipelineOptions(seconds=3)).run()
    assert summary["dropped"] == 0
    assert summary["fused"] >= 80
    assert summary["latency_ms"]["p50"] is not None


def test_a_file_plays_at_its_own_speed_and_ends(gst, tmp_path, numbered_picture):
    path = tmp_path / "near.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 20, (192, 96))
    for number in range(20):
        writer.write(numbered_picture(number, NEAR))
    writer.release()
    source = gst(f"filesrc location={path} ! decodebin")
    source.open()
    began, numbers = time.monotonic(), []
    with pytest.raises(EndOfSource):
        while True:
            frame = source.read(0.5)
            if frame is not None:
                numbers.append(read_number(frame.array, NEAR))
    assert time.monotonic() - began == pytest.approx(1.0, abs=0.5)
    assert numbers == list(range(20))


def test_a_pipeline_that_fails_is_lost_with_its_own_words(gst):
    source = gst("videotestsrc ! video/x-raw,width=64,height=48 ! identity error-after=5")
    with pytest.raises(SourceLost, match="stopped: Failed after iterations as requested"):
        source.open()
        while True:
            source.read(0.2)
    source.open()
    assert frames_of(source, 1), "and it can be opened again"


def test_what_is_no_pipeline_is_one_sentence(gst):
    with pytest.raises(InputError, match=r"gst:nosuchelement is no pipeline: no element .nosuchelement"):
        gst("nosuchelement").open()
    with pytest.raises(SourceLost, match=r"stopped: (Resource not found|.*No such file)"):
        gst("filesrc location=/nowhere.avi ! decodebin").open()


def test_passwords_are_not_told(gst):
    source = gst("rtspsrc location=rtsp://user:secret@camera/1 user-pw=secret ! decodebin")
    assert "secret" not in source.name
    assert "rtsp://user:***@camera/1" in source.name


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(InputError, match=r"`gst:` needs PyGObject and GStreamer .*apt install python3-gi"):
        source_from_text("gst:videotestsrc", FAR)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_an_engine_that_comes_after_it_works(gst, backend):
    """In a process of its own: what GStreamer brings along let OpenVINO die, and the process with it."""
    pytest.importorskip(backend)
    gst("videotestsrc")
    script = f"""
from ufafuse.runtime.stream.sources import source_from_text
source = source_from_text("gst:videotestsrc num-buffers=5 ! video/x-raw,width=64,height=48", 0)
source.open()
frame = source.read(5.0)
from ufafuse.runtime import Fuser
with Fuser("ufa-nano", backend={backend!r}) as fuser:
    print(fuser.fuse(frame.array, frame.array).shape)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.stdout.strip() == "(48, 64, 3)", (done.returncode, done.stderr)
