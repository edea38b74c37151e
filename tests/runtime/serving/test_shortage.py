"""Too little of something while requests come: handles, memory. What the first request needs was loaded before."""

import contextlib
import errno
import json
import socket
import subprocess
import sys
import threading
import time
from unittest.mock import ANY

import numpy as np
import pytest

from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.serving import pictures, tensors

SERVER = """
import json, resource, sys
from ufafuse.runtime.serving.options import ServeOptions
from ufafuse.runtime.serving.server import Server
resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))
server = Server(ServeOptions(address=("127.0.0.1", 0), grpc=("127.0.0.1", 0), models=("ufa-nano",)))
server.start()
before = set(sys.modules)
print(json.dumps([server.url, server.grpc_port]), flush=True)
sys.stdin.readline()
print(json.dumps(sorted(set(sys.modules) - before)), flush=True)
server.stop()
"""


@pytest.fixture
def process(tmp_path):
    """A server of 80 handles in a process of its own, and the file that its log goes to."""
    pytest.importorskip("openvino", reason="needs an engine")
    pytest.importorskip("grpc", reason="needs the extra serve")
    with (tmp_path / "said").open("w") as said:
        started = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
        )
    with started:
        try:
            yield started, tmp_path / "said"
        finally:
            started.kill()


def test_connections_to_grpc_that_say_nothing_leave_handles_to_all_others(process, ask, form, files):
    started, said = process
    url, port = json.loads(started.stdout.readline())
    with contextlib.ExitStack() as held:
        for _ in range(150):
            silent = held.enter_context(socket.socket())
            silent.setblocking(False)
            silent.connect_ex(("127.0.0.1", port))
        time.sleep(1)  # they are taken by threads of gRPC's own
        assert ask(f"{url}v2/health/ready").status == 200
        body, kind = form(files)
        assert ask(f"{url}fuse?align=affine&format=tif", body, Content_Type=kind).status == 200
    assert not said.read_text()


def test_no_request_loads_a_module_of_ours_or_of_what_answers(process, ask, form, files, pair, encode):
    started, _ = process
    url, _ = json.loads(started.stdout.readline())
    names = [("a.jpg", ".jpg"), ("b.jpg", ".jpg")]
    photographs = [(name, encode(frame, suffix)) for (name, suffix), frame in zip(names, pair, strict=True)]
    scans = [(name.replace("jpg", "tif"), encode(frame, ".tif")) for (name, _), frame in zip(names, pair, strict=True)]
    for sent in (files, photographs, scans, [*files, *files]):
        for query in ("", "?align=affine&match_gain=1", "?format=tif", "?format=jpg", "?output=map", "?method=pyramid"):
            body, kind = form(sent)
            assert ask(f"{url}fuse{query}", body, Content_Type=kind).status in (200, 400)
    print(file=started.stdin, flush=True)
    loaded = json.loads(started.stdout.readline())
    assert not [name for name in loaded if not name.startswith(("imagecodecs._", "_"))]  # its codecs, one by one


@pytest.fixture(params=["form", "rest", "grpc"])
def status(request, small_engine, serve, ask, form, files, pair):
    """Asks a new server for a fusion in one of three ways: the status and the text of the refusal."""
    server = serve(grpc=("127.0.0.1", 0))
    named = zip(("near", "far"), pair, strict=True)
    shape, datatype = list(pair[0].shape), "UINT8"
    inputs = [{"name": name, "shape": shape, "datatype": datatype, "data": frame.ravel().tolist()} for name, frame in named]
    body, kind = form(files)

    def asked():
        if request.param == "grpc":
            return called(server, pair)
        if request.param == "form":
            answer = ask(f"{server.url}fuse", body, Content_Type=kind)
        else:
            answer = ask(f"{server.url}v2/models/small/infer", json.dumps({"inputs": inputs}).encode())
        return answer.status, "" if answer.status == 200 else answer.json()["error"]

    return asked


def called(server, pair):
    """The status, as HTTP has it, and the text of a call whose numbers are in the message itself."""
    grpc = pytest.importorskip("grpc", reason="needs the extra serve")
    triton = pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]")
    message = triton.service_pb2.ModelInferRequest(model_name="small")
    for name, frame in zip(("near", "far"), pair, strict=True):
        tensor = message.inputs.add(name=name, datatype="UINT8", shape=frame.shape)
        tensor.contents.uint_contents.extend(frame.ravel().tolist())
    codes = {grpc.StatusCode.RESOURCE_EXHAUSTED: 413, grpc.StatusCode.UNAVAILABLE: 503}
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        try:
            triton.service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(message, timeout=20)
        except grpc.RpcError as error:
            return codes.get(error.code(), error.code()), error.details()
    return 200, ""


LACKS = {
    "memory": MemoryError(),
    "open files": OSError(errno.EMFILE, "Too many open files"),
    "threads": RuntimeError("can't start new thread"),
}


@pytest.mark.parametrize("told", [None, InputError("it cannot be decoded."), BackendError("the engine failed.")])
@pytest.mark.parametrize("lack", LACKS)
def test_who_finds_too_little_is_told_to_come_again(status, lack, told, monkeypatch):
    assert status()[0] == 200

    def lacking(*_args, **_more):
        if told is not None:  # a decoder or an engine ran into it
            raise told from LACKS[lack]
        raise LACKS[lack]

    with monkeypatch.context() as patched:
        patched.setattr(pictures, "decode_picture", lacking)
        patched.setattr(tensors, "_of_numbers", lacking)
        code, text = status()
    assert code == 503
    assert f"not enough {lack}" in text
    assert "come again" in text
    assert status()[0] == 200


def test_who_comes_when_no_thread_can_be_started_is_told_to_come_again(status, monkeypatch):
    def refused(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)  # before the first request
    assert status() in ((200, ""), (503, ANY))
    assert status()[0] in (200, 503)


def test_numbers_in_a_message_count_as_what_they_take(small_engine, serve, rng):
    server = serve(grpc=("127.0.0.1", 0))
    pair = [np.minimum(rng.integers(0, 256, (24, 32, 3), np.uint8), 127) for _ in range(2)]  # a byte each in the message
    assert called(server, pair)[0] == 200
    server.service.admission._room = 10 * sum(frame.size for frame in pair)
    code, text = called(server, pair)
    assert code == 413
    assert "max_memory" in text
    assert server.service.admission.bytes == 0
