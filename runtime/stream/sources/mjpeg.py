"""Motion JPEG over HTTP, read part by part, so that a picture that was cut off is refused instead of shown half grey."""

from __future__ import annotations

import http.client
import time

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pixels import check_pixels, declared_size
from ufafuse.runtime.stream.messages import Frame
from ufafuse.runtime.stream.sources.base import BrokenFrame, Source, SourceLost
from ufafuse.runtime.stream.sources.fetch import Refused, SourceConnection
from ufafuse.runtime.stream.sources.multipart import PartReader
from ufafuse.runtime.stream.sources.opencv import UrlSource
from ufafuse.runtime.stream.sources.secrets import without_password

_OPEN_SECONDS = 10.0  # from asking to the answer's headers
_PART_SECONDS = 10.0  # from one picture to the end of the next
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


class HttpSource(Source):
    """What an HTTP address sends: Motion JPEG is read here, any other video through OpenCV's FFmpeg.

    Frames are timed by the arrival of their last byte. No proxy is used: cameras are near. Opening and each picture may take
    ten seconds, however the server spreads its bytes, and a silence five.

    Args:
        url: http or https; ``http://user:password@host/`` sends basic authentication.
        most: Pixels that a picture may declare; None: as `most_pixels` says for this machine.
    """

    def __init__(self, url: str, *, most: int | None = None) -> None:
        self.name = without_password(url)
        self._url = url
        self._most = most
        self._other = UrlSource(url)
        self._link = SourceConnection()
        self._parts: PartReader | None = None
        self._count = 0
        self._stale = False

    def begin(self, epoch: float) -> None:  # noqa: ARG002 - frames are timed by their arrival
        """What the server sent since `open` lies in the system's buffers and would pass for new: it is asked anew."""
        self._stale = self._parts is not None

    def open(self) -> None:
        """Raises: SourceLost when nobody answers, or refuses."""
        self.close()
        try:
            answer = self._link.get(self._url, seconds=_OPEN_SECONDS)
        except Refused as refusal:
            raise SourceLost(f"{self.name} answers {refusal}") from refusal
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SourceLost(f"{self.name} does not answer: {error or type(error).__name__}") from error
        boundary = answer.headers.get_param("boundary")
        if answer.headers.get_content_type() == "multipart/x-mixed-replace" and isinstance(boundary, str):
            self._parts = PartReader(answer, boundary)
            return
        self._link.close()
        self._other.open()
        self.size = self._other.size

    def read(self, timeout: float) -> Frame | None:
        """The next picture of the stream."""
        if self._stale:
            self._stale = False
            self.open()
        if self._parts is None:
            return self._other.read(timeout)
        self._link.allow(_PART_SECONDS)
        try:
            data = self._parts.next()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SourceLost(f"{self.name} stopped sending: {error or type(error).__name__}") from error
        arrived = time.monotonic()
        array = _decoded(data, self._most)
        self._count += 1
        return Frame(array, self._count - 1, arrived, arrived)

    def interrupt(self) -> None:
        """End the read under way."""
        self._link.cut()

    def close(self) -> None:
        """Hang up."""
        self._other.close()
        self._link.close()
        self._parts = None


def _decoded(data: bytes, most: int | None) -> Array:
    """A part's picture. Raises: BrokenFrame."""
    name = f"a part of {len(data)} bytes"
    if not (data.startswith(_JPEG_START) and _JPEG_END in data[-64:]):
        raise BrokenFrame(f"{name} is no whole JPEG")
    size = declared_size(data)
    if size is None:
        raise BrokenFrame(f"{name} cannot be decoded")
    try:
        check_pixels(size, name, most)
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR)
    except (InputError, cv2.error) as error:
        raise BrokenFrame(str(error)) from error
    if array is None:
        raise BrokenFrame(f"{name} cannot be decoded")
    return array
