"""TIFFs, and a video's code, that were read as something else than their writers mean: other readers told so."""

import io
import struct
import sys

import cv2
import numpy as np
import pytest
import tifffile

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.decode import decode_picture
from ufafuse.runtime.pictures.source import stack_of
from ufafuse.runtime.pictures.video import not_kept

pytestmark = pytest.mark.every_case

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 24, 37), dtype=np.uint8)
COLOURS = np.ascontiguousarray(FRAMES[:3].transpose(1, 2, 0))


def written(array, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **({"metadata": None} | options))
    return stream.getvalue()


def metamorph(frames):
    """An STK: one page, behind whose samples those of the other planes follow; a tag counts them."""
    count, height, width = frames.shape
    page = 8 + frames.nbytes
    behind = page + 2 + 12 * 11 + 4
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    tags += [(277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, height * width), (33628, 4, 1, 8), (33629, 5, count, behind)]
    planes = b"".join(struct.pack("<6I", number, 1, 2_450_000, 0, 2_450_000, 0) for number in range(count))
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", page) + frames.tobytes() + directory + planes


def zeiss(frames, scan, depth, moments=1):
    """An LSM: behind each page a small one, and the axes in a record of its own."""
    fields = [field for field in tifffile.TIFF.CZ_LSMINFO if field[0]]
    said = np.zeros((), fields)
    said["MagicNumber"], said["StructureSize"], said["ScanType"] = 67_127_628, said.dtype.itemsize, scan
    said["DimensionZ"], said["DimensionChannels"], said["DimensionTime"] = depth, 1, moments
    said["DimensionY"], said["DimensionX"] = frames.shape[1:]
    said["VoxelSizeX"], said["VoxelSizeY"] = 0.1e-6, 0.2e-6
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        for number, frame in enumerate(frames):
            tags = [] if number else [(34412, "B", said.dtype.itemsize, said.tobytes(), True)]
            file.write(frame, photometric="minisblack", metadata=None, extratags=tags)
            file.write(frame[:8, :8], photometric="minisblack", metadata=None, subfiletype=1)
    return stream.getvalue()


def fluoview(frames, *axes):
    """Olympus's: the axes in a header, from the innermost on."""
    said = np.zeros((), tifffile.TIFF.MM_HEADER)
    for number, (name, size) in enumerate((("x", frames.shape[2]), ("y", frames.shape[1]), *axes)):
        said["Dimensions"][number]["Name"], said["Dimensions"][number]["Size"] = name, size
    tags = [(34361, "B", said.dtype.itemsize, said.tobytes(), True), (34362, "d", 4, (0.0,) * 4, True)]
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        for frame in frames:
            file.write(frame, photometric="minisblack", metadata=None, extratags=tags)
    return stream.getvalue()


SIX = np.concatenate([FRAMES, FRAMES[:1]])
NO_STACKS = {
    "depth and moments, by Zeiss": (
        zeiss(SIX, 6, 3, 2),
        r"a Zeiss LSM TIFF of several axes \(T: 2, Z: 3, Y: 24, X: 37\): save one channel",
    ),
    "depth and moments, by FluoView": (
        fluoview(SIX, ("Z", 3), ("Time", 2)),
        r"a FluoView TIFF of several axes \(T: 2, Z: 3, Y: 24, X: 37\): save one channel",
    ),
    "channels, by FluoView": (
        fluoview(FRAMES, ("Ch", 5)),
        r"a FluoView TIFF of several axes \(C: 5, Y: 24, X: 37\): save one channel",
    ),
    "planes behind one page, by tifffile": (
        written(FRAMES, metadata={"axes": "ZYX"}, truncate=True, photometric="minisblack"),
        "a tifffile TIFF whose 5 frames have 1 page: save it as an image sequence",
    ),
    "planes behind one page, by MetaMorph": (
        metamorph(FRAMES),
        "a MetaMorph TIFF whose 5 frames have 1 page: save it as an image sequence",
    ),
    "channels": (
        written(FRAMES, metadata={"axes": "CYX"}, photometric="minisblack"),
        r"a tifffile TIFF of several axes \(C: 5, Y: 24, X: 37\): save one channel",
    ),
    "two axes that have no names": (
        written(np.stack([FRAMES, FRAMES]), metadata={}, photometric="minisblack"),
        r"a tifffile TIFF of several axes \(Q: 2, Q: 5, Y: 24, X: 37\): save one channel",
    ),
}


@pytest.mark.parametrize("name", NO_STACKS)
def test_what_are_no_pages_of_one_stack_is_refused(tmp_path, name):
    data, said = NO_STACKS[name]
    (tmp_path / "x.tif").write_bytes(data)
    with pytest.raises(InputError, match=said), stack_of([tmp_path / "x.tif"]):
        pass


@pytest.mark.parametrize(
    ("data", "shapes"),
    [
        (written(FRAMES, metadata={"axes": "ZYX"}, photometric="minisblack"), [(24, 37)] * 5),
        (written(FRAMES[:, None, None], metadata={}, photometric="minisblack"), [(24, 37)] * 5),
        (written(np.stack([COLOURS, COLOURS]), metadata={}, photometric="rgb"), [(24, 37, 3)] * 2),
        (written(FRAMES[:3], metadata={"axes": "CYX"}, photometric="rgb", planarconfig="separate"), [(24, 37, 3)]),
        (metamorph(FRAMES[:1]), [(24, 37)]),
        (zeiss(FRAMES, 0, 5), [(24, 37)] * 5),
        (fluoview(FRAMES, ("Z", 5)), [(24, 37)] * 5),
    ],
)
def test_what_is_one_stack_or_one_picture_is_read(tmp_path, data, shapes):
    (tmp_path / "x.tif").write_bytes(data)
    with stack_of([tmp_path / "x.tif"]) as frames:
        assert [frame.read().shape for frame in frames] == shapes
        assert [frame.shape for frame in frames] == shapes


SIZES = {"PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "\u00b5m", "PhysicalSizeY": 0.2, "PhysicalSizeYUnit": "\u00b5m"}


@pytest.mark.parametrize(
    "data",
    [
        written(FRAMES, ome=True, metadata={"axes": "ZYX"} | SIZES, resolution=(72, 72), resolutionunit=2),
        written(FRAMES, imagej=True, metadata={"axes": "ZYX", "unit": "um"}, resolution=(10, 5)),
        zeiss(FRAMES, 0, 5),
    ],
)
def test_how_large_a_pixel_is_goes_before_a_default_of_dots(tmp_path, data):
    (tmp_path / "x.tif").write_bytes(data)
    with stack_of([tmp_path / "x.tif"]) as frames:
        assert frames[0].metadata.dpi == pytest.approx((254_000, 127_000))


@pytest.mark.parametrize("compression", ["jpeg2000", "png", "jpegxl", "zstd", 33003, 33004, 33005])
def test_colours_that_nobody_here_brings_to_rgb_are_refused(compression):
    """Of these OpenCV made black, tifffile luma and differences called RGB."""
    imagecodecs = pytest.importorskip("imagecodecs")
    kinds = {33003: "rgb", 33004: "rgb"}
    options = {"photometric": kinds.get(compression, "ycbcr"), "compression": compression}
    options |= {"subsampling": (1, 1)} if options["photometric"] == "ycbcr" else {}
    if isinstance(compression, int):
        part = imagecodecs.jpeg2k_encode(COLOURS, level=0, mct=False)
        data = written(iter([part]), shape=COLOURS.shape, dtype=np.uint8, rowsperstrip=24, **options)
    else:
        data = written(COLOURS, **options)
    with pytest.raises(InputError, match="convert it to RGB"):
        decode_picture(data, "x.tif")


def two_colours():
    """One bit a pixel, each the number of a colour."""
    data = bytearray(
        written(FRAMES[0] > 127, photometric="minisblack", extratags=[(320, 3, 6, (0, 65535, 257, 0, 0, 771), True)])
    )
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        kind = file.pages[0].tags[262].valueoffset
    data[kind] = 3
    return bytes(data)


def test_a_palette_of_two_colours_is_read():
    found = decode_picture(two_colours(), "x.tif").array
    expected = np.array([[0, 1, 0], [3, 0, 255]], np.uint8)[(FRAMES[0] > 127).astype(int)]
    np.testing.assert_array_equal(found, expected)


def test_a_tiff_of_which_nothing_was_written_is_no_black_picture():
    data = bytearray(written(FRAMES[0]))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        for tag in (tags[273], tags[279]):
            data[tag.valueoffset : tag.valueoffset + 2] = bytes(2)
    with pytest.raises(InputError, match="a TIFF without a pixel, its program ended before it wrote one"):
        decode_picture(bytes(data), "x.tif")


def test_white_of_thirty_two_bits_is_not_that_of_sixteen():
    with pytest.raises(InputError, match="has 32-bit levels up to 4294967295"):
        decode_picture(written(FRAMES[0].astype(np.uint32), photometric="miniswhite"), "x.tif")


def test_differences_that_libtiff_does_not_undo_are_not_shown(monkeypatch):
    pytest.importorskip("imagecodecs")
    data = written(FRAMES[0].astype(np.float32), compression="packbits", predictor=3, photometric="minisblack")
    for name in [name for name in sys.modules if name.split(".")[0] == "imagecodecs"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)

    def refused(page):
        raise ValueError("requires the 'imagecodecs' package")

    monkeypatch.setattr("tifffile.TiffPage.decode", property(refused))
    with pytest.raises(InputError, match=r"PACKBITS-compressed TIFF: pip install 'ufafuse\[tiff\]'"):
        decode_picture(data, "x.tif")


@pytest.mark.parametrize(
    ("code", "alpha"),
    [(b"Y42B", False), (b"Y41B", False), (b"Y411", False), (b"I420", False), (b"Y4\x0b\x08", True), (b"BGRA", True)],
)
def test_alpha_is_missed_only_in_videos_that_have_it(code, alpha):
    """Each 8-bit video of 4:2:2 was said to lose its alpha."""

    class Capture:
        def get(self, what):
            assert what == cv2.CAP_PROP_CODEC_PIXEL_FORMAT
            return float(int.from_bytes(code, "little"))

    assert any("alpha" in told for told in not_kept(Capture())) == alpha
