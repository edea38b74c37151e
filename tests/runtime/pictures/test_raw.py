"""Raw files of which a part is missing: LibRaw gives what memory held in its place, and says nothing."""

import io
import struct

import numpy as np
import pytest
import tifffile

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.decode import decode_picture
from ufafuse.runtime.pictures.rawparts import fault_in_parts, is_dng
from ufafuse.runtime.pictures.source import FileFrame

HEIGHT, WIDTH = 96, 128
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
MOSAIC = ((COLUMNS * 300 + ROWS * 200) % 60_000).astype(np.uint16)


def dng(order="<", *, packed=False, inside=False, mosaic=MOSAIC, version=b"\1\4\0\0"):
    """A DNG of four tiles; its picture behind a small one if it is `inside`."""
    tags = [(50706, "B", 4, version, True), (50707, "B", 4, b"\1\1\0\0", True), (50708, "s", 0, "Cam", True)]
    tags += [(33421, "H", 2, (2, 2), True), (33422, "B", 4, b"\0\1\1\2", True), (50728, "2I", 3, (1,) * 6, True)]
    stream, data, more = io.BytesIO(), mosaic.astype(order + "u2"), {}
    if packed:
        imagecodecs = pytest.importorskip("imagecodecs")
        data = iter([imagecodecs.ljpeg_encode(np.ascontiguousarray(tile)) for tile in tiles_of(mosaic)])
        more = {"compression": 7, "shape": MOSAIC.shape, "dtype": np.uint16}
    with tifffile.TiffWriter(stream, byteorder=order) as file:
        if inside:
            small = np.full((12, 16, 3), 99, np.uint8)
            file.write(small, photometric="rgb", subifds=1, subfiletype=1, extratags=tags, metadata=None)
        file.write(data, photometric="cfa", tile=(48, 64), subfiletype=0, extratags=tags, metadata=None, **more)
    return stream.getvalue()


def noisy(seed=5):
    """A mosaic as sensors give them, and its tiles."""
    return (MOSAIC // 8 + np.random.default_rng(seed).integers(0, 120, MOSAIC.shape)).astype(np.uint16)


def tiles_of(mosaic):
    return [mosaic[row : row + 48, column : column + 64] for row in (0, 48) for column in (0, 64)]


def parts(data):
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0].pages[0] if file.pages[0].subifds else file.pages[0]
        return page.dataoffsets, page.databytecounts


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_a_raw_file_of_which_a_part_did_not_arrive_is_refused(order, inside, packed):
    pytest.importorskip("rawpy")
    whole = dng(order, packed=packed, inside=inside)
    assert is_dng(whole)
    assert fault_in_parts(whole) == ""
    assert decode_picture(whole, "x.dng").array.shape == (HEIGHT, WIDTH, 3)
    starts, sizes = parts(whole)
    for place in (1, 3):
        for cut in (starts[place], starts[place] + 10, starts[place] + sizes[place] - 1):
            with pytest.raises(InputError, match=r"x\.dng is damaged \(truncated, a part of it ends at byte"):
                decode_picture(whole[:cut], "x.dng")
    if packed:
        lost = bytearray(whole)
        lost[starts[2] : starts[2] + sizes[2]] = bytes(sizes[2])
        with pytest.raises(InputError, match=rf"damaged \(what lies at byte {starts[2]} is no part of it"):
            decode_picture(bytes(lost), "x.dng")


def test_a_raw_file_that_gives_nothing_but_black_is_refused():
    pytest.importorskip("rawpy")
    with pytest.raises(InputError, match="in which LibRaw finds nothing but black: develop it"):
        decode_picture(dng(mosaic=np.zeros_like(MOSAIC)), "x.dng")


def test_any_bytes_as_a_raw_file_have_a_fault_or_none():
    rng, whole = np.random.default_rng(0), dng(inside=True)
    for _ in range(2000):
        data = bytearray(whole[: rng.integers(8, len(whole))])
        for at in rng.integers(0, min(len(data), 800), 6):
            data[at] = rng.integers(256)
        assert isinstance(fault_in_parts(bytes(data)), str)


def test_what_a_raw_file_says_is_the_same_before_and_after_it_is_developed(tmp_path):
    """Settings for other developers are not true of the result: they would be applied to it a second time."""
    pytest.importorskip("rawpy")
    with tifffile.TiffFile(io.BytesIO(dng())) as file:
        at = file.pages[0].tags[50708].offset  # the camera's name has room for a packet's place
    data = bytearray(dng())
    packet = b"<x crs:Exposure2012='+2.00'/>"
    data[at : at + 12] = struct.pack("<HHII", 700, 1, len(packet), len(data))
    (tmp_path / "x.dng").write_bytes(bytes(data) + packet)
    frame = FileFrame(tmp_path / "x.dng")
    assert frame.metadata.xmp is None
    assert frame.metadata == frame.picture().metadata


def changed(whole, how, times):
    """Files of which one packed part was overwritten, or one bit of it changed."""
    starts, sizes = parts(whole)
    rng = np.random.default_rng(1)
    for _ in range(times):
        part = int(rng.integers(len(starts)))
        at, data = starts[part] + int(rng.integers(60, sizes[part] - 20)), bytearray(whole)
        if how == "a bit":
            data[at] ^= 1 << int(rng.integers(8))
        else:
            data[at : at + 16] = bytes(16) if how == "zeros" else rng.integers(0, 255, 16, np.uint8).tobytes()
        yield bytes(data)


@pytest.mark.parametrize(("how", "least"), [("zeros", 58), ("other bytes", 58), ("a bit", 10)])
@pytest.mark.parametrize("inside", [False, True])
def test_damage_inside_of_a_packed_dng_is_told(tmp_path, how, least, inside):
    pytest.importorskip("rawpy")
    whole = dng(packed=True, inside=inside, mosaic=noisy())
    assert decode_picture(whole, "x.dng", inside="thoroughly").damage == ""
    frame, told = FileFrame(tmp_path / "x.dng"), 0
    for data in changed(whole, how, 60):
        frame.path.write_bytes(data)
        said = frame.look_inside()
        assert (said == "") or said.startswith("part ")
        told += bool(said)
    assert told >= least
    assert frame.looking_takes > max(parts(whole)[1])


def test_damage_inside_of_a_packed_dng_is_told_by_its_picture():
    pytest.importorskip("rawpy")
    whole = dng(packed=True, mosaic=noisy())
    starts, _ = parts(whole)
    data = bytearray(whole)
    data[starts[2] + 900 : starts[2] + 1400] = bytes(500)
    assert decode_picture(bytes(data), "x.dng", inside="thoroughly").damage.startswith("part 3 of 4: ")


@pytest.mark.parametrize(
    "mosaic", [np.zeros_like(MOSAIC) + 7, MOSAIC, noisy(1), noisy(2) // 8, (noisy(3) > 4000).astype(np.uint16) * 65_535]
)
def test_of_any_whole_dng_nothing_is_told(tmp_path, mosaic):
    for order in "<>":
        (tmp_path / "x.dng").write_bytes(dng(order, packed=True, mosaic=mosaic.astype(np.uint16)))
        assert FileFrame(tmp_path / "x.dng").look_inside() == ""


def test_of_the_oldest_dngs_nothing_is_told(tmp_path):
    """Behind a difference of 16 bits they have these bits, and later ones none."""
    data = next(changed(dng(packed=True, mosaic=noisy(), version=b"\1\0\0\0"), "zeros", 1))
    (tmp_path / "x.dng").write_bytes(data)
    assert FileFrame(tmp_path / "x.dng").look_inside() == ""
