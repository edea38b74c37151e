"""The latest picture of one kind, for any number of viewers, each at its own pace."""

from __future__ import annotations

import threading
import time

import cv2

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.stream.sinks.video import EightBit


class Broadcast:
    """Keeps the newest picture only; it is encoded once, by the first viewer that wants it, and never without one.

    Publishing stores a reference and wakes the viewers: it costs the line microseconds whatever they do.

    Args:
        quality: JPEG quality, 1 to 100.
        widest: Wider pictures are scaled down to this width; 0 leaves them.
        white: The level of 16-bit pictures that becomes 255; None: it is found.
    """

    def __init__(self, *, quality: int = 80, widest: int = 0, white: float | None = None) -> None:
        self._shown = EightBit(white)
        self._quality = quality
        self._widest = widest
        self._picture: Array | None = None
        self._number = 0
        self._encoded = (0, b"")
        self._changed = threading.Condition()
        self._encoding = threading.Lock()
        self._watchers = 0
        self._seen_at = float("-inf")

    def publish(self, picture: Array | None) -> None:
        """Make ``picture`` the newest; None (no map, say) keeps the one before."""
        if picture is None:
            return
        with self._changed:
            self._picture = picture
            self._number += 1
            self._changed.notify_all()

    def jpeg_after(self, number: int, timeout: float) -> tuple[int, bytes] | None:
        """The newest picture's number and JPEG bytes, once it is newer than ``number``; None after ``timeout`` seconds."""
        with self._changed:
            self._watchers += 1
            try:
                if not self._changed.wait_for(lambda: self._number > number, timeout):
                    return None
            finally:
                self._watchers -= 1
                self._seen_at = time.monotonic()
        with self._encoding:
            with self._changed:
                newest, picture = self._number, self._picture
            if self._encoded[0] != newest and picture is not None:
                self._encoded = (newest, self._jpeg(picture))
            return self._encoded

    @property
    def watched(self) -> bool:
        """Whether anyone waits for a picture, or took one in the last two seconds."""
        return self._watchers > 0 or time.monotonic() - self._seen_at < 2

    def _jpeg(self, picture: Array) -> bytes:
        if picture.dtype.kind == "f":  # a map: weights in [0, 1]
            picture = cv2.convertScaleAbs(picture, alpha=255)
        picture = self._shown(picture)
        height, width = picture.shape[:2]
        if 0 < self._widest < width:
            small = (self._widest, max(1, round(height * self._widest / width)))
            picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        assert done, "an 8-bit picture can be encoded"
        return data.tobytes()
