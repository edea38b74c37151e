import asyncio
import base64
import contextlib
import errno
import hashlib
import http.client
import inspect
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import ClassVar

import numpy as np
import pytest
import uvicorn
from uvicorn.protocols.http import h11_impl

from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.stream.drawn_numbers import read_number
from ufafuse.runtime.stream.messages import FAR, NEAR, Frame, FusedPair, Pair
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.sinks import HttpSink
from ufafuse.runtime.stream.sources import HttpSource, SimSettings, SimSource
from ufafuse.runtime.stream.web import connection, server
from ufafuse.runtime.stream.web import view as view_module
from ufafuse.runtime.stream.web.address import is_loopback, parse_address
from ufafuse.runtime.stream.web.server import PageServer
from ufafuse.runtime.stream.web.view import View

SIZE = (96, 192)


def get(url, **headers):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(urllib.request.Request(url, headers=headers), timeout=5)


def status_of(url, **headers):
    try:
        return get(url, **headers).status
    except urllib.error.HTTPError as error:
        return error.code


def ended(client, most):
    """Whether the server hangs up before it has sent ``most`` bytes more."""
    taken = 0
    try:
        while taken < most:
            data = client.recv(65536)
            if not data:
                return True
            taken += len(data)
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return False


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as tried:
        tried.bind(("::1", 0))
        return True
    return False


@pytest.fixture
def running(fuse_marks):
    """A view of a running pipeline, whose map is white on the left."""
    views, pipelines = [], []

    def start(*, token="", address=("127.0.0.1", 0), rate=50, fastest=50.0):
        view = View(address, token=token, fastest=fastest)
        weights = np.zeros(SIZE, np.float32)
        weights[:, : SIZE[1] // 2] = 1

        def fuse(near, far):
            return (fuse_marks(near, far), weights) if view.wants_map else fuse_marks(near, far)

        sources = [SimSource(None, side, SimSettings(size=SIZE, rate=rate)) for side in (NEAR, FAR)]
        pipeline = Pipeline(*sources, fuse, on_frame=view.show)
        views.append(view)
        pipelines.append(pipeline)
        pipeline.start()
        view.start(pipeline)
        return view

    yield start
    for pipeline in pipelines:
        pipeline.stop()
        assert pipeline.wait(30)
    for view in views:
        view.stop()


class TestAddresses:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("8080", ("127.0.0.1", 8080)),
            ("0.0.0.0:80", ("0.0.0.0", 80)),
            ("[::1]:80", ("::1", 80)),
            ("localhost:0", ("localhost", 0)),
        ],
    )
    def test_what_is_understood(self, text, address):
        assert parse_address(text, "view") == address

    @pytest.mark.parametrize("text", ["", "web", "80808", "127.0.0.1", "-1"])
    def test_what_is_refused(self, text):
        with pytest.raises(InputError, match="view="):
            parse_address(text, "view")

    def test_loopback(self):
        assert [is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1")] == [True] * 4
        assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.5", "camera.example", "")] == [False] * 5

    def test_another_address_needs_a_token(self):
        with pytest.raises(InputError, match="`token`"):
            PageServer(("0.0.0.0", 0), {})
        PageServer(("0.0.0.0", 0), {}, token="secret").stop()

    def test_a_token_that_no_address_can_carry_is_refused(self):
        with pytest.raises(InputError, match="letters"):
            PageServer(("127.0.0.1", 0), {}, token="a b\r\n")

    def test_a_port_in_use_is_a_clear_line(self):
        first = PageServer(("127.0.0.1", 0), {})
        with pytest.raises(OutputError, match="Choose another port"):
            PageServer(("127.0.0.1", first.address[1]), {})
        first.stop()


class TestPage:
    def test_the_page_and_its_figures(self, running):
        view = running()
        page = get(view.url)
        assert page.headers["Content-Type"].startswith("text/html")
        text = page.read().decode()
        for pane in ("near", "far", "fused", "map"):
            assert f'data-src="{pane}.mjpeg"' in text
        figures = json.load(get(view.url + "figures"))
        assert {"frames_in", "fused", "dropped", "unmatched", "late", "latency_ms", "fps_now", "sources"} <= figures.keys()
        assert status_of(view.url + "nothing") == 404

    @pytest.mark.parametrize("pane", ["near", "far", "fused"])
    def test_pictures_are_live(self, running, pane):
        source = HttpSource(running().url + f"{pane}.mjpeg")
        source.open()
        side = FAR if pane == "far" else NEAR
        numbers = [read_number(source.read(5).array, side) for _ in range(5)]
        source.close()
        assert numbers == sorted(set(numbers))
        if pane == "fused":
            assert None not in numbers

    def test_the_map_is_computed_when_someone_looks(self, running):
        view = running()
        assert not view.wants_map
        source = HttpSource(view.url + "map.mjpeg")
        source.open()
        picture = source.read(5).array
        source.close()
        assert view.wants_map
        assert picture[:, :90].mean() > 250
        assert picture[:, 100:].mean() < 5

    def test_health(self, running, monkeypatch):
        view = running()
        assert status_of(view.url + "health") == 200
        monkeypatch.setattr("ufafuse.runtime.stream.web.view._SILENT_SECONDS", -1.0)
        assert status_of(view.url + "health") == 503

    def test_a_viewer_gets_no_more_pictures_a_second_than_allowed(self, running):
        source = HttpSource(running(fastest=5.0).url + "near.mjpeg")
        source.open()
        source.read(5)
        begun = time.monotonic()
        for _ in range(4):
            source.read(5)
        assert time.monotonic() - begun > 0.6
        source.close()

    def test_a_viewer_that_does_not_read_slows_nobody(self, running, fuse_marks):
        view = running(rate=60, fastest=1000.0)
        lazy = []
        for _ in range(5):
            client = socket.create_connection(view.server.address)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /fused.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n")
            lazy.append(client)
        time.sleep(0.5)
        before = json.load(get(view.url + "figures"))
        time.sleep(1.0)
        after = json.load(get(view.url + "figures"))
        for client in lazy:
            client.close()
        assert after["written"] - before["written"] > 15

    @pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /near.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n"])
    def test_those_without_the_token_starve_nobody(self, running, monkeypatch, sent):
        monkeypatch.setattr(connection.Connection, "most", 12)
        view = running(token="secret-1")
        clients = []
        for _ in range(40):
            clients.append(socket.create_connection(view.server.address, timeout=5))
            clients[-1].sendall(sent)
        answered = [status_of(view.url + path, Authorization="Bearer secret-1") for path in ("health", "metrics") * 20]
        assert answered == [200] * 40
        assert len(view.server._server.server_state.connections) <= 18
        for client in clients:
            client.close()

    def test_many_viewers_starve_nobody_and_the_next_is_told(self, running):
        view = running()
        clients = []
        for _ in range(8):  # tabs
            for pane in (b"near", b"far", b"fused", b"near"):
                clients.append(socket.create_connection(view.server.address, timeout=10))
                clients[-1].sendall(b"GET /%s.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n" % pane)
                clients[-1].recv(1000)
                assert view.server.viewers.count <= 24
        assert view.server.viewers.count == 24
        assert [status_of(view.url + path) for path in ("health", "metrics", "figures", "") * 10] == [200] * 40
        assert status_of(view.url + "near.mjpeg") == 503
        for client in clients:
            client.close()
        deadline = time.monotonic() + 10
        while view.server.viewers.count and time.monotonic() < deadline:
            time.sleep(0.2)
        assert view.server.viewers.count == 0, "their places are free again"
        assert status_of(view.url + "near.mjpeg") == 200

    def test_a_viewer_that_takes_nothing_is_cut_off(self, running, monkeypatch):
        monkeypatch.setattr(connection.Connection, "slow_seconds", 0.3)
        monkeypatch.setattr(server, "_SEND_BUFFER", 4096)
        view = running(fastest=1000.0)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(view.server.address)
            client.settimeout(5)
            client.sendall(b"GET /fused.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(1.5)
            assert ended(client, most=1 << 20)

    @pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT"])
    def test_who_asks_too_slowly_is_cut_off(self, running, monkeypatch, sent):
        monkeypatch.setattr(connection.Connection, "slow_seconds", 0.5)
        view = running()
        with socket.create_connection(view.server.address, timeout=8) as client:
            for byte in (sent[i : i + 1] for i in range(len(sent))):
                client.sendall(byte)
            assert ended(client, most=1000)

    def test_a_viewer_that_takes_its_time_between_requests_is_not(self, running, monkeypatch):
        monkeypatch.setattr(connection.Connection, "slow_seconds", 0.5)
        client = http.client.HTTPConnection(*running().server.address, timeout=5)
        for _ in range(3):
            client.request("GET", "/health")
            assert client.getresponse().read()
            time.sleep(0.8)
        client.close()

    def test_the_end_does_not_wait_for_viewers(self, running):
        view = running(fastest=1000.0)
        clients = [socket.create_connection(view.server.address, timeout=5) for _ in range(12)]
        for client in clients[:8]:
            client.sendall(b"GET /fused.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for client in clients[:4]:
            assert client.recv(100)
        time.sleep(0.5)  # the others never read
        begun = time.monotonic()
        view.stop()
        assert time.monotonic() - begun < 2
        assert not any(thread.name == "ufafuse-http" for thread in threading.enumerate())
        with pytest.raises(OSError):
            socket.create_connection(view.server.address, timeout=1)
        for client in clients:
            client.close()

    def test_head_has_no_body_and_ends(self, running):
        client = http.client.HTTPConnection(*running().server.address, timeout=5)
        for path, kind in (("/", "text/html"), ("/fused.mjpeg", "multipart/x-mixed-replace")):
            client.request("HEAD", path)
            answer = client.getresponse()
            assert (answer.status, answer.headers["Content-Type"].split(";")[0], answer.read()) == (200, kind, b"")
            assert (answer.headers["Cache-Control"], answer.headers["X-Content-Type-Options"]) == ("no-store", "nosniff")
        client.close()

    def test_requests_leave_no_lines_behind(self, running, capfd):
        view = running()
        good = b" HTTP/1.1\r\nHost: localhost\r\n"
        upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        for sent in (
            b"nonsense\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET /" + good + upgrade,
            b"GET /fused.mjpeg" + good + b"\r\n",
        ):
            with socket.create_connection(view.server.address, timeout=5) as client:
                client.sendall(sent)
                assert client.recv(100).startswith(b"HTTP/1.1 ")
        view.stop()
        assert capfd.readouterr() == ("", "")

    @pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
    def test_ipv6(self, running):
        view = running(address=("::1", 0))
        assert view.url.startswith("http://[::1]:")
        assert status_of(view.url + "figures") == 200
        assert status_of(view.url + "figures", Host="evil.example") == 400


@pytest.mark.parametrize(
    ("library", "option"),
    [("starlette", ("--view", "127.0.0.1:0")), ("uvicorn", ("--out", "http://127.0.0.1:0"))],
)
def test_without_the_extra_it_is_asked_for_before_anything_begins(library, option):
    program = f"import sys; sys.modules[{library!r}] = None; from ufafuse.commands.cli import main; sys.exit(main())"
    arguments = ["stream", "--near", "sim:", "--far", "sim:", "--model", "missing.onnx"]
    done = subprocess.run([sys.executable, "-c", program, *arguments, *option], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "pip install 'ufafuse[view]'" in done.stderr


class TestToken:
    def test_nothing_is_shown_without_it(self, running):
        view = running(token="secret-1")
        for path in ("", "near.mjpeg", "figures", "metrics", "health", "nothing"):
            assert status_of(view.url + path) == 401
            assert status_of(view.url + path + "?token=secret-2") == 401
        assert status_of(view.url + "metrics", Authorization="Bearer secret-1") == 200
        assert status_of(view.url + "figures?token=secret-1") == 200
        assert status_of(view.url + "figures", Cookie=f"ufafuse-token-{view.server.address[1]}=secret-1") == 200
        assert status_of(view.url + "figures", Cookie=f"ufafuse-token-{view.server.address[1]}=x; bad cookie@@") == 401

    def test_a_browser_swaps_it_for_a_cookie(self, running):
        view = running(token="secret-1")
        host, port = view.server.address
        client = http.client.HTTPConnection(host, port)
        client.request("GET", "/?token=secret-1", headers={"Accept": "text/html"})
        answer = client.getresponse()
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        assert answer.headers["Set-Cookie"] == f"ufafuse-token-{port}=secret-1; HttpOnly; Path=/; SameSite=strict"
        answer.read()
        client.request("GET", "/", headers={"Cookie": f"ufafuse-token-{port}=secret-1"})
        assert client.getresponse().status == 200
        client.close()

    def test_a_foreign_page_cannot_make_a_browser_read_an_open_server(self, running):
        view = running()
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(view.url + "figures", Host="evil.example")
        assert caught.value.code == 400
        assert "ask for localhost, or set a token" in caught.value.read().decode()
        assert status_of(view.url + "figures", Host="localhost:8080") == 200

    def test_other_methods_are_refused(self, running):
        view = running()
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(view.url, data=b"x"), timeout=5)
        assert caught.value.code == 405


class TestBrowsers:
    HEADERS: ClassVar = {
        "Content-Security-Policy": "default-src 'none'",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }

    @pytest.mark.parametrize("path", ["", "health", "metrics", "figures", "near.mjpeg", "nothing", "?token=wrong"])
    def test_every_answer_says_what_it_may_be_used_for(self, running, path):
        view = running(token="secret-1")
        headers = {} if "wrong" in path else {"Authorization": "Bearer secret-1"}
        try:
            answer = get(view.url + path, **headers)
        except urllib.error.HTTPError as error:
            answer = error
        for name, begins in self.HEADERS.items():
            values = answer.headers.get_all(name)
            assert len(values) == 1
            assert values[0].startswith(begins)
        assert answer.headers["Server"] == "ufafuse"

    def test_the_pages_policy_allows_its_own_script_and_style_and_no_other(self, running):
        answer = get(running().url)
        policy, page = answer.headers["Content-Security-Policy"], answer.read().decode()
        for tag in ("script", "style"):
            content = page.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}';" in policy
        assert "unsafe" not in policy
        assert "style=" not in page, "which the policy would refuse"

    def test_two_lines_on_one_machine_keep_their_cookies_apart(self, running):
        views = running(token="secret-1"), running(token="secret-2")
        cookies = []
        for view, token in zip(views, ("secret-1", "secret-2"), strict=True):
            client = http.client.HTTPConnection(*view.server.address, timeout=5)
            client.request("GET", f"/?token={token}", headers={"Accept": "text/html"})
            cookies.append(client.getresponse().headers["Set-Cookie"].split(";")[0])
            client.close()
        assert len({cookie.split("=")[0] for cookie in cookies}) == 2
        for view in views:
            assert status_of(view.url + "figures", Cookie="; ".join(cookies)) == 200


def test_what_is_relied_on_in_uvicorn_is_there():
    """It is no public class: each new release is looked at here first."""
    config = uvicorn.Config(lambda: None)
    config.load()
    loop = asyncio.new_event_loop()
    protocol = connection.H11Protocol(config, uvicorn.server.ServerState(), {}, loop)
    loop.close()
    for name in connection.USED:
        assert hasattr(protocol, name), name
    assert isinstance(protocol.connections, set)
    assert hasattr(h11_impl.RequestResponseCycle, "run_asgi")
    assert "response_complete" in inspect.getsource(h11_impl.RequestResponseCycle)


class TestMetrics:
    def test_prometheus_reads_them(self, running):
        parser = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is not installed")
        view = running()
        time.sleep(0.3)
        families = {
            family.name: family for family in parser.text_string_to_metric_families(get(view.url + "metrics").read().decode())
        }
        assert families["ufafuse_pairs_fused"].type == "counter"
        assert families["ufafuse_latency_seconds"].type == "histogram"
        buckets = [s.value for s in families["ufafuse_latency_seconds"].samples if s.name.endswith("_bucket")]
        assert buckets == sorted(buckets)
        assert (
            buckets[-1] == next(s.value for s in families["ufafuse_latency_seconds"].samples if s.name.endswith("_count")) > 0
        )
        assert {sample.labels["side"] for sample in families["ufafuse_frames_in"].samples} == {"near", "far"}

    def test_the_format_by_hand(self, running):
        answer = get(running().url + "metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        names = set()
        for line in answer.read().decode().splitlines():
            if line.startswith("# TYPE "):
                names.add(line.split()[2])
            elif not line.startswith("#"):
                name, value = line.split("{")[0].split(" ")[0], line.rsplit(" ", 1)[1]
                float(value)
                assert any(name.startswith(known) for known in names), line
        assert "ufafuse_source_state" in names


def test_the_http_sink_serves_the_newest_picture(fuse_marks, numbers_in):
    sink = HttpSink(("127.0.0.1", 0))
    sources = [SimSource(None, side, SimSettings(size=SIZE, rate=50)) for side in (NEAR, FAR)]
    pipeline = Pipeline(*sources, fuse_marks, sink, options=PipelineOptions(seconds=60, max_skew=0.005))
    pipeline.start()
    source = HttpSource(sink.name)
    source.open()
    numbers = [numbers_in(source.read(5).array) for _ in range(5)]
    source.close()
    pipeline.stop()
    assert pipeline.wait(30)
    assert all(near == far is not None for near, far in numbers)
    assert numbers == sorted(set(numbers))


def test_showing_a_pair_takes_microseconds():
    view = View(("127.0.0.1", 0))
    frame = Frame(np.zeros((1080, 1920, 3), np.uint8), 0, 0.0, 0.0)
    item = FusedPair(Pair(frame, frame), frame.array, None, 0, 0.0)
    begun = time.perf_counter()
    for _ in range(200):
        view.show(item)
    assert (time.perf_counter() - begun) / 200 < 1e-3
    view.stop()


@pytest.mark.parametrize("name", ["View", "HttpSink"])
def test_it_can_be_the_first_thing_that_is_imported(name):
    subprocess.run([sys.executable, "-c", f"from ufafuse.runtime.stream import {name}"], check=True)


def test_the_page_is_there_where_no_more_files_can_be_opened(running, monkeypatch):
    view = running()

    def none_left(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(view_module, "files", none_left)
    assert b'data-src="fused.mjpeg"' in get(view.url).read()


def test_the_page_shows_the_fused_picture_first_and_says_what_it_fuses_with(running):
    view = running()
    text = get(view.url).read().decode()
    panes = [text.index(f'data-src="{pane}.mjpeg"') for pane in ("fused", "near", "far", "map")]
    assert panes == sorted(panes)
    deadline = time.monotonic() + 20
    while not (figures := json.load(get(view.url + "figures")))["quality"] and time.monotonic() < deadline:
        time.sleep(0.05)  # until the first pair was fused and judged
    assert figures["about"]["size"] == "96x192"
    assert set(figures["quality"]) >= {"sharp", "wins", "exposure", "shift", "disagreement"}
    history = json.load(get(view.url + "history"))
    assert {len(values) for values in history.values()} == {len(history["ago"])}
    assert {"ago", "sharp", "exposure", "shift", "disagreement", "latency_ms"} == set(history)
    metrics = get(view.url + "metrics").read().decode()
    assert 'ufafuse_quality_wins{side="near"}' in metrics
    assert "ufafuse_quality_sharp " in metrics
