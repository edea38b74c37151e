"""The colours of a picture in words: by its profile, or by the codes and chunks that say them without one.

Sources: ICC.1 (profiles), ISO/IEC 23091-2 (codes), PNG 3rd edition (``cICP``, ``gAMA``, ``cHRM``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

_SRGB_GAMMA = 0.45455  # as PNG's gAMA says it
_TRANSFERS = {4: "gamma 2.2", 5: "gamma 2.8", 8: "linear", 16: "PQ", 17: "SMPTE 428", 18: "HLG"}
_PRIMARIES = {4: "BT.470M", 5: "BT.470BG", 9: "BT.2020", 10: "XYZ", 11: "DCI-P3", 12: "Display P3"}
# x and y of red, green and blue, in hundred-thousandths.
_CHROMATICITIES = {
    (64_000, 33_000, 30_000, 60_000, 15_000, 6_000): "",
    (68_000, 32_000, 26_500, 69_000, 15_000, 6_000): "Display P3",
    (64_000, 33_000, 21_000, 71_000, 15_000, 6_000): "Adobe RGB",
    (70_800, 29_200, 17_000, 79_700, 13_100, 4_600): "BT.2020",
}
# As a PNG's chunks say it, with D65 as white.
ADOBE_RGB = (
    (b"gAMA", struct.pack(">I", 45_470)),
    (b"cHRM", struct.pack(">8I", 31_270, 32_900, 64_000, 33_000, 21_000, 71_000, 15_000, 6_000)),
)
_ALIKE = 1_500  # by which they may differ


def coded_space(primaries: int, transfer: int) -> str:
    """The colours behind two codes of ISO/IEC 23091-2, in words; empty for sRGB and what is like it."""
    return _joined(_TRANSFERS.get(transfer, ""), _PRIMARIES.get(primaries, ""))


def said_space(chunks: Mapping[bytes, bytes], *, profile: bool) -> str:
    """The colours that a PNG's chunks say, in words; empty for sRGB, and where a profile says them.

    Args:
        chunks: Contents by name.
        profile: Whether there is one, which goes before all but ``cICP``.
    """
    codes = chunks.get(b"cICP", b"")
    if len(codes) == 4:
        return coded_space(codes[0], codes[1])
    return "" if profile else _joined(_gamma(chunks.get(b"gAMA", b"")), _primaries(chunks.get(b"cHRM", b"")))


def _joined(*names: str) -> str:
    return ", ".join(name for name in names if name)


def _gamma(content: bytes) -> str:
    if len(content) != 4:
        return ""
    gamma = int.from_bytes(content, "big") / 1e5
    return "" if not gamma or abs(gamma - _SRGB_GAMMA) < 0.01 else f"gamma {1 / gamma:.3g}"


def _primaries(content: bytes) -> str:
    if len(content) != 32:
        return ""
    found = struct.unpack_from(">6I", content, 8)  # behind white
    for known, name in _CHROMATICITIES.items():
        if all(abs(one - other) < _ALIKE for one, other in zip(found, known, strict=True)):
            return name
    return "primaries of its own"


def profile_name(icc: bytes | None) -> str:
    """The description in a colour profile; ``"none"`` without one, its size where it cannot be read."""
    if icc is None:
        return "none"
    try:
        count = struct.unpack_from(">I", icc, 128)[0]
        for index in range(min(count, 100)):
            tag, start, length = struct.unpack_from(">4sII", icc, 132 + 12 * index)
            if tag == b"desc":
                return _description(icc[start : start + length]) or f"unnamed, {len(icc)} bytes"
    except (struct.error, UnicodeDecodeError):
        pass
    return f"unnamed, {len(icc)} bytes"


def _description(data: bytes) -> str:
    if data.startswith(b"desc"):
        length = struct.unpack_from(">I", data, 8)[0]
        return data[12 : 12 + length].split(b"\0")[0].decode("latin-1").strip()
    if data.startswith(b"mluc"):
        length, start = struct.unpack_from(">II", data, 20)
        return data[start : start + length].decode("utf-16-be").strip("\0 ")
    return ""
