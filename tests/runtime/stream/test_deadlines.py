"""Deadlines belong to operations: a server that drips, and a source that hangs, end in a bounded time; so does a signal."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import cv2
import pytest

from ufafuse.runtime.errors import InputError, UfaError
from ufafuse.runtime.stream import opening
from ufafuse.runtime.stream import pipeline as pipeline_module
from ufafuse.runtime.stream.messages import FAR, NEAR
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.reader import RetryPolicy
from ufafuse.runtime.stream.sinks.base import Sink
from ufafuse.runtime.stream.sinks.matroska import MatroskaWriter
from ufafuse.runtime.stream.sources import BrokenFrame, HttpSource, PushSource, Source, SourceLost, UrlSource, mjpeg, opencv

UFA = [sys.executable, "-c", "from ufafuse.commands.cli import main; main()", "stream"]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


@pytest.fixture
def hostile(answering):
    """``hostile(pieces)`` sends the pieces of an iterator to whoever connects, and returns the address."""
    listeners, asked = [], []

    def start(pieces):
        def answer(client):
            with client:
                try:
                    client.settimeout(1)
                    with contextlib.suppress(TimeoutError):  # who is only listening
                        asked.append(client.recv(10_000))
                    client.settimeout(None)
                    for piece in pieces():
                        client.sendall(piece)
                except OSError:
                    pass

        listener = answering(answer)
        listeners.append(listener)
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    start.asked = asked  # the requests until now
    yield start
    for listener in listeners:
        listener.close()


def dripped(data, pause=0.05):
    """Byte by byte, and then ``x`` for ever."""
    for byte in data:
        time.sleep(pause)
        yield bytes([byte])
    while True:
        time.sleep(pause)
        yield b"x"


def endless(piece):
    while True:
        yield piece


def after(start, rest):
    yield start
    yield from rest


OPENING = {
    "header bytes one by one": lambda: dripped(b"HTTP/1.1 200 OK\r\nX: "),
    "100 Continue without end": lambda: endless(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "100 Continue now and then": lambda: dripped(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, pause=0.01),
    "nothing": lambda: dripped(b"", pause=60),
    "an endless status line": lambda: endless(b"HTTP/1.1 200 " + b"o" * 1000),
    "endless headers": lambda: after(b"HTTP/1.1 200 OK\r\n", endless(b"X-Y: z\r\n")),
    "a redirection to itself": lambda: [b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"],
}
READING = {
    "bytes of a picture one by one": lambda: after(HEAD + b"--frame\r\nContent-Length: 5000\r\n\r\n", dripped(b"\xff\xd8")),
    "a picture without a length": lambda: after(HEAD + b"--frame\r\n\r\n", dripped(b"\xff\xd8")),
    "endless heads": lambda: after(HEAD + b"--frame\r\n", endless(b"X-Y: z\r\n" * 100)),
    "a head that drips": lambda: after(HEAD + b"--frame\r\n", dripped(b"X-Y: z\r\n" * 10_000, pause=0.01)),
    "no part at all": lambda: after(HEAD, endless(b"preamble\r\n" * 100)),
    "lines of nothing": lambda: after(HEAD + b"--frame\r\n\r\n", endless(b"\n" * 10_000)),
    "a chunk that drips": lambda: after(
        HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"), dripped(b"1" * 50_000, pause=0.01)
    ),
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(mjpeg, "_OPEN_SECONDS", 0.4)
    monkeypatch.setattr(mjpeg, "_PART_SECONDS", 0.4)


@pytest.mark.parametrize("what", OPENING)
def test_an_answer_that_never_comes_whole_is_given_up(hostile, what):
    source = HttpSource(hostile(OPENING[what]))
    begun = time.monotonic()
    with pytest.raises(SourceLost):
        source.open()
    assert time.monotonic() - begun < 2.5
    source.close()


@pytest.mark.parametrize("what", READING)
def test_a_picture_that_never_comes_whole_is_given_up(hostile, what):
    source = HttpSource(hostile(READING[what]))
    source.open()
    begun, spent = time.monotonic(), time.thread_time()
    with pytest.raises(SourceLost, match="stopped sending"):
        source.read(0.2)
    assert time.monotonic() - begun < 3
    assert time.thread_time() - spent < 2
    source.close()


@pytest.mark.parametrize(
    ("scheme", "pieces"),
    [
        ("rtsp", lambda: dripped(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nX: ")),
        ("rtsp", lambda: dripped(b"", pause=60)),
        ("rtsp", lambda: endless(b"RTSP/1.0 100 Continue\r\n\r\n")),
        ("tcp", lambda: dripped(b"")),
        ("tcp", lambda: endless(b"x" * 1000)),
        ("http", lambda: after(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n", dripped(b"\0\0\0\x20ftypisom"))),
    ],
    ids=["drips", "silent", "continues", "drips bare", "endless", "video that drips"],
)
def test_what_ffmpeg_opens_has_one_deadline_too(hostile, monkeypatch, scheme, pieces):
    monkeypatch.setattr(opencv, "NETWORK_TIMEOUT_MS", 400)
    url = hostile(pieces).replace("http:", f"{scheme}:")
    source = HttpSource(url) if scheme == "http" else UrlSource(url)
    begun = time.monotonic()
    with pytest.raises(SourceLost):
        source.open()
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize("while_", ["open", "read"])
def test_another_thread_can_end_what_hangs(hostile, monkeypatch, while_):
    monkeypatch.setattr(mjpeg, "_OPEN_SECONDS", 60)
    monkeypatch.setattr(mjpeg, "_PART_SECONDS", 60)
    source = HttpSource(hostile((OPENING | READING)["nothing" if while_ == "open" else "bytes of a picture one by one"]))
    if while_ == "read":
        source.open()
    threading.Timer(0.2, source.interrupt).start()
    begun = time.monotonic()
    with pytest.raises(SourceLost):
        getattr(source, while_)(*[0.2] * (while_ == "read"))
    assert time.monotonic() - begun < 2


class Hanging(Source):
    """Hangs in `open` (from the ``opens``-th on) or in `read`, as a driver does: nothing can wake it."""

    def __init__(self, *, opens=1_000_000):
        self.name = "hanging"
        self.opens = opens
        self.closed = 0
        self.release = threading.Event()

    def open(self):
        self.opens -= 1
        if self.opens < 0:
            self.release.wait(30)

    def read(self, timeout):
        self.release.wait(30)

    def close(self):
        self.closed += 1


def test_a_source_that_hangs_while_it_is_opened_is_left_behind(fuse_marks, monkeypatch):
    monkeypatch.setattr(opening, "OPEN_SECONDS", 0.3)
    near = Hanging(opens=0)
    with pytest.raises(InputError, match="near source cannot be opened: hanging has not opened within"):
        Pipeline(near, PushSource(), fuse_marks).start()
    assert near.closed == 0, "nobody closes what another thread is opening"
    near.release.set()
    deadline = time.monotonic() + 5
    while not near.closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert near.closed == 1


def test_opening_is_given_up_when_asked(fuse_marks):
    near, far, asked = PushSource("near"), Hanging(opens=0), threading.Event()
    pipeline = Pipeline(near, far, fuse_marks)
    threading.Timer(0.3, asked.set).start()
    begun = time.monotonic()
    pipeline.start(unless=asked.is_set)
    assert pipeline.wait(0)
    assert time.monotonic() - begun < 3
    assert pipeline.summary()["frames_in"] == [0, 0]
    far.release.set()


def test_stopping_does_not_wait_for_a_read_that_hangs(fuse_marks, sim):
    near = Hanging()
    pipeline = Pipeline(near, sim(FAR), fuse_marks)
    pipeline.start()
    time.sleep(0.2)
    begun = time.monotonic()
    pipeline.stop()
    assert pipeline.wait(5)
    assert time.monotonic() - begun < 3
    near.release.set()


def test_giving_up_applies_to_a_read_that_hangs(fuse_marks, sim):
    near = Hanging()
    pipeline = Pipeline(near, sim(FAR), fuse_marks, options=PipelineOptions(retry=RetryPolicy(give_up=0.5)))
    begun = time.monotonic()
    with pytest.raises(UfaError, match=r"hanging has been away for .*`give_up`: it does not return from reading"):
        pipeline.run()
    assert time.monotonic() - begun < 4
    near.release.set()


def test_giving_up_applies_to_a_source_that_comes_back_without_pictures(fuse_marks, hostile, sim, kinds):
    """Each time it can be opened, and each time the picture drips."""
    near = HttpSource(hostile(READING["bytes of a picture one by one"]))
    options = PipelineOptions(retry=RetryPolicy(first=0.05, give_up=1.2))
    pipeline = Pipeline(near, sim(FAR), fuse_marks, options=options)
    begun = time.monotonic()
    with pytest.raises(UfaError, match=r"`give_up`: .*stopped sending"):
        pipeline.run()
    assert 1 < time.monotonic() - begun < 8
    assert pipeline.summary()["reconnects"][NEAR] >= 1
    assert set(kinds(pipeline, "far")) <= {"stopping"}


class Stuck(Sink):
    """Takes one picture and hangs in the next."""

    name = "stuck"

    def __init__(self):
        super().__init__()
        self.taken = 0
        self.release = threading.Event()

    def write(self, item):
        self.taken += 1
        if self.taken > 1:
            self.release.wait(30)


@pytest.mark.parametrize("stops", [1, 2])
def test_an_output_that_takes_nothing_does_not_hold_up_the_end(fuse_marks, sim, monkeypatch, stops):
    monkeypatch.setattr(pipeline_module, "_DRAIN_SECONDS", 0.5 if stops == 1 else 60)
    sink = Stuck()
    pipeline = Pipeline(sim(NEAR), sim(FAR), fuse_marks, sink)
    pipeline.start()
    while sink.taken < 2:
        time.sleep(0.02)
    for _ in range(stops):
        pipeline.stop()
    assert pipeline.wait(6)
    assert "stuck has taken nothing" in str(pipeline.error)
    sink.release.set()


@pytest.mark.parametrize("when", ["opening", "reading"])
def test_a_wait_for_a_camera_ends_within_a_second_of_being_stopped(hostile, fuse_marks, monkeypatch, when):
    """What a signal does, without what it takes Python to end: however long the deadlines are."""
    for name in ("_OPEN_SECONDS", "_PART_SECONDS"):
        monkeypatch.setattr(mjpeg, name, 60)
    asked = threading.Event()
    near = HttpSource(hostile((OPENING | READING)["nothing" if when == "opening" else "bytes of a picture one by one"]))
    pipeline = Pipeline(near, PushSource("far"), fuse_marks)
    if when == "opening":
        threading.Timer(0.5, asked.set).start()
        begun = time.monotonic() + 0.5
        pipeline.start(unless=asked.is_set)
    else:
        pipeline.start()
        time.sleep(0.5)
        begun = time.monotonic()
        pipeline.stop()
    assert pipeline.wait(5)
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize(
    ("when", "number"),
    [("opening", signal.SIGTERM), ("opening", signal.SIGHUP), ("reading", signal.SIGTERM), ("reading", signal.SIGINT)],
)
def test_a_signal_ends_a_wait_for_a_camera_within_a_second(hostile, number, when):
    url = hostile((OPENING | READING)["header bytes one by one" if when == "opening" else "bytes of a picture one by one"])
    command = [*UFA, "--near", url, "--far", "sim:?size=96x192", "--model", "copy", "-q"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    )
    deadline = time.monotonic() + 60
    while not hostile.asked and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3 if when == "opening" else 1.2)
    begun = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - begun < 8, errors  # a second, and what Python takes to end on a busy machine
    assert process.returncode == 0, errors
    assert "stopp" in errors
    assert "Traceback" not in errors


def test_a_thread_left_behind_in_ffmpeg_does_not_crash_the_end(hostile, numbered_picture):
    """Its camera has gone silent, and the interpreter's own end would pull the ground from under it."""
    file = io.BytesIO()
    writer = MatroskaWriter(file, (96, 192))
    for number in range(300):
        writer.write(cv2.imencode(".jpg", numbered_picture(number, NEAR))[1].tobytes(), 40 * number)
    url = hostile(lambda: after(file.getvalue(), dripped(b"", pause=60))).replace("http:", "tcp:")
    command = [*UFA, "--near", url, "--far", url, "--model", "copy", "-q", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = []
    for line in process.stderr:
        said.append(line)
        if "sent no frame" in line:
            break
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, (said, errors)
    assert json.loads(output)["frames_in"][NEAR] > 0
    assert "terminate" not in errors


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["stream", "--near", "no.mp4", "--far", "sim:"], 2)])
@pytest.mark.parametrize("left", ["ufafuse-near", "ufafuse-open", "another"])
def test_the_process_leaves_at_once_where_a_thread_is_left_behind(left, arguments, code):
    """A thread that comes back from a library while the interpreter ends is killed inside of it, and takes the process too."""
    program = (
        "import atexit, sys, threading, time; from ufafuse.commands.cli import main\n"
        "atexit.register(print, 'its own end', file=sys.stderr)\n"
        f"threading.Thread(target=time.sleep, args=(60,), name={left!r}, daemon=True).start()\n"
        f"sys.argv[1:] = {arguments!r}; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code
    assert ("its own end" in done.stderr) == (left == "another")
    assert (done.stdout if code == 0 else done.stderr).strip()


BAD_HOSTS = [
    "http://[::1",
    "http://" + "a" * 64 + ".example/",
    "http://камера.пример/",
    "http://" + "ä" * 70 + "/",
    "http://host:99999/",
    "http://host:port/",
    "http:///",
    "http://\x00/",
    "ftp://127.0.0.1/x",
    "file:///etc/passwd",
    "//",
    "",
    "http://user:password@[fe80::1%25eth0]/",
    "\x1b[31m",
]


@pytest.mark.parametrize("location", BAD_HOSTS)
def test_a_redirection_to_nowhere_is_a_lost_source(hostile, location):
    answer = b"HTTP/1.1 302 Found\r\nLocation: " + location.encode() + b"\r\nContent-Length: 0\r\n\r\n"
    source = HttpSource(hostile(lambda: [answer]))
    with pytest.raises(SourceLost):
        source.open()


@pytest.mark.parametrize("url", [url for url in BAD_HOSTS if url.startswith("http:")])
def test_an_address_that_is_none_is_a_lost_source(url):
    with pytest.raises(SourceLost):
        HttpSource(url).open()


def test_the_password_does_not_follow_to_another_host(hostile):
    asked = []

    def listen():
        listener = socket.create_server(("127.0.0.1", 0))

        def accept():
            client, _ = listener.accept()
            asked.append(client.recv(10_000))
            client.close()
            listener.close()

        threading.Thread(target=accept, daemon=True).start()
        return listener.getsockname()[1]

    moved = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{listen()}/\r\nContent-Length: 0\r\n\r\n".encode()
    with pytest.raises(SourceLost):
        HttpSource(hostile(lambda: [moved]).replace("http://", "http://me:secret@")).open()
    assert b"authorization: basic" in hostile.asked[0].lower(), "the camera itself is given it"
    assert asked[0].startswith(b"GET / HTTP/1.1\r\n")
    assert b"authorization" not in asked[0].lower()


def test_a_picture_that_declares_more_pixels_than_allowed_is_broken_before_it_is_decoded(hostile, numbered_picture):
    data = cv2.imencode(".jpg", numbered_picture(1, NEAR))[1].tobytes()
    at = data.index(b"\xff\xc0") + 5
    bomb = data[:at] + (32000).to_bytes(2, "big") * 2 + data[at + 4 :]

    def parts():
        yield HEAD
        for body in (bomb, data):
            yield b"--frame\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(body), body)
        time.sleep(2)

    source = HttpSource(hostile(parts))
    source.open()
    with pytest.raises(BrokenFrame, match="declares 32000 x 32000 pixels"):
        source.read(1)
    assert source.read(1) is not None
    source.close()
