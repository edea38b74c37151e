"""JPEGs that hold more than one picture: stereo cameras, panoramas, phones.

Source: CIPA DC-007, Multi-Picture Format.
"""

from __future__ import annotations

import struct

from ufafuse.runtime.pictures.blocks import segments

_APP2, _MARK = 0xE2, b"MPF\0"
_ENTRIES, _ENTRY = 0xB002, 16  # the tag that lists the pictures, and the bytes of each
_CLASS, _PREVIEW = 0xFF0000, 0x010000  # of a picture's kind: a smaller one of the first


def more_pictures(data: bytes) -> int:
    """How many pictures stand behind the first, its previews apart; 0 where the file does not say so, or says it wrong."""
    for marker, start, end in segments(data):
        if marker == _APP2 and data.startswith(_MARK, start):
            try:
                return _counted(data[start + len(_MARK) : end])
            except struct.error:
                return 0
    return 0


def _counted(index: bytes) -> int:
    order = "<" if index[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", index, 4)
    (count,) = struct.unpack_from(order + "H", index, at)
    for number in range(count):
        tag, _, size, place = struct.unpack_from(order + "HHII", index, at + 2 + 12 * number)
        if tag == _ENTRIES:
            kinds = [struct.unpack_from(order + "I", index, place + each)[0] for each in range(_ENTRY, size, _ENTRY)]
            return sum(kind & _CLASS != _PREVIEW for kind in kinds)
    return 0
