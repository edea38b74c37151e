"""Frames of a stack that are read when they are needed, and again when they are needed again.

How the stack's code uses them::

    with stack_of([Path("stack.tif")]) as frames:   # or a folder's files, a video, arrays (`of_arrays`)
        frames[0].shape, frames[0].dtype            # from the header; nothing is decoded
        for frame in frames:                        # first pass
            picture = frame.read()                  # H x W [x 3 or 4], upright, as `Picture.array`; decoded each time
        for frame in frames:                        # second pass
            ...

Read in order, each pass decodes every frame once (a video too, which goes back to its beginning for the next pass). Any number
of threads may read; those that share one file wait for each other. Nothing decoded is kept.
"""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.filebytes import bytes_of
from ufafuse.runtime.frames import in_text
from ufafuse.runtime.pictures.decode import Inside, opened, read_picture
from ufafuse.runtime.pictures.exif import FileBytes
from ufafuse.runtime.pictures.kinds import OPENCV, RAW_SUFFIXES, SNIFFED, is_video, kind_of
from ufafuse.runtime.pictures.metadata import Metadata, metadata_of
from ufafuse.runtime.pictures.picture import Picture
from ufafuse.runtime.pictures.rawnotes import notes_of_raw
from ufafuse.runtime.pictures.shapes import shape_of
from ufafuse.runtime.pictures.video import Video
from ufafuse.runtime.pixels import most_bytes, most_pixels

if TYPE_CHECKING:
    from ufafuse.runtime.pictures.tiff import TiffFile

_HEADER = 1 << 20  # bytes in which a picture's header is looked for
_SHAPED = frozenset(("JPEG", "PNG"))  # formats whose header says what decoding will give
_LOOK_BYTES = 32  # for each byte of a JPEG, and half of it from half a megabyte on: 30.2 and 15.3 were measured
_LOOK_MORE = 1 << 19
_NOTES_ANYWHERE = frozenset(("WebP", "AVIF", "HEIF", "BMP"))  # formats whose notes may stand at their end


class FrameSource(ABC):
    """One frame of a stack.

    Attributes:
        name: What messages and reports call it.
        path: The file it comes from; None for an array.
        looker: What runs `look_inside` meanwhile; None: it is not wanted.
    """

    name: str
    path: Path | None = None
    looker: Executor | None = None

    @functools.cached_property
    def _kind(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        return self._shape_and_dtype()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what `read` gives: (H, W), (H, W, 3) or (H, W, 4). Read from the header where the format has a simple one.

        Raises:
            InputError: As `read`.
        """
        return self._kind[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what `read` gives: uint8, uint16 or float32. Raises: as `shape`."""
        return self._kind[1]

    @property
    def nbytes(self) -> int:
        """What it takes when it is decoded."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def metadata(self) -> Metadata:
        """What the file says beside the pixels, without decoding them. Raises: InputError."""
        return Metadata()

    def read(self) -> Array:
        """The frame: H x W (grey), H x W x 3 (BGR) or H x W x 4 (BGRA), upright; a new array each time.

        Raises:
            InputError: It cannot be read; the text names it.
        """
        return self.picture().array

    @abstractmethod
    def picture(self) -> Picture:
        """As `read`, with what the file says beside the pixels. Raises: as `read`."""

    def look_inside(self) -> str:
        """Damage inside the file that only its codes tell, see `read_picture`; empty where there is none."""
        return ""

    @property
    def looking_takes(self) -> int:
        """Bytes that `look_inside` takes, beside what is looked at in pieces."""
        return 0

    def _shape_and_dtype(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        array = self.read()
        return array.shape, array.dtype


class ArrayFrame(FrameSource):
    """A frame that is in memory already: an array, or what was read from a file."""

    def __init__(self, picture: Picture | Array, name: str) -> None:
        self._picture = picture if isinstance(picture, Picture) else Picture(picture)
        self.name, self.path = name, None

    @property
    def metadata(self) -> Metadata:
        """As `FrameSource.metadata`."""
        return self._picture.metadata

    def picture(self) -> Picture:
        """The array itself: it must not be written to."""
        return self._picture

    def _shape_and_dtype(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        return self._picture.array.shape, self._picture.array.dtype


class AheadFrame(FrameSource):
    """A frame whose reading was begun before it is asked for; a second reading is an ordinary one."""

    def __init__(self, source: FrameSource, pool: Executor) -> None:
        self.name, self.path = source.name, source.path
        self._source = source
        self._coming: Future[Picture] | None = pool.submit(source.picture)

    @functools.cached_property
    def metadata(self) -> Metadata:  # pyright: ignore[reportIncompatibleMethodOverride] - a property that is kept
        """As `FrameSource.metadata`."""
        return self._source.metadata if self._coming is None else self._coming.result().metadata

    def picture(self) -> Picture:
        """What was read meanwhile, once."""
        if self._coming is None:
            return self._source.picture()
        found, self._coming = self._known(self._coming.result()), None
        return found

    def look_inside(self) -> str:
        """As `FrameSource.look_inside`."""
        return self._source.look_inside()

    @property
    def looking_takes(self) -> int:
        """As `FrameSource.looking_takes`."""
        return self._source.looking_takes

    def peek(self) -> NDArray[Any]:
        """The pixels, which stay to be read."""
        return self._source.picture().array if self._coming is None else self._coming.result().array

    def _known(self, picture: Picture) -> Picture:
        """Note what is asked for after the picture was given away."""
        kept: dict[str, Any] = vars(self)
        kept.setdefault("metadata", picture.metadata)
        kept.setdefault("_kind", (picture.array.shape, picture.array.dtype))
        return picture

    def _shape_and_dtype(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        if self._coming is None:
            return self._source.shape, self._source.dtype
        array = self._coming.result().array
        return array.shape, array.dtype


class FileFrame(FrameSource):
    """A picture file.

    Args:
        path: The file.
        most: Pixels that it may declare; None: what the machine allows.
        inside: Look for damage inside, see `read_picture`.
    """

    def __init__(self, path: Path, *, most: int | None = None, inside: Inside = None) -> None:
        self.path, self.name = Path(path), str(path)
        self._most = most
        self._inside: Inside = inside

    def picture(self) -> Picture:
        """Decode the file."""
        assert self.path is not None
        return read_picture(self.path, most=self._most, inside=self._inside)

    def look_inside(self) -> str:
        """As `FrameSource.look_inside`; of a JPEG, TIFF or DNG. What cannot be read is told where it is read."""
        assert self.path is not None
        with contextlib.suppress(InputError, OSError), opened(self.path) as stream:
            kind = kind_of(stream.read(SNIFFED))
            if kind == "TIFF" and self.path.suffix.lower() not in RAW_SUFFIXES and not (tiff := _tiff(stream, self.name)).raw:
                return tiff.look_inside(0)
            if kind == "TIFF":
                from ufafuse.runtime.pictures.rawparts import fault_inside

                return fault_inside(FileBytes(stream))
            if kind == "JPEG":
                from ufafuse.runtime.pictures.jpegscan import fault_in_scan

                return fault_in_scan(bytes_of(self.path, most_bytes(most_pixels() if self._most is None else self._most)))
        return ""

    @property
    def looking_takes(self) -> int:
        """As `FrameSource.looking_takes`."""
        assert self.path is not None
        with contextlib.suppress(InputError, OSError), opened(self.path) as stream:
            kind, size = kind_of(stream.read(SNIFFED)), 0
            if kind == "JPEG":
                size = self.path.stat().st_size
            elif kind == "TIFF":
                from ufafuse.runtime.pictures.rawparts import most_inside

                size = most_inside(FileBytes(stream))
            return _LOOK_BYTES * (size + min(size, _LOOK_MORE)) // 2
        return 0

    @functools.cached_property
    def metadata(self) -> Metadata:  # pyright: ignore[reportIncompatibleMethodOverride] - a property that is kept
        """As `FrameSource.metadata`."""
        assert self.path is not None
        with opened(self.path) as stream:
            head = stream.read(_HEADER)
            kind = kind_of(head[:SNIFFED])
            if _is_raw(kind, self.path):
                return notes_of_raw(FileBytes(stream))
            if kind == "TIFF":
                tiff = _tiff(stream, self.name)
                return notes_of_raw(FileBytes(stream)) if tiff.raw else tiff.metadata(0)
            if kind == "PNG" and len(head) == _HEADER:
                return metadata_of(_without_pixels(stream))
            return metadata_of(head + stream.read() if kind in _NOTES_ANYWHERE else head)

    def _shape_and_dtype(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        assert self.path is not None
        with opened(self.path) as stream:
            head = stream.read(_HEADER)
            kind = kind_of(head[:SNIFFED])
            if kind == "TIFF" and self.path.suffix.lower() not in RAW_SUFFIXES:
                tiff = _tiff(stream, self.name)
                if len(tiff) == 1 and not tiff.raw:
                    return tiff.shape(0)
        found = shape_of(head, kind, self.metadata) if kind in _SHAPED else None
        return found or super()._shape_and_dtype()


def _is_raw(kind: str, path: Path) -> bool:
    """Whether `read_picture` takes a file of this kind and name for a raw one without having read it."""
    return kind == "raw" or (path.suffix.lower() in RAW_SUFFIXES and kind not in OPENCV)


def _without_pixels(stream: IO[bytes]) -> bytes:
    """A large PNG without its compressed samples, behind which notes may stand; they are not read."""
    stream.seek(0)
    kept = [stream.read(8)]
    while len(head := stream.read(8)) == 8:
        length = int.from_bytes(head[:4], "big") + 4
        if head[4:] == b"IDAT":
            stream.seek(length, 1)
            continue
        kept += [head, stream.read(length)]
    return b"".join(kept)


def _tiff(stream: IO[bytes], name: str) -> TiffFile:
    from ufafuse.runtime.pictures.tiff import TiffFile

    return TiffFile(stream, name)


class PageFrame(FrameSource):
    """One page of a TIFF that holds a stack."""

    def __init__(self, tiff: TiffFile, path: Path, index: int, most: int | None, *, inside: bool) -> None:
        self.path, self.name = path, f"{path}, page {index + 1}"
        self._tiff, self._index, self._most, self._inside = tiff, index, most, inside

    @functools.cached_property
    def metadata(self) -> Metadata:  # pyright: ignore[reportIncompatibleMethodOverride] - a property that is kept
        """As `FrameSource.metadata`."""
        return self._tiff.metadata(self._index)

    def picture(self) -> Picture:
        """Decode the page."""
        return self._tiff.read(self._index, self._most, inside=self._inside)

    def look_inside(self) -> str:
        """As `FrameSource.look_inside`."""
        return self._tiff.look_inside(self._index)

    def _shape_and_dtype(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        return self._tiff.shape(self._index)


class VideoFrame(FrameSource):
    """One frame of a video."""

    def __init__(self, video: Video, path: Path, index: int) -> None:
        self.path, self.name = path, f"{path}, frame {index + 1}"
        self._video, self._index = video, index

    def picture(self) -> Picture:
        """Decode the frame; with the first comes what is to be told of the video."""
        array = self._video.frame(self._index)
        if self._index:
            return Picture(array, kind="video")
        damage = self._video.damage and f"somewhere in the video: {self._video.damage}"
        return Picture(array, warnings=self._video.warnings, damage=damage, kind="video")

    def _shape_and_dtype(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        return (*self._video.size, 3), np.dtype(np.uint8)


def of_arrays(arrays: Sequence[Array], names: Sequence[str] | None = None) -> list[FrameSource]:
    """Frames that are in memory already, so that the same code takes them; ``names`` for the messages."""
    names = names or [f"frame {number}" for number in range(1, len(arrays) + 1)]
    return [ArrayFrame(array, name) for array, name in zip(arrays, names, strict=True)]


@contextlib.contextmanager
def stack_of(paths: Sequence[Path], *, most: int | None = None, inside: Inside = None) -> Iterator[list[FrameSource]]:
    """The frames of files: one each for a picture, as many as there are for a TIFF of several pages and for a video.

    Args:
        paths: In the order of the stack.
        most: Pixels that a frame may declare; None: what the machine allows.
        inside: Look for damage inside, see `read_picture`; the frames' pictures tell it.

    Raises:
        InputError: A file is missing or cannot be opened. Pictures are not decoded here: what is wrong inside shows when they
            are read.
    """
    most = most_pixels() if most is None else most
    with contextlib.ExitStack() as files:
        yield [frame for path in paths for frame in _frames_of(Path(path), most, files, inside=inside)]


def _frames_of(path: Path, most: int, files: contextlib.ExitStack, *, inside: Inside) -> list[FrameSource]:
    with contextlib.ExitStack() as unused:
        stream = unused.enter_context(opened(path))
        kind = kind_of(stream.read(SNIFFED))
        if kind == "TIFF" and path.suffix.lower() not in RAW_SUFFIXES:
            tiff = _tiff(stream, str(path))
            if len(tiff) > 1 and not tiff.raw:
                files.push(unused.pop_all())
                files.callback(tiff.close)
                return [PageFrame(tiff, path, index, most, inside=inside == "thoroughly") for index in range(len(tiff))]
    if kind == "video" or (not kind and is_video(path)):
        video = Video(path, most)
        files.callback(video.close)
        return [VideoFrame(video, path, index) for index in range(video.count())]
    return [FileFrame(path, most=most, inside=inside)]


def check_alike(sources: Sequence[FrameSource]) -> None:
    """Refuse frames of different sizes or kinds. Raises: InputError."""
    first = sources[0]
    for source in sources[1:]:
        if source.shape != first.shape or source.dtype != first.dtype:
            raise InputError(
                f"the frames differ: {in_text(first.name)} is {_described(first)}, {in_text(source.name)} is "
                f"{_described(source)}. "
                "Convert them to one size and kind."
            )


def _described(source: FrameSource) -> str:
    return f"{' x '.join(map(str, source.shape))} of {source.dtype}"
