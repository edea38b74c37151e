"""Fused pictures into a video file."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sys
import time
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.levels import levels_from, peak_of
from ufafuse.runtime.stream.growing import Home, is_removed, opened_alone
from ufafuse.runtime.stream.messages import FusedPair, size_of
from ufafuse.runtime.stream.moments import Timeline
from ufafuse.runtime.stream.sinks.base import Sink
from ufafuse.runtime.stream.sinks.matroska import MatroskaWriter
from ufafuse.runtime.texts import usable_by_c
from ufafuse.runtime.writing import already_there, check_is_file, check_parent, read_here

STDOUT = Path("-")
_FOURCC = {".avi": "MJPG", ".mp4": "mp4v"}
VIDEO_SUFFIXES = (".mkv", *_FOURCC)
_LEAST_FREE = 64 << 20


def with_time(path: Path) -> Path:
    """The path with ``%Y-%m-%d_%H%M%S`` and the like filled in."""
    return Path(time.strftime(str(path))) if "%" in str(path) else path


class _VideoSink(Sink):
    """What the video sinks share: names of files, a new file for a new size or segment.

    Args:
        path: The file; ``%Y-%m-%d_%H%M%S`` and the like become the time at which it was begun.
        segment: Seconds after which a new file is begun; None writes one.
        force: Replace files that exist.
        white: The level of 16-bit pictures that becomes 255; None: it is found.
    """

    def __init__(self, path: Path, *, segment: float | None = None, force: bool = False, white: float | None = None) -> None:
        super().__init__()
        self._shown = EightBit(white)
        self.name = str(path)
        self._path = path
        self._home = Home(with_time(path).parent)
        self._segment = segment
        self._force = force
        self._size = ""
        self._timeline = Timeline()
        self._begun = 0.0

    def places(self) -> list[Path]:
        """The first file."""
        return [] if self._path == STDOUT else [self._next_path()]

    def open(self) -> None:
        """Raises: OutputError when the folder is missing or the file exists."""
        if self._path != STDOUT:
            self._checked(self._next_path())

    def write(self, item: FusedPair) -> None:
        """Append the picture; a change of size begins a new file, and so does the end of the one before."""
        size, moment = size_of(item.fused), self._timeline.advance(item.pair.near)
        due = self._segment is not None and moment - self._begun >= self._segment
        if size != self._size or due or self._is_gone():
            self.close()
            path = STDOUT if self._path == STDOUT else self._next_path()
            if path != STDOUT:
                self._home.restore(path.parent, self.tell)  # also where the time is in the folder's name
                self._checked(path)
            self._begin(path, item.fused)
            if path != STDOUT:
                self.outputs.append(path)
            self._size, self._begun = size, moment
        self._append(self._shown(item.fused), moment - self._begun)

    def close(self) -> None:
        """Finish the file under way; that it was removed meanwhile is told."""
        self._size = ""
        if not self._is_gone():
            self._finish()
            return
        with contextlib.suppress(OutputError):
            self._finish()
        self.tell(f"{self.outputs.pop()} was removed while it was written: its pictures are lost")

    def _is_gone(self) -> bool:
        """Whether the file under way was removed: it is written on without a word, and nothing is left of it."""
        raise NotImplementedError

    def _begin(self, path: Path, picture: Array) -> None:
        raise NotImplementedError

    def _append(self, picture: Array, seconds: float) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        raise NotImplementedError

    def _next_path(self) -> Path:
        """The path with its time filled in; from the second file on also numbered, if the time does not tell them apart.

        A clock that was set back, or another run, may have taken a name meanwhile: that is no reason to end.
        """
        path = with_time(self._path)
        if not self.outputs:
            return path
        numbers = itertools.count(len(self.outputs) + 1)
        first = path
        while path in self.outputs or path == self._path or self._taken(path):
            path = first.with_stem(f"{first.stem}-{next(numbers)}")
        return path

    def _taken(self, path: Path) -> bool:
        return self.spares(path) or (os.path.lexists(path) and not self._force)

    def _checked(self, path: Path) -> Path:
        check_parent(path)
        if self.spares(path):
            raise OutputError(read_here(path))
        if path.is_dir():
            raise OutputError(f"{path} is a folder: name a file in it, such as {path / f'live{path.suffix}'}.")
        check_is_file(path, streams=path.suffix.lower() == ".mkv")
        if os.path.lexists(path) and not self._force:  # OpenCV would write to where a link leads
            raise OutputError(already_there(path))
        return path


class MatroskaSink(_VideoSink):
    """Motion JPEG in Matroska with true times; survives a kill and says so when the disk is full.

    Args:
        path: A ``.mkv`` file, or `STDOUT`.
        quality: JPEG quality, 1 to 100.
        segment, force, white: As for all video sinks.
    """

    def __init__(
        self,
        path: Path,
        *,
        quality: int = 95,
        segment: float | None = None,
        force: bool = False,
        white: float | None = None,
    ) -> None:
        super().__init__(path, segment=segment, force=force, white=white)
        self._quality = quality
        self._stream: IO[bytes] | None = None
        self._writer: MatroskaWriter | None = None
        self._current = path

    def _begin(self, path: Path, picture: Array) -> None:
        self._current = path
        try:
            if path == STDOUT:
                self._stream = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115 - a descriptor
            else:
                self._stream = opened_alone(path, force=self._force)
            self._writer = MatroskaWriter(self._stream, (picture.shape[0], picture.shape[1]))
        except OSError as error:
            if self._stream is not None and path != STDOUT:
                self._stream.close()
                self._stream = None
                path.unlink(missing_ok=True)  # not even its header found room
            raise OutputError(self._complaint(error)) from error

    def _append(self, picture: Array, seconds: float) -> None:
        assert self._writer is not None
        done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self._quality])
        if not done:
            raise OutputError(f"a picture of {size_of(picture)} cannot be encoded as JPEG for {self._current}.")
        try:
            self._writer.write(data.tobytes(), round(seconds * 1000))
        except OSError as error:
            raise OutputError(self._complaint(error)) from error

    def _is_gone(self) -> bool:
        return self._stream is not None and self._current != STDOUT and is_removed(self._stream.fileno())

    def _finish(self) -> None:
        writer, self._writer = self._writer, None
        stream, self._stream = self._stream, None
        if stream is None:
            return
        try:
            if writer is not None:
                writer.close()
        except OSError as error:
            raise OutputError(
                f"{self._current} cannot be finished: {error.strerror}. It plays, but cannot be seeked in."
            ) from error
        finally:
            stream.close()

    def _complaint(self, error: OSError) -> str:
        whole = self._writer.frames if self._writer is not None else 0
        if self._current == STDOUT:
            return f"the reader of standard output has gone ({error.strerror}) after {whole} pictures."
        return f"{self._current} cannot be written ({error.strerror}): its {whole} pictures until now are whole. Make room."


class OpenCvSink(_VideoSink):
    """AVI (Motion JPEG) or MP4 (MPEG-4 part 2) through OpenCV, for programs that need them, at a constant rate.

    An MP4 that was not closed cannot be read: use Matroska where the power may fail.

    Args:
        path: An ``.avi`` or ``.mp4`` file.
        rate: Frames per second that the file claims.
        segment, force, white: As for all video sinks.

    Raises:
        InputError: The path is no UTF-8, which OpenCV cannot be given.
    """

    def __init__(
        self,
        path: Path,
        *,
        rate: float = 25.0,
        segment: float | None = None,
        force: bool = False,
        white: float | None = None,
    ) -> None:
        super().__init__(path, segment=segment, force=force, white=white)
        usable_by_c(str(path), "out")
        self._rate = rate
        if path.suffix.lower() == ".mp4":
            lost = "all of it, or with `segment` the last such part" if segment is None else f"its last {segment:g} seconds"
            self.caution = (
                f"{path} plays only once it was closed: a power cut or kill -9 costs {lost}. "
                "A .mkv plays up to its last picture."
            )
        self._writer: Any = None
        self._current = path
        self._frames = 0

    def _begin(self, path: Path, picture: Array) -> None:
        self._current, self._frames = path, 0
        self._need_room()
        height, width = picture.shape[:2]
        fourcc = cv2.VideoWriter.fourcc(*_FOURCC[path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, self._rate, (width, height))
        if not self._writer.isOpened():
            self._writer = None
            raise OutputError(f"{path} cannot be written by OpenCV: choose a .mkv file, or check the folder's rights.")

    def _append(self, picture: Array, seconds: float) -> None:  # noqa: ARG002 - the rate is constant
        self._need_room()
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.ndim == 2 else picture)
        self._frames += 1

    def _is_gone(self) -> bool:
        return self._writer is not None and not os.path.lexists(self._current)

    def _need_room(self) -> None:
        """OpenCV does not say when a write fails, so room is checked before."""
        free = shutil.disk_usage(self._current.parent).free
        if free < _LEAST_FREE:
            raise OutputError(f"{self._current} cannot be written: {free >> 20} MiB are left on its disk. Make room.")

    def _finish(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.release()
        check = cv2.VideoCapture(str(self._current), cv2.CAP_FFMPEG)
        found = int(check.get(cv2.CAP_PROP_FRAME_COUNT)) if check.isOpened() else 0
        check.release()
        if found != self._frames:
            raise OutputError(f"{self._current} holds {found} of the {self._frames} frames written: use a .mkv file.")


class EightBit:
    """Pictures as JPEG and video take them: H x W or H x W x 3, uint8, without alpha.

    Args:
        white: The level of 16-bit pictures that becomes 255; None: the most bits that any picture needed so far.
    """

    def __init__(self, white: float | None = None) -> None:
        self._given, self._found = white, 0.0

    def __call__(self, picture: Array) -> Array:
        """One picture."""
        eight = picture if picture.dtype == np.uint8 else self._reduced(picture)
        if eight.ndim == 3 and eight.shape[2] != 3:
            eight = eight[..., 0] if eight.shape[2] == 1 else eight[..., :3]
        return np.ascontiguousarray(eight)

    def _reduced(self, picture: Array) -> Array:
        if self._given is None:
            self._found = max(self._found, levels_from(peak_of(picture), picture.dtype).white)
        scale = 255 / (self._given or self._found)
        return np.asarray(cv2.convertScaleAbs(picture, alpha=scale)).reshape(picture.shape)
