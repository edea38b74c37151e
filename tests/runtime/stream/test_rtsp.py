"""RTSP cameras through a real server, GStreamer's, on loopback: good, stalled, killed, restarted, with a wrong password."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ufafuse.runtime.stream.messages import FAR, NEAR
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.reader import RetryPolicy
from ufafuse.runtime.stream.sources import SourceLost, UrlSource, gst, opencv, source_from_text

SERVER = Path(__file__).with_name("rtsp_server.py")
PYTHON = "/usr/bin/python3"  # Debian's, which has gir1.2-gst-rtsp-server-1.0
UFA = [sys.executable, "-c", "from ufafuse.commands.cli import main; main()", "stream"]
SECRET = "hidden-7"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture(name="serve")
def _serve():
    """``serve(port, *credentials)``: a server's process, once it listens."""
    running = []

    def start(port, *credentials):
        if not Path(PYTHON).exists():
            pytest.skip(f"no {PYTHON} here")
        process = subprocess.Popen(
            [PYTHON, str(SERVER), str(port), *credentials], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        if process.stdout.readline() != "ready\n":
            pytest.skip(f"needs GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0): {process.communicate()[1][-200:]}")
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def frames_of(source, count, seconds=20):
    found, until = [], time.monotonic() + seconds
    while len(found) < count and time.monotonic() < until:
        frame = source.read(0.2)
        if frame is not None:
            found.append(frame)
    return found


def test_a_good_stream_gives_each_picture_at_its_time(serve):
    port = free_port()
    serve(port)
    source = UrlSource(f"rtsp://127.0.0.1:{port}/h264")
    source.open()
    frames = frames_of(source, 15)
    source.close()
    assert [frame.index for frame in frames] == list(range(15))
    assert all(frame.array.shape == (96, 192, 3) and frame.array.max() > 200 for frame in frames)
    assert np.median(np.diff([frame.timestamp for frame in frames])) == pytest.approx(0.04, abs=0.01)


def test_a_wrong_password_is_a_lost_source_and_no_password_is_told(serve, capfd):
    port = free_port()
    serve(port, "user", SECRET)
    source = UrlSource(f"rtsp://user:{SECRET}@127.0.0.1:{port}/h264")
    source.open()
    assert frames_of(source, 1)
    source.close()
    for wrong in (f"user:{SECRET}-not", f"other:{SECRET}"):
        with pytest.raises(SourceLost) as lost:
            UrlSource(f"rtsp://{wrong}@127.0.0.1:{port}/h264").open()
        assert wrong.partition(":")[2] not in str(lost.value)
    assert f":{SECRET}" not in "".join(capfd.readouterr())


@pytest.mark.slow
@pytest.mark.parametrize("right", [True, False])
def test_the_command_tells_no_password(serve, right):
    port = free_port()
    serve(port, "user", SECRET)
    url = f"rtsp://user:{SECRET}{'' if right else '-not'}@127.0.0.1:{port}/h264"
    command = [*UFA, "--near", url, "--far", url, "--model", "copy", "--frames", "10", "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "OPENCV_FFMPEG_LOGLEVEL"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert SECRET not in done.stdout + done.stderr
    assert (done.returncode == 0) == right, done.stderr
    assert (json.loads(done.stdout).get("fused") == 10) == right


@pytest.mark.parametrize("through", ["ffmpeg", "gst"])
def test_a_server_that_stands_still_is_a_lost_source(serve, monkeypatch, through, gst_library):
    monkeypatch.setattr(opencv, "NETWORK_TIMEOUT_MS", 2500)
    monkeypatch.setattr(gst, "_SILENT_SECONDS", 1.0)
    port = free_port()
    process = serve(port)
    source = address(through, port)
    source.open()
    assert frames_of(source, 3)
    process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    with pytest.raises(SourceLost):
        while time.monotonic() - begun < 10:
            source.read(0.2)
    assert time.monotonic() - begun < 4  # one silence, and not one for each picture that the decoder held
    if through == "gst":
        threading.Timer(0.5, process.send_signal, [signal.SIGCONT]).start()  # whom it tells that it goes
    source.close()


def address(through, port):
    url = f"rtsp://127.0.0.1:{port}/h264"
    if through == "ffmpeg":
        return source_from_text(url, NEAR)
    return source_from_text(f"gst:rtspsrc location={url} protocols=tcp latency=0 ! decodebin", NEAR)


@pytest.mark.slow
@pytest.mark.parametrize("through", ["ffmpeg", "gst"])
def test_a_camera_that_is_killed_and_comes_back_is_taken_up_again(
    serve, fuse_marks, sim, kinds, assert_adds_up, through, gst_library
):
    port = free_port()
    process = serve(port)
    options = PipelineOptions(seconds=60, max_skew=0.1, retry=RetryPolicy(first=0.1, longest=0.5))
    pipeline = Pipeline(address(through, port), sim(FAR, rate=25), fuse_marks, options=options)
    pipeline.start()
    counts = []
    for again in range(3):
        before = pipeline.summary()["fused"]
        until = time.monotonic() + 20
        while pipeline.summary()["fused"] < before + 20 and time.monotonic() < until:
            time.sleep(0.05)
        counts.append(pipeline.summary()["fused"] - before)
        if again < 2:
            process.kill()
            process.wait()
            time.sleep(1)
            process = serve(port)
    pipeline.stop()
    assert pipeline.wait(20)
    assert min(counts) >= 20, counts
    assert pipeline.error is None
    summary = pipeline.summary()
    assert_adds_up(summary)
    assert summary["reconnects"] == [2, 0]
    assert kinds(pipeline, "near").count("lost") == 2


@pytest.fixture(name="gst_library")
def _gst_library(request, tmp_path, monkeypatch):
    """Debian's PyGObject, also from an environment that does not see the system's packages."""
    if "gst" not in request.node.callspec.params.values():
        return
    system = Path("/usr/lib/python3/dist-packages/gi")
    if system.is_dir():
        (tmp_path / "system").mkdir()
        (tmp_path / "system" / "gi").symlink_to(system)
        monkeypatch.syspath_prepend(str(tmp_path / "system"))
    pytest.importorskip("gi", exc_type=ImportError)


OK = b"RTSP/1.0 200 OK\r\nCSeq: %d\r\n"
SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:1\r\n"


def described(sdp):
    return OK + b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(sdp) + sdp


HOSTILE = {  # what is answered to DESCRIBE, to SETUP, and sent after PLAY
    "no description": (described(b""), b"", b""),
    "a length without end": (OK + b"Content-Type: application/sdp\r\nContent-Length: 999999999999\r\n\r\n" + SDP, b"", b""),
    "a negative length": (OK + b"Content-Type: application/sdp\r\nContent-Length: -5\r\n\r\n" + SDP, b"", b""),
    "ten thousand tracks": (described(SDP * 10_000), OK + b"Transport: x\r\n\r\n", b""),
    "bytes": (described(bytes(range(256)) * 40), b"", b""),
    "parameters that are none": (
        described(SDP + b"a=fmtp:96 sprop-parameter-sets=" + b"A" * 20_000 + b";packetization-mode=99999999999\r\n"),
        OK + b"Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
        b"$\x00\xff\xff" + b"\x80\x60" + bytes(4000),
    ),
    "packets that are none": (
        described(SDP),
        OK + b"Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
        b"".join(b"$\x00\x00\x0f\x80\x60\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x7c\xc5\xff" for _ in range(2000)),
    ),
    "a redirection to a file": (b"RTSP/1.0 302 Moved\r\nCSeq: %d\r\nLocation: file:///etc/passwd\r\n\r\n", b"", b""),
    "a session with line ends": (described(SDP), OK + b"Session: " + b"\x1b[2J" * 500 + b"\r\nTransport: y\r\n\r\n", b""),
}


def hostile_talk(answers):
    def talk(client):
        with client, contextlib.suppress(OSError):
            count = 0
            while data := client.recv(65536):
                count += data.count(b"\r\n\r\n")
                verb = data.split(b" ")[0]
                reply = {b"DESCRIBE": answers[0], b"SETUP": answers[1]}.get(verb, OK + b"Session: 1\r\n\r\n")
                client.sendall(reply.replace(b"%d", str(count).encode(), 1))
                if verb == b"PLAY":
                    client.sendall(answers[2])

    return talk


def test_hostile_answers_are_a_lost_source_each(answering):
    """In a process of its own, which FFmpeg could take with it."""
    listeners = [answering(hostile_talk(answers)) for answers in HOSTILE.values()]
    urls = [f"rtsp://127.0.0.1:{listener.getsockname()[1]}/x" for listener in listeners]
    program = f"""
import threading
from ufafuse.runtime.stream.sources import SourceLost, UrlSource, opencv
opencv.NETWORK_TIMEOUT_MS = 700
def look(url):
    source = UrlSource(url)
    try:
        source.open()
        for _ in range(3):
            source.read(0.2)
    except SourceLost as error:
        print("lost\\n", end="", flush=True)  # in one piece: another thread prints too
    source.close()
threads = [threading.Thread(target=look, args=(url,)) for url in {urls!r}]
for thread in threads: thread.start()
for thread in threads: thread.join(20)
"""
    quiet = os.environ | {"OPENCV_FFMPEG_LOGLEVEL": "-8", "OPENCV_LOG_LEVEL": "SILENT"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=90, check=False, env=quiet)
    for listener in listeners:
        listener.close()
    assert done.returncode == 0, done.stderr
    assert done.stdout == "lost\n" * len(HOSTILE), done.stderr
