"""Motion JPEG over HTTP against a server that misbehaves on request."""

import base64
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import cv2
import pytest

from ufafuse.runtime.stream.drawn_numbers import read_number
from ufafuse.runtime.stream.messages import NEAR
from ufafuse.runtime.stream.sources import BrokenFrame, HttpSource, SourceLost
from ufafuse.runtime.stream.sources.fetch import SourceConnection


@pytest.fixture
def serve():
    """``serve(parts)`` answers one GET with these bytes and returns the URL; ``parts`` may be a function of the request."""
    servers = []

    def start(parts, *, kind="multipart/x-mixed-replace; boundary=frame", status=200):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/moved":
                    self.send_response(302)
                    self.send_header("Location", "/")
                    self.end_headers()
                    return
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                for part in parts(self) if callable(parts) else parts:
                    self.wfile.write(part)

            def log_message(self, *args):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def jpeg(numbered_picture):
    return lambda number: cv2.imencode(".jpg", numbered_picture(number, NEAR))[1].tobytes()


def part(data, *, length=True, boundary=b"--frame"):
    size = b"Content-Length: %d\r\n" % len(data) if length else b""
    return boundary + b"\r\nContent-Type: image/jpeg\r\n" + size + b"\r\n" + data + b"\r\n"


def opened(url):
    source = HttpSource(url)
    source.open()
    return source


@pytest.mark.parametrize("length", [True, False])
def test_pictures_come_one_by_one(serve, jpeg, length):
    url = serve([b"preamble\r\n", *(part(jpeg(number), length=length) for number in range(5)), b"--frame--\r\n"])
    source = opened(url)
    frames = [source.read(1) for _ in range(5)]
    assert [read_number(frame.array, NEAR) for frame in frames] == list(range(5))
    assert [frame.index for frame in frames] == list(range(5))
    with pytest.raises(SourceLost, match="stopped sending"):
        source.read(1)
    source.close()


def test_a_boundary_written_with_its_dashes_is_understood(serve, jpeg):
    url = serve([part(jpeg(3))], kind='multipart/x-mixed-replace; boundary="--frame"')
    assert read_number(opened(url).read(1).array, NEAR) == 3


def test_a_cut_off_picture_is_broken_and_the_next_is_whole(serve, jpeg):
    url = serve([part(jpeg(1)[:-200]), part(b"\xff\xd8rubbish\xff\xd9"), part(b""), part(jpeg(2))])
    source = opened(url)
    for _ in range(3):
        with pytest.raises(BrokenFrame, match="a part of"):
            source.read(1)
    assert read_number(source.read(1).array, NEAR) == 2


def test_a_stream_that_ends_inside_a_picture_is_lost(serve, jpeg):
    url = serve([part(jpeg(1))[:-300]])
    with pytest.raises(SourceLost, match="inside a picture"):
        opened(url).read(1)


@pytest.mark.parametrize("length", [b"-5", b"many", b"99999999999"])
def test_an_absurd_length_is_refused(serve, length):
    url = serve([b"--frame\r\nContent-Length: " + length + b"\r\n\r\nx"])
    with pytest.raises(SourceLost, match="stopped sending"):
        opened(url).read(1)


def test_the_user_and_password_are_sent(serve, jpeg):
    asked = []

    def answer(request):
        asked.append(request.headers["Authorization"])
        return [part(jpeg(1))]

    url = serve(answer).replace("http://", "http://me:p%40ss@")
    assert opened(url).read(1) is not None
    assert base64.b64decode(asked[0].removeprefix("Basic ")) == b"me:p@ss"


def test_a_redirection_is_followed(serve, jpeg):
    assert opened(serve([part(jpeg(1))]) + "moved").read(1) is not None


@pytest.mark.parametrize(
    ("first", "second", "known"),
    [
        ("https://me:secret@cam/a", "https://cam/b", True),
        ("http://me:secret@cam/a", "https://cam/b", True),
        ("https://me:secret@cam/a", "http://cam/b", False),
        ("http://me:secret@cam/a", "http://other/b", False),
    ],
)
def test_a_redirection_takes_the_password_along_only_where_it_was_meant_for(monkeypatch, first, second, known):
    asked = []

    def answer(_link, parts, headers):
        asked.append((parts.geturl(), "Authorization" in headers))
        return SimpleNamespace(status=302 if len(asked) == 1 else 200, headers={"Location": second})

    monkeypatch.setattr(SourceConnection, "_asked", answer)
    SourceConnection().get(first, seconds=5)
    assert asked == [(first, True), (second, known)]


def test_a_refusal_and_a_dead_port_are_lost_sources(serve):
    with pytest.raises(SourceLost, match="answers 404"):
        opened(serve([], status=404))
    with pytest.raises(SourceLost, match="does not answer"):
        opened("http://127.0.0.1:9/")


def test_another_video_over_http_goes_through_ffmpeg(serve, tmp_path, numbered_picture):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 25, (192, 96))
    for number in range(500):
        writer.write(numbered_picture(number, NEAR))
    writer.release()
    source = opened(serve([path.read_bytes()], kind="video/x-msvideo"))
    assert source.size == (96, 192)
    numbers = []
    with pytest.raises(SourceLost, match="ended"):
        while True:
            frame = source.read(1)  # None for what piled up while it was opened
            numbers += [] if frame is None else [read_number(frame.array, NEAR)]
    source.close()
    assert numbers == list(range(500 - len(numbers), 500))
    assert len(numbers) > 100


def test_what_the_server_sent_before_the_run_began_is_not_taken_for_new(serve, jpeg):
    asked = []

    def answer(request):
        asked.append(request.path)
        return [part(jpeg(100 * len(asked) + number)) for number in range(3)]

    source = opened(serve(answer))
    source.begin(0.0)
    assert [read_number(source.read(1).array, NEAR) for _ in range(3)] == [200, 201, 202]
    source.close()


def test_a_page_is_no_video(serve):
    with pytest.raises(SourceLost, match="sends no video"):
        opened(serve([b"<html>"], kind="text/html"))
