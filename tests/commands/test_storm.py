"""A server and a cluster's work on one machine, under fire: clients die, lie and hurry, workers are killed, then SIGTERM.

UFAFUSE_STORM_SECONDS sets the length, 30 by default; UFAFUSE_STORM_SEED another storm.
"""

import collections
import contextlib
import csv
import http.client
import json
import logging
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.slow
for needed in ("openvino", "starlette", "prometheus_client", "python_multipart"):
    pytest.importorskip(needed, reason="needs the extras cpu and serve")
LOG = logging.getLogger(__name__)
SAMPLE = [cv2.imread(str(Path(__file__).resolve().parents[2] / "examples" / f"sample_{side}.png")) for side in "AB"]
SECONDS = float(os.environ.get("UFAFUSE_STORM_SECONDS", "30"))
SEED = int(os.environ.get("UFAFUSE_STORM_SEED", "0"))
UFA = [sys.executable, "-m", "ufafuse"]
NANO = ["--model", "ufa-nano", "--threads", "1"]
ROWS = 120


def png(frame):
    return cv2.imencode(".png", frame)[1].tobytes()


def bomb():
    """A PNG of a hundred bytes that says it has 60,000 x 60,000 pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def form(*pictures):
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{at}"; filename="{at}.png"\r\n\r\n'.encode() + picture + b"\r\n"
        for at, picture in enumerate(pictures)
    ]
    return b"".join(parts) + b"--x--\r\n"


class Clients:
    """Each method is one kind of client; what the good ones and the bombs were answered is counted."""

    def __init__(self, address):
        self.headers = {"Content-Type": "multipart/form-data; boundary=x", "Authorization": "Bearer storm"}
        self.address = address
        pictures = [png(frame[:96, :128]) for frame in SAMPLE]
        self.body, self.bomb = form(*pictures), form(pictures[0], bomb())
        self.answers, self.wrong = collections.Counter(), []
        self.over, self.ending = threading.Event(), threading.Event()
        self.expected = self.ask("/fuse", self.body)[1]

    def ask(self, path, body):
        client = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            client.request("POST", path, body, self.headers)
            answer = client.getresponse()
            return answer.status, answer.read()
        finally:
            client.close()

    def good(self, chance):
        status, data = self.ask(chance.choice(["/fuse", "/fuse", "/fuse?timeout=0.03"]), self.body)
        self.answers[status] += 1
        if status not in (200, 503, 504) or (status == 200 and data != self.expected):
            self.wrong.append((status, data[:80]))

    def bombs(self, chance):
        status, data = self.ask("/fuse", self.bomb)
        if status not in (400, 413, 503):
            self.wrong.append((status, data[:80]))

    def dies(self, chance):
        with socket.create_connection(self.address, timeout=5) as client:
            head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            client.sendall(f"POST /fuse HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(self.body)}\r\n\r\n".encode())
            client.sendall(self.body[: chance.randrange(len(self.body) + 1)])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # and is not polite about it

    def run(self, kind, seed):
        chance = random.Random(seed)
        while not self.over.is_set():
            begun_at_the_end = self.ending.is_set()
            try:
                getattr(self, kind)(chance)
            except (OSError, http.client.HTTPException) as error:
                if kind != "dies" and not begun_at_the_end:
                    self.wrong.append(repr(error))
            time.sleep(chance.uniform(0, 0.05))


def descendants(parent):
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = {parent}
    while grown := {child for child, its in parents.items() if its in found} - found:
        found |= grown
    return found


def workers_of(parent):
    for process in descendants(parent):
        with contextlib.suppress(OSError):
            if b"ray::Worker" in (Path("/proc") / str(process) / "cmdline").read_bytes():
                yield process


@pytest.fixture
def many(tmp_path):
    """A manifest of pairs, some of whose frames are not there or are bombs, and what the others give without any storm."""
    for side, frame in zip("AB", SAMPLE, strict=True):
        for index in range(4):
            (tmp_path / f"p{index}_{side}.png").write_bytes(png(frame[40 * index : 40 * index + 64, :80]))
    (tmp_path / "bomb.png").write_bytes(bomb())
    rows = [("none.png", "p0_B.png", "none"), ("p0_A.png", "bomb.png", "bomb")]
    rows += [(f"p{index % 4}_A.png", f"p{index % 4}_B.png", f"q{index:03d}") for index in range(ROWS)]
    (tmp_path / "many.csv").write_text("near,far,out\n" + "".join(",".join(row) + "\n" for row in rows))
    command = [*UFA, "fuse", "--pairs", "many.csv", "-o", "plain", *NANO]
    subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, timeout=300)
    return tmp_path


def killing(process, chance, results):
    """Kill -9 a worker now and then, from the first result on, until the process ends."""
    killed = set()
    while process.poll() is None:
        if len(killed) < 3 and any(results.glob("q*.png")):
            for worker in [worker for worker in workers_of(process.pid) if worker not in killed][:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    killed.add(worker)
        time.sleep(chance.uniform(0.02, 0.5))
    return killed


def test_a_server_and_a_cluster_lose_nothing_but_what_they_say(many):
    pytest.importorskip("ray", reason="needs the extra ray")
    chance = random.Random(SEED)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": many}
    options = ["--port", "0", "--token", "storm", "--queue", "3", "--deadline", "20", "--json"]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(subprocess.Popen([*UFA, "serve", *options, *NANO], **pipes))
        stack.callback(server.kill)
        host, port = next(found.groups() for line in server.stderr if (found := re.search(r"//([^:/]+):(\d+)/", line)))
        drained = threading.Thread(target=server.stderr.read, daemon=True)
        drained.start()
        clients = Clients((host, int(port)))
        kinds = ["good"] * 3 + ["bombs", "dies", "dies"]
        threads = [threading.Thread(target=clients.run, args=(kind, SEED * 100 + at)) for at, kind in enumerate(kinds)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + SECONDS

        command = [*UFA, "fuse", "--pairs", "many.csv", "-o", "ray", *NANO, "--ray", "--json"]
        cluster = stack.enter_context(subprocess.Popen(command, **pipes | {"stderr": subprocess.DEVNULL}))
        stack.callback(cluster.kill)
        killed = killing(cluster, chance, many / "ray")
        told = json.loads(cluster.stdout.read())

        time.sleep(max(0, until - time.monotonic()))
        clients.ending.set()
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)
        clients.over.set()
        for thread in threads:
            thread.join(70)
            assert not thread.is_alive()
        served = json.loads(server.stdout.read())
    LOG.info("%s; %d workers killed; %s", dict(clients.answers), len(killed), served)
    assert clients.wrong == []
    assert clients.answers[200] > 10
    assert (code, served["ok"]) == (0, True)
    assert served["fused"] >= clients.answers[200]
    assert killed, "no worker was there to be killed"
    assert (cluster.returncode, told["failed"], len(told["outputs"])) == (1, 2, ROWS + 2)
    made = sorted(path.name for path in (many / "ray").glob("*.png"))
    assert made == [f"q{index:03d}.png" for index in range(ROWS)]
    assert all(np.array_equal(cv2.imread(str(many / "ray" / name)), cv2.imread(str(many / "plain" / name))) for name in made)
    assert len(list(csv.DictReader((many / "ray" / "failed.csv").open()))) == 2
    assert [path.name for path in (many / "ray").iterdir() if path.name.startswith(".")] == []
