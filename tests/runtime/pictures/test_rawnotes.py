"""Raw files say which camera they are from, wherever their makers put it, and nothing untrue of what was developed."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures import exiflayout as lay
from ufafuse.runtime.pictures.metadata import Metadata, with_metadata
from ufafuse.runtime.pictures.rawnotes import notes_of_raw
from ufafuse.runtime.pictures.write import WriteOptions, encoded


def camera_exif(order="<", iso=400):
    found = ex.Exif(order=order)
    found.put_text(0x0110, "Cam 1")
    found.put_text(0x9003, "2026:01:01 09:59:58", lay.EXIF_IFD)
    found.put_short(0xA001, 0xFFFF, lay.EXIF_IFD)  # the camera's own pictures are in Adobe RGB
    if iso:
        found.put_short(0x8827, iso, lay.EXIF_IFD)
    found.put_text(0x0001, "R03", lay.INTEROP_IFD)
    return found


def headed(head, order="<"):
    return head + camera_exif(order).to_bytes()[len(head) :]


def panasonic():
    found = camera_exif(iso=0)
    found.put_short(0x17, 400)
    return b"IIU\0" + found.to_bytes()[4:]


def fujifilm():
    plain = encoded(Path("x.jpg"), np.zeros((8, 8, 3), np.uint8), None, WriteOptions())
    data = with_metadata(plain, Metadata(exif=camera_exif().to_bytes()), size=(8, 8), alpha=False)
    return b"FUJIFILMCCD-RAW ".ljust(84, b"0") + struct.pack(">II", 160, len(data)) + bytes(68) + data


def canon():
    found = camera_exif()
    blocks = {b"CMT1": ex.Exif(found.main), b"CMT2": ex.Exif(found.parts[lay.EXIF_IFD])}
    boxes = b"".join(struct.pack(">I", 8 + len(block.to_bytes())) + name + block.to_bytes() for name, block in blocks.items())
    return b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(40) + boxes


KINDS = {
    "nef": headed(b"II*\0"),
    "pef": headed(b"MM\0*", ">"),
    "orf": headed(b"IIRO"),
    "sp": headed(b"IIRS"),
    "orf, the other order": headed(b"MMOR", ">"),
    "rw2": panasonic(),
    "raf": fujifilm(),
    "cr3": canon(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_camera_date_and_exposure_of_raw_files(kind):
    for data in (KINDS[kind], ex.FileBytes(io.BytesIO(KINDS[kind]))):
        found = ex.parse_exif(notes_of_raw(data).exif)
        part = found.parts[lay.EXIF_IFD]
        assert (found.text(0x0110), found.text(0x9003)) == ("Cam 1", "2026:01:01 09:59:58")
        assert (part[0x8827].data, part[0xA001].data) == (struct.pack("<H", 400), struct.pack("<H", 1))  # developed to sRGB
        assert lay.INTEROP_IFD not in found.parts
        assert min(found.main) >= 0xFE


@pytest.mark.parametrize("junk", [b"FUJIFILMCCD-RAW " + b"\xff" * 90, b"\0\0\0\x18ftypcrx CMT1CMT2", b"FOVb" + bytes(99), b""])
def test_raw_files_that_say_nothing(junk):
    assert notes_of_raw(junk) == Metadata()
