"""A video as a stack: its frames counted and read forwards, and what is lost of it told.

OpenCV passes over much without a word: it makes 8 bits of 10, hands out the memory's former content for an interlaced picture
that it could not convert, and what FFmpeg conceals of damage. FFmpeg says so on stderr alone, and per process, so a video is
looked through once in a process of its own, which counts the frames on the way.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.decode import opened
from ufafuse.runtime.pixels import check_pixels

_INDEXED = (".avi", ".mp4", ".mov", ".m4v")  # count their pictures
_TIMED = (*_INDEXED, ".mkv", ".webm")  # say how long they are; of other files FFmpeg guesses it
_ROUNDING, _SHARE_UNSURE = 2.5, 0.05  # pictures, and share, by which that may be off: sound may be longer
_INTERLACED = "interlaced to progressive"  # in what FFmpeg's scaler says
_DAMAGE = re.compile(r"^\[[^]]*\] (.*(?:error|corrupt|conceal|damage|mismatch|invalid|overread|unavailable).*)$", re.I | re.M)
_ERRORS = "16"  # FFmpeg's level of what it tells
_LOOK = """
import sys
sys.path[:] = [path for path in sys.path if path]  # nothing from the folder that we happen to be in
import json, cv2
capture, most, count, reached = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG), int(sys.argv[2]), 0, 0.0
declared, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
while count != most and capture.grab():
    capture.retrieve()
    count, reached = count + 1, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
print("\\n" + json.dumps([count, reached, declared, rate]))
"""
_FOUND = re.compile(r"^\[\d+, .*\]$", re.M)  # what it prints, before or after FFmpeg's words: these have a buffer of their own


@dataclass(frozen=True)
class Look:
    """What was found in a video: its frames, the time of the last, what it declares, and what FFmpeg said."""

    count: int
    reached: float
    declared: int
    rate: float
    said: str

    @property
    def damage(self) -> str:
        """The first fault that FFmpeg tells, in its words; empty where there is none."""
        found = _DAMAGE.search(self.said)
        return " ".join(found[1].split())[:120] if found else ""


def looked_through(path: Path, *, most: int = -1) -> Look:
    """Decode a video, or its first ``most`` frames, and hear what FFmpeg says.

    Raises:
        InputError: None of its frames can be decoded, or they are interlaced and cannot be converted.
    """
    quiet = os.environ | {"OPENCV_FFMPEG_LOGLEVEL": _ERRORS, "OPENCV_LOG_LEVEL": "SILENT"}
    done = subprocess.run([sys.executable, "-c", _LOOK, str(path), str(most)], env=quiet, capture_output=True, check=False)
    words = done.stdout.decode("utf-8", "replace")  # OpenCV passes FFmpeg's on there
    said = "\n".join((_FOUND.sub("", words), done.stderr.decode("utf-8", "replace")))
    found = _FOUND.search(words)
    if found is None:
        raise InputError(f"{path} is a video that cannot be read ({said.strip()[-120:]}): record or copy it again.")
    count, reached, declared, rate = json.loads(found[0])
    if not count:
        raise InputError(
            f"{path} is a video of which no frame can be decoded, damaged or of a codec that OpenCV {cv2.__version__} does not "
            "have: record it again, or convert it (ffmpeg -i VIDEO -c:v ffv1 OTHER.mkv)."
        )
    if _INTERLACED in said:
        raise InputError(
            f"{path} is an interlaced video, which OpenCV {cv2.__version__} does not convert: make it progressive first "
            "(ffmpeg -i VIDEO -vf yadif -c:v ffv1 OTHER.mkv)."
        )
    return Look(count, reached, max(0, int(declared)), rate, said)


def check_convertible(path: Path) -> None:
    """Refuse a video whose pictures OpenCV cannot convert, see `looked_through`; the first ones alone are read.

    What could not be converted is the same memory again and again, so where two pictures differ nothing more is looked at.
    """
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    (first_read, first), (second_read, second) = capture.read(), capture.read()
    capture.release()
    if first_read and not (second_read and not np.array_equal(first, second)):
        looked_through(path, most=2)


def cut_short(path: Path, *, count: int, reached: float, declared: int, interval: float) -> str:
    """What to tell where a video declares more than came; empty where it does not.

    Args:
        path: The video.
        count: Pictures that came.
        reached: Seconds at the end of the last.
        declared: Pictures that it declares.
        interval: Seconds from picture to picture.
    """
    kind, seconds = path.suffix.lower(), declared * interval
    if kind in _TIMED and reached < seconds - max(_ROUNDING * interval, _SHARE_UNSURE * seconds):
        return f"{path} ends at {reached:.1f} s of the {seconds:.1f} s that it declares: it was cut off, or is damaged"
    if kind in _INDEXED and count < declared:
        return f"{path} gave {count} of the {declared} pictures that it declares: the others are damaged"
    return ""


class Video:
    """A video file whose frames are counted; read forwards without decoding anything twice.

    Args:
        path: The file.
        most: Pixels that a frame may declare.

    Attributes:
        size: (height, width) of its frames, upright.
        damage: As `Picture.damage`, once the frames were counted.
        warnings: As `Picture.warnings`, likewise.

    Raises:
        InputError: It is no video, or its frames are too large.
    """

    def __init__(self, path: Path, most: int | None) -> None:
        opened(path).close()
        self._path, self._lock = path, threading.Lock()
        self._capture: Any = None
        self._next = 0
        self.damage, self.warnings = "", tuple[str, ...]()
        capture = self._open()
        height, width = (int(capture.get(what)) for what in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH))
        self.size = height, width
        check_pixels(self.size, str(path), most)

    def _open(self) -> Any:  # noqa: ANN401 - OpenCV's capture
        self._release()
        try:
            self._capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        except (cv2.error, UnicodeError) as error:
            raise InputError(f"{self._path} cannot be opened as a video: {error}.") from error
        if not self._capture.isOpened():
            raise InputError(f"{self._path} is a video that cannot be read: record or copy it again.")
        self._next = 0
        return self._capture

    def count(self) -> int:
        """Its frames, by going through it once: what the header says is often wrong. Raises: InputError, `looked_through`."""
        found = looked_through(self._path)
        interval = 1 / found.rate if found.rate > 0 else 1 / 25
        short = cut_short(
            self._path, count=found.count, reached=found.reached + interval, declared=found.declared, interval=interval
        )
        self.damage = found.damage
        with self._lock:
            self.warnings = tuple(filter(None, (short, *not_kept(self._capture or self._open()))))
        return found.count

    def frame(self, index: int) -> Array:
        """One frame, BGR. Raises: InputError where it cannot be decoded."""
        with self._lock:
            capture = self._open() if index < self._next or self._capture is None else self._capture
            while self._next < index and capture.grab():
                self._next += 1
            done, frame = capture.read() if self._next == index else (False, None)
            self._next += 1
        if not done or frame is None:
            raise InputError(f"{self._path}, frame {index + 1} cannot be decoded: record or copy the video again.")
        return np.ascontiguousarray(frame)

    def close(self) -> None:
        """Let go of the file, once no thread reads in it: OpenCV would end the process."""
        with self._lock:
            self._release()

    def _release(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def not_kept(capture: Any) -> list[str]:  # noqa: ANN401 - OpenCV's capture
    """What OpenCV leaves out of each frame, by FFmpeg's code of how they are stored."""
    code = int(capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT))
    letters = code.to_bytes(4, "little") if 0 < code < 1 << 32 else b""
    if letters[3:4] in (b"Y", b"G"):  # the greatest byte first
        letters = letters[::-1]
    found = []
    if letters[:1] in (b"Y", b"G") and letters[1:2] in b"1234" and 8 < letters[3] <= 16:
        found.append(f"its samples of {letters[3]} bits are read as 8: for all of them, write its frames as PNG or TIFF")
    planes = letters[:2] in (b"Y4", b"G4") and letters[3] <= 16  # with bits behind it: Y42B and Y411 have no alpha
    if letters in (b"BGRA", b"RGBA", b"ARGB", b"ABGR") or planes:
        found.append("its alpha is left out: to keep it, write its frames as PNG or TIFF")
    return found
