"""Where frames come from; `source_from_text` makes one from what the command line gives."""

from __future__ import annotations

from pathlib import Path

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.kinds import OPENCV, SNIFFED, is_picture, kind_of
from ufafuse.runtime.stream.messages import FAR, NEAR, SIDES
from ufafuse.runtime.stream.sources.base import BrokenFrame, EndOfSource, Source, SourceLost
from ufafuse.runtime.stream.sources.folder import FolderSource
from ufafuse.runtime.stream.sources.mjpeg import HttpSource
from ufafuse.runtime.stream.sources.opencv import DeviceSource, UrlSource, VideoFileSource, device_source
from ufafuse.runtime.stream.sources.pace import PacedSource
from ufafuse.runtime.stream.sources.push import IterableSource, PushSource
from ufafuse.runtime.stream.sources.secrets import without_password
from ufafuse.runtime.stream.sources.sim import SimSettings, SimSource, sim_source
from ufafuse.runtime.values import check_value, is_text

__all__ = [
    "BrokenFrame",
    "DeviceSource",
    "EndOfSource",
    "FolderSource",
    "HttpSource",
    "IterableSource",
    "PacedSource",
    "PushSource",
    "SimSettings",
    "SimSource",
    "Source",
    "SourceLost",
    "UrlSource",
    "VideoFileSource",
    "source_from_text",
]

_URL_SCHEMES = ("rtsp", "rtsps", "rtmp", "udp", "tcp", "rtp", "srt")
_STILL = OPENCV | {"TIFF", "PNM", "HEIF", "OpenEXR", "raw"}
_KINDS = (
    "a camera (0, /dev/video0), a video file, a folder, a pattern (dir/*_A.png), an http or rtsp URL, gst:PIPELINE, or sim:"
)


def source_from_text(text: str, side: int, *, name: str | None = None, most: int | None = None) -> Source:
    """A source from what was given as ``near`` or ``far``; nothing is opened yet.

    Args:
        text: A camera's index or path, a video file, a folder or a pattern of image files, a URL, ``gst:`` and a pipeline,
            or ``sim:``.
        side: `NEAR` or `FAR`.
        name: The parameter that it was given as, for the errors; ``near`` or ``far`` without.
        most: Pixels that one picture may declare; None: as `most_pixels` says for this machine.

    Raises:
        InputError: It is none of these, or a parameter cannot be used.
    """
    if side not in (NEAR, FAR):
        raise InputError(f"`side={side!r}` is no side: give NEAR or FAR of `ufafuse.runtime.stream.messages`.")
    name = name or SIDES[side]
    check_value(name, text, is_text)
    if not text:
        raise InputError(f"`{name}` is empty: give {_KINDS}.")
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "sim":
        return sim_source(rest, side, most=most)
    if colon and scheme == "gst":
        from ufafuse.runtime.stream.sources.gst import GstSource  # an extra: raises InputError where it is missing

        return GstSource(rest, most=most)
    if rest.startswith("//"):
        if scheme in ("http", "https"):
            return HttpSource(text, most=most)
        if scheme in _URL_SCHEMES:
            return UrlSource(text)
        raise InputError(
            f"`{name}={without_password(text)}` has the scheme {scheme}: known are http, https and {', '.join(_URL_SCHEMES)}."
        )
    device = text.partition("?")[0]
    if device.isdecimal() or device.startswith("/dev/"):
        return device_source(text, name)
    return _recorded(Path(text), name, most)


def _recorded(path: Path, name: str, most: int | None) -> Source:
    if path.is_dir():
        return FolderSource(path, most=most)
    if path.is_file():
        _refuse_picture(path, name)
        return VideoFileSource(path)
    if "*" in path.name and path.parent.is_dir():
        return FolderSource(path.parent, path.name, most=most)
    raise InputError(f"`{name}={without_password(str(path))}` is no file, folder, camera or URL: give {_KINDS}.")


def _refuse_picture(path: Path, name: str) -> None:
    """Refuse a still picture (`InputError`), which FFmpeg takes for a video of one frame: of 8 bits, and as the sensor lay."""
    try:
        with path.open("rb") as file:
            kind = kind_of(file.read(SNIFFED))
    except OSError:  # what is wrong with it shows when it is opened
        return
    moving = kind == "GIF" or (kind == "JPEG" and not is_picture(path))  # bare Motion JPEG is one JPEG after the other
    if kind in _STILL and not moving:
        raise InputError(
            f"`{name}={path}` is a picture, not a video: give its folder, or a pattern such as dir/*_A.png; "
            "`ufa fuse` fuses single pictures."
        )
