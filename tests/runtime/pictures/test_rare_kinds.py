"""Kinds of files that OpenCV misreads or says too little of: run-length BMP, deep AVIF and JPEG 2000, notes at a file's end."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, features

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import check_frames
from ufafuse.runtime.pictures.av1 import is_narrow
from ufafuse.runtime.pictures.boxes import boxes, read_boxes
from ufafuse.runtime.pictures.decode import decode_picture, read_picture
from ufafuse.runtime.pictures.picture import upright
from ufafuse.runtime.pictures.source import FileFrame
from ufafuse.runtime.registration.align import Alignment, warped

pytestmark = pytest.mark.every_case

HEIGHT, WIDTH = 24, 37
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def with_properties(data, **properties):
    """An AVIF whose one picture has further properties; its samples follow all boxes."""
    data, added = (
        bytearray(data),
        b"".join(struct.pack(">I", 8 + len(content)) + name.encode() + content for name, content in properties.items()),
    )
    at = {name: data.index(name) - 4 for name in (b"meta", b"iloc", b"iprp", b"ipco", b"ipma")}
    size = {name: int.from_bytes(data[start : start + 4], "big") for name, start in at.items()}
    known = len(list(boxes(data, at[b"ipco"] + 8, at[b"ipco"] + size[b"ipco"])))
    numbers = bytes(0x80 | known + number for number in range(1, len(properties) + 1))  # those that must be heeded
    more = {name: len(added) + len(numbers) for name in (b"meta", b"iprp")} | {b"ipco": len(added), b"ipma": len(numbers)}
    for name, bytes_more in more.items():
        data[at[name] : at[name] + 4] = (size[name] + bytes_more).to_bytes(4, "big")
    where = at[b"iloc"] + 22  # of the samples
    data[where : where + 4] = (int.from_bytes(data[where : where + 4], "big") + more[b"meta"]).to_bytes(4, "big")
    data[at[b"ipma"] + 18] += len(properties)
    data[at[b"ipma"] + size[b"ipma"] : at[b"ipma"] + size[b"ipma"]] = numbers
    data[at[b"ipma"] : at[b"ipma"]] = added
    return bytes(data)


def levels(bits, channels, seed=0):
    values = np.random.default_rng(seed).random((HEIGHT, WIDTH, channels)).astype(np.float32)
    smooth = cv2.GaussianBlur(values, (0, 0), 3).reshape(HEIGHT, WIDTH, channels)
    spread = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return np.rint(spread * (2**bits - 1)).astype(np.uint16)


def run_length_bmp(index, palette, bits):
    """Rows as runs, as they are, and with a step over pixels of the first colour, by turns."""
    codes = bytearray()
    for row, line in enumerate(index[::-1].tolist()):
        if row % 3 == 0:  # runs
            for value in line:
                codes += bytes((1, value if bits == 8 else value << 4))
        elif row % 3 == 1:  # as they are
            stored = bytes(line) if bits == 8 else bytes(a << 4 | b for a, b in zip(line[::2], [*line[1::2], 0], strict=True))
            codes += bytes((0, len(line))) + stored + bytes(len(stored) % 2)
        else:  # one run, a step to the right
            codes += bytes((2, line[0] if bits == 8 else line[0] << 4 | line[1])) + bytes((0, 2, len(line) - 2, 0))
        codes += b"\0\0"
    codes += b"\0\1"
    table = np.hstack([palette[:, ::-1], np.zeros((len(palette), 1), np.uint8)])
    start = 54 + 4 * len(palette)
    header = b"BM" + struct.pack("<IHHI", start + len(codes), 0, 0, start)
    info = struct.pack(
        "<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, bits, {8: 1, 4: 2}[bits], len(codes), 11811, 11811, len(palette), 0
    )
    return header + info + table.tobytes() + bytes(codes)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("grey", [False, True])
def test_a_run_length_coded_bmp(tmp_path, bits, grey):
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (1 << bits, 3), dtype=np.uint8)
    palette = np.repeat(palette[:, :1], 3, 1) if grey else palette
    index = rng.integers(0, 1 << bits, (HEIGHT, WIDTH))
    for row in range(2, HEIGHT, 3):
        index[HEIGHT - 1 - row, 2:] = 0
        index[HEIGHT - 1 - row, 1] = index[HEIGHT - 1 - row, 0] if bits == 8 else index[HEIGHT - 1 - row, 1]
    data = run_length_bmp(index, palette, bits)
    expected = palette[index][..., ::-1]
    found = decode_picture(data, "x.bmp")
    np.testing.assert_array_equal(found.array, expected[..., 0] if grey else expected)
    assert found.metadata.dpi == pytest.approx((300, 300), abs=0.01)
    for size in (len(data) // 2, len(data) - 40):
        with pytest.raises(InputError, match="is damaged"):
            decode_picture(data[:2] + struct.pack("<I", size) + data[6:size], "x.bmp")


def deep_tiff(array, bits):
    stream = io.BytesIO()
    try:
        tifffile.imwrite(stream, array, photometric="rgb", extrasamples=["unassalpha"], bitspersample=bits, metadata=None)
    except NotImplementedError as error:
        pytest.skip(str(error))
    return stream.getvalue()


def deep_pam(array, bits):
    head = f"P7\nWIDTH {WIDTH}\nHEIGHT {HEIGHT}\nDEPTH 4\nMAXVAL {2**bits - 1}\nENDHDR\n"
    return head.encode() + array.astype(">u2").tobytes()


def deep_jp2(array, bits):
    imagecodecs = pytest.importorskip("imagecodecs")
    return imagecodecs.jpeg2k_encode(array, reversible=True, bitspersample=bits)


def deep_avif(array, bits):
    imagecodecs = pytest.importorskip("imagecodecs")
    if not (imagecodecs.AVIF.available and cv2.haveImageWriter(".avif")):
        pytest.skip("no AVIF here")
    return imagecodecs.avif_encode(array, level=100, bitspersample=bits)


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("write", [deep_tiff, deep_pam, deep_jp2])
def test_opaque_stays_opaque_where_fewer_bits_are_in_use(write, bits):
    rgba = levels(bits, 4)
    rgba[..., 3] = 2**bits - 1
    rgba[:4, :4, 3] = 0
    found = decode_picture(write(rgba, bits), "x")
    np.testing.assert_array_equal(found.array[..., 2::-1], rgba[..., :3])
    assert found.white == 2**bits - 1
    assert (found.array[:4, :4, 3] == 0).all()
    assert (found.array[4:, 4:, 3] == 65_535).all()


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_deep_avif_uses_all_sixteen_bits(bits, channels):
    """As a HEIC does: near black in every other program otherwise."""
    rgb = levels(bits, channels)
    found = decode_picture(deep_avif(rgb, bits), "x.avif").array[..., [2, 1, 0, 3][:channels]]
    assert found.dtype == np.uint16
    assert found.max() == 65_535
    np.testing.assert_allclose(found / 65_535, rgb / (2**bits - 1), atol=1e-4)


def jp2(colours):
    """A JPEG 2000 whose colours are told by this box."""
    stream = io.BytesIO()
    Image.fromarray(levels(8, 3).astype(np.uint8)).save(stream, "JPEG2000")
    data = stream.getvalue()
    outer, at = data.index(b"jp2h") - 4, data.index(b"colr") - 4
    (length,), (old,) = struct.unpack_from(">I", data, outer), struct.unpack_from(">I", data, at)
    made = struct.pack(">I", 8 + len(colours)) + b"colr" + colours
    return data[:outer] + struct.pack(">I", length - old + len(made)) + data[outer + 4 : at] + made + data[at + old :]


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_a_grey_avif_of_narrow_levels_is_read_from_black_to_white(bits):
    """As cameras and FFmpeg store them: black is 16 and white 235, or that in more bits."""
    if bits == 8:
        if not (features.check("avif") and cv2.haveImageWriter(".avif")):
            pytest.skip("no AVIF here")
        grey, stream = levels(8, 1)[..., 0].astype(np.uint8), io.BytesIO()
        Image.fromarray(grey).save(stream, "AVIF", quality=100, subsampling="4:0:0", range="limited")
        found, expected = decode_picture(stream.getvalue(), "x").array, np.asarray(Image.open(stream).convert("L"))
    else:
        black, white = 16 << (bits - 8), 235 << (bits - 8)
        data = bytearray(deep_avif(np.clip(levels(bits, 1)[..., 0], black, white), bits))
        data[data.index(b"nclx") + 10] &= 0x7F
        found = decode_picture(bytes(data), "x").array
        stored = np.clip(levels(bits, 1)[..., 0], black, white).astype(np.float64)
        expected = (stored - black) / (white - black) * 65_535
    assert found.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert np.abs(found.astype(float) - expected).max() <= (1 if bits == 8 else 65_535 / (1 << bits - 2))
    assert (found.min(), found.max()) == (0, 255 if bits == 8 else 65_535)


def test_the_profile_of_a_jpeg_2000_is_kept(tmp_path):
    (tmp_path / "x.jp2").write_bytes(jp2(b"\2\0\0" + PROFILE))
    assert read_picture(tmp_path / "x.jp2").metadata.icc == PROFILE
    assert FileFrame(tmp_path / "x.jp2").metadata.icc == PROFILE


def deeper(at, value):
    """A JPEG 2000 of three components whose codestream says another thing at a place behind its marker."""
    data = bytearray(jp2(b"\1\0\0" + struct.pack(">I", 16)))
    data[data.index(b"\xff\x4f\xff\x51") + at] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (jp2(b"\1\0\0" + struct.pack(">I", 18)), "of YCC colours"),
        (jp2(b"\1\0\0" + struct.pack(">I", 12)), "of CMYK inks"),
        (deeper(42, 0x87), "of signed samples"),
        (deeper(42, 3), "of 4 bits a sample"),
        (deeper(42, 0), "of 1 bit a sample"),
        (deeper(41, 2), "of grey levels with alpha"),
        (deeper(46, 2), "whose samples differ in bits or size"),
    ],
)
def test_a_jpeg_2000_of_a_rare_kind_is_called_by_its_name(data, what):
    with pytest.raises(InputError, match=rf"x\.jp2 is a JPEG 2000 picture {what}, which is not read: save it as"):
        decode_picture(data, "x.jp2")


def avif(mode="L", **how):
    if not (features.check("avif") and cv2.haveImageWriter(".avif")):
        pytest.skip("no AVIF here")
    channels, stream = {"L": 1, "RGB": 3, "RGBA": 4}[mode], io.BytesIO()
    Image.fromarray(levels(8, channels).astype(np.uint8).squeeze()).save(stream, "AVIF", quality=100, **how)
    return stream.getvalue()


@pytest.mark.parametrize("subsampling", ["4:0:0", "4:2:0", "4:4:4"])
@pytest.mark.parametrize("span", ["full", "limited"])
@pytest.mark.parametrize(
    "how", [{}, {"save_all": True, "append_images": [Image.new("RGB", (WIDTH, HEIGHT))]}], ids=["still", "moving"]
)
def test_an_avif_without_boxes_for_its_levels_is_read_by_its_codes(subsampling, span, how):
    whole = avif("RGB", subsampling=subsampling, range=span, **how)
    bare = whole.replace(b"colrnclx", b"freenclx").replace(b"pixi", b"free")
    assert b"nclx" in whole
    assert read_boxes(bare).narrow is read_boxes(whole).narrow is (span == "limited")
    assert read_boxes(bare).bits == 8
    np.testing.assert_array_equal(decode_picture(bare, "x").array, decode_picture(whole, "x").array)


@pytest.mark.parametrize("bits", [10, 12])
def test_an_avif_without_a_box_for_its_bits(bits):
    data = deep_avif(levels(bits, 1)[..., 0], bits)
    assert b"pixi" in data
    np.testing.assert_array_equal(decode_picture(data.replace(b"pixi", b"free"), "x").array, decode_picture(data, "x").array)


def test_codes_of_levels_cut_anywhere_are_no_trouble():
    data = avif(subsampling="4:0:0", range="limited")
    stream = data[data.index(b"mdat") + 4 :]
    assert is_narrow(stream)
    assert all(is_narrow(stream[:end]) in (True, False) for end in range(40))
    rng = np.random.default_rng(0)
    assert all(is_narrow(rng.integers(0, 256, 40).astype(np.uint8).tobytes()) in (True, False) for _ in range(2000))


@pytest.mark.parametrize(("turns", "right", "shown"), [(0, 2, True), (1, 2, True), (0, 40, False)])
def test_of_an_avif_the_part_that_it_shows_is_read(turns, right, shown):
    """Its clean aperture, which goes before its turns; one that is no part of it counts for nothing, as for other readers."""
    if not cv2.haveImageWriter("x.avif"):
        pytest.skip("this OpenCV has no AVIF")
    picture = levels(8, 3).astype(np.uint8)
    data = cv2.imencode(".avif", picture, [cv2.IMWRITE_AVIF_QUALITY, 100])[1].tobytes()
    whole = decode_picture(data, "x.avif").array
    numbers = (WIDTH - 16, 1, HEIGHT - 8, 1, right, 1, -3, 1)
    found = decode_picture(with_properties(data, clap=struct.pack(">8i", *numbers), irot=bytes((turns,))), "x.avif").array
    rows, columns = (slice(1, 1 + HEIGHT - 8), slice(10, 10 + WIDTH - 16)) if shown else (slice(None), slice(None))
    np.testing.assert_array_equal(found, np.rot90(whole[rows, columns], turns))


def test_a_grey_avif_with_alpha_is_called_by_its_name():
    with pytest.raises(InputError, match=r"x is an AVIF of grey levels with alpha, which is not read: save it as PNG"):
        decode_picture(avif("RGBA", subsampling="4:0:0"), "x")


def several(kind, **how):
    """A red picture, and behind it a green and a blue one."""
    red, green, blue = (Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "lime", "blue"))
    stream = io.BytesIO()
    red.save(stream, kind, save_all=True, append_images=[green, blue], **how)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (several("PNG"), "of an animation the first picture is read"),
        (several("PNG", default_image=True), "of an animation the first picture is read, which it does not show when it moves"),
        (several("MPO", quality=95), "of the 3 pictures in it the first is read"),
    ],
    ids=["animation", "animation behind a picture", "mpo"],
)
def test_of_several_pictures_the_first_is_read_and_that_is_said(data, said):
    found = decode_picture(data, "x")
    assert found.warnings == (said,)
    assert found.array.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(found.array.astype(int) - (0, 0, 255)).max() < 4


def test_previews_of_a_jpeg_and_damaged_lists_are_no_other_pictures():
    data = several("MPO")
    at = data.index(b"MPF\0") + 4
    entries = data.index(struct.pack("<I", 0x030000), at)
    previews = bytearray(data)
    for place in (16, 32):
        previews[entries + place : entries + place + 4] = struct.pack("<I", 0x010002)
    assert decode_picture(bytes(previews), "x").warnings == ()
    for end in range(at, at + 90):
        broken = bytearray(data)
        broken[end] ^= 0xFF
        assert decode_picture(bytes(broken), "x").array.shape == (HEIGHT, WIDTH, 3)


def test_the_profile_and_resolution_of_a_bmp_are_kept(tmp_path):
    rgb = levels(8, 3).astype(np.uint8)
    rows = np.zeros((HEIGHT, (WIDTH * 3 + 3) // 4 * 4), np.uint8)
    rows[:, : WIDTH * 3] = rgb[::-1, :, ::-1].reshape(HEIGHT, -1)
    header = bytearray(
        struct.pack("<IiiHHIIiiII", 124, WIDTH, HEIGHT, 1, 24, 0, rows.size, 11811, 5906, 0, 0).ljust(124, b"\0")
    )
    header[56:60] = b"DEBM"
    header[112:120] = struct.pack("<II", 124 + rows.size, len(PROFILE))
    data = bytes(header) + rows.tobytes() + PROFILE
    (tmp_path / "x.bmp").write_bytes(b"BM" + struct.pack("<IHHI", 14 + len(data), 0, 0, 138) + data)
    picture = read_picture(tmp_path / "x.bmp")
    np.testing.assert_array_equal(picture.array, rgb[..., ::-1])
    for metadata in (picture.metadata, FileFrame(tmp_path / "x.bmp").metadata):
        assert metadata.icc == PROFILE
        assert metadata.dpi == pytest.approx((300, 150), abs=0.1)


def test_notes_behind_the_pixels_of_a_large_png(tmp_path):
    stream = io.BytesIO()
    rgb = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(stream, "PNG", compress_level=0)
    data, turned = stream.getvalue(), Image.Exif()
    turned[0x0112] = 6
    note = b"eXIf" + turned.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(note) - 4) + note + struct.pack(">I", zlib.crc32(note))
    (tmp_path / "x.png").write_bytes(data[:-12] + chunk + data[-12:])
    frame = FileFrame(tmp_path / "x.png")
    assert frame.shape == frame.read().shape == (800, 600, 3)


def test_an_animation_without_alpha_has_none(tmp_path):
    if not cv2.haveImageWriter(".gif"):
        pytest.skip("this OpenCV reads no GIF")
    first = Image.fromarray(levels(8, 3).astype(np.uint8)).quantize(60)
    first.save(tmp_path / "x.gif", save_all=True, append_images=[first.rotate(180)])
    np.testing.assert_array_equal(read_picture(tmp_path / "x.gif").array, np.asarray(first.convert("RGB"))[..., ::-1])


def test_a_series_in_one_pnm_is_told():
    one = b"P5 4 3 255\n" + bytes(range(12))
    assert decode_picture(one + b"\n", "x.pgm").warnings == ()
    assert "of the pictures in it the first is read" in decode_picture(one + one, "x.pgm").warnings[0]
    bits = b"P4 9 2\n" + bytes(4)
    assert decode_picture(bits, "x.pbm").warnings == ()
    assert decode_picture(bits + bits, "x.pbm").warnings != ()


def test_an_imagej_stack_behind_one_page_is_refused(tmp_path):
    """As ImageJ writes stacks of more than 4 GB; as a frame of a pair the first of them would be read alone."""
    frames = levels(16, 3).transpose(2, 0, 1)
    said = "ImageJ=1.53\nimages=3\nslices=3\n"
    tifffile.imwrite(tmp_path / "x.tif", frames[0], byteorder=">", metadata=None, description=said, software=False)
    with (tmp_path / "x.tif").open("ab") as file:
        file.write(frames[1:].astype(">u2").tobytes())
    with pytest.raises(InputError, match=r"an ImageJ TIFF whose 3 frames have 1 page: save it as an image sequence"):
        read_picture(tmp_path / "x.tif")


def test_tiles_that_were_never_written_are_told():
    stream = io.BytesIO()
    tifffile.imwrite(stream, levels(8, 3).astype(np.uint8), photometric="rgb", tile=(16, 16), metadata=None)
    data = bytearray(stream.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        for tag in (tags[324], tags[325]):  # where the first tile lies, and its length
            size = 2 if tag.dtype == tifffile.DATATYPE.SHORT else 4
            data[tag.valueoffset : tag.valueoffset + size] = bytes(size)
    assert decode_picture(bytes(data), "x.tif").warnings == ("1 of its 6 parts were never written, and are black",)


def test_a_jpeg_ls_is_called_one():
    imagecodecs = pytest.importorskip("imagecodecs")
    data = imagecodecs.jpegls_encode(levels(8, 1)[..., 0].astype(np.uint8))
    with pytest.raises(InputError, match="is a JPEG-LS picture"):
        decode_picture(data, "x.jpg")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("how", ["cut", "overwritten"])
def test_an_openexr_whose_pixels_are_damaged_is_called_so(tmp_path, how, share):
    exr = pytest.importorskip("OpenEXR")
    levels = np.rint(np.random.default_rng(0).normal(100, 9, (64, 64))).astype(np.float32)  # what is packed, and not stored
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    exr.File(header, {"Y": levels}).write(str(tmp_path / "x.exr"))
    data = (tmp_path / "x.exr").read_bytes()
    at = round(share * len(data))
    data = data[:at] if how == "cut" else data[:at] + bytes(40) + data[at + 40 :]
    said = r"^x\.exr is an OpenEXR file that cannot be read \(its pixels end early or cannot be unpacked\): write or copy"
    with pytest.raises(InputError, match=said):
        decode_picture(data, "x.exr")


def test_what_an_openexr_says_beside_its_first_part_is_told(tmp_path):
    exr = pytest.importorskip("OpenEXR")
    rgb = levels(8, 3).astype(np.float32) / 255
    wide = {"chromaticities": (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329)}
    parts = [exr.Part({"type": exr.scanlineimage} | wide, {"RGB": rgb}, name) for name in ("near", "far")]
    exr.File(parts).write(str(tmp_path / "x.exr"))
    found = " ".join(read_picture(tmp_path / "x.exr").warnings)
    assert "of its 2 parts the first is read" in found
    assert "primaries are other than those of sRGB" in found
    first, last = np.array([5, 3], np.int32), np.array([5 + WIDTH - 1, 3 + HEIGHT - 1], np.int32)
    whole = (np.zeros(2, np.int32), np.array([99, 99], np.int32))
    header = {"type": exr.scanlineimage, "dataWindow": (first, last), "displayWindow": whole}
    exr.File(header, {"RGB": rgb}).write(str(tmp_path / "y.exr"))
    assert "its pixels begin at column 5, row 3 of its window" in read_picture(tmp_path / "y.exr").warnings[0]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_alpha_is_not_held_against_the_level_of_white(dtype):
    """It is whole at its dtype's own white: of 12 bits in 16 at 65535, of floats of any level at 1."""
    opaque, white = (65_535, 4095) if dtype == np.uint16 else (1, 0.25)
    colours = levels(16, 3).astype(np.float32) / 65_535 * white
    frame = np.dstack([colours, np.full((HEIGHT, WIDTH), opaque)]).astype(dtype)
    kind = check_frames([frame, frame], white=white)
    moved = warped(frame, Alignment("affine", np.array([[1.0, 0, 0.4], [0, 1, 0.3], [0, 0, 1]]), 1, 1, 1, None), kind)
    np.testing.assert_allclose(moved[..., 3], opaque, rtol=1e-5)
    assert moved[..., 3].max() <= opaque
    assert moved[..., :3].max() <= white
    with pytest.raises(InputError, match=r"above the white level|spans"):
        check_frames([np.dstack([colours * 2, frame[..., 3]]).astype(dtype)] * 2, white=white)


def test_an_avif_whose_notes_lie_at_its_end(tmp_path):
    """As libheif writes them, and programs that use it; OpenCV looks at the first 500 bytes and refuses such a file."""
    if not (features.check("avif") and cv2.haveImageWriter(".avif")):
        pytest.skip("no AVIF here")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a remark " * 400
    stored = levels(8, 3).astype(np.uint8)
    options = {"quality": 100, "subsampling": "4:4:4", "xmp": b"<x>" + b"y" * 2000 + b"</x>"}
    Image.fromarray(stored).save(tmp_path / "x.avif", exif=exif, **options)
    data = (tmp_path / "x.avif").read_bytes()
    at = data.index(b"\0\2\0\0\0\1", data.index(b"iloc"))  # where item 2, the EXIF, lies
    start, length = struct.unpack_from(">II", data, at + 6)
    moved = data[: at + 6] + struct.pack(">I", len(data) + 8) + data[at + 10 :]
    (tmp_path / "x.avif").write_bytes(moved + struct.pack(">I", length + 8) + b"free" + data[start : start + length])
    found = read_picture(tmp_path / "x.avif")
    assert np.abs(found.array.astype(int) - np.rot90(stored, -1)[..., ::-1]).max() <= 8
    assert len(found.metadata.exif) > 3000
    assert len(found.metadata.xmp) > 2000


def test_floats_beyond_one_with_alpha_multiplied_in():
    alpha = np.full((HEIGHT, WIDTH, 1), 0.5, np.float32)
    alpha[:3] = 0
    colours = levels(16, 3).astype(np.float32) / 10_000
    stream = io.BytesIO()
    stored = np.dstack([colours * np.where(alpha > 0, alpha, 1), alpha]).astype(np.float32)
    tifffile.imwrite(stream, stored, photometric="rgb", extrasamples=["assocalpha"], metadata=None)
    found = decode_picture(stream.getvalue(), "x.tif").array
    assert colours.max() > 6
    np.testing.assert_allclose(found[..., 2::-1], colours, rtol=1e-6)
    np.testing.assert_array_equal(found[..., 3:], alpha)


def without_imagecodecs(monkeypatch, data):
    """What is read of a TIFF where the extra is not installed."""

    def refused(page):
        raise ValueError(f"{page.compression!r} requires the 'imagecodecs' package")

    monkeypatch.setattr("tifffile.TiffPage.decode", property(refused))
    return decode_picture(data, "x.tif")


def lzw(array, **options):
    pytest.importorskip("imagecodecs")
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, compression="lzw", metadata=None, **options)
    return stream.getvalue()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_an_lzw_tiff_is_turned_once_without_the_extra_too(monkeypatch, bits, number, byteorder):
    rgb = levels(bits, 3).astype(f"u{bits // 8}")
    tags = [(274, 3, 1, number, True)]
    data = lzw(rgb, photometric="rgb", predictor=True, byteorder=byteorder, extratags=tags)
    expected = decode_picture(data, "x.tif").array
    np.testing.assert_array_equal(expected, upright(np.ascontiguousarray(rgb[..., ::-1]), number))
    np.testing.assert_array_equal(without_imagecodecs(monkeypatch, data).array, expected)


def test_two_levels_are_black_and_white_without_the_extra_too(monkeypatch):
    marks = levels(8, 1)[..., 0] > 128
    data = lzw(marks, photometric="minisblack")
    np.testing.assert_array_equal(without_imagecodecs(monkeypatch, data).array, marks * np.uint8(255))


def test_planes_are_not_mixed_up_without_the_extra(monkeypatch):
    data = lzw(np.moveaxis(levels(16, 3), 2, 0), photometric="rgb", planarconfig="separate")
    with pytest.raises(InputError, match=r"is a LZW-compressed TIFF: pip install 'ufafuse\[tiff\]'"):
        without_imagecodecs(monkeypatch, data)


def test_bits_that_need_the_extra_are_no_damage(monkeypatch):
    data = deep_tiff(levels(12, 4), 12)

    def refused(page):
        raise NotImplementedError("packints_decode of 12-bit integers requires the 'imagecodecs' package")

    monkeypatch.setattr("tifffile.TiffPage.decode", property(refused))
    with pytest.raises(InputError, match=r"is a TIFF of 12 bits a sample: pip install 'ufafuse\[tiff\]'"):
        decode_picture(data, "x.tif")


def jpegs_in_a_tiff(path):
    texture = np.random.default_rng(3).integers(0, 256, (64, 48, 3)).astype(np.uint8)
    Image.fromarray(cv2.GaussianBlur(texture, (0, 0), 2)).save(path, compression="jpeg", tiffinfo={278: 16})
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        return [(start, start + count) for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)]


def test_a_jpeg_in_a_tiff_that_ends_early_is_refused(tmp_path):
    parts = jpegs_in_a_tiff(tmp_path / "x.tif")
    whole = (tmp_path / "x.tif").read_bytes()
    assert len(parts) > 1
    for number, (start, end) in enumerate(parts, 1):
        middle = (start + end) // 2
        broken = whole[:middle] + bytes(end - middle) + whole[end:]
        with pytest.raises(InputError, match=f"damaged TIFF .part {number} of {len(parts)}: truncated"):
            decode_picture(broken, "x")
        (tmp_path / "y.tif").write_bytes(broken)
        with pytest.raises(InputError, match=f"part {number} of"):
            FileFrame(tmp_path / "y.tif").picture()


def test_damage_inside_of_a_jpeg_in_a_tiff_is_told(tmp_path):
    parts = jpegs_in_a_tiff(tmp_path / "x.tif")
    whole = (tmp_path / "x.tif").read_bytes()
    assert decode_picture(whole, "x", inside="thoroughly").damage == ""
    start, end = parts[1]
    middle = (start + end) // 2
    broken = whole[:middle] + bytes(20) + whole[middle + 20 :]
    found = decode_picture(broken, "x", inside="thoroughly")
    assert found.damage.startswith(f"part 2 of {len(parts)}: ")
    (tmp_path / "y.tif").write_bytes(broken)
    assert FileFrame(tmp_path / "y.tif").look_inside() == found.damage
    assert found.array.shape == (64, 48, 3)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_whose_tags_were_damaged_is_refused(compression):
    """Each would be read as something else, partly of black, and nothing said."""
    stream = io.BytesIO()
    planes = np.moveaxis(levels(16, 3), 2, 0)
    tifffile.imwrite(stream, planes, photometric="rgb", planarconfig="separate", rowsperstrip=8, compression=compression)
    whole = stream.getvalue()
    with tifffile.TiffFile(io.BytesIO(whole)) as tiff:
        tags = {code: tiff.pages[0].tags[code].offset for code in (257, 258, 273, 279)}
    assert decode_picture(whole, "x").array.shape == (HEIGHT, WIDTH, 3)
    for code in (258, 273, 279):  # their values lie beyond the file
        broken = bytearray(whole)
        broken[tags[code] + 8 : tags[code] + 12] = (1 << 30).to_bytes(4, "little")
        with pytest.raises(InputError, match=f"damaged TIFF .its tag {code} cannot be read"):
            decode_picture(bytes(broken), "x")
    broken = bytearray(whole)
    broken[tags[257] + 8 : tags[257] + 12] = (20 * HEIGHT).to_bytes(4, "little")
    with pytest.raises(InputError, match=r"damaged TIFF .it lists 9 of its 180 parts"):
        decode_picture(bytes(broken), "x")


def noise(side=160):
    return np.random.default_rng(5).integers(0, 256, (side, side, 3)).astype(np.uint8)


def by_opencv(suffix, *options):
    return cv2.imencode(suffix, noise(), options)[1].tobytes


def by_pillow_heif():
    heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    heif.from_pillow(Image.fromarray(noise())).save(stream, quality=95)
    return stream.getvalue()


@pytest.mark.parametrize(
    "write",
    [
        by_opencv(".webp"),
        by_opencv(".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
        by_opencv(".jp2"),
        by_opencv(".png"),
        by_opencv(".jpg"),
        by_pillow_heif,
    ],
    ids=["webp", "webp without loss", "jp2", "png", "jpg", "heic"],
)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_copy_that_kept_its_size_and_lost_its_end_is_refused(write, share):
    """As a disk leaves a file that was being written when the power went."""
    data = write()
    assert decode_picture(data, "x").array.shape == (160, 160, 3)
    kept = int(share * len(data))
    with pytest.raises(InputError, match="is damaged"):
        decode_picture(data[:kept] + bytes(len(data) - kept), "x")
