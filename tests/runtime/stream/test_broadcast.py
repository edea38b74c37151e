"""The latest picture for any number of viewers."""

import threading

import cv2
import numpy as np
import pytest

from ufafuse.runtime.stream.web.broadcast import Broadcast


def test_without_a_viewer_nothing_is_encoded(monkeypatch):
    monkeypatch.setattr(Broadcast, "_jpeg", lambda self, picture: pytest.fail("encoded"))
    broadcast = Broadcast()
    broadcast.publish(np.zeros((8, 8), np.uint8))
    assert not broadcast.watched


def test_viewers_share_one_encoding_and_get_the_newest(monkeypatch):
    encoded = []
    monkeypatch.setattr(Broadcast, "_jpeg", lambda self, picture: encoded.append(1) or bytes([picture[0, 0]]))
    broadcast = Broadcast()
    for level in range(5):
        broadcast.publish(np.full((8, 8), level, np.uint8))
    assert [broadcast.jpeg_after(0, 1) for _ in range(3)] == [(5, b"\x04")] * 3
    assert len(encoded) == 1
    assert broadcast.jpeg_after(5, 0.01) is None
    assert broadcast.watched


def test_a_viewer_is_woken():
    broadcast = Broadcast()
    threading.Timer(0.05, broadcast.publish, (np.zeros((8, 8), np.uint8),)).start()
    assert broadcast.jpeg_after(0, 5)[0] == 1


def test_wide_pictures_are_scaled_down_and_maps_shown_in_grey():
    broadcast = Broadcast(widest=100)
    broadcast.publish(np.full((60, 300), 0.5, np.float32))
    broadcast.publish(None)
    picture = cv2.imdecode(np.frombuffer(broadcast.jpeg_after(0, 1)[1], np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (20, 100)
    assert abs(int(picture.mean()) - 128) <= 2
