"""The notes of cameras' makers count from the head of their file, in its order of bytes: they stay where they were."""

import struct

import numpy as np
import pytest

from ufafuse.runtime import Fuser
from ufafuse.runtime.files import Outputs, fuse_files
from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures import exiflayout as lay
from ufafuse.runtime.pictures.decode import read_picture
from ufafuse.runtime.pictures.metadata import Metadata
from ufafuse.runtime.pictures.tiff import TiffFile
from ufafuse.runtime.pictures.tiffwrite import tiff_bytes
from ufafuse.runtime.pictures.write import WriteOptions, write_image

SUFFIXES = (".jpg", ".png", ".tif", ".webp")
LENS = b"EF-S 18-55mm\0"


def makers_note(at, order):
    """A directory of one entry, whose text lies behind it, as Canon, Sony and many others write them."""
    return struct.pack(order + "HHHIII", 1, 0x95, 2, len(LENS), at + 18, 0) + LENS


def camera_exif(at, order):
    found = ex.Exif(order=order)
    found.put_text(0x010F, "Maker")
    found.put_short(ex.ORIENTATION, 6)
    found.put_text(0x9003, "2026:01:01 09:59:58", lay.EXIF_IFD)
    note = makers_note(at, order)
    found.parts[lay.EXIF_IFD] |= {lay.MAKER_NOTE: lay.Entry(7, len(note), note, at)}
    found.put_text(0x0001, "R03", lay.INTEROP_IFD)  # Adobe RGB, where no profile says it
    return found.to_bytes()


def lens_in(path):
    """What the notes in a file say, read as other programs read them: from the head on, in the file's order of bytes."""
    notes = read_picture(path).metadata.exif
    block = path.read_bytes() if path.suffix == ".tif" else notes
    order = ex.parse_exif(block).order
    note = ex.parse_exif(block).parts[lay.EXIF_IFD][lay.MAKER_NOTE]
    _, _, _, length, at = struct.unpack_from(order + "HHHII", note.data)
    return block[at : at + length]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("at", [8, 41, 160, 300, 5_000, 70_001])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_notes_of_a_maker_stay_where_they_were(tmp_path, suffix, at, order):
    said = Metadata(exif=camera_exif(at, order), dpi=(300.0, 300.0)).of_result((40, 60), "ufafuse 1", "Fused from " + "x" * 200)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    path = tmp_path / f"x{suffix}"
    write_image(path, image, metadata=said)
    found = ex.parse_exif(read_picture(path).metadata.exif)
    assert (found.text(0x010F), found.orientation, found.text(0x9003)) == ("Maker", 1, "2026:01:01 09:59:58")
    assert found.parts[lay.INTEROP_IFD][1].data == b"R03\0"
    if at > 65_000 and suffix == ".jpg":
        assert said.lost_in(suffix) == [ex.MAKERS]
        assert lay.MAKER_NOTE not in found.parts[lay.EXIF_IFD]
    else:
        assert lens_in(path) == LENS
    if suffix != ".jpg":
        assert np.array_equal(read_picture(path).array, image)


@pytest.mark.parametrize("compression", ["none", "fast", "small"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_tiff_in_the_order_of_the_notes_has_its_pixels(tmp_path, dtype, compression):
    said = Metadata(exif=camera_exif(300, ">")).of_result((700, 500), "x", "y")
    image = (np.random.default_rng(0).random((700, 500, 3)) * 200).astype(dtype)  # several strips
    write_image(tmp_path / "x.tif", image, metadata=said, options=WriteOptions(compression=compression))
    assert (tmp_path / "x.tif").read_bytes()[:2] == b"MM"
    assert np.array_equal(read_picture(tmp_path / "x.tif").array, image)
    with (tmp_path / "x.tif").open("rb") as stream:
        assert TiffFile(stream, "x").look_inside(0) == ""


def test_notes_too_far_inside_of_a_file_are_left_out_and_that_is_told(tmp_path):
    pytest.importorskip("onnxruntime")
    for name in "ab":
        write_image(tmp_path / f"{name}.tif", np.full((40, 60, 3), 9, np.uint8), metadata=Metadata(exif=camera_exif(300, "<")))
        data = bytearray((tmp_path / f"{name}.tif").read_bytes())
        note = bytes(ex.parse_exif(data).parts[lay.EXIF_IFD][lay.MAKER_NOTE].data)
        entry = data.find(struct.pack("<HHII", lay.MAKER_NOTE, 7, len(note), 300))
        data[entry + 8 : entry + 12] = struct.pack("<I", 2 << 20)
        (tmp_path / f"{name}.tif").write_bytes(data.ljust(2 << 20, b"\0") + note)
    with Fuser("ufa-nano", backend="onnxruntime") as fuser:
        outcome = fuse_files(fuser, [tmp_path / "a.tif", tmp_path / "b.tif"], Outputs(tmp_path / "f.png"))
    assert any("a.tif: the notes of the camera's maker are left out: they lie too far" in text for text in outcome.warnings)
    found = ex.parse_exif(read_picture(tmp_path / "f.png").metadata.exif)
    assert found.text(0x010F) == "Maker"
    assert lay.MAKER_NOTE not in found.parts[lay.EXIF_IFD]


@pytest.mark.parametrize("at", [0, 300, 5_000])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", ["none", "deflate"])
def test_a_big_tiff_says_what_a_tiff_does(tmp_path, compression, order, at):
    """Results of more than 2 GB are written so."""
    said = Metadata(b"p" * 200, camera_exif(at, order), b"<x:xmpmeta/>", (300.0, 240.0), iptc=b"\x1c\x02\x78\0\x04text")
    said = said.of_result((40, 60), "ufafuse 1", "Fused from " + "x" * 200)
    image = np.random.default_rng(0).integers(0, 65_536, (400, 600, 3), np.uint16)  # of several strips
    found = []
    for most in (1 << 31, 1000):
        path = tmp_path / f"{most}.tif"
        path.write_bytes(tiff_bytes(image, said, compression=compression, most=most))
        assert path.read_bytes()[2:4].strip(b"\0") == (b"*" if most > 1000 else b"+")
        picture = read_picture(path)
        assert np.array_equal(picture.array, image)
        exif = ex.parse_exif(picture.metadata.exif)
        assert not at or lens_in(path) == LENS
        notes = {part: {tag: entry.data for tag, entry in each.items()} for part, each in exif.parts.items()}
        main = {tag: entry.data for tag, entry in exif.without_pixels().main.items()}
        found.append((main, notes, picture.metadata.icc, picture.metadata.xmp, picture.metadata.iptc, picture.metadata.dpi))
    assert found[0] == found[1]
    assert found[1][2:] == (said.icc, said.xmp, said.iptc, said.dpi)
    assert lay.INTEROP_IFD in found[1][1]
