"""A storm on `ufa serve`: good clients among those that go, drip, lie and send rubbish; afterwards the sums are checked.

UFAFUSE_STORM_SECONDS sets the length, 60 by default; UFAFUSE_STORM_SEED another storm.
"""

import collections
import contextlib
import http.client
import logging
import os
import random
import socket
import threading
import time

import pytest

from ufafuse.runtime.stream.stats import resident_mib

pytestmark = pytest.mark.slow
LOG = logging.getLogger(__name__)
SECONDS = float(os.environ.get("UFAFUSE_STORM_SECONDS", "60"))
SEED = int(os.environ.get("UFAFUSE_STORM_SEED", "0"))


class Clients:
    """Each method is one kind of client; what the good ones were answered is counted."""

    def __init__(self, server, body, kind, expected):
        self.server, self.body, self.kind, self.expected = server, body, kind, expected
        self.headers = {"Content-Type": kind, "Authorization": "Bearer storm"}
        self.answers = collections.Counter()
        self.over = threading.Event()
        self.wrong = []

    def ask(self, path, body, headers):
        client = http.client.HTTPConnection(*self.server.address, timeout=30)
        try:
            client.request("POST", path, body, headers)
            answer = client.getresponse()
            return answer.status, answer.read()
        finally:
            client.close()

    def good(self, chance):
        status, data = self.ask(chance.choice(["/fuse", "/fuse?timeout=20", "/fuse?timeout=0.02"]), self.body, self.headers)
        self.answers[status] += 1
        if status == 200 and data != self.expected:
            self.wrong.append(data[:50])

    def rubbish(self, chance):
        data = bytearray(self.body)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        status, _ = self.ask("/fuse", bytes(data), self.headers)
        if status not in (200, 400, 413, 415, 422, 503, 504):
            self.wrong.append(status)

    def stranger(self, chance):
        status, _ = self.ask("/fuse", self.body[: chance.randrange(100)], self.headers | {"Authorization": "Bearer no"})
        if status != 401:
            self.wrong.append(status)

    def gone(self, chance):
        with socket.create_connection(self.server.address, timeout=5) as client:
            head = f"POST /fuse HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer storm\r\nContent-Type: {self.kind}\r\n"
            client.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(self.body))
            client.sendall(self.body[: chance.randrange(len(self.body) + 1)])
            time.sleep(chance.choice([0, 0.01, 0.1]))

    def drips(self, chance):
        with socket.create_connection(self.server.address, timeout=5) as client:
            for byte in b"POST /fuse HTTP/1.1\r\nHost: localhost\r\n"[: chance.randrange(30)]:
                client.sendall(bytes([byte]))
                if self.over.wait(0.05):
                    return

    def run(self, kind, seed):
        chance = random.Random(seed)
        while not self.over.is_set():
            with contextlib.suppress(OSError) if kind != "good" else contextlib.nullcontext():
                getattr(self, kind)(chance)
            time.sleep(chance.uniform(0, 0.02))


def test_good_clients_are_answered_whatever_the_others_do(small_engine, serve, form, files, ask):
    server = serve(queue=3, batch=2, deadline=10, token="storm")
    body, kind = form(files)
    expected = ask(f"{server.url}fuse", body, Content_Type=kind, Authorization="Bearer storm").body
    clients = Clients(server, body, kind, expected)
    kinds = ["good"] * 4 + ["rubbish", "stranger", "gone", "gone", "drips", "drips"]
    threads = [threading.Thread(target=clients.run, args=(kind, SEED * 100 + at)) for at, kind in enumerate(kinds)]
    for thread in threads:
        thread.start()
    levels, until = [], time.monotonic() + SECONDS
    while time.monotonic() < until:
        time.sleep(1)
        levels.append(resident_mib())
        assert ask(f"{server.url}v2/health/live").status == 200
    clients.over.set()
    for thread in threads:
        thread.join(40)
        assert not thread.is_alive()
    settled = levels[len(levels) // 3]
    LOG.info("%s; MiB %s, %s, %s", dict(clients.answers), levels[0], settled, max(levels))
    assert clients.wrong == []
    assert set(clients.answers) <= {200, 503, 504}
    assert clients.answers[200] > 5 * SECONDS
    assert max(levels) < settled * 1.05 + 5
    assert server.drain() is True
    assert server.service.admission.active == server.service.admission.bytes == 0
