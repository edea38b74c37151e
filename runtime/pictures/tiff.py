"""TIFF as it is meant: by its own words about colour, planes, levels and pages, through tifffile.

tifffile decodes what is stored plainly or with Deflate by itself, imagecodecs (extra ``tiff``) the other compressions, OpenCV's
libtiff the older ones (LZW, PackBits, JPEG, fax) where imagecodecs is not installed.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import IO, Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import NOT_ENOUGH, InputError, is_shortage
from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures.captions import iptc_in_tiff
from ufafuse.runtime.pictures.damage import JPEG_PARTS, fault_in_parts
from ufafuse.runtime.pictures.metadata import ICC_TAG, XMP_TAG, Metadata, resolution_in
from ufafuse.runtime.pictures.microscopes import check_axes, dpi_in
from ufafuse.runtime.pictures.picture import Picture, upright, whole_alpha
from ufafuse.runtime.pictures.tiffwhole import FAX, check_page, contradiction
from ufafuse.runtime.pixels import check_pixels

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _MASK, _CMYK, _YCBCR, _CFA, _LINEAR_RAW = 0, 1, 2, 3, 4, 5, 6, 32803, 34892
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_NAMES = {_MASK: "a transparency mask", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", _CFA: "a sensor's mosaic",
          32844: "LogL", 32845: "LogLuv", _LINEAR_RAW: "linear raw samples"}  # fmt: skip
_ASSOCIATED, _UNASSOCIATED = 1, 2
_REDUCED = 2  # of the old tag for kinds of pages
_LIBTIFF = frozenset((2, 3, 4, 5, 6, 7, 32773))  # compressions that OpenCV's libtiff knows and tifffile by itself does not
_YCBCR_BY_LIBTIFF = _LIBTIFF | {1, 8, 32946}  # of others it makes black, and tifffile leaves them as they are
_LZW = 5
_JPEG_XR = frozenset((22_610, 34_934))
_JPEG_2000_YCC = frozenset((33_003, 33_004))  # Aperio's and libvips's, who mean luma and colour differences; others RGB
_SIXTEEN, _SHORT = 65_535, 3
_DNG_VERSION = 50_706
_BROKEN = (ValueError, TypeError, IndexError, KeyError, AttributeError, struct.error, zlib.error, EOFError, OSError,
           MemoryError, ZeroDivisionError, OverflowError, RuntimeError, AssertionError, ImportError)  # fmt: skip


class TiffFile:
    """A TIFF, opened: its pictures, which are pages or what a microscope's program calls a stack. One thread at a time reads.

    Args:
        stream: Closed with this object.
        name: What messages call the file.

    Attributes:
        raw: Whether the picture proper is a sensor's: a DNG, or a camera maker's own kind.

    Raises:
        InputError: It is broken, or holds no picture that can be told from the others.
    """

    def __init__(self, stream: IO[bytes], name: str) -> None:
        import tifffile

        logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it finds is told in our own words
        self._name, self._stream, self._lock = name, stream, threading.RLock()
        stream.seek(0)  # tifffile counts from where it finds the stream
        with _damage_told(name):
            self._file = tifffile.TiffFile(stream)
            self._pages = self._frames()
            self.raw = self._is_raw()

    def __len__(self) -> int:
        """How many pictures it holds."""
        return len(self._pages)

    def _is_raw(self) -> bool:
        first: Any = self._file.pages[0]
        photometrics = {page.tags.valueof(262) for page in self._with_parts()}
        return _DNG_VERSION in first.tags or (bool(photometrics & {_CFA, _LINEAR_RAW}) and first.tags.valueof(262) != _CFA)

    def _with_parts(self) -> list[Any]:
        pages = list(self._pages[:1])
        for page in (self._file.pages[0], *pages):
            if page is not None and page.subifds:
                pages += list(page.pages or ())
        return [page for page in pages if page is not None]

    def _frames(self) -> list[Any]:
        """The pages that are pictures: no thumbnails, no masks; and as many as a microscope's program counts."""
        pages: Any = self._file.pages
        if not len(pages):
            raise InputError(f"{self._name} is a damaged TIFF (without a picture): write or copy it again.")
        check_axes(self._file, self._name)
        if not ex.whole_chain(ex.FileBytes(self._stream)):
            raise InputError(f"{self._name} is a damaged TIFF (pages are missing at its end): write or copy it again.")
        kept = [page for page in map(pages.get, range(len(pages))) if not _is_no_frame(page)]
        return kept or [pages[0]]

    def shape(self, index: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """The shape and dtype that `read` will give, without decoding. Raises: InputError where the page is damaged."""
        with _damage_told(self._name):
            return self._shape(index)

    def _shape(self, index: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
        page = self._pages[index]
        height, width = int(page.imagelength), int(page.imagewidth)
        if int(page.tags.valueof(274, 1) or 1) >= 5:
            height, width = width, height
        photometric, alpha = int(page.photometric), _alpha_of(page)[0] is not None
        colour = photometric in (_RGB, _PALETTE, _CMYK, _YCBCR)
        dtype = {"f": np.dtype(np.float32)}.get(page.dtype.kind if page.dtype else "u", page.dtype)
        if dtype is None or dtype.itemsize == 1 or photometric == _PALETTE:
            dtype = np.dtype(np.uint8 if photometric != _PALETTE or _colours_of(page).dtype == np.uint8 else np.uint16)
        elif dtype.kind != "f":
            dtype = np.dtype(np.uint16)
        return (height, width, 4) if alpha else (height, width, 3) if colour else (height, width), dtype

    def read(self, index: int, most: int | None = None, *, inside: bool = False) -> Picture:
        """Decode one picture.

        Args:
            index: From 0.
            most: Pixels that it may declare.
            inside: Look for damage inside, too, which decoders pass over, see `fault_in_parts`; that is a warning.

        Raises:
            InputError: It is too large, broken, or of a kind that is not read; the text says what it is and what is missing.
        """
        name = self._name if len(self) == 1 else f"{self._name}, page {index + 1}"
        page = self._pages[index]
        with self._lock, _damage_told(name):
            sides = ((page.imagelength, page.tilelength or 0), (page.imagewidth, page.tilewidth or 0))
            height, width = (max(int(side), int(tile)) for side, tile in sides)
            check_pixels((height, width), name, most)
            check_page(page)
            _check_kind(page, name)
            damage = contradiction(self._bytes, page) or fault_in_parts(self._bytes, page, inside=inside)
            samples, noticed = self._samples(page, name, looked=inside)
            picture = _interpreted(page, samples, name)
            metadata = self._metadata(page)
            turn = int(page.tags.valueof(274, 1) or 1)
            inks = int(page.photometric) == _CMYK
        if inks:
            metadata = replace(metadata, icc=None)
        array = upright(picture.array, turn)
        return Picture(array, metadata, picture.warnings, damage or noticed, picture.white, "TIFF")

    def look_inside(self, index: int) -> str:
        """Damage inside parts that are JPEGs, as `read` with ``inside`` tells it; empty also where `read` would refuse them.

        Other parts take twice as long to look into as to unpack, and what unpacks them notices most of it.
        """
        page = self._pages[index]
        with contextlib.suppress(InputError), _damage_told(self._name):
            return fault_in_parts(self._bytes, page, inside=True) if int(page.compression) == JPEG_PARTS else ""
        return ""

    def _bytes(self, start: int, length: int) -> bytes:
        with self._lock:
            self._stream.seek(start)
            return self._stream.read(length)

    def metadata(self, index: int) -> Metadata:
        """What the file says beside the pixels of one picture; what cannot be understood is left out."""
        with self._lock, contextlib.suppress(InputError), _damage_told(self._name):
            return self._metadata(self._pages[index])
        return Metadata()

    def _samples(self, page: Any, name: str, *, looked: bool) -> tuple[Array, str]:  # noqa: ANN401 - tifffile's page
        """The stored samples: rows x columns, or rows x columns x samples; and damage, unless that was looked for before."""
        compression = int(page.compression)
        if int(page.photometric) == _YCBCR and compression != JPEG_PARTS:
            return self._through_libtiff(page, name, looked=looked)
        try:
            samples = page.asarray()
        except (ValueError, ImportError, NotImplementedError) as error:
            if not any(word in str(error) for word in ("imagecodecs", "No module")):
                raise
            if compression in _LIBTIFF and _for_libtiff(page):
                return self._through_libtiff(page, name, looked=looked)
            kind = f"a {_compression(page)}-compressed TIFF"
            if compression == 1:
                kind = f"a TIFF of {page.bitspersample} bits a sample"
            raise InputError(f"{name} is {kind}: pip install 'ufafuse[tiff]'.") from error
        if samples.ndim == 3 and page.axes == "SYX":
            samples = np.moveaxis(samples, 0, 2)
        if samples.ndim not in (2, 3) or samples.shape[:2] != (page.imagelength, page.imagewidth):
            raise InputError(f"{name} has the axes {page.axes} of {page.shape}: save it as a flat picture or a stack.")
        return np.asarray(samples), ""

    def _through_libtiff(self, page: Any, name: str, *, looked: bool) -> tuple[Array, str]:  # noqa: ANN401 - as above
        """By OpenCV: RGB or grey, as tifffile would give them, stored rows and columns."""
        # It would make what is missing grey, and say nothing.
        damage = "" if looked else fault_in_parts(self._bytes, page, inside=True)
        self._stream.seek(0)
        data = np.frombuffer(self._stream.read(), np.uint8).copy()
        if (turn := page.tags.get(274)) is not None:  # OpenCV would turn the picture, and so would we
            size = 2 if int(turn.dtype) == _SHORT else 4
            upright_word = (1).to_bytes(size, "big" if self._file.byteorder == ">" else "little")
            data[turn.valueoffset : turn.valueoffset + size] = np.frombuffer(upright_word, np.uint8)
        done, found = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED, range=(page.index, page.index + 1))
        if not done or not found or found[0].shape[:2] != (page.imagelength, page.imagewidth):
            raise InputError(f"{name} cannot be decoded: pip install 'ufafuse[tiff]', or save it without compression.")
        image = found[0]
        if page.bitspersample == 1:  # of which OpenCV makes 0 and 255
            return np.asarray(image > 0), damage
        return image if image.ndim == 2 else np.ascontiguousarray(image[..., 2::-1]), damage

    def _metadata(self, page: Any) -> Metadata:  # noqa: ANN401 - as above
        icc, xmp = page.tags.valueof(ICC_TAG), page.tags.valueof(XMP_TAG)
        found = ex.parse_exif(ex.FileBytes(self._stream))
        icc, xmp = (bytes(value) if isinstance(value, (bytes, tuple)) else None for value in (icc, xmp))
        # Programs that say how large a pixel is often leave some default in TIFF's own tags.
        dpi = dpi_in(self._file, found.number(ex.X_RESOLUTION), found.number(ex.Y_RESOLUTION)) or resolution_in(found)
        exif, iptc = found.to_bytes() if found.main else None, iptc_in_tiff(found.main)
        return Metadata(icc, exif, xmp, dpi, left_out=found.cannot_stay, iptc=iptc)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._file.close()
            self._stream.close()


def _compression(page: Any) -> str:  # noqa: ANN401 - tifffile's page
    return str(getattr(page.compression, "name", int(page.compression)))


def _for_libtiff(page: Any) -> bool:  # noqa: ANN401 - tifffile's page
    """Whether OpenCV gives what is stored: it mixes up planes, and stretches some of the fewer bits."""
    plain = int(page.planarconfig) == 1 or page.samplesperpixel == 1
    whole = page.bitspersample in (1, 8, 16, 32, 64)
    plain = plain and (int(page.predictor) == 1 or int(page.compression) == _LZW)  # libtiff undoes no other differences
    return plain and whole and int(page.photometric) in (_BLACK_IS_ZERO, _RGB, _YCBCR) and not page.extrasamples


def _is_no_frame(page: Any) -> bool:  # noqa: ANN401 - tifffile's page
    """Whether a page is a smaller copy or a mask: by TIFF 6's tag, or by the older one."""
    kind = page.tags.valueof(254)
    return page.tags.valueof(255) == _REDUCED if kind is None else bool(int(kind) & 5)


@contextlib.contextmanager
def _damage_told(name: str) -> Iterator[None]:
    """Whatever tifffile stumbles over in a file's structure, as an `InputError` with the file's name."""
    import tifffile

    try:
        yield
    except (*_BROKEN, tifffile.TiffFileError) as error:
        if is_shortage(error):
            raise InputError(f"{name} cannot be read: {NOT_ENOUGH} for what it declares.") from error
        raise InputError(f"{name} is a damaged TIFF ({_short(error)}): write or copy it again.") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _check_kind(page: Any, name: str) -> None:  # noqa: ANN401 - tifffile's page
    photometric = int(page.photometric)
    if photometric not in _COLOURS:
        kind = _NAMES.get(photometric, f"of the unknown colour kind {photometric}")
        mend = "give the raw file itself, or its mosaic as grey with `bayer`" if photometric == _CFA else "convert it to RGB"
        raise InputError(f"{name} is a TIFF of {kind}: {mend}.")
    if int(page.compression) in _JPEG_XR:  # jxrlib reads past the end of what is damaged, up to the process's end
        raise InputError(f"{name} is a TIFF of JPEG XR, which is not read: save it with another compression.")
    if int(page.compression) in FAX and page.bitspersample != 1:
        raise InputError(f"{name} is a damaged TIFF ({page.bitspersample} bits a sample in a fax): write or copy it again.")
    if photometric == _CMYK and int(page.tags.valueof(332, 1) or 1) != 1:
        raise InputError(f"{name} is a TIFF of printing inks other than CMYK: convert it to RGB.")
    if photometric == _YCBCR and int(page.compression) not in _YCBCR_BY_LIBTIFF:
        raise InputError(f"{name} is a {_compression(page)}-compressed TIFF of YCbCr colours: convert it to RGB.")
    if int(page.compression) in _JPEG_2000_YCC and int(page.samplesperpixel) >= _COLOURS[_RGB]:
        raise InputError(f"{name} is a TIFF of JPEG 2000 in colours that programs read differently: convert it to RGB.")
    if page.dtype is None or page.dtype.kind not in "uifb":
        raise InputError(f"{name} has samples of {page.dtype or 'an unknown kind'}: save it with 8 or 16 bits, or float32.")
    if getattr(page, "imagedepth", 1) != 1:
        raise InputError(f"{name} is a volume of {page.imagedepth} layers in one page: save it as a stack of pages.")


def _alpha_of(page: Any) -> tuple[int | None, bool, int]:  # noqa: ANN401 - as above
    """Which sample is alpha (None: none is), whether colours were multiplied by it, and how many samples nobody explains."""
    colours = _COLOURS.get(int(page.photometric), 1)
    kinds: Sequence[int] = [int(kind) for kind in page.extrasamples]
    extra = int(page.samplesperpixel) - colours
    for position, kind in enumerate(kinds[: max(0, extra)]):
        if kind in (_ASSOCIATED, _UNASSOCIATED):
            return colours + position, kind == _ASSOCIATED, extra - 1
    return None, False, max(0, extra)


def _interpreted(page: Any, samples: Array, name: str) -> Picture:  # noqa: ANN401 - as above
    """Stored samples as a picture: BGR or grey, black is zero, 8 or 16 bits or float32."""
    photometric, warnings = int(page.photometric), list[str]()
    samples, white = _as_levels(page, samples, name)
    top = white or (1.0 if samples.dtype == np.float32 else float(np.iinfo(samples.dtype).max))
    planes = samples.reshape(*samples.shape[:2], -1)
    colours = _COLOURS[photometric]
    if planes.shape[2] < colours:
        raise InputError(f"{name} has {planes.shape[2]} samples a pixel where its colour kind needs {colours}: write it again.")
    alpha_at, multiplied, unknown = _alpha_of(page)
    alpha = None if alpha_at is None or alpha_at >= planes.shape[2] else planes[..., alpha_at]
    if unknown and planes.shape[2] > colours:
        warnings.append(f"{unknown} more sample{'s' * (unknown > 1)} a pixel, which the file does not call alpha, "
                        f"{'are' if unknown > 1 else 'is'} left out")  # fmt: skip
    if missing := sum(not length for length in page.databytecounts):
        if missing == len(page.databytecounts):
            raise InputError(f"{name} is a TIFF without a pixel, its program ended before it wrote one: write it again.")
        warnings.append(f"{missing} of its {len(page.databytecounts)} parts were never written, and are black")
    colour = planes[..., :colours]
    if photometric == _WHITE_IS_ZERO:
        colour = (np.asarray(top, samples.dtype) - colour).astype(samples.dtype)
    elif photometric == _PALETTE:
        table = _colours_of(page)
        colour = table[np.minimum(planes[..., 0].astype(np.int64), len(table) - 1)]
        top, white = float(np.iinfo(table.dtype).max), None
    elif photometric == _CMYK:
        inks = colour.astype(np.float32) / np.float32(top)
        colour = _rounded((1 - inks[..., :3]) * (1 - inks[..., 3:]) * np.float32(top), samples.dtype)
        warnings.append("its CMYK inks were brought to RGB without their profile")
    if alpha is not None and multiplied:
        share = alpha.astype(np.float32)[..., np.newaxis] / np.float32(top)
        colour = np.where(share > 0, colour / np.maximum(share, np.float32(1e-9)), colour)
        whole = samples.dtype != np.float32  # floats may well go beyond 1
        colour = _rounded(np.minimum(colour, np.float32(top)) if whole else colour, samples.dtype)
    alpha = None if alpha is None else whole_alpha(alpha, white)
    return Picture(_joined(colour, alpha), warnings=tuple(warnings), white=white)


def _rounded(values: Array, dtype: np.dtype[Any]) -> Array:
    return np.asarray(values, np.float32) if dtype == np.float32 else np.rint(values).astype(dtype)


def _joined(colour: Array, alpha: Array | None) -> Array:
    """RGB or grey, with or without alpha, in the order that the rest of this package takes."""
    if colour.shape[2] == 3:
        colour = colour[..., ::-1]
    if alpha is None:
        return np.ascontiguousarray(colour[..., 0] if colour.shape[2] == 1 else colour)
    if colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
    return np.ascontiguousarray(np.dstack([colour, alpha.astype(colour.dtype)]))


def _as_levels(page: Any, samples: Array, name: str) -> tuple[Array, float | None]:  # noqa: ANN401 - tifffile's page
    """Samples as uint8, uint16 or float32, and the level of white where fewer bits are in use than the dtype has."""
    bits = page.bitspersample
    bits = int(bits) if isinstance(bits, int) else int(max(bits))
    kind = samples.dtype.kind
    if kind == "f":
        with np.errstate(over="ignore"):  # infinity, which is refused where the frames are looked at
            return samples.astype(np.float32, copy=False), None
    if int(page.photometric) == _PALETTE:
        return (samples.astype(np.uint8) if kind == "b" else samples), None
    if kind == "b" or bits < 8:
        return (samples.astype(np.float32) * (255 / (2**bits - 1)) + 0.5).astype(np.uint8), None
    if kind == "i" and samples.size and int(samples.min()) < 0:
        raise InputError(f"{name} has negative levels ({samples.dtype}): shift them to 0 or more, or save it as float32.")
    if samples.dtype.itemsize == 1:
        return samples.astype(np.uint8, copy=False), None
    if samples.dtype.itemsize > 2 and samples.size:
        highest = 2**bits - 1 if int(page.photometric) == _WHITE_IS_ZERO else int(samples.max())
        if highest > _SIXTEEN:
            raise InputError(f"{name} has {bits}-bit levels up to {highest}: save it with 16 bits, or as float32.")
    native = samples.astype(np.uint16, copy=False)
    return native, float(2**bits - 1) if 8 < bits < 16 else None


def _colours_of(page: Any) -> Array:  # noqa: ANN401 - as above
    """The palette, n x 3: uint8 where 8 bits say all of it."""
    table = page.colormap
    if table is None:
        raise ValueError("a palette picture without its palette")
    table = np.ascontiguousarray(np.asarray(table).T).astype(np.uint16)
    if int(table.max(initial=0)) < 256:  # some programs write bytes into the words
        return table.astype(np.uint8)
    high = table >> 8
    whole = np.array_equal(table, high * 257) or np.array_equal(table, high << 8)
    return high.astype(np.uint8) if whole else table
