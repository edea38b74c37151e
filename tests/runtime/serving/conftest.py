"""Servers over a small network in NumPy, whose engine can be held."""

import json
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")
pytest.importorskip("python_multipart", reason="needs the extra serve")

from ufafuse.runtime.serving.options import ServeOptions
from ufafuse.runtime.serving.server import Server


class Answer(SimpleNamespace):
    """Status, headers and body."""

    def json(self):
        return json.loads(self.body)


@pytest.fixture
def ask():
    """``ask(url, body=..., method=..., context=..., **headers)``: an `Answer`, whatever its status."""

    def send(url, body=None, *, method=None, context=None, **headers):
        handlers = [urllib.request.ProxyHandler({})]
        handlers += [urllib.request.HTTPSHandler(context=context)] if context is not None else []
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=20) as answer:
                return Answer(status=answer.status, headers=answer.headers, body=answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, headers=error.headers, body=error.read())

    return send


def form_of(files, **fields):
    """A form's body and its content type; ``files`` are (name, bytes)."""
    boundary, parts = "ufafuse-test-boundary", []
    for name, value in fields.items():
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for name, data in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


@pytest.fixture
def form():
    return form_of


def png(array, suffix=".png"):
    return cv2.imencode(suffix, array)[1].tobytes()


@pytest.fixture
def pair(rng):
    """Near and far, 24 x 32 x 3 uint8."""
    return [rng.integers(0, 256, (24, 32, 3), np.uint8) for _ in range(2)]


@pytest.fixture
def files(pair):
    return [("near.png", png(pair[0])), ("far.png", png(pair[1]))]


@pytest.fixture
def encode():
    return png


class Gate:
    """Holds the engine until it is opened, and says what ran."""

    def __init__(self):
        self.open, self.entered, self.runs = threading.Event(), threading.Semaphore(0), []

    def passed(self, inputs):
        self.runs.append(next(iter(inputs.values())).shape)
        self.entered.release()
        assert self.open.wait(20)

    def wait_entered(self):
        assert self.entered.acquire(timeout=20)


@pytest.fixture
def gate(small, monkeypatch):
    """The small network behind a gate."""
    held = Gate()

    class Held(small.Session):
        def infer(self, inputs):
            held.passed(inputs)
            return super().infer(inputs)

    monkeypatch.setattr("ufafuse.runtime.backends.onnxruntime.OnnxRuntimeSession", Held)
    yield held
    held.open.set()


@pytest.fixture
def serve(write_model, request):
    """``serve(**options)``: a running `Server` of the model ``small``; needs `small_engine` or `gate`."""
    running = []

    def start(**options):
        path = write_model()
        fuser = {"backend": "onnxruntime", **options.pop("fuser", {})}
        models = options.pop("models", (f"small={path}",))
        server = Server(ServeOptions(**{"address": ("127.0.0.1", 0), "models": models, "fuser": fuser} | options))
        running.append(server)
        server.start()
        return server

    yield start
    if "gate" in request.fixturenames:  # what it holds would be waited for
        request.getfixturevalue("gate").open.set()
    for server in running:
        server.stop()


@pytest.fixture
def behind():
    """``behind(function)`` runs it in a thread; call what it gives for the result."""

    def begin(function):
        found = []
        thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
        thread.start()

        def result():
            thread.join(20)
            assert found, "it did not end"
            return found[0]

        return result

    return begin
