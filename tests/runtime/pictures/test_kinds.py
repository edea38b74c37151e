"""A walk through kinds of files: what each is read as, or why it is refused and with which mend. None may be misread."""

# ruff: noqa: E501 - a table, one kind a line

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, features

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.decode import decode_picture, read_picture
from ufafuse.runtime.pictures.source import FileFrame, stack_of

pytestmark = pytest.mark.every_case

HEIGHT, WIDTH = 24, 36


def scene(dtype=np.uint8, channels=3, top=None):
    """A picture with no two axes, channels or corners alike: RGB."""
    top = top or (1.0 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [
        0.1 + 0.8 * x / WIDTH,
        0.1 + 0.8 * y / HEIGHT,
        0.9 - 0.4 * (x + y) / (WIDTH + HEIGHT),
        0.2 + 0.6 * (x > WIDTH // 2),
    ]
    values = np.dstack(planes[: max(1, channels)]) * top
    return (values if np.dtype(dtype).kind == "f" else np.rint(values)).astype(dtype).squeeze()


RGB8, RGB16, GREY8, GREY16 = scene(), scene(np.uint16), scene(channels=0), scene(np.uint16, 0)
RGBA8, RGBA16 = scene(channels=4), scene(np.uint16, 4)
FLOAT = scene(np.float32)
ALPHA8, ALPHA16 = RGBA8[..., 3], RGBA16[..., 3]


def bgr(rgb):
    return rgb if rgb.ndim == 2 else rgb[..., [2, 1, 0, 3][: rgb.shape[2]]]


def grey_alpha(grey, alpha):
    return np.dstack([grey, grey, grey, alpha])


def cv(suffix, rgb, *options):
    def write():
        return cv2.imencode(suffix, bgr(rgb), list(options))[1].tobytes()

    return write


def pil(kind, image, **options):
    def write():
        stream = io.BytesIO()
        (image() if callable(image) else image).save(stream, kind, **options)
        return stream.getvalue()

    return write


def gif():
    """A palette picture, where OpenCV reads them: from 4.11 on."""
    if not cv2.haveImageWriter(".gif"):
        pytest.skip("this OpenCV reads no GIF")
    return pil("GIF", PAL)()


def packed(data, **options):
    """Samples of less than a byte, which tifffile writes with imagecodecs alone."""

    def write():
        pytest.importorskip("imagecodecs")
        try:
            return tiff(data, **options)()
        except NotImplementedError as fault:
            pytest.skip(f"this imagecodecs only reads them ({fault})")

    return write


def tiff(data, **options):
    def write():
        stream = io.BytesIO()
        tifffile.imwrite(stream, data, **options)
        return stream.getvalue()

    return write


def bmp32():
    """A BMP of 32 bits a pixel whose fourth byte only pads, and is not 255."""
    rows = np.dstack([RGB8[..., ::-1], np.full((HEIGHT, WIDTH), 7, np.uint8)])[::-1]
    header = b"BM" + struct.pack("<IHHI", 54 + rows.size, 0, 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 32, 0, rows.size, 2835, 2835, 0, 0) + rows.tobytes()


def png(colour, depth, raw, *chunks):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    lines = b"".join(b"\0" + row.tobytes() for row in raw)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(chunk(*one) for one in chunks)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def turned(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return pil(kind, lambda: Image.fromarray(RGB8), exif=exif, **({"quality": 100, "subsampling": 0} if kind == "JPEG" else {}))


def avif(orientation, **options):
    """An AVIF that says in its own boxes how it is turned; Pillow takes EXIF's number for it."""

    def write():
        if not (features.check("avif") and cv2.haveImageWriter(".avif")):
            pytest.skip("no AVIF here")
        exif = Image.Exif()
        exif[0x0112] = orientation
        return pil("AVIF", Image.fromarray(RGB8), quality=100, subsampling="4:4:4", exif=exif, **options)()

    return write


def grey_png(depth, level):
    """A grey PNG of which one level is clear."""
    levels = (GREY16 >> (16 - depth)).astype(np.uint32)
    levels[3, 4] = level
    bits = (levels[..., np.newaxis] >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(HEIGHT, -1).astype(np.uint8), axis=1)
    top, dtype = (65535, np.uint16) if depth == 16 else (255, np.uint8)
    grey = (levels * (top // (2**depth - 1))).astype(dtype)
    clear = np.where(levels == level, 0, top).astype(dtype)
    return (lambda: png(0, depth, rows, (b"tRNS", struct.pack(">H", level)))), grey_alpha(grey, clear), 0


def moving(kind, **options):
    """An animation, whose second picture is another one."""
    if kind == "WEBP" and not cv2.haveImageWriter(".gif"):  # OpenCV reads both from 4.11 on
        return lambda: pytest.skip("this OpenCV reads no animated WebP")
    return pil(kind, Image.fromarray(RGB8), save_all=True, append_images=[Image.fromarray(255 - RGB8)], duration=100, **options)


def pam(*planes):
    samples = np.dstack(planes)
    head = f"P7\nWIDTH {WIDTH}\nHEIGHT {HEIGHT}\n# a remark\nDEPTH {samples.shape[2]}\nMAXVAL 255\nENDHDR\n"
    return lambda: head.encode() + samples.tobytes()


def reduced_page():
    """A TIFF of before version 6, with a smaller copy on its second page."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        file.write(RGB16, photometric="rgb", extratags=[(255, "H", 1, 1, True)], metadata=None)
        file.write(RGB16[::3, ::3], photometric="rgb", extratags=[(255, "H", 1, 2, True)], metadata=None)
    return stream.getvalue()


def palette_tiff():
    table = np.zeros((3, 256), np.uint16)
    table[:, :] = np.stack([np.arange(256), np.arange(256)[::-1], np.arange(256) // 2]) * 257
    index = GREY8
    stream = io.BytesIO()
    tifffile.imwrite(stream, index, photometric="palette", colormap=table)
    return stream.getvalue(), (table.T >> 8).astype(np.uint8)[index]


PALETTE_TIFF, PALETTE_RGB = palette_tiff()
PAL = Image.fromarray(RGB8).quantize(64)
CMYK8 = np.asarray(Image.fromarray(RGB8).convert("CMYK"))
BITS12 = scene(np.uint16, 3, 4095)
BIT1 = GREY8 > 128
TEN, HUNDRED = scene(np.uint16, 0, 1023), scene(np.uint8, 0, 100)
TRANSPOSED = (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE,
              Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90)  # fmt: skip
NIBBLES = GREY8 >> 4
PREMULTIPLIED = np.dstack([np.rint(RGB16 * (ALPHA16[..., None] / 65535.0)).astype(np.uint16), ALPHA16])
ROTATED = np.ascontiguousarray(np.rot90(bgr(RGB8), -1))

# name: (how it is made, what is read, greatest difference)
READ = {
    "png 8 rgb": (cv(".png", RGB8), bgr(RGB8), 0),
    "png 8 rgba": (cv(".png", RGBA8), bgr(RGBA8), 0),
    "png 8 grey": (cv(".png", GREY8), GREY8, 0),
    "png 16 rgb": (cv(".png", RGB16), bgr(RGB16), 0),
    "png 16 rgba": (cv(".png", RGBA16), bgr(RGBA16), 0),
    "png 16 grey": (cv(".png", GREY16), GREY16, 0),
    "png 8 grey alpha": (pil("PNG", Image.fromarray(np.dstack([GREY8, ALPHA8]), "LA")), grey_alpha(GREY8, ALPHA8), 0),
    "png 16 grey alpha": (lambda: png(4, 16, np.dstack([GREY16, ALPHA16]).astype(">u2")), grey_alpha(GREY16, ALPHA16), 0),
    **{f"png {depth} grey with a clear level": grey_png(depth, level) for depth, level in ((1, 1), (2, 2), (4, 9), (8, 77), (16, 30000))},
    "png animated": (moving("PNG"), bgr(RGB8), 0),
    "webp animated": (moving("WEBP", lossless=True), bgr(RGB8), 0),
    **{f"avif turned {n}": (avif(n), bgr(np.asarray(Image.fromarray(RGB8).transpose(how))), 8) for n, how in enumerate(TRANSPOSED, 2)},
    "pam rgba": (pam(RGB8, ALPHA8), bgr(RGBA8), 0),
    "pam grey alpha": (pam(GREY8, ALPHA8), grey_alpha(GREY8, ALPHA8), 0),
    "ppm in text with a remark": (f"P3\n# by hand\n{WIDTH} {HEIGHT}\n255\n{' '.join(map(str, RGB8.ravel()))}".encode, bgr(RGB8), 0),
    "pgm 10 bit": (lambda: f"P5 {WIDTH} {HEIGHT} 1023\n".encode() + TEN.astype(">u2").tobytes(), TEN, 0),
    "pgm white 100": (lambda: f"P5 {WIDTH} {HEIGHT} 100\n".encode() + HUNDRED.tobytes(), np.rint(HUNDRED * 2.55).astype(np.uint8), 1),
    "pbm": (lambda: f"P4 {WIDTH} {HEIGHT}\n".encode() + np.packbits(~BIT1, axis=1).tobytes(), BIT1.astype(np.uint8) * 255, 0),
    "pbm in text": (lambda: f"P1 {WIDTH} {HEIGHT}\n".encode() + b"".join(b"01"[not v : 2 - v] for v in BIT1.ravel().tolist()), BIT1.astype(np.uint8) * 255, 0),
    "tiff reduced page": (reduced_page, bgr(RGB16), 0),
    "png palette": (pil("PNG", PAL), bgr(np.asarray(PAL.convert("RGB"))), 0),
    "png palette with a clear colour": (pil("PNG", PAL, transparency=0), bgr(np.asarray(PAL.convert("RGB"))), 0),
    "png 1 bit": (pil("PNG", Image.fromarray(BIT1)), BIT1.astype(np.uint8) * 255, 0),
    "png interlaced": (lambda: (Image.fromarray(RGB8).save(s := io.BytesIO(), "PNG", interlace=1), s.getvalue())[1], bgr(RGB8), 0),
    "png turned by its exif": (turned("PNG", 6), ROTATED, 0),
    "jpeg": (cv(".jpg", RGB8, cv2.IMWRITE_JPEG_QUALITY, 98), bgr(RGB8), 8),
    "jpeg grey": (cv(".jpg", GREY8, cv2.IMWRITE_JPEG_QUALITY, 98), GREY8, 8),
    "jpeg progressive": (pil("JPEG", Image.fromarray(RGB8), quality=98, progressive=True), bgr(RGB8), 12),
    "jpeg 4:4:4 with restarts": (cv(".jpg", RGB8, 1, 98, cv2.IMWRITE_JPEG_RST_INTERVAL, 2), bgr(RGB8), 8),
    "jpeg cmyk": (pil("JPEG", Image.fromarray(CMYK8, "CMYK"), quality=98), bgr(RGB8), 14),
    "jpeg turned by its exif": (turned("JPEG", 6), ROTATED, 8),
    "bmp 24": (cv(".bmp", RGB8), bgr(RGB8), 0),
    "bmp 32 without alpha": (bmp32, bgr(RGB8), 0),
    "bmp palette": (pil("BMP", PAL), bgr(np.asarray(PAL.convert("RGB"))), 0),
    "bmp grey": (pil("BMP", Image.fromarray(GREY8)), GREY8, 0),
    "bmp 1 bit": (pil("BMP", Image.fromarray(BIT1)), BIT1.astype(np.uint8) * 255, 0),
    "webp lossless": (pil("WEBP", Image.fromarray(RGB8), lossless=True), bgr(RGB8), 0),
    "webp lossy": (pil("WEBP", Image.fromarray(RGB8), quality=95), bgr(RGB8), 24),
    "webp alpha": (pil("WEBP", Image.fromarray(RGBA8), lossless=True, exact=True), bgr(RGBA8), 0),
    "webp turned by its exif": (pil("WEBP", Image.fromarray(RGB8), lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"), ROTATED, 0),
    "pnm": (cv(".ppm", RGB16), bgr(RGB16), 0),
    "pgm": (cv(".pgm", GREY8), GREY8, 0),
    "pfm": (cv(".pfm", FLOAT), bgr(FLOAT), 0),
    "radiance hdr": (cv(".hdr", FLOAT), bgr(FLOAT), 0.01),
    "gif": (gif, bgr(np.asarray(PAL.convert("RGB"))), 0),
    "jpeg 2000": (pil("JPEG2000", Image.fromarray(RGB8)), bgr(RGB8), 4),
    "tiff 8 rgb": (tiff(RGB8, photometric="rgb"), bgr(RGB8), 0),
    "tiff 16 rgb": (tiff(RGB16, photometric="rgb"), bgr(RGB16), 0),
    "tiff 16 grey": (tiff(GREY16, photometric="minisblack"), GREY16, 0),
    "tiff planar": (tiff(np.moveaxis(RGB16, 2, 0), photometric="rgb", planarconfig="separate"), bgr(RGB16), 0),
    "tiff white is zero": (tiff(65535 - GREY16, photometric="miniswhite"), GREY16, 0),
    "tiff white is zero 8": (tiff(255 - GREY8, photometric="miniswhite"), GREY8, 0),
    "tiff grey alpha": (tiff(np.dstack([GREY16, ALPHA16]), photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig"), grey_alpha(GREY16, ALPHA16), 0),
    "tiff rgba": (tiff(RGBA16, photometric="rgb", extrasamples=["unassalpha"]), bgr(RGBA16), 0),
    "tiff rgba multiplied": (tiff(PREMULTIPLIED, photometric="rgb", extrasamples=["assocalpha"]), bgr(RGBA16), 4),
    "tiff fourth channel unexplained": (tiff(RGBA16, photometric="rgb", extrasamples=["unspecified"]), bgr(RGB16), 0),
    "tiff cmyk": (pil("TIFF", Image.fromarray(CMYK8, "CMYK")), bgr(RGB8), 2),
    "tiff palette": (lambda: PALETTE_TIFF, bgr(PALETTE_RGB), 0),
    "tiff float32": (tiff(FLOAT, photometric="rgb"), bgr(FLOAT), 0),
    "tiff float16": (tiff(FLOAT.astype(np.float16), photometric="rgb"), bgr(FLOAT), 1e-3),
    "tiff float64": (tiff(FLOAT.astype(np.float64), photometric="rgb"), bgr(FLOAT), 1e-6),
    "tiff int16": (tiff((GREY16 >> 1).astype(np.int16), photometric="minisblack"), GREY16 >> 1, 0),
    "tiff uint32 of few levels": (tiff(GREY16.astype(np.uint32), photometric="minisblack"), GREY16, 0),
    "tiff 1 bit": (tiff(BIT1, photometric="minisblack"), BIT1.astype(np.uint8) * 255, 0),
    "tiff 4 bit": (packed(NIBBLES, photometric="minisblack", bitspersample=4), NIBBLES * 17, 0),
    "tiff 12 bit": (packed(BITS12, photometric="rgb", bitspersample=12), bgr(BITS12), 0),
    "tiff tiled": (tiff(RGB16, photometric="rgb", tile=(16, 16)), bgr(RGB16), 0),
    "tiff big": (tiff(RGB16, photometric="rgb", bigtiff=True), bgr(RGB16), 0),
    "tiff big-endian": (tiff(RGB16.astype(">u2"), photometric="rgb", byteorder=">"), bgr(RGB16), 0),
    "tiff strips": (tiff(RGB16, photometric="rgb", rowsperstrip=5), bgr(RGB16), 0),
    "tiff turned": (tiff(RGB8, photometric="rgb", extratags=[(274, "H", 1, 6, True)]), ROTATED, 0),
    "tiff ycbcr jpeg": (lambda: pytest.importorskip("imagecodecs") and tiff(RGB8, photometric="rgb", compression="jpeg", compressionargs={"level": 98})(), bgr(RGB8), 12),
    "tiff deflate predictor": (tiff(RGB16, photometric="rgb", compression="zlib", predictor=True), bgr(RGB16), 0),
    "tiff float predictor": (lambda: pytest.importorskip("imagecodecs") and tiff(FLOAT, photometric="rgb", compression="zlib", predictor=True)(), bgr(FLOAT), 0),
    **{
        f"tiff {name}": (lambda name=name: pytest.importorskip("imagecodecs") and tiff(RGB16, photometric="rgb", compression=name)(), bgr(RGB16), 0)
        for name in ("lzw", "packbits", "zstd", "lzma", "jpeg2000", "lerc", "jpegxl")
    },
}  # fmt: skip


def skip_what_opencv_lacks(name):
    if name == "webp animated" and tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 11):
        pytest.skip("this OpenCV refuses animations")


@pytest.mark.parametrize("name", READ)
def test_read_as_it_is_meant(tmp_path, name):
    skip_what_opencv_lacks(name)
    make, expected, tolerance = READ[name]
    path = tmp_path / f"x.{name.split(maxsplit=1)[0]}"
    path.write_bytes(make())
    frame = FileFrame(path)
    assert (frame.shape, frame.dtype) == (expected.shape, expected.dtype) or "clear colour" in name
    found = frame.picture().array
    if "clear colour" in name:
        assert found.shape[2] == 4
        assert (found[..., 3] == 0).any()
        assert (found[..., 3] == 255).any()
        found = found[..., :3]
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    difference = np.abs(found.astype(np.float64) - expected)
    if "webp lossy" in name or "jpeg" in name:
        assert difference.mean() <= tolerance / 3
    assert difference.max() <= tolerance


WARNED = {
    "jpeg cmyk": "CMYK inks were brought to RGB without their profile",
    "tiff cmyk": "CMYK inks were brought to RGB without their profile",
    "tiff fourth channel unexplained": "1 more sample a pixel, which the file does not call alpha, is left out",
    "gif": "of a GIF the first picture is read",
    "png animated": "of an animation the first picture is read",
    "webp animated": "of an animation the first picture is read",
}


@pytest.mark.parametrize("name", WARNED)
def test_what_was_changed_is_said(tmp_path, name):
    skip_what_opencv_lacks(name)
    path = tmp_path / "x"
    path.write_bytes(READ[name][0]())
    assert WARNED[name] in " ".join(read_picture(path).warnings)


@pytest.mark.parametrize("name", [name for name in READ if name not in WARNED])
def test_nothing_is_said_where_nothing_was_changed(tmp_path, name):
    path = tmp_path / "x"
    path.write_bytes(READ[name][0]())
    assert read_picture(path, inside="thoroughly").warnings == ()


def test_bits_that_a_file_states_are_its_white(tmp_path):
    path = tmp_path / "x.tif"
    path.write_bytes(READ["tiff 12 bit"][0]())
    assert read_picture(path).white == 4095


def test_a_picture_that_only_its_exif_calls_turned_stays_and_that_is_said():
    pytest.importorskip("pillow_heif").register_heif_opener()  # which writes no turn into the container
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = decode_picture(pil("HEIF", Image.fromarray(RGB8), quality=-1, chroma=444, exif=exif)(), "x")
    assert picture.array.shape == (HEIGHT, WIDTH, 3)
    assert picture.warnings == ("its EXIF calls it turned (6), its container does not, which counts: it stays as it is",)


def test_of_several_pictures_in_a_heic_the_primary_one_is_read():
    heif = pytest.importorskip("pillow_heif").from_pillow(Image.fromarray(RGB8))
    heif.add_from_pillow(Image.fromarray(255 - RGB8))
    stream = io.BytesIO()
    heif.save(stream, quality=-1, chroma=444, primary_index=1)
    picture = decode_picture(stream.getvalue(), "x")
    assert np.abs(picture.array.astype(int) - bgr(255 - RGB8)).max() < 8
    assert picture.warnings == ("of the 2 pictures in it the primary one is read",)


def complex_tiff():
    return tiff(np.ones((8, 8), np.complex64), photometric="minisblack")()


def ome(axes, shape):
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros(shape, np.uint16), ome=True, metadata={"axes": axes}, photometric="minisblack")
    return stream.getvalue()


def odd_jpeg(marker, depth):
    """The beginning of a JPEG of a kind that nothing here decodes."""
    frame = struct.pack(">BBHBHHB3s", 0xFF, marker, 11, depth, HEIGHT, WIDTH, 1, b"\1\x11\0")
    return b"\xff\xd8" + frame + b"\xff\xda\0\x08\1\1\0\0?\0" + bytes(50) + b"\xff\xd9"


def lab():
    return tiff(RGB8, photometric="cielab")()


REFUSED = {
    "empty": (lambda: b"", r"is empty \(0 bytes\): record or copy it again"),
    "text": (lambda: b"hello " * 50, r"no image that can be read: give PNG, JPEG, TIFF"),
    "pdf": (lambda: b"%PDF-1.7\n" + bytes(100), r"is a PDF document: give PNG"),
    "photoshop": (lambda: b"8BPS\0\1" + bytes(100), r"is a Photoshop document"),
    "zip": (lambda: b"PK\x03\x04" + bytes(100), r"is a ZIP archive"),
    "svg": (lambda: b"<svg xmlns='x'></svg>" + bytes(90), r"is an SVG drawing"),
    "web page saved as a picture": (lambda: b"<!DOCTYPE html><html>" + bytes(90), r"is a web page"),
    "git lfs pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:1", r"Git LFS pointer .*git lfs pull"),
    "numpy": (lambda: b"\x93NUMPY\1\0" + bytes(100), r"is a NumPy array"),
    "jpeg xl": (lambda: b"\xff\x0a" + bytes(100), r"is a JPEG XL picture"),
    "video": (lambda: b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(80), r"is a video: give it alone to fuse its frames"),
    "jpeg-ls": (lambda: b"\xff\xd8\xff\xf7" + bytes(100), r"is a JPEG-LS picture"),
    "jpeg lossless": (lambda: odd_jpeg(0xC3, 16), r"is a lossless JPEG, which is not read: save it as PNG or TIFF"),
    "jpeg 12 bit": (lambda: odd_jpeg(0xC1, 12), r"is a 12-bit JPEG, which is not read: save it as PNG or TIFF"),
    "dicom": (lambda: bytes(128) + b"DICM" + bytes(100), r"is a DICOM file"),
    "czi": (lambda: b"ZISRAWFILE" + bytes(200), r"is a Zeiss microscope's file \(CZI\)"),
    "nd2": (lambda: b"\xda\xce\xbe\x0a" + bytes(200), r"is a Nikon microscope's file \(ND2\)"),
    "sun raster": (lambda: b"\x59\xa6\x6a\x95" + bytes(200), r"is a Sun raster picture: give PNG"),
    "bmp that holds a jpeg": (lambda: bmp32()[:30] + b"\4" + bmp32()[31:], r"is a BMP of 32 bits, packed in the way 4: save it as PNG"),
    "jpeg xr": (lambda: b"II\xbc\1" + bytes(200), r"is a JPEG XR picture"),
    "pgm cut off": (lambda: b"P5 20 20 255\n" + bytes(300), r"is damaged \(truncated, 300 of 400 samples\)"),
    "pnm without levels": (lambda: b"P5 20 20 0\n" + bytes(400), r"its header says no size or levels"),
    "tiff stack": (tiff(np.zeros((3, 8, 8), np.uint8), photometric="minisblack"), r"holds 3 pictures, a stack: give it alone"),
    "tiff complex": (complex_tiff, r"samples of complex64: save it with 8 or 16 bits, or float32"),
    "tiff negative": (tiff(np.full((8, 8), -5, np.int16), photometric="minisblack"), r"negative levels \(int16\): shift them to 0"),
    "tiff uint32 of many levels": (tiff(np.full((8, 8), 70000, np.uint32), photometric="minisblack"), r"32-bit levels up to 70000"),
    "tiff lab": (lab, r"TIFF of CIE L\*a\*b\*: convert it to RGB"),
    "tiff mosaic": (tiff(GREY16, photometric="cfa", extratags=[(33421, "H", 2, (2, 2), True), (33422, "B", 4, b"\0\1\1\2", True)]),
                    r"TIFF of a sensor's mosaic: .*`bayer`"),
    "ome channels": (lambda: ome("CYX", (2, 16, 16)), r"an OME TIFF of several axes \(C: 2, .*: save one channel"),
    "ome time and depth": (lambda: ome("TZYX", (2, 3, 16, 16)), r"an OME TIFF of several axes \(T: 2, Z: 3"),
    "tiff cut off": (lambda: tiff(RGB16, photometric="rgb", compression="zlib")()[:-700], r"is a damaged TIFF"),
    "tiff whose last pages are cut off": (lambda: tiff(np.stack([RGB8] * 3), photometric="rgb", metadata=None)()[:-5000], r"is a damaged TIFF \(pages are missing"),
    "big tiff whose last pages are cut off": (lambda: tiff(np.stack([RGB8] * 3), photometric="rgb", metadata=None, bigtiff=True)()[:-5000], r"is a damaged TIFF \(pages are missing"),
    "jpeg cut off": (lambda: cv(".jpg", RGB8)()[:-60], r"is damaged \(truncated, no end marker\)"),
    "png with a wrong byte": (lambda: cv(".png", RGB8)()[:60] + b"?" + cv(".png", RGB8)()[61:], r"wrong checksum"),
    "webp cut off": (lambda: pil("WEBP", Image.fromarray(RGB8))()[:-20], r"is damaged \(truncated, \d+ of \d+ bytes\)"),
    "bomb": (lambda: b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">II", 90000, 90000) + b"\x08\2\0\0\0" + bytes(40),
             r"declares 90000 x 90000 pixels"),
    "pnm bomb": (lambda: b"P6 90000 90000 255\n" + bytes(64), r"declares 90000 x 90000 pixels"),
    "hdr bomb": (lambda: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 90000 +X 90000\n" + bytes(64), r"declares 90000 x 90000 pixels"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason_and_the_mend(tmp_path, name):
    make, expected = REFUSED[name]
    path = tmp_path / "x.tif"  # names are not believed
    path.write_bytes(make())
    with pytest.raises(InputError, match=expected):
        read_picture(path)


EXTRAS = {
    "raw": ("raw", "rawpy", r"a camera's raw file: pip install 'ufafuse\[raw\]'"),
    "cr3": ("raw", "rawpy", r"a camera's raw file: pip install 'ufafuse\[raw\]'"),
    "heic": ("heif", "pillow_heif", r"a HEIC picture: pip install 'ufafuse\[heif\]'"),
    "exr": ("exr", "OpenEXR", r"an OpenEXR picture: pip install 'ufafuse\[exr\]'"),
    "zstd": ("tiff", "imagecodecs", r"a ZSTD-compressed TIFF: pip install 'ufafuse\[tiff\]'"),
}


def dng(thumbnail=True):
    """A DNG's layout: a thumbnail first, the sensor's samples in a sub-image."""
    stream = io.BytesIO()
    mosaic = cv2.resize(RGB16[..., 1], (72, 48))
    with tifffile.TiffWriter(stream) as file:
        tags = [(50706, "B", 4, b"\x01\x04\x00\x00", True), (50708, "s", 0, "Cam", True)]
        file.write(cv2.resize(RGB8, (16, 12)), photometric="rgb", subifds=1, subfiletype=1, extratags=tags)
        colours = [(33421, "H", 2, (2, 2), True), (33422, "B", 4, b"\x00\x01\x01\x02", True)]
        file.write(mosaic, photometric="cfa", subfiletype=0, extratags=colours)
    return stream.getvalue()


def needs_extra(name):
    if name == "zstd":
        pytest.importorskip("imagecodecs")
        return tiff(RGB16, photometric="rgb", compression="zstd")()
    return {
        "raw": dng(),
        "cr3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(200),
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
        "exr": b"\x76\x2f\x31\x01\2\0\0\0" + bytes(200),
    }[name]


@pytest.mark.parametrize("name", EXTRAS)
def test_without_the_extra_one_line_names_it(tmp_path, monkeypatch, name):
    _, module, expected = EXTRAS[name]
    data = needs_extra(name)
    path = tmp_path / "x.dng"
    path = path.with_suffix(".tif" if name == "zstd" else path.suffix if name in ("raw", "cr3") else f".{name}")
    path.write_bytes(data)
    monkeypatch.setitem(__import__("sys").modules, module, None)
    if name == "zstd":
        monkeypatch.setattr("tifffile.TiffPage.decode", property(refuse_zstd))
    with pytest.raises(InputError, match=expected):
        read_picture(path)


def refuse_zstd(page):
    raise ValueError(f"{page.compression!r} requires the 'imagecodecs' package")


class TestWithTheExtra:
    def test_a_raw_file_is_the_sensors_picture(self, tmp_path):
        pytest.importorskip("rawpy")
        path = tmp_path / "x.dng"
        path.write_bytes(dng())
        picture = read_picture(path)
        assert picture.array.shape[:2] == (48, 72)  # and not the thumbnail's 12 x 16
        assert picture.array.dtype == np.uint16
        assert picture.kind == "raw"

    def test_a_raw_file_by_another_name(self, tmp_path):
        pytest.importorskip("rawpy")
        path = tmp_path / "x.tif"
        path.write_bytes(dng())
        assert read_picture(path).array.shape[:2] == (48, 72)

    def test_a_broken_raw_file(self, tmp_path):
        pytest.importorskip("rawpy")
        path = tmp_path / "x.nef"
        path.write_bytes(b"MM\0*" + bytes(300))
        with pytest.raises(InputError, match="a raw file that LibRaw cannot read"):
            read_picture(path)

    @pytest.mark.parametrize("bits", [8, 10])
    def test_heic(self, tmp_path, bits):
        heif = pytest.importorskip("pillow_heif")
        path = tmp_path / "x.heic"
        large = cv2.resize(RGB8, (144, 96), interpolation=cv2.INTER_CUBIC)
        data = large if bits == 8 else large.astype(np.uint16) * 257
        heif.encode("RGB" if bits == 8 else "RGB;16", (144, 96), data.tobytes(), str(path), quality=95)
        found = read_picture(path)
        assert found.array.dtype == (np.uint8 if bits == 8 else np.uint16)
        scale = 1 if bits == 8 else 257
        assert np.abs(found.array.astype(float) / scale - large[..., ::-1]).mean() < 4

    @pytest.mark.parametrize("channels", ["RGB", "Y", "RGBA"])
    def test_openexr(self, tmp_path, channels):
        exr = pytest.importorskip("OpenEXR")
        planes = {"R": FLOAT[..., 0] * 7, "G": FLOAT[..., 1], "B": FLOAT[..., 2], "Y": FLOAT[..., 0] * 7}
        planes["A"] = np.ones_like(planes["R"])
        chosen = {name: np.ascontiguousarray(planes[name]) for name in channels}
        exr.File({"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}, chosen).write(str(tmp_path / "x.exr"))
        found = read_picture(tmp_path / "x.exr").array
        assert found.dtype == np.float32
        expected = {"RGB": "BGR", "Y": "Y", "RGBA": "BGRA"}[channels]
        np.testing.assert_array_equal(found, np.dstack([planes[name] for name in expected]).squeeze())

    def test_avif(self, tmp_path):
        if not cv2.haveImageWriter("x.avif"):
            pytest.skip("this OpenCV has no AVIF")
        (tmp_path / "x.avif").write_bytes(cv2.imencode(".avif", bgr(RGB8), [cv2.IMWRITE_AVIF_QUALITY, 95])[1].tobytes())
        assert np.abs(read_picture(tmp_path / "x.avif").array.astype(int) - bgr(RGB8)).mean() < 6


def test_an_imagej_stack_is_a_stack(tmp_path):
    frames = np.stack([GREY16, GREY16[::-1], GREY16 // 2])
    tifffile.imwrite(tmp_path / "x.tif", frames, imagej=True, metadata={"axes": "ZYX"})
    with stack_of([tmp_path / "x.tif"]) as stack:
        assert len(stack) == 3
        for frame, expected in zip(stack, frames, strict=True):
            np.testing.assert_array_equal(frame.read(), expected)


def test_an_ome_stack_is_a_stack(tmp_path):
    (tmp_path / "x.ome.tif").write_bytes(ome("ZYX", (4, 16, 16)))
    with stack_of([tmp_path / "x.ome.tif"]) as stack:
        assert [frame.shape for frame in stack] == [(16, 16)] * 4


def test_there_are_sixty_kinds():
    assert len(READ) + len(REFUSED) + len(EXTRAS) >= 100


def test_a_heic_that_holds_no_picture(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    heif.encode("RGB", (64, 64), cv2.resize(RGB8, (64, 64)).tobytes(), stream, quality=80)
    data = bytearray(stream.getvalue())
    at = data.find(b"pitm")
    data[at + 8 : at + 10] = b"\xff\xff"  # the primary picture is another than there is
    (tmp_path / "x.heic").write_bytes(data)
    with pytest.raises(InputError, match=r"x\.heic is a HEIC file that cannot be read"):
        read_picture(tmp_path / "x.heic")
