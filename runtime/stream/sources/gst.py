"""Any GStreamer pipeline as a source: CSI cameras of embedded boards, hardware decoders, libcamera."""

from __future__ import annotations

import contextlib
import ctypes
import math
import re
import time
from pathlib import Path
from typing import Any

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.filebytes import same_file
from ufafuse.runtime.pfnc import picture_from
from ufafuse.runtime.pixels import check_pixels, most_pixels
from ufafuse.runtime.stream.messages import Frame
from ufafuse.runtime.stream.sources.base import BrokenFrame, EndOfSource, Source, SourceLost
from ufafuse.runtime.stream.sources.clock import StreamClock
from ufafuse.runtime.stream.sources.secrets import without_password

_FORMATS = {
    "GRAY8": "Mono8",
    "GRAY16_LE": "Mono16",
    "BGR": "BGR8",
    "RGB": "RGB8",
    "BGRx": "BGRa8",
    "RGBx": "RGBa8",
    **{
        f"{pattern}{suffix}": f"Bayer{cell}{bits}"
        for pattern, cell in {"rggb": "RG", "grbg": "GR", "gbrg": "GB", "bggr": "BG"}.items()
        for suffix, bits in {"": 8, "10le": 10, "12le": 12, "14le": 14, "16le": 16}.items()
    },
}
_TAIL = (
    " ! videoconvert ! appsink name=ufafuse max-buffers=4 drop=true sync=false "
    'caps="video/x-raw,format=(string){ BGR, GRAY8, GRAY16_LE }"'
)
_OPEN_SECONDS = 10
_SILENT_SECONDS = 10.0  # without a picture from what is live: a camera that lost its power closes no connection
_PLAUSIBLE = (-10.0, 0.05)  # seconds from arrival, that a buffer's moment on the machine's own clock may lie
_INSTALL = (
    "on Debian `apt install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good` and an environment that sees "
    "the system's packages, elsewhere `pip install 'ufafuse[gst]'`"
)


class GstSource(Source):
    """The pictures that a pipeline, written as for ``gst-launch-1.0``, brings to its end.

    ``videoconvert`` and an ``appsink`` are added, unless it ends with an ``appsink`` of its own: that one gets its pictures as
    they are, in one of the formats that are known here, raw mosaics among them. What is not live plays at its own speed.

    Timestamps are the buffers' own: moments of the machine's clock where the pipeline runs by that, otherwise the stream's
    clock, set by the pictures that arrived with the least delay.

    Args:
        description: The pipeline.
        most: Pixels that a picture may have; None: as `most_pixels` says for this machine.

    Raises:
        InputError: PyGObject or GStreamer is not installed.
    """

    def __init__(self, description: str, *, most: int | None = None) -> None:
        self.name = "gst:" + without_password(description.strip(), ":***")
        self._gst, self._video = _libraries()
        text = description.strip()
        self._text = text if re.search(r"!\s*appsink\b[^!]*$", text) else text + _TAIL
        self._most = most_pixels() if most is None else most
        self._pipeline: Any = None
        self._sink: Any = None
        self._first: Any = None
        self._on_machine_clock = False
        self._epoch = -math.inf
        self._clock = StreamClock()
        self._count = 0
        self._heard = 0.0  # when the last picture came

    def reads(self, path: Path) -> bool:
        """Whether it is a file that the pipeline names."""
        named = re.findall(r"""location=\s*["']?([^"'\s]+)""", self._text)
        return any(same_file(path, Path(name)) for name in named)

    def open(self) -> None:
        """Raises: InputError when it is no pipeline, SourceLost when no picture comes within ten seconds."""
        gst = self._gst
        self.close()
        if not gst.is_initialized():
            gst.init(None)
        try:
            self._pipeline = gst.parse_launch(self._text)
        except Exception as error:
            raise InputError(f"{self.name} is no pipeline: {self._said(getattr(error, 'message', str(error)))}.") from error
        self._sink = self._appsink()
        live = self._pipeline.set_state(gst.State.PAUSED) == gst.StateChangeReturn.NO_PREROLL
        for name, value in (("sync", not live), ("max-buffers", 4), ("drop", True)):
            self._sink.set_property(name, value)
        if self._pipeline.set_state(gst.State.PLAYING) == gst.StateChangeReturn.FAILURE:
            raise self._trouble() or SourceLost(f"{self.name} does not start")
        self._first = first = self._sink.try_pull_sample(_OPEN_SECONDS * gst.SECOND)
        if first is None:
            raise self._trouble() or SourceLost(f"{self.name} gives no picture within {_OPEN_SECONDS} s")
        clock = self._pipeline.get_clock()
        monotonic = getattr(gst.ClockType, "MONOTONIC", None)
        self._on_machine_clock = isinstance(clock, gst.SystemClock) and clock.get_property("clock-type") == monotonic
        self._clock = StreamClock()
        self._heard = time.monotonic()
        caps = first.get_caps().get_structure(0)
        self.size = (caps.get_value("height"), caps.get_value("width"))

    def _appsink(self) -> Any:  # noqa: ANN401 - GStreamer's
        found = self._pipeline.get_by_name("ufafuse")
        elements = self._pipeline.iterate_sinks() if hasattr(self._pipeline, "iterate_sinks") else None
        while found is None and elements is not None:
            result, element = elements.next()
            if result != self._gst.IteratorResult.OK:
                break
            if element.get_factory().get_name() == "appsink":
                found = element
        if found is None:
            raise InputError(f"{self.name} does not end with an appsink: let it end with the pictures, one is added.")
        return found

    @staticmethod
    def _said(text: str) -> str:
        return without_password(text, ":***")

    def _trouble(self) -> Exception | None:
        """SourceLost with what the pipeline says of itself; EndOfSource when it has come to its end; None where all is well.

        What is live has no end of its own: its camera, or the server behind it, has gone.
        """
        message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
        if message is not None:
            error, _ = message.parse_error()
            return SourceLost(f"{self.name} stopped: {self._said(error.message)}")
        if not self._sink.is_eos():
            return None
        return EndOfSource() if self._sink.get_property("sync") else SourceLost(f"{self.name} ended")

    def begin(self, epoch: float) -> None:
        """What came while the other source was opened is old."""
        self._epoch = epoch
        if self._sink is not None and not self._sink.get_property("sync"):
            self._first = None
            while self._sink.try_pull_sample(0) is not None:
                pass

    def read(self, timeout: float) -> Frame | None:
        """The next picture; what is live and gives none for ten seconds is lost."""
        sample, self._first = self._first, None
        if sample is None:
            sample = self._sink.try_pull_sample(int(timeout * self._gst.SECOND))
        arrived = time.monotonic()
        if sample is None:
            trouble = self._trouble()
            if trouble is not None:
                raise trouble
            if arrived - self._heard > _SILENT_SECONDS and not self._sink.get_property("sync"):
                raise SourceLost(f"{self.name} has sent no picture for {_SILENT_SECONDS:.0f} s")
            return None
        self._heard = arrived
        moment = self._moment(sample, arrived)
        if self._on_machine_clock and not self._sink.get_property("sync") and moment < self._epoch:
            return None
        picture = self._picture(sample)
        self._count += 1
        return Frame(picture, self._count - 1, moment, arrived)

    def _moment(self, sample: Any, arrived: float) -> float:  # noqa: ANN401 - GStreamer's
        stamp = sample.get_buffer().pts
        if stamp == self._gst.CLOCK_TIME_NONE:
            return arrived
        running = sample.get_segment().to_running_time(self._gst.Format.TIME, stamp)
        if self._on_machine_clock and running != self._gst.CLOCK_TIME_NONE:
            moment = (running + self._pipeline.get_base_time()) / self._gst.SECOND
            if _PLAUSIBLE[0] <= moment - arrived <= _PLAUSIBLE[1]:
                return float(moment)
        return self._clock.exposed(stamp / self._gst.SECOND, arrived)

    def _picture(self, sample: Any) -> Array:  # noqa: ANN401 - GStreamer's
        caps, buffer = sample.get_caps(), sample.get_buffer()
        structure = caps.get_structure(0)
        height, width = structure.get_value("height"), structure.get_value("width")
        name = _FORMATS.get(str(structure.get_value("format")))
        if name is None:
            raise SourceLost(f"{self.name} gives {structure.get_value('format')}: let it end with one of {', '.join(_FORMATS)}")
        check_pixels((height, width), self.name, self._most)
        mapped, view = buffer.map(self._gst.MapFlags.READ)
        if not mapped:
            raise BrokenFrame(f"a buffer of {self.name} cannot be read")
        try:
            return picture_from(bytes(view.data), name, height, width, stride=self._stride(caps, buffer, height))
        finally:
            buffer.unmap(view)

    def _stride(self, caps: Any, buffer: Any, height: int) -> int:  # noqa: ANN401 - GStreamer's
        meta = self._video.buffer_get_video_meta(buffer)
        if meta is not None:
            return int(meta.stride[0])
        if caps.get_structure(0).get_name() == "video/x-raw":
            return int(self._video.VideoInfo.new_from_caps(caps).stride[0])
        return int(buffer.get_size()) // height  # mosaics: their lines fill it evenly

    def close(self) -> None:
        """Stop the pipeline."""
        if self._pipeline is not None:
            self._pipeline.set_state(self._gst.State.NULL)
            self._pipeline = self._sink = self._first = None


def _libraries() -> tuple[Any, Any]:
    _keep_unwinding()
    try:
        import gi  # pyright: ignore[reportMissingImports] - of an extra that is compiled, or the system's

        gi.require_version("Gst", "1.0")
        gi.require_version("GstVideo", "1.0")
        gi.require_version("GstApp", "1.0")
        from gi.repository import Gst, GstApp, GstVideo  # pyright: ignore[reportMissingImports] - likewise
    except (ImportError, ValueError) as error:
        raise InputError(f"`gst:` needs PyGObject and GStreamer ({error}): {_INSTALL}.") from error
    assert GstApp, "it gives appsink its methods"
    return Gst, GstVideo


def _keep_unwinding() -> None:
    """Load the compiler's own library of exceptions for all to see.

    GStreamer, as Debian builds it, brings libunwind along, whose functions of the same names would be taken by every C++
    library that is loaded afterwards: OpenVINO then dies of its first exception. What is there first is taken.
    """
    with contextlib.suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
