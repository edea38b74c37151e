"""The parts of a multipart/x-mixed-replace stream (Motion JPEG over HTTP), each of bounded size."""

from __future__ import annotations

from typing import IO

LARGEST_PART = 64 << 20
_LARGEST_HEAD = 64 << 10
_LONGEST_LINE = 8192
_DIGITS = 10


class PartReader:
    """Reads part after part.

    Args:
        stream: What the server sends after its headers.
        boundary: As the ``Content-Type`` names it; some servers write the two dashes into the parameter as well.
    """

    def __init__(self, stream: IO[bytes], boundary: str) -> None:
        self._stream = stream
        self._boundary = b"--" + boundary.removeprefix("--").encode("ascii", "replace")
        self._at_part = False

    def next(self) -> bytes:
        """The bytes of the next part.

        Raises:
            ValueError: The stream ended, or what comes is no multipart stream.
            OSError: As the stream's reads.
        """
        passed = 0
        while not self._at_part:
            line = self._line()
            passed += len(line)
            if passed > LARGEST_PART:
                raise ValueError("no part begins")
            self._at_part = line.startswith(self._boundary)
        self._at_part = False
        length = self._length()
        if length is None:
            return self._until_boundary()
        data = self._stream.read(length)
        if len(data) < length:
            raise ValueError("the stream ended inside a picture")
        return data

    def _length(self) -> int | None:
        """What the part's head says of its length. Raises: ValueError when that is no length, or the head has no end."""
        length, taken = None, 0
        while (header := self._line()).strip():
            taken += len(header)
            if taken > _LARGEST_HEAD:
                raise ValueError("a part's head without an end")
            key, _, value = header.partition(b":")
            if key.strip().lower() == b"content-length":
                length = _whole(value.strip())
        return length

    def _until_boundary(self) -> bytes:
        """A part without a length goes on to the next boundary, so such a server's pictures come one frame late."""
        data = bytearray()
        while not (line := self._line()).startswith(self._boundary):
            data += line
            if len(data) > LARGEST_PART:
                raise ValueError("a part without an end")
        self._at_part = True
        return bytes(data.rstrip(b"\r\n"))

    def _line(self) -> bytes:
        line = self._stream.readline(_LONGEST_LINE)
        if not line:
            raise ValueError("the stream ended")
        return line


def _whole(value: bytes) -> int:
    length = int(value) if value.isdigit() and len(value) <= _DIGITS else -1
    if not 0 <= length <= LARGEST_PART:
        raise ValueError(f"a part of {value[:_DIGITS].decode('ascii', 'replace')} bytes")
    return length
