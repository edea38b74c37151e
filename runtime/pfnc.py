"""Pictures from the raw bytes of an industrial camera, by the GenICam name of their format (PFNC).

The layouts are those of the Pixel Format Naming Convention, and of GigE Vision for the older names that end in ``Packed``:

- ``Mono12``, ``BayerRG10``, ``RGB16``: each sample in two bytes, the low one first, in the low bits.
- ``Mono10p``, ``BayerGB12p``, ``RGB12p``: a stream of bits, the first sample in the lowest ones of the first byte.
- ``Mono12Packed``, ``BayerRG10Packed``: two samples in three bytes, high bits in the outer ones, low bits in the middle.
- ``YUV422_8`` (Y U Y V), ``YUV422_8_UYVY``, ``YUV422Packed`` (the same), 4:4:4, and the ``YCbCr`` names of all these.

Samples keep their levels: 12 bits reach 4095, and `PixelFormat.white` says so. Video4Linux's names of four letters are known
too (`format_of_fourcc`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.arrays import Array, Bytes
from ufafuse.runtime.bayer import demosaiced, pattern_from
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.values import check_value, is_text, is_whole, type_in_text

Buffer = bytes | bytearray | memoryview | Array

_FAMILIES = "Mono8 to Mono16, Mono10p, Mono12Packed, BayerRG8, BayerRG12p, RGB8, BGR10, RGB8_Planar, YUV422_8, YCbCr601_422_8"
_PLAIN = re.compile(r"(mono|bayer(?:rg|gr|gb|bg)|rgba?|bgra?)(1|2|4|8|10|12|14|16)(p|packed|_?planar)?", re.IGNORECASE)
_LUMA = re.compile(r"(yuv|ycbcr(?:601|709)?)_?(422|444)?_?(8?)(?:_?(packed|uyvy|uyv|cbycry|cbycr))?", re.IGNORECASE)
_OLD_NAMES = {"yuyvpacked": "YUV422_8", "yuv422_yuyv_packed": "YUV422_8"}
_MATRICES = {  # Kr, Kb, and whether luma spans 16 to 235
    "yuv": (0.299, 0.114, False),
    "ycbcr": (0.299, 0.114, False),
    "ycbcr601": (0.299, 0.114, True),
    "ycbcr709": (0.2126, 0.0722, True),
}

_CHANNELS = {"mono": 1, "bayer": 1, "rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "yuv444": 3}
_BGR_OF = {"rgb": [2, 1, 0], "bgr": [0, 1, 2], "rgba": [2, 1, 0], "bgra": [0, 1, 2]}


class BrokenBuffer(InputError):  # noqa: N818 - a state of the world, not a defect
    """A camera's buffer does not hold the whole picture that it stands for; the next one may."""


@dataclass(frozen=True)
class PixelFormat:
    """How the bytes of a picture are laid out.

    Args:
        name: GenICam's, or Video4Linux's.
        bits: Of a sample.
        layout: ``"plain"`` (whole bytes or words), or the key of `_PACKINGS` of samples that share bytes.
        colours: ``"mono"``, ``"bayer"``, ``"rgb"``, ``"bgr"``, ``"rgba"``, ``"bgra"``, ``"yuv422"`` or ``"yuv444"``.
        pattern: Of a mosaic, such as ``"rggb"``.
        planar: The colours lie one plane after the other.
        luma: Which of `_MATRICES` leads from luma and chroma to red, green and blue.
        order: Where Y, U and V lie: in 4:4:4 the places of these three, in 4:2:2 those of Y, U, Y, V in four bytes.
    """

    name: str
    bits: int
    layout: str = "plain"
    colours: str = "mono"
    pattern: str | None = None
    planar: bool = False
    luma: str = ""
    order: tuple[int, ...] = ()

    @property
    def white(self) -> int:
        """The greatest level of a sample."""
        return (1 << self.bits) - 1

    def samples(self, width: int) -> int:
        """How many samples stand in a line of one plane."""
        return 2 * width if self.colours == "yuv422" else width * (1 if self.planar else _CHANNELS[self.colours])

    def line_bytes(self, width: int, lines: int = 1) -> int:
        """Bytes of ``lines`` lines that follow each other without a gap."""
        count = self.samples(width) * lines
        if self.layout == "plain":
            return count * (1 if self.bits <= 8 else 2)
        packing = _packing(self.layout)
        if packing.whole:
            return -(-count // len(packing.pieces)) * packing.group
        return -(-count * packing.group // len(packing.pieces))


class Raw(NamedTuple):
    """What a camera sent.

    Args:
        samples: H x W (grey, or a mosaic) or H x W x 3 (BGR), uint8 or uint16; its own memory.
        white: The greatest level that a sample can have.
        bayer: The mosaic's pattern, such as ``"rggb"``; None where it is none.
    """

    samples: Array
    white: int
    bayer: str | None


class _Packing(NamedTuple):
    """Samples that share bytes.

    Args:
        group: Bytes after which the layout repeats.
        pieces: For each sample of a group: the byte, the bits to its right that are not its, how many bits, and where they go.
        whole: A line always ends with a whole group.
    """

    group: int
    pieces: tuple[tuple[tuple[int, int, int, int], ...], ...]
    whole: bool = False


def format_of(name: str) -> PixelFormat:
    """The format of a GenICam name, such as ``"BayerRG12p"``; capitals do not matter.

    Raises:
        InputError: It is none that is known here.
    """
    check_value("pixel_format", name, is_text)
    name = _OLD_NAMES.get(name.lower(), name)
    found = _PLAIN.fullmatch(name)
    known = _plain_format(name, found) if found else None
    if known is None and (luma := _LUMA.fullmatch(name)):
        known = _luma_format(name, luma)
    if known is None:
        raise InputError(f"the pixel format {name!r} is not known: set the camera to one such as {_FAMILIES}.")
    return known


def _plain_format(name: str, found: re.Match[str]) -> PixelFormat | None:
    kind, bits, ending = found[1].lower(), int(found[2]), (found[3] or "").lower().lstrip("_")
    colour = kind.startswith(("rgb", "bgr"))
    pattern = pattern_from(kind) if kind.startswith("bayer") else None
    colours = "bayer" if pattern else kind
    layout = "plain"
    if ending == "planar":
        if len(kind) != 3 or bits < 8:
            return None
    elif ending == "packed" and not colour:
        if bits not in (10, 12):
            return None
        layout = f"gige{bits}"
    elif ending == "p" and bits in (1, 2, 4, 10, 12, 14):
        layout = f"low{bits}"
    elif ending == "p" or bits < 8:
        return None
    return PixelFormat(name, bits, layout, colours, pattern, planar=ending == "planar")


def _luma_format(name: str, found: re.Match[str]) -> PixelFormat | None:
    family, sampling, bits, ending = (part.lower() for part in found.groups(default=""))
    if sampling == "422":
        chroma_first = ending in ("packed", "uyvy", "cbycry")
        if ending not in ("", "packed", "uyvy", "cbycry"):
            return None
        return PixelFormat(name, 8, colours="yuv422", luma=family, order=(1, 0, 3, 2) if chroma_first else (0, 1, 2, 3))
    if ending in ("uyv", "packed", "cbycr"):
        return PixelFormat(name, 8, colours="yuv444", luma=family, order=(1, 0, 2))
    if ending or not bits:
        return None
    return PixelFormat(name, 8, colours="yuv444", luma=family, order=(0, 1, 2))


_FOURCC = {
    "GREY": "Mono8",
    "Y10 ": "Mono10",
    "Y12 ": "Mono12",
    "Y14 ": "Mono14",
    "Y16 ": "Mono16",
    "Y10B": "Mono:high10",
    "Y10P": "Mono:mipi10",
    "Y12P": "Mono:mipi12",
    **{
        code: f"Bayer{pattern}{kind}"
        for pattern, codes in {
            "RG": "RGGB RG10 RG12 RG14 RG16 pRAA pRCC",
            "GR": "GRBG BA10 BA12 GR14 GR16 pgAA pgCC",
            "GB": "GBRG GB10 GB12 GB14 GB16 pGAA pGCC",
            "BG": "BA81 BG10 BG12 BG14 BYR2 pBAA pBCC",
        }.items()
        for code, kind in zip(codes.split(), ("8", "10", "12", "14", "16", ":mipi10", ":mipi12"), strict=True)
    },
}


def format_of_fourcc(code: str) -> PixelFormat | None:
    """The raw format that Video4Linux calls by these four letters, such as ``"Y10 "`` or ``"pRAA"``; None where it is none.

    Colour formats (``"YUYV"``, ``"MJPG"``) are none: OpenCV reads them.
    """
    check_value("code", code, is_text)
    name = _FOURCC.get(code.ljust(4))
    if name is None:
        return None
    kind, _, layout = name.partition(":")
    if not layout:
        return format_of(name)
    pattern = pattern_from(kind) if kind != "Mono" else None
    return PixelFormat(code, int(layout[-2:]), layout, "bayer" if pattern else "mono", pattern)


def raw_from(data: Buffer, pixel_format: str | PixelFormat, height: int, width: int, *, stride: int | None = None) -> Raw:
    """The samples that a camera's buffer holds.

    Args:
        data: Bytes, or an array of them (or of words) as an SDK gives it; it is not kept, and not written to.
        pixel_format: GenICam's name, such as ``"Mono12p"``, or what `format_of` gave.
        height, width: In pixels.
        stride: Bytes from one line's beginning to the next one's, where lines are padded; None: they are not. Bits of packed
            samples then go on from line to line, or each line begins with a byte: the size says which.

    Raises:
        InputError: The format is not known, the size cannot be one, or an argument is of another type.
        BrokenBuffer: The buffer does not have the size that such a picture has.
    """
    layout = pixel_format if isinstance(pixel_format, PixelFormat) else format_of(pixel_format)
    check_value("height", height, is_whole)
    check_value("width", width, is_whole)
    check_value("stride", stride, is_whole, optional=True)
    if height < 1 or width < 1:
        raise InputError(f"a picture of {height} x {width} has no pixels: give its height and width.")
    if layout.colours == "yuv422" and width % 2:
        raise InputError(f"{layout.name} has colours for two pixels at a time, and {width} columns are odd: set an even width.")
    flat = _bytes_of(data)
    planes = _CHANNELS[layout.colours] if layout.planar else 1
    samples = _samples(flat, layout, height * planes, width, stride)
    if layout.planar:
        samples = np.moveaxis(samples.reshape(planes, height, width), 0, 2).reshape(height, -1)
    return Raw(_picture(samples, layout, width), layout.white, layout.pattern)


def _bytes_of(data: Buffer) -> Bytes:
    """A buffer's bytes. Raises: InputError where it is none."""
    if isinstance(data, np.ndarray) and data.dtype.kind in "ui":
        # The numbers that it holds count, in the order of a camera's bytes.
        data = np.ascontiguousarray(data, data.dtype.newbyteorder("<"))
    elif not isinstance(data, bytes | bytearray | memoryview):
        found = f"an array of {data.dtype}" if isinstance(data, np.ndarray) else type_in_text(data)
        raise InputError(f"`data` is {found}: give bytes, or an array of whole numbers.")
    if isinstance(data, memoryview) and not data.c_contiguous:
        data = data.tobytes()
    return np.frombuffer(data, np.uint8)


def picture_from(data: Buffer, pixel_format: str | PixelFormat, height: int, width: int, *, stride: int | None = None) -> Array:
    """As `raw_from`, mosaics turned into colour: H x W, or H x W x 3 (BGR), uint8 or uint16, as the pipeline takes it."""
    raw = raw_from(data, pixel_format, height, width, stride=stride)
    return raw.samples if raw.bayer is None else demosaiced(raw.samples, raw.bayer, white=raw.white)


def _samples(flat: Bytes, layout: PixelFormat, lines: int, width: int, stride: int | None) -> Array:
    """All samples, line by line: lines x samples of a line."""
    count, line = layout.samples(width), layout.line_bytes(width)
    whole = layout.line_bytes(width, lines)
    if stride is None and flat.size == whole:  # as one line that goes on
        return _unpacked(flat.reshape(1, -1), layout, count * lines).reshape(lines, count)
    step = line if stride is None else stride
    if step < line:
        raise InputError(f"a stride of {step} bytes is too short for {width} pixels of {layout.name}: {line} are needed.")
    if flat.size not in (step * lines, step * (lines - 1) + line):
        wanted = whole if stride is None else step * lines
        raise BrokenBuffer(
            f"a buffer of {flat.size} bytes is no {layout.name} picture of {lines} lines of {width}: {wanted} are expected."
        )
    rows = np.lib.stride_tricks.as_strided(flat, (lines, line), (step, 1), writeable=False)
    return _unpacked(rows, layout, count)


def _unpacked(rows: Bytes, layout: PixelFormat, count: int) -> Array:
    """``count`` samples of each row of bytes, in memory of their own."""
    if layout.layout == "plain":
        own = rows.copy()
        return own if layout.bits <= 8 else own.view("<u2").astype(np.uint16, copy=False)
    packing = _packing(layout.layout)
    groups = -(-count // len(packing.pieces))
    missing = groups * packing.group - rows.shape[1]
    if missing:
        rows = np.pad(rows, ((0, 0), (0, missing)))
    cells = rows.reshape(rows.shape[0], groups, packing.group)
    dtype = np.uint8 if layout.bits <= 8 else np.uint16
    samples = np.zeros((rows.shape[0], groups, len(packing.pieces)), dtype)
    for place, pieces in enumerate(packing.pieces):
        for byte, shift, bits, to in pieces:
            part = (cells[..., byte] >> shift) & np.uint8((1 << bits) - 1)
            samples[..., place] |= np.left_shift(part, to, dtype=dtype)
    flat = samples.reshape(rows.shape[0], -1)
    return flat if flat.shape[1] == count else np.ascontiguousarray(flat[:, :count])


@cache
def _packing(layout: str) -> _Packing:
    kind = layout.rstrip("0123456789")
    bits = int(layout.removeprefix(kind))
    if kind == "gige":
        low = bits - 8
        return _Packing(3, (((0, 0, 8, low), (1, 0, low, 0)), ((2, 0, 8, low), (1, 4, low, 0))))
    if kind == "mipi":
        low, count = bits - 8, 8 // (bits - 8)
        return _Packing(count + 1, tuple(((at, 0, 8, low), (count, at * low, low, 0)) for at in range(count)), whole=True)
    count = {1: 8, 2: 4, 4: 2, 10: 4, 12: 2, 14: 4}[bits]
    pieces = tuple(_bit_pieces(at * bits, bits, low_first=kind == "low") for at in range(count))
    return _Packing(count * bits // 8, pieces)


def _bit_pieces(first: int, bits: int, *, low_first: bool) -> tuple[tuple[int, int, int, int], ...]:
    """Where the ``bits`` bits from bit ``first`` of a stream lie, as `_Packing` says it."""
    pieces, done = [], 0
    while done < bits:
        byte, inside = divmod(first + done, 8)
        here = min(8 - inside, bits - done)
        pieces.append((byte, inside, here, done) if low_first else (byte, 8 - inside - here, here, bits - done - here))
        done += here
    return tuple(pieces)


def _picture(samples: Array, layout: PixelFormat, width: int) -> Array:
    """Grey or a mosaic as they are, colours as H x W x 3 BGR."""
    height = samples.shape[0]
    if layout.colours in ("mono", "bayer"):
        return samples
    if layout.luma:
        return _from_luma(samples, layout, width)
    return np.ascontiguousarray(samples.reshape(height, width, -1)[..., _BGR_OF[layout.colours]])


def _from_luma(samples: Array, layout: PixelFormat, width: int) -> Array:
    """Blue, green and red from luma and chroma; the two pixels of 4:2:2 share their chroma."""
    height = samples.shape[0]
    luma = np.empty((height, width, 3), np.uint8)
    if layout.colours == "yuv422":
        cells = samples.reshape(height, width // 2, 4)[..., layout.order]
        luma[..., 0] = cells[..., (0, 2)].reshape(height, width)
        for channel, place in ((1, 1), (2, 3)):
            luma[..., channel] = np.repeat(cells[..., place], 2, axis=1)
    else:
        luma[...] = samples.reshape(height, width, 3)[..., layout.order]
    exact = cv2.transform(luma.astype(np.float32), _matrix(layout.luma))  # of bytes, OpenCV makes a level's error
    return np.clip(np.rint(exact, out=exact), 0, 255, out=exact).astype(np.uint8)


@cache
def _matrix(family: str) -> NDArray[np.float64]:
    """From Y, U, V and 1 to B, G, R (ITU-R BT.601 and BT.709; JFIF where luma spans 0 to 255)."""
    red, blue, studio = _MATRICES[family]
    green = 1 - red - blue
    luma, chroma, black = (255 / 219, 255 / 224, 16.0) if studio else (1.0, 1.0, 0.0)
    from_u = np.array([2 * (1 - blue), -2 * blue * (1 - blue) / green, 0.0]) * chroma
    from_v = np.array([0.0, -2 * red * (1 - red) / green, 2 * (1 - red)]) * chroma
    offset = -black * luma - 128 * (from_u + from_v)
    return np.stack([np.full(3, luma), from_u, from_v, offset], axis=1)
