"""What a JPEG 2000 file says of its picture: how many bits, which colours, profile and resolution.

OpenCV reads neither profile nor resolution, leaves 10 and 12 bits as they are, and turns YCC into other colours than are meant.

Source: ISO/IEC 15444-1, annex A (codestream) and I (file format).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ufafuse.runtime.pictures.boxes import boxes

_CODESTREAM = b"\xff\x4f\xff\x51"
_HEAD = 1 << 16  # bytes in which the codestream begins
_BY_NUMBER, _BY_PROFILE = 1, 2  # how colours are told
_METRES = 0.0254  # in an inch
_CMYK, _SYCC = 12, 18
_ALIKE = 3  # bytes a component in the codestream's first part: bits and sign, how it is reduced


@dataclass
class Said:
    """What was found; what is broken is left out.

    Attributes:
        bits: Of the first component; 0: not known.
        components: Bits and sign, reduction across and down of each, as they are stored.
        colours: The number of the colour space; 0: not told by number.
        icc: The profile.
        dpi: Pixels an inch, across and down.
    """

    bits: int = 0
    components: tuple[bytes, ...] = ()
    colours: int = 0
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None

    @property
    def unread(self) -> str:
        """What kind of picture it is, where OpenCV misreads or refuses that; empty for others."""
        if self.colours in (_CMYK, _SYCC):
            return "of CMYK inks" if self.colours == _CMYK else "of YCC colours"
        if any(each[0] & 0x80 for each in self.components):
            return "of signed samples"
        if 0 < self.bits < 8:
            return f"of {self.bits} bit{'s' * (self.bits > 1)} a sample"
        if len(self.components) == 2:
            return "of grey levels with alpha"
        return "whose samples differ in bits or size" if len(set(self.components)) > 1 else ""


def said_in(data: bytes) -> Said:
    """Read a file, or a bare codestream."""
    found = Said()
    at = data.find(_CODESTREAM, 0, _HEAD)
    if at >= 0 and at + 42 < len(data):
        found.bits = (data[at + 42] & 0x7F) + 1
        end = min(at + 42 + _ALIKE * int.from_bytes(data[at + 40 : at + 42], "big"), len(data) - _ALIKE + 1)
        found.components = tuple(data[start : start + _ALIKE] for start in range(at + 42, end, _ALIKE))
    try:
        header = next((box for box in boxes(data, 0, len(data)) if box.kind == b"jp2h"), None)
        for box in boxes(data, header.start, header.end) if header is not None else ():
            if box.kind == b"colr" and not (found.colours or found.icc):
                _take_colours(data[box.start : box.end], found)
            elif box.kind == b"pclr":  # the samples are numbers of colours
                found.bits, found.components = 0, ()
            elif box.kind == b"res ":
                _take_resolution(data, box.start, box.end, found)
    except (struct.error, IndexError):
        pass
    return found


def _take_colours(content: bytes, found: Said) -> None:
    if content[0] == _BY_NUMBER:
        found.colours = int.from_bytes(content[3:7], "big")
    elif content[0] == _BY_PROFILE:
        found.icc = content[3:] or None


def _take_resolution(data: bytes, start: int, end: int, found: Said) -> None:
    """That of capture, or of display where that is told; both in pixels a metre."""
    for box in boxes(data, start, end):
        down, below_down, across, below_across, power_down, power_across = struct.unpack_from(">HHHHbb", data, box.start)
        if box.kind in (b"resc", b"resd") and all((down, below_down, across, below_across)):
            found.dpi = (
                across / below_across * 10.0**power_across * _METRES,
                down / below_down * 10.0**power_down * _METRES,
            )
