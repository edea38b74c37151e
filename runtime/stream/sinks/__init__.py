"""Where fused pictures go; `sink_from_text` makes one from what the command line gives."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.write import WITH_QUALITY
from ufafuse.runtime.stream.sinks.base import Sink
from ufafuse.runtime.stream.sinks.folder import FolderSink
from ufafuse.runtime.stream.sinks.http import HttpSink
from ufafuse.runtime.stream.sinks.video import STDOUT, VIDEO_SUFFIXES, MatroskaSink, OpenCvSink, with_time
from ufafuse.runtime.stream.web.address import parse_address
from ufafuse.runtime.values import check_fields, check_value, is_text

__all__ = ["FolderSink", "HttpSink", "MatroskaSink", "OpenCvSink", "Sink", "SinkOptions", "sink_from_text"]

_QUALITY, _RATE = 95, 25.0  # of video and HTTP


@dataclass(frozen=True)
class SinkOptions:
    """What the kinds of sinks need to know.

    Args:
        quality: JPEG quality of video, HTTP and images, 1 to 100; None: 95, of images 97.
        rate: Frames a second that AVI and MP4 files claim; None: 25.
        segment: Seconds after which a new video file is begun; None writes one.
        token: For HTTP on any address but loopback.
        force: Replace files that exist.
        white: The level of 16-bit pictures that becomes 255 in video and HTTP; None: it is found.
    """

    quality: int | None = None
    rate: float | None = None
    segment: float | None = None
    token: str = ""
    force: bool = False
    white: float | None = None

    def __post_init__(self) -> None:
        """Raises: InputError for a rate or a time that is none, and what is of another type."""
        check_fields(self)
        if self.rate is not None and not 0 < self.rate < math.inf:
            raise InputError(f"`fps` {self.rate} is no rate: give frames a second, above 0.")
        if self.segment is not None and not 0 < self.segment < math.inf:
            raise InputError(f"`segment` {self.segment} is no duration: give seconds, above 0.")


def check_used(texts: Iterable[str], options: SinkOptions) -> None:
    """Refuse what none of the sinks would take.

    Args:
        texts: As `sink_from_text` takes them; empty ones are none.
        options: What they are given.

    Raises:
        InputError: An option that would do nothing; the text names it.
    """
    kinds = {"http" if text.startswith("http:") else "-" if text == "-" else Path(text).suffix.lower() for text in texts}
    for name, value, takers, told in (
        ("quality", options.quality, {".mkv", "-", "http", *WITH_QUALITY}, "JPEG in .mkv, HTTP, and images in .jpg or .webp"),
        ("fps", options.rate, {*VIDEO_SUFFIXES} - {".mkv"}, "videos in .avi and .mp4"),
        ("segment", options.segment, set(VIDEO_SUFFIXES), "videos in files"),
    ):
        if value is not None and not kinds & takers:
            raise InputError(f"`{name}` is for {told}, and no such result is written: omit it, or name another with `out`.")


def sink_from_text(text: str, options: SinkOptions | None = None, *, name: str = "out") -> Sink | None:
    """A sink from what stands behind ``--out``; nothing is opened yet, and ``none`` gives None.

    Args:
        text: ``x.mkv`` (or .avi, .mp4), ``-`` (Matroska to standard output), a folder, ``folder/*.jpg``,
            ``http://HOST:PORT``, or ``none``; ``%Y%m%d-%H%M%S`` and the like become the time in names of files and folders.
        options: Quality, rate, segment, token, force.
        name: The parameter that it was given as, for the errors.

    Raises:
        InputError: It is none of these, or HTTP without the extra ``view``.
    """
    options = options or SinkOptions()
    check_value(name, text, is_text)
    if text == "none":
        return None
    if not text:
        raise InputError(f"`{name}` is empty: name a file, a folder or an address, or none.")
    if text.startswith("https://"):
        raise InputError(f"`{name}={text}`: pictures are served as plain http: give http://HOST:PORT, behind a proxy with TLS.")
    if text.startswith("http://"):
        address = parse_address(text.removeprefix("http://").rstrip("/"), name)
        return HttpSink(address, token=options.token, quality=options.quality or _QUALITY, white=options.white)
    path = Path(text)
    suffix = path.suffix.lower()
    common: dict[str, Any] = {"segment": options.segment, "force": options.force, "white": options.white}
    if path == STDOUT or suffix == ".mkv":
        return MatroskaSink(path, quality=options.quality or _QUALITY, **common)
    if suffix in VIDEO_SUFFIXES:
        return OpenCvSink(path, rate=options.rate or _RATE, **common)
    if path.stem == "*":
        quality = options.quality if suffix in WITH_QUALITY else None
        return FolderSink(with_time(path.parent), suffix, force=options.force, quality=quality)
    path = with_time(path)
    if suffix and not path.is_dir():
        known = ", ".join(VIDEO_SUFFIXES)
        raise InputError(
            f"`{name}={text}` has the suffix {suffix}: videos end in {known}; images need a folder, such as out/*.jpg."
        )
    return FolderSink(path, force=options.force)
