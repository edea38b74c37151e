"""Whether an AV1 picture's black is 16 and its white 235: its sequence header says so where the file around it does not.

Source: AV1 Bitstream & Decoding Process Specification, 5.3 to 5.5.
"""

from __future__ import annotations

from collections.abc import Iterator

_SEQUENCE_HEADER, _CHOSEN_BY_PICTURE = 1, 2
_HEADER = 64  # bytes of a sequence header that are looked at


class _Bits:
    """The bits of some bytes, one after another. Raises: ValueError behind their end."""

    def __init__(self, data: bytes) -> None:
        self._bits, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def __call__(self, count: int = 1) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("cut off")
        return self._bits >> self._left & (1 << count) - 1


def is_narrow(stream: bytes) -> bool:
    """Whether its levels do not use the whole range; False too where that cannot be read."""
    try:
        header = next((content for kind, content in _units(stream) if kind == _SEQUENCE_HEADER), None)
        return header is not None and _is_narrow(_Bits(header[:_HEADER]))
    except (ValueError, IndexError):
        return False


def _units(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each unit."""
    at = 0
    while at < len(stream):
        head = stream[at]
        at += 2 if head & 4 else 1
        size, shift = len(stream) - at if not head & 2 else 0, 0
        while head & 2:
            size |= (stream[at] & 127) << shift
            at, shift, more = at + 1, shift + 7, stream[at] & 128
            if not more:
                break
        yield head >> 3 & 15, stream[at : at + size]
        at += size


def _is_narrow(bits: _Bits) -> bool:
    profile, _, reduced = bits(3), bits(), bits()
    if reduced:
        bits(5)  # the level
    else:
        _pass_over_operating_points(bits)
    across, down = bits(4) + 1, bits(4) + 1
    bits(across + down)
    if not reduced and bits():  # numbers of frames
        bits(7)
    bits(3)
    if not reduced:
        _pass_over_tools(bits)
    bits(3)
    deep = bits()
    if profile == 2 and deep:
        bits()
    grey = profile != 1 and bits()
    codes = (bits(8), bits(8), bits(8)) if bits() else None
    if not grey and codes == (1, 13, 0):  # sRGB, stored as it is
        return False
    return not bits()


def _pass_over_operating_points(bits: _Bits) -> None:
    if bits():
        raise ValueError("it has times, which a still picture has not")
    delayed = bits()
    for _ in range(bits(5) + 1):
        bits(12)
        if bits(5) > 7:
            bits()
        if delayed and bits():
            bits(4)


def _pass_over_tools(bits: _Bits) -> None:
    bits(4)
    ordered = bits()
    bits(2 if ordered else 0)
    screen = _CHOSEN_BY_PICTURE if bits() else bits()
    if screen and not bits():
        bits()
    bits(3 if ordered else 0)
