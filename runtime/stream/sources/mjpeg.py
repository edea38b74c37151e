"""Motion JPEG over HTTP, read part by part, so that a picture that was cut off is refused instead of shown half grey."""

from __future__ import annotations

import base64
import http.client
import time
import urllib.error
import urllib.request
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

import cv2
import numpy as np

from ufafuse.runtime.stream.frames import Frame
from ufafuse.runtime.stream.sources.base import BrokenFrame, Source, SourceLost
from ufafuse.runtime.stream.sources.opencv import NETWORK_TIMEOUT_MS, UrlSource, without_password

_LARGEST_PART = 64 << 20
_LONGEST_LINE = 8192
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


class HttpSource(Source):
    """What an HTTP address sends: Motion JPEG is read here, any other video through OpenCV's FFmpeg.

    Frames are timed by the arrival of their last byte. No proxy is used: cameras are near.

    Args:
        url: http or https; ``http://user:password@host/`` sends basic authentication.
    """

    def __init__(self, url: str) -> None:
        self.name = without_password(url)
        self._request = _request(url)
        self._other = UrlSource(url)
        self._response: IO[bytes] | None = None
        self._boundary = b""
        self._at_part = False
        self._count = 0
        self._stale = False

    def begin(self, epoch: float) -> None:  # noqa: ARG002 - frames are timed by their arrival
        """What the server sent since `open` lies in the system's buffers and would pass for new: it is asked anew."""
        self._stale = self._response is not None

    def open(self) -> None:
        """Raises: SourceLost when nobody answers, or refuses."""
        self.close()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            response = opener.open(self._request, timeout=NETWORK_TIMEOUT_MS / 1000)
        except urllib.error.HTTPError as error:
            raise SourceLost(f"{self.name} answers {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise SourceLost(f"{self.name} does not answer: {getattr(error, 'reason', error)}") from error
        boundary = response.headers.get_param("boundary")
        if response.headers.get_content_type() == "multipart/x-mixed-replace" and isinstance(boundary, str):
            self._response, self._at_part = response, False
            # Some servers write the dashes into the parameter as well.
            self._boundary = b"--" + boundary.removeprefix("--").encode("ascii", "replace")
            return
        response.close()
        self._other.open()
        self.size = self._other.size

    def read(self, timeout: float) -> Frame | None:
        """The next picture of the stream."""
        if self._stale:
            self._stale = False
            self.open()
        if self._response is None:
            return self._other.read(timeout)
        try:
            data = self._part(self._response)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SourceLost(f"{self.name} stopped sending: {error or type(error).__name__}") from error
        arrived = time.monotonic()
        if not (data.startswith(_JPEG_START) and _JPEG_END in data[-64:]):
            raise BrokenFrame(f"a part of {len(data)} bytes is no whole JPEG")
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR)
        if array is None:
            raise BrokenFrame(f"a part of {len(data)} bytes cannot be decoded")
        self._count += 1
        return Frame(array, self._count - 1, arrived, arrived)

    def _part(self, stream: IO[bytes]) -> bytes:
        """The bytes of one part.

        Raises:
            ValueError: The stream ended, or what comes is no multipart stream.
        """
        while not self._at_part:
            self._at_part = _line(stream).startswith(self._boundary)
        self._at_part = False
        length = None
        while (header := _line(stream)).strip():
            key, _, value = header.partition(b":")
            if key.strip().lower() == b"content-length":
                length = int(value)
        if length is None:
            return self._until_boundary(stream)
        if not 0 <= length <= _LARGEST_PART:
            raise ValueError(f"a part of {length} bytes")
        data = stream.read(length)
        if len(data) < length:
            raise ValueError("the stream ended inside a picture")
        return data

    def _until_boundary(self, stream: IO[bytes]) -> bytes:
        """A part without a length goes on to the next boundary, so such a server's pictures come one frame late."""
        data = bytearray()
        while not (line := _line(stream)).startswith(self._boundary):
            data += line
            if len(data) > _LARGEST_PART:
                raise ValueError("a part without an end")
        self._at_part = True
        return bytes(data.rstrip(b"\r\n"))

    def close(self) -> None:
        """Hang up."""
        self._other.close()
        if self._response is not None:
            self._response.close()
            self._response = None


def _line(stream: IO[bytes]) -> bytes:
    line = stream.readline(_LONGEST_LINE)
    if not line:
        raise ValueError("the stream ended")
    return line


def _request(url: str) -> urllib.request.Request:
    parts = urlsplit(url)
    headers = {"User-Agent": "ufafuse"}
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(credentials).decode()
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return urllib.request.Request(address, headers=headers)  # noqa: S310 - only http and https come here
