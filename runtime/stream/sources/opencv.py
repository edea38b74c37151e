"""Cameras, video files and network streams that OpenCV reads.

PyAV 18 was tried: of H.264 and Motion JPEG at 1080 x 1920 it gave the same times of frames for 0.96 to 1.09 of the CPU time,
for it is FFmpeg as OpenCV's reader is, and takes 104 MB on the device.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.filebytes import same_file
from ufafuse.runtime.pfnc import PixelFormat, format_of_fourcc, picture_from
from ufafuse.runtime.pictures.video import check_convertible, cut_short, not_kept
from ufafuse.runtime.stream.messages import Frame
from ufafuse.runtime.stream.sources.base import EndOfSource, Source, SourceLost
from ufafuse.runtime.stream.sources.clock import Backlog, StreamClock
from ufafuse.runtime.stream.sources.params import Params
from ufafuse.runtime.stream.sources.secrets import without_password
from ufafuse.runtime.texts import usable_by_c

NETWORK_TIMEOUT_MS = 5000
_LONGEST_PAUSE = 3600.0  # seconds between two pictures of a file; a stamp beyond is not believed
_PLAUSIBLE_DELAY = 2.0  # seconds from exposure to reading that a driver's clock may show


class _Capture(Source):
    """A `cv2.VideoCapture` and the count of its frames."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._capture: Any = None
        self._count = 0
        self._backlog = Backlog(0.0)

    def _opened(self, *arguments: Any) -> bool:  # noqa: ANN401 - what cv2.VideoCapture takes
        for argument in arguments:
            if isinstance(argument, str):
                usable_by_c(argument)
        self.close()
        self._backlog = Backlog(time.monotonic())
        self._capture = cv2.VideoCapture(*arguments)
        if self._capture.isOpened():
            self._learn_size()
            return True
        self.close()
        return False

    def _learn_size(self) -> None:
        height, width = (int(self._capture.get(key)) for key in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
        self.size = (height, width) if height > 0 and width > 0 else None

    def _moment(self) -> float:
        """The time that the picture read last carries, in seconds; 0 where it carries none."""
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def _grabbed(self) -> Array | None:
        """The next picture, or None when there is none; OpenCV's own errors count as none."""
        try:
            done, array = self._capture.read()
        except cv2.error:
            return None
        return array if done else None

    def _frame(self, array: Array, timestamp: float, arrived: float) -> Frame:
        self._count += 1
        return Frame(array, self._count - 1, timestamp, arrived)

    def close(self) -> None:
        """Release the device or file."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class VideoFileSource(_Capture):
    """A video file, from its first frame to its last, timed by its own timestamps (from 0).

    Args:
        path: Any container and codec that OpenCV's FFmpeg reads.
    """

    live = False
    clock = "times that begin at 0"

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._interval = 0.0
        self._declared = 0
        self._last = -1.0

    def open(self) -> None:
        """Raises: InputError when it is no video, or one that OpenCV cannot convert."""
        if not self._opened(self.name, cv2.CAP_FFMPEG):
            raise InputError(f"{self.name} cannot be read as a video: give a file that ffprobe understands.")
        check_convertible(self._path)
        self.remark = "; ".join(f"{self.name}: {text}" for text in not_kept(self._capture))
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self._interval = 1 / rate if rate > 0 else 1 / 25
        self._declared = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))

    def read(self, timeout: float) -> Frame | None:  # noqa: ARG002 - a file never waits
        """The next frame of the file."""
        array = self._grabbed()
        if array is None:
            raise EndOfSource(self._cut_short())
        timestamp = self._moment()
        if not self._last < timestamp <= self._last + _LONGEST_PAUSE:  # no timestamps, as in bare MJPEG, or a wrong one
            timestamp = self._last + self._interval
        self._last = timestamp
        return self._frame(array, timestamp, time.monotonic())

    def _cut_short(self) -> str:
        """What to tell where the file declares more than came: FFmpeg passes damage over without a word."""
        reached = self._last + self._interval
        return cut_short(self._path, count=self._count, reached=reached, declared=self._declared, interval=self._interval)

    def reads(self, path: Path) -> bool:
        """Whether it is the video, by whatever name."""
        return same_file(path, self._path)

    def example(self) -> Array:
        """Colour of 8 bits: OpenCV converts what a video holds."""
        return np.zeros((1, 1, 3), np.uint8)


class DeviceSource(_Capture):
    """A camera of Video4Linux.

    Timestamps are the driver's where they are plausible (its clock is `time.monotonic`'s), otherwise the moment of
    arrival.

    Args:
        device: Index (0) or path (/dev/video0).
        size: Height and width to ask for; the camera's own choice without.
        rate: Frames per second to ask for; 0 leaves it.
        fourcc: Pixel format to ask for, such as ``"MJPG"``; empty leaves it. Raw ones (``"Y12"``, ``"pRAA"``, ``"RGGB"``) come
            with all their bits: grey ones as uint16, mosaics turned into colour.
    """

    def __init__(self, device: int | str, *, size: tuple[int, int] | None = None, rate: float = 0, fourcc: str = "") -> None:
        super().__init__(f"/dev/video{device}" if isinstance(device, int) else device)
        self._device = device
        self._size = size
        self._rate = rate
        self._fourcc = fourcc and fourcc.ljust(4)
        self._raw = format_of_fourcc(self._fourcc) if fourcc else None

    def open(self) -> None:
        """Raises: SourceLost when it does not open, InputError when it does not have the size or format that was asked for."""
        if not self._opened(self._device, cv2.CAP_V4L2):
            raise SourceLost(f"{self.name} does not open")
        if self._fourcc:
            self._ask_for_format()
        if self._size:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._size[1])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size[0])
        if self._rate:
            self._capture.set(cv2.CAP_PROP_FPS, self._rate)
        self._learn_size()
        if self._size and self.size != self._size:
            self.close()
            asked, offered = ("x".join(map(str, size or ("?", "?"))) for size in (self._size, self.size))
            raise InputError(
                f"{self.name} was asked for {asked} and offers {offered}: list its sizes with "
                f"`v4l2-ctl -d {self.name} --list-formats-ext`."
            )

    def _ask_for_format(self) -> None:
        if self._raw is not None:  # the driver's bytes as they are: OpenCV would make 8 bits of them
            self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        wanted = cv2.VideoWriter.fourcc(*self._fourcc)
        self._capture.set(cv2.CAP_PROP_FOURCC, wanted)
        if self._raw is not None and int(self._capture.get(cv2.CAP_PROP_FOURCC)) != wanted:
            self.close()
            raise InputError(
                f"{self.name} does not offer {self._fourcc.strip()}: list its formats with "
                f"`v4l2-ctl -d {self.name} --list-formats-ext`."
            )

    def read(self, timeout: float) -> Frame | None:  # noqa: ARG002 - the driver waits by its own clock
        """The next frame; a camera that gives none for the driver's ten seconds is lost."""
        array = self._grabbed()
        arrived = time.monotonic()
        if array is None:
            raise SourceLost(f"{self.name} gives no picture")
        exposed = self._moment()
        if self._backlog.holds(exposed, arrived):
            return None
        if self._raw is not None:
            array = self._developed(array, self._raw)
        plausible = arrived - _PLAUSIBLE_DELAY <= exposed <= arrived
        return self._frame(array, exposed if plausible else arrived, arrived)

    def _developed(self, array: Array, layout: PixelFormat) -> Array:
        """The picture that the driver's bytes hold; its lines may be padded, and fill the buffer evenly."""
        if self.size is None:
            raise SourceLost(f"{self.name} does not tell its size, which the bytes of {layout.name} need")
        data = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
        height, width = self.size
        stride = data.size // height if data.size % height == 0 and data.size >= height * layout.line_bytes(width) else None
        return picture_from(data, layout, height, width, stride=stride)


class UrlSource(_Capture):
    """A network stream (rtsp, rtmp, udp, http, ...) through OpenCV's FFmpeg, timed by its own clock set by arrival."""

    def __init__(self, url: str) -> None:
        super().__init__(without_password(url))
        self._url = url
        self._clock = StreamClock()

    def open(self) -> None:
        """Raises: SourceLost when nobody answers within five seconds."""
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, NETWORK_TIMEOUT_MS]
        if not self._opened(self._url, cv2.CAP_FFMPEG, timeouts):
            raise SourceLost(f"{self.name} does not answer, or sends no video")
        self._clock = StreamClock()

    def read(self, timeout: float) -> Frame | None:  # noqa: ARG002 - FFmpeg waits by its own clock
        """The next frame; a stream that gives none for five seconds is lost."""
        asked = time.monotonic()
        array = self._grabbed()
        arrived = time.monotonic()
        # What comes after the silence is what the decoder still held, one picture for each thread of it, at a silence each.
        if array is None or arrived - asked >= NETWORK_TIMEOUT_MS / 1000:
            raise SourceLost(f"{self.name} ended or gives no picture")
        moment = self._moment()
        if self._backlog.holds(moment, arrived):
            return None
        return self._frame(array, self._clock.exposed(moment, arrived), arrived)


def device_source(text: str, name: str) -> DeviceSource:
    """A camera from ``0`` or ``/dev/video0?size=480x640&rate=30&fourcc=MJPG``.

    Raises:
        InputError: A parameter cannot be used.
    """
    device, _, parameters = text.partition("?")
    params = Params(parameters, f"`{name}={text}`")
    size, rate, fourcc = params.size("size"), params.number("rate", 0), params.text("fourcc")
    params.finish()
    if fourcc and not (len(fourcc) == 4 or format_of_fourcc(fourcc)):
        raise InputError(f"`{name}={text}` has fourcc={fourcc}: give four letters, such as MJPG, or Y10 or Y12.")
    return DeviceSource(int(device) if device.isdecimal() else device, size=size, rate=rate, fourcc=fourcc)
