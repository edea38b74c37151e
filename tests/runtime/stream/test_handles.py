"""A page that more clients hold on to than the process has handles for."""

import contextlib
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

pytest.importorskip("uvicorn")
SERVER = """
import resource, sys
from ufafuse.runtime.stream.web.server import PageServer, text
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
server = PageServer(("127.0.0.1", 0), {"/": lambda request: text("here")})
server.start()
print(server.address[1], flush=True)
sys.stdin.read()
server.stop()
"""


def test_who_asks_is_answered_and_the_log_stays_short(tmp_path):
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
    with process, contextlib.ExitStack() as held:
        port = int(process.stdout.readline())
        silent = [held.enter_context(socket.socket()) for _ in range(150)]
        for one in silent:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        answer, until = b"", time.monotonic() + 30
        while not answer and time.monotonic() < until:
            with contextlib.suppress(OSError):
                answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=3).read()
        assert answer == b"here"
    said = (tmp_path / "said").read_text()
    assert "connections cannot be taken: Too many open files." in said
    assert len(said.splitlines()) < 5, said
    assert process.returncode == 0
