"""Captions, keywords, rights and comments of the reference: in the result of each format that has a place for them, or told."""

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, IptcImagePlugin

from ufafuse.runtime import Fuser
from ufafuse.runtime.files import Outputs, fuse_files
from ufafuse.runtime.pictures import captions
from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures.blocks import chunk
from ufafuse.runtime.pictures.metadata import Metadata, metadata_of, with_metadata

SUFFIXES = (".jpg", ".png", ".tif", ".webp")
CAPTION, BY, RIGHTS = "Käfer auf Löwenzahn", "A. Person", "(c) A. Person"
COMMENT = "by hand, f/4"


def dataset(record, number, value):
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value


def iptc(*, of_frame=True):
    said = [(1, 90, b"\x1b%G"), (1, 100, b"XX:2026:1:frame 7"), (2, 25, b"macro"), (2, 25, b"beetle"), (2, 80, BY.encode())]
    said += [(2, 116, RIGHTS.encode()), (2, 120, CAPTION.encode()), (2, 202, b"a small picture")]
    return b"".join(dataset(*each) for each in said if of_frame or each[:2] not in {(1, 100), (2, 202)})


def resources(notes):
    """As Photoshop writes them: behind others, one of which has a name of odd length."""
    other = b"8BIM" + struct.pack(">H", 0x03F3) + b"\x02ab\0" + struct.pack(">I", 3) + b"xyz\0"
    return other + b"8BIM" + struct.pack(">HHI", 0x0404, 0, len(notes)) + notes + bytes(len(notes) % 2)


def as_exiftool_writes(content):
    return f"\nIPTC profile\n{len(content):8d}\n{content.hex()}\n".encode()


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)


def written(kind, seed, notes):
    """A file with notes in it, in one of the places in which programs put them."""
    stream, image = io.BytesIO(), Image.fromarray(picture(seed))
    if kind == "jpeg":
        image.save(stream, "JPEG", quality=95, comment=COMMENT.encode())
        data, content = stream.getvalue(), b"Photoshop 3.0\0" + resources(notes)
        return data[:20] + struct.pack(">HH", 0xFFED, len(content) + 2) + content + data[20:]
    if kind == "png":
        image.save(stream, "PNG")
        data = stream.getvalue()
        text = chunk(b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(as_exiftool_writes(resources(notes))))
        return data[:33] + text + chunk(b"tEXt", b"Comment\0" + COMMENT.encode()) + data[33:]
    filled = notes + bytes(-len(notes) % 4)
    turned = b"".join(filled[at : at + 4][::-1] for at in range(0, len(filled), 4))
    tag = {
        "tiff": (33_723, 7, len(notes), notes, True),
        "tiff in words": (33_723, 4, len(filled) // 4, filled, True),
        "tiff in turned words": (33_723, 4, len(turned) // 4, turned, True),
        "tiff in resources": (34_377, 1, len(resources(notes)), resources(notes), True),
    }[kind]
    tifffile.imwrite(stream, picture(seed), photometric="rgb", metadata=None, extratags=[tag])
    return stream.getvalue()


KINDS = {
    "jpeg": ".jpg",
    "png": ".png",
    "tiff": ".tif",
    "tiff in words": ".tif",
    "tiff in turned words": ".tif",
    "tiff in resources": ".tif",
}


@pytest.fixture(scope="module")
def fuser():
    pytest.importorskip("onnxruntime")
    with Fuser("ufa-nano", backend="onnxruntime") as made:
        yield made


@pytest.mark.parametrize("out", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_people_wrote_is_in_the_result(fuser, tmp_path, kind, out):
    paths = [tmp_path / f"{name}{KINDS[kind]}" for name in "ab"]
    for seed, path in enumerate(paths):
        path.write_bytes(written(kind, seed, iptc()))
    result = tmp_path / f"fused{out}"
    outcome = fuse_files(fuser, paths, Outputs(result))
    commented = kind in ("jpeg", "png")
    with Image.open(result) as opened:
        opened.load()
        exif, found = opened.getexif(), IptcImagePlugin.getiptcinfo(opened)
        assert exif[ex.DESCRIPTION].encode("latin-1").decode() == CAPTION
        assert (exif[0x013B], exif[0x8298]) == (BY, RIGHTS)
        assert exif.get_ifd(0x8769).get(0x9286) == (b"ASCII\0\0\0" + COMMENT.encode() if commented else None)
        if out in (".jpg", ".tif"):
            said = {(2, 25): [b"macro", b"beetle"], (2, 80): BY.encode(), (2, 116): RIGHTS.encode(), (2, 120): CAPTION.encode()}
            assert found == {(1, 90): b"\x1b%G"} | said
        if out == ".png":
            raw = bytes.fromhex("".join(opened.info["Raw profile type iptc"].split("\n")[3:]))
            assert iptc(of_frame=False) in raw
            assert hashlib.md5(iptc(of_frame=False), usedforsecurity=False).digest() in raw
        if commented and out in (".jpg", ".png"):
            said = opened.info["comment" if out == ".jpg" else "Comment"]
            assert said == (COMMENT.encode() if out == ".jpg" else COMMENT)
    lost = [line for line in outcome.warnings if "cannot hold" in line]
    assert lost == ([f"{result} cannot hold IPTC of {paths[0]}: end it in .png or .tif."] if out == ".webp" else [])


def test_what_a_format_has_no_place_for_is_told():
    texts = (("Title", "t"), ("Author", "a"), ("Comment", "c"))
    said = Metadata(iptc=iptc(), texts=texts).of_result((4, 4), "x", "")
    assert said.lost_in(".png") == []
    assert said.lost_in(".jpg") == said.lost_in(".tif") == ["the texts 'Title', 'Author'"]  # the notes have another author
    assert said.lost_in(".webp") == ["the texts 'Title', 'Author'", "IPTC"]
    assert Metadata(iptc=iptc(), texts=texts).lost_in(".bmp") == ["IPTC", "the texts 'Title', 'Author', 'Comment'"]
    assert Metadata(texts=texts[1:]).of_result((4, 4), "x", "").lost_in(".tif") == []
    large = dataset(2, 120, b"x" * 30_000) * 3
    assert Metadata(iptc=large).lost_in(".jpg") == ["IPTC of 90015 bytes"]


def test_what_a_file_says_in_exif_is_not_replaced():
    found = ex.Exif()
    found.put_text(ex.DESCRIPTION, "of the camera")
    said = Metadata(exif=found.to_bytes(), iptc=iptc()).of_result((4, 4), "x", "")
    assert ex.parse_exif(said.exif).text(ex.DESCRIPTION) == "of the camera"


@pytest.mark.parametrize(
    "text", ["CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90\n", "LEAD Technologies Inc. V1.01", "Lavc58.134"]
)
def test_that_an_encoder_names_itself_is_not_said_of_the_result(text):
    said = Metadata(texts=(("Comment", text), ("Comment", COMMENT))).of_result((4, 4), "x", "")
    assert said.texts == (("Comment", COMMENT),)


@pytest.mark.parametrize("text", ["ölig", "油"])
@pytest.mark.parametrize("order", "<>")
def test_a_comment_in_any_letters_is_one_in_exif(text, order):
    said = Metadata(exif=ex.Exif({0x010F: ex.Entry(2, 2, b"M\0")}, order=order).to_bytes(), texts=(("Comment", text),))
    said = said.of_result((4, 4), "x", "")
    assert said.lost_in(".webp") == []
    entry = ex.parse_exif(said.exif).parts[0x8769][0x9286]
    assert entry.data[8:].decode("utf-16-le" if order == "<" else "utf-16-be") == text


def test_exif_that_imagemagick_put_into_a_png_as_text():
    stream = io.BytesIO()
    Image.fromarray(picture(0)).save(stream, "PNG")
    found = ex.Exif()
    found.put_text(0x010F, "Maker")
    content = b"Exif\0\0" + found.to_bytes()
    text = chunk(b"tEXt", f"Raw profile type exif\0\nexif\n{len(content):8d}\n{content.hex()}\n".encode())
    assert (
        ex.parse_exif(metadata_of(stream.getvalue()[:33] + text + stream.getvalue()[33:]).exif or b"").text(0x010F) == "Maker"
    )


@given(st.binary(max_size=80), st.sampled_from((b"8BIM", b"\x1c\x02", b"")), st.sampled_from(("jpeg", "png", "tiff")))
def test_any_bytes_as_notes_cost_nobody_the_picture(junk, head, kind):
    data = written(kind, 0, head + junk)
    said = metadata_of(data) if kind != "tiff" else Metadata(iptc=captions.iptc_in(head + junk))
    said = said.of_result((40, 60), "x", "")
    assert with_metadata(written("jpeg", 0, b""), said, size=(40, 60), alpha=False)
