"""Profile, EXIF, XMP and resolution: kept in all four formats, upright, with where the result comes from."""

import io
import struct

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, TiffImagePlugin, features

from ufafuse.runtime import Fuser
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.files import FileOptions, Outputs, fuse_files
from ufafuse.runtime.outputs import aligned_saver
from ufafuse.runtime.pictures import exif as ex
from ufafuse.runtime.pictures import exiflayout as lay
from ufafuse.runtime.pictures.blocks import chunk
from ufafuse.runtime.pictures.boxes import read_boxes
from ufafuse.runtime.pictures.decode import read_picture
from ufafuse.runtime.pictures.frames_among import is_result
from ufafuse.runtime.pictures.metadata import Metadata, metadata_of, resolution_in, with_metadata
from ufafuse.runtime.pictures.picture import Picture
from ufafuse.runtime.pictures.source import ArrayFrame
from ufafuse.runtime.pictures.write import write_image

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="bolt"/></x:xmpmeta>'
SUFFIXES = (".jpg", ".png", ".tif", ".webp")


def camera_exif(orientation=6):
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0132], exif[0x0112] = "Maker", "Cam 1", "2026:01:01 10:00:00", orientation
    exif[0x8298] = "A person"
    part = exif.get_ifd(0x8769)
    part[0x829A], part[0x8827], part[0x9003], part[0x927C] = (
        TiffImagePlugin.IFDRational(1, 250),
        400,
        "2026:01:01 09:59:58",
        b"maker's own",
    )
    exif.get_ifd(0x8825)[0x0002] = (48.0, 8.0, 15.5)
    return exif


def frame(path, seed, **options):
    kinds = {".jpg": {"quality": 95}, ".webp": {"lossless": True}}
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    image.save(path, **kinds.get(path.suffix, {}), **options)
    return path


@pytest.fixture(scope="module")
def fuser():
    pytest.importorskip("onnxruntime")
    with Fuser("ufa-nano", backend="onnxruntime") as made:
        yield made


@pytest.mark.parametrize("out", SUFFIXES)
@pytest.mark.parametrize("source", SUFFIXES)
def test_kept_from_any_format_in_any_format(fuser, tmp_path, source, out):
    said = {"icc_profile": PROFILE, "exif": camera_exif(), "dpi": (300, 240)}
    if source in (".jpg", ".webp"):
        said["xmp"] = XMP
    near = frame(tmp_path / f"a{source}", 1, **said)
    far = frame(tmp_path / f"b{source}", 2, icc_profile=PROFILE, exif=camera_exif())
    result = tmp_path / f"fused{out}"
    fuse_files(fuser, (near, far), Outputs(result))
    with Image.open(result) as picture:
        picture.load()
        assert picture.size == (40, 60)  # upright
        assert picture.info["icc_profile"] == PROFILE
        exif = picture.getexif()
        part = exif.get_ifd(0x8769)
        if out != ".webp" and source != ".webp":  # which has no field for it
            assert picture.info["dpi"] == pytest.approx((240, 300), abs=0.01)  # turned with the picture
    assert (exif[0x010F], exif[0x0110], exif[0x8298]) == ("Maker", "Cam 1", "A person")
    assert exif[0x0112] == 1
    assert exif[0x0131].startswith("ufafuse ")
    assert "a" + source in part[0x9213]
    assert "ufa-nano" in part[0x9213]
    if source != ".tif":  # Pillow writes no such directory into a TIFF
        assert part[0x9003] == "2026:01:01 09:59:58"
        assert part[0x829A] == pytest.approx(1 / 250)
        assert part[0x927C].startswith(b"maker's own")
        assert exif.get_ifd(0x8825)[0x0002] == (48.0, 8.0, 15.5)
    assert (part[0xA002], part[0xA003]) == (40, 60)
    found = read_picture(result).metadata
    assert found.icc == PROFILE
    if "xmp" in said:
        assert b'dc:title="bolt"' in found.xmp
        assert b'tiff:Orientation="1"' in found.xmp
    if source != ".webp":
        assert found.dpi == pytest.approx((240, 300), abs=0.01)


def test_a_result_without_anything_said_still_says_where_it_comes_from(fuser, tmp_path):
    near, far = (frame(tmp_path / f"{name}.png", seed) for seed, name in enumerate("ab"))
    fuse_files(fuser, (near, far), Outputs(tmp_path / "f.png"))
    with Image.open(tmp_path / "f.png") as picture:
        assert "icc_profile" not in picture.info
        assert "a.png, b.png" in picture.getexif().get_ifd(0x8769)[0x9213]


def other_profile(name=b"Wide"):
    """sRGB under another name and with another red."""
    data = bytearray(PROFILE)
    at = data.find("sRGB".encode("utf-16-be"))
    data[at : at + 8] = name.decode().encode("utf-16-be")
    where = data.find(b"rXYZ")
    start = struct.unpack_from(">I", data, where + 4)[0]
    data[start + 8 : start + 12] = struct.pack(">i", int(0.6 * 65536))
    return bytes(data)


def test_other_profiles_are_refused_with_both_names(fuser, tmp_path):
    near = frame(tmp_path / "a.png", 1, icc_profile=PROFILE)
    far = frame(tmp_path / "b.png", 2, icc_profile=other_profile())
    with pytest.raises(InputError, match=r"a\.png has the colour profile 'sRGB built-in', .*b\.png has 'Wide built-in'"):
        fuse_files(fuser, (near, far), Outputs(tmp_path / "f.png"))


def test_other_profiles_are_converted_where_asked_for(fuser, tmp_path):
    pytest.importorskip("imagecodecs")
    near = frame(tmp_path / "a.png", 1, icc_profile=PROFILE)
    far = frame(tmp_path / "b.png", 2, icc_profile=other_profile())
    outcome = fuse_files(fuser, (near, far), Outputs(tmp_path / "f.png"), files=FileOptions(convert_profile=True))
    assert any("converted to the profile 'sRGB built-in'" in warning for warning in outcome.warnings)
    assert read_picture(tmp_path / "f.png").metadata.icc == PROFILE


def test_no_profile_is_srgb(fuser, tmp_path):
    near = frame(tmp_path / "a.png", 1, icc_profile=PROFILE)
    far = frame(tmp_path / "b.png", 2)
    fuse_files(fuser, (near, far), Outputs(tmp_path / "f.png"))


def test_a_grey_profile_is_not_put_on_colour(fuser, tmp_path):
    grey = bytearray(PROFILE)
    grey[16:20] = b"GRAY"
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8))
    image.save(tmp_path / "a.png", icc_profile=bytes(grey))
    far = frame(tmp_path / "b.png", 2)
    outcome = fuse_files(fuser, (tmp_path / "a.png", far), Outputs(tmp_path / "f.png"), files=FileOptions())
    assert read_picture(tmp_path / "f.png").metadata.icc is None
    assert any("profile" in warning for warning in outcome.warnings)


def test_a_profile_of_many_segments(tmp_path):
    large = PROFILE + bytes(200_000)
    write_image(tmp_path / "x.jpg", np.zeros((8, 8, 3), np.uint8), metadata=Metadata(icc=large))
    assert read_picture(tmp_path / "x.jpg").metadata.icc == large
    with Image.open(tmp_path / "x.jpg") as picture:
        assert picture.info["icc_profile"] == large


@given(
    data=st.binary(max_size=300),
    head=st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"Exif\0\0II*\0\x08\0\0\0"]),
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_as_exif(data, head):
    found = ex.parse_exif(head + data)
    again = ex.parse_exif(found.to_bytes())
    assert again.main.keys() - found.main.keys() <= ex._POINTERS
    assert {tag: part for tag, part in again.parts.items() if tag != lay.INTEROP_IFD} == {
        tag: part for tag, part in found.parts.items() if part and tag != lay.INTEROP_IFD
    }


@given(place=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=6), suffix=st.sampled_from(SUFFIXES))
@settings(max_examples=300, deadline=None)
def test_damaged_notes_cost_nobody_the_picture(place, junk, suffix):
    stream = io.BytesIO()
    kind = {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".webp": "WEBP"}[suffix]
    Image.new("RGB", (8, 8)).save(stream, kind, exif=camera_exif(), icc_profile=PROFILE)
    data = bytearray(stream.getvalue())
    start = int(place * len(data))
    data[start : start + len(junk)] = junk
    found = metadata_of(bytes(data))
    made = found.of_result((8, 8), "x", "y")
    assert ex.parse_exif(made.exif).orientation == 1
    plain = io.BytesIO()
    Image.new("RGB", (8, 8)).save(plain, "JPEG")
    Image.open(io.BytesIO(with_metadata(plain.getvalue(), made, size=(8, 8), alpha=False))).load()


def coloured(path, seed, *chunks):
    """A PNG with chunks about its colours."""
    frame(path, seed)
    data = path.read_bytes()
    path.write_bytes(data[:33] + b"".join(chunk(*each) for each in chunks) + data[33:])
    return path


PQ, LINEAR = (b"cICP", bytes((9, 16, 0, 1))), (b"gAMA", (100_000).to_bytes(4, "big"))


@pytest.mark.parametrize(("chunk", "words"), [(PQ, "PQ, BT.2020"), (LINEAR, "gamma 1")])
def test_colours_that_a_png_says_without_a_profile(fuser, tmp_path, chunk, words):
    near, far = (coloured(tmp_path / f"{name}.png", seed, chunk) for seed, name in enumerate("ab"))
    outcome = fuse_files(fuser, (near, far), Outputs(tmp_path / "f.png"))
    assert read_picture(tmp_path / "f.png").metadata.colour == (chunk,)
    assert not any("colour space" in warning for warning in outcome.warnings)
    outcome = fuse_files(fuser, (near, far), Outputs(tmp_path / "f.tif"))
    assert any(f"f.tif cannot hold the colour space {words} of" in warning for warning in outcome.warnings)
    plain = frame(tmp_path / "c.png", 3)
    with pytest.raises(InputError, match=rf"a\.png has the colour space {words}, .*c\.png has sRGB: save them alike"):
        fuse_files(fuser, (near, plain), Outputs(tmp_path / "g.png"))


def test_what_is_usual_of_colours_is_not_told():
    assert Metadata(colour=((b"gAMA", (45_455).to_bytes(4, "big")),)).colour_space == ""
    assert Metadata(colour=((b"cICP", bytes((1, 13, 0, 1))),)).colour_space == ""
    assert Metadata(icc=PROFILE, colour=(LINEAR,)).colour_space == ""


def test_what_a_format_cannot_hold_is_told(fuser, tmp_path):
    exif = camera_exif(1)
    exif.get_ifd(0x8769)[0x927C] = bytes(70_000)
    near, far = (frame(tmp_path / f"{name}.png", seed, icc_profile=PROFILE, exif=exif) for seed, name in enumerate("ab"))
    outcome = fuse_files(fuser, (near, far), Outputs(tmp_path / "f.jpg"))
    assert any("f.jpg cannot hold the notes of the camera's maker of" in warning for warning in outcome.warnings)
    assert ex.parse_exif(read_picture(tmp_path / "f.jpg").metadata.exif).text(0x010F) == "Maker"
    large = Metadata(exif=ex.Exif({0x010E: lay.Entry(2, 70_000, bytes(70_000))}).to_bytes())
    assert large.lost_in(".jpg") == [f"EXIF of {len(large.exif)} bytes"]
    outcome = fuse_files(fuser, (near, far), Outputs(tmp_path / "f.bmp"))
    assert any("f.bmp cannot hold the profile 'sRGB built-in' and EXIF of" in warning for warning in outcome.warnings)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_big_tiff(fuser, tmp_path, byteorder):
    paths = [tmp_path / "a.tif", tmp_path / "b.tif"]
    tags = [(0x010F, 2, 0, "Maker", True), (34675, 7, len(PROFILE), PROFILE, True)]
    for seed, path in enumerate(paths):
        data = np.random.default_rng(seed).integers(0, 256, (40, 60, 3)).astype(f"{byteorder}u2")
        tifffile.imwrite(
            path, data, bigtiff=True, byteorder=byteorder, photometric="rgb", extratags=tags, resolution=(300, 240),
            resolutionunit=2, datetime="2026:01:01 10:00:00",
        )  # fmt: skip
    fuse_files(fuser, paths, Outputs(tmp_path / "f.png"))
    found = read_picture(tmp_path / "f.png").metadata
    said = ex.parse_exif(found.exif)
    assert found.icc == PROFILE
    assert found.dpi == pytest.approx((300, 240), abs=0.02)
    assert (said.text(0x010F), said.text(ex.DATETIME)) == ("Maker", "2026:01:01 10:00:00")


def test_an_avif(fuser, tmp_path):
    if not (features.check("avif") and cv2.haveImageWriter(".avif")):
        pytest.skip("no AVIF here")
    paths = [tmp_path / "a.avif", tmp_path / "b.avif"]
    for seed, path in enumerate(paths):
        frame(path, seed, icc_profile=PROFILE, exif=camera_exif(6), xmp=XMP)
    fuse_files(fuser, paths, Outputs(tmp_path / "f.png"))
    picture = read_picture(tmp_path / "f.png")
    assert picture.array.shape == (60, 40, 3)
    assert picture.metadata.icc == PROFILE
    assert b'dc:title="bolt"' in picture.metadata.xmp
    said = ex.parse_exif(picture.metadata.exif)
    assert (said.text(0x010F), said.orientation) == ("Maker", 1)


@given(data=st.binary(max_size=200), place=st.floats(0, 1, exclude_max=True), junk=st.binary(min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_bytes_as_boxes(data, place, junk):
    read_boxes(b"\0\0\0\x10ftypavif\0\0\0\0" + data)
    whole = bytearray(BOXES)
    start = int(place * len(whole))
    whole[start : start + len(junk)] = junk
    found = read_boxes(bytes(whole))
    assert 1 <= found.orientation <= 8


def box(kind, content):
    return struct.pack(">I4s", 8 + len(content), kind) + content


# A picture that is turned and coded as PQ, with EXIF in the box itself: ids, kinds, places and properties as short as can be.
BOXES = box(b"ftyp", b"avif\0\0\0\0") + box(
    b"meta",
    bytes(4)
    + box(b"pitm", bytes(4) + b"\0\1")
    + box(b"iinf", bytes(4) + b"\0\2" + box(b"infe", b"\2\0\0\0\0\1\0\0av01\0") + box(b"infe", b"\2\0\0\0\0\2\0\0Exif\0"))
    + box(b"iloc", b"\1\0\0\0\x44\0\0\1" + b"\0\2\0\1\0\0\0\1" + struct.pack(">II", 0, 12))
    + box(b"iprp", box(b"ipco", box(b"irot", b"\3") + box(b"imir", b"\0") + box(b"colr", b"nclx\0\x09\0\x10\0\x09\x80"))
          + box(b"ipma", bytes(4) + b"\0\0\0\1\0\1\3\1\2\3"))
    + box(b"idat", b"\0\0\0\0II*\0\x08\0\0\0"),
)  # fmt: skip


@pytest.mark.parametrize("kind", [{"imagej": True}, {"ome": True}, {}])
def test_a_result_of_a_microscopes_stack_is_one_picture(fuser, tmp_path, kind):
    stack = np.random.default_rng(0).integers(0, 60_000, (3, 40, 60), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"}, **kind)
    fuse_files(fuser, (tmp_path / "s.tif",), Outputs(tmp_path / "f.tif"))
    assert tifffile.imread(tmp_path / "f.tif").shape == (40, 60)  # older ones of its own writers name the axes first
    with tifffile.TiffFile(tmp_path / "f.tif") as result:
        assert not (result.is_imagej or result.is_ome or result.is_shaped)


def test_what_a_person_wrote_about_a_picture_stays():
    found = ex.Exif()
    found.put_text(ex.DESCRIPTION, "a bolt")
    assert ex.parse_exif(Metadata(exif=found.to_bytes()).of_result((8, 8), "x", "y").exif).text(ex.DESCRIPTION) == "a bolt"


def test_boxes():
    found = read_boxes(BOXES)
    assert (found.turns, found.mirror, found.orientation) == (3, 0, 7)
    assert found.nclx == (9, 16)
    assert found.exif == b"II*\0\x08\0\0\0"
    assert metadata_of(BOXES).colour_space == "PQ, BT.2020"


def test_a_result_of_raw_files_is_none(tmp_path):
    """DNG's own entries would make every reader take the result for a sensor's file."""
    found = ex.Exif()
    found.put_text(0x010F, "Maker")
    found.main[0xC612] = lay.Entry(1, 4, b"\1\4\0\0")
    said = Metadata(exif=found.to_bytes()).of_result((8, 8), "x", "y")
    write_image(tmp_path / "x.tif", np.zeros((8, 8, 3), np.uint16), metadata=said)
    again = read_picture(tmp_path / "x.tif")
    assert again.kind == "TIFF"
    assert ex.parse_exif(again.metadata.exif).text(0x010F) == "Maker"


# Of a frame's own samples: their least and greatest levels, the page, inks, the black and white of their YCC.
OF_SAMPLES = {
    "levels": [(280, "H", 1, 3), (281, "H", 1, 255), (340, "H", 3, (3,) * 3), (341, "H", 3, (255,) * 3)],
    "page": [(297, "H", 2, (2, 3))],
    "inks": [(332, "H", 1, 1), (334, "H", 1, 4), (336, "H", 2, (0, 255))],
    "ycc": [(532, "2I", 6, (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1))],
    "photoshop": [(37724, "B", 40, b"Adobe Photoshop Document Data Block\0" + bytes(4))],
    "fluoview": [(34362, "d", 4, (0.0,) * 4)],
    "molecular dynamics": [(33445, "I", 1, 2)],
}


@pytest.mark.parametrize("kind", OF_SAMPLES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_frame_says_of_its_own_samples_is_not_said_of_the_result(tmp_path, kind, suffix):
    """Photoshop would open a frame's layers instead of the result, others show its levels as those of the frame."""
    tags = [(*tag, True) for tag in (*OF_SAMPLES[kind], (315, "s", 0, "A person"))]
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb", metadata=None, extratags=tags)
    said = read_picture(tmp_path / "x.tif").metadata.of_result((8, 8), "x", "y")
    write_image(tmp_path / f"y{suffix}", np.zeros((8, 8, 3), np.uint8), metadata=said)
    found = ex.parse_exif(read_picture(tmp_path / f"y{suffix}").metadata.exif).main
    assert 315 in found
    assert not found.keys() & {number for number, *_ in OF_SAMPLES[kind]}


P3 = (b"cHRM", struct.pack(">8I", 31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000))


def test_primaries_that_a_png_says_are_colours_too(fuser, tmp_path):
    near = coloured(tmp_path / "a.png", 1, P3)
    with pytest.raises(InputError, match=r"a\.png has the colour space Display P3, .*b\.png has sRGB: save them alike"):
        fuse_files(fuser, (near, frame(tmp_path / "b.png", 2)), Outputs(tmp_path / "f.png"))
    outcome = fuse_files(fuser, (near, coloured(tmp_path / "c.png", 2, P3)), Outputs(tmp_path / "f.tif"))
    assert any("cannot hold the colour space Display P3 of" in text and text.endswith("in .png.") for text in outcome.warnings)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_camera_that_is_set_to_adobe_rgb(fuser, tmp_path, suffix):
    """It says so in EXIF alone: other programs would show a result without that in duller colours."""
    said = ex.Exif({0x010F: lay.Entry(2, 6, b"Maker\0")}, {lay.EXIF_IFD: {}, lay.INTEROP_IFD: {1: lay.Entry(2, 4, b"R03\0")}})
    said.put_short(0xA001, 0xFFFF, lay.EXIF_IFD)
    near, far = (frame(tmp_path / f"{name}.jpg", seed, exif=b"Exif\0\0" + said.to_bytes()) for seed, name in enumerate("ab"))
    outcome = fuse_files(fuser, (near, far), Outputs(tmp_path / f"f{suffix}"))
    kept = suffix in (".jpg", ".png")
    assert any("cannot hold the colour space Adobe RGB of" in text for text in outcome.warnings) is not kept
    if kept:
        assert read_picture(tmp_path / f"f{suffix}").metadata.colour_space == "Adobe RGB"
    plain = frame(tmp_path / "c.jpg", 3)
    with pytest.raises(InputError, match=r"a\.jpg has the colour space Adobe RGB, .*c\.jpg has sRGB: save them alike"):
        fuse_files(fuser, (near, plain), Outputs(tmp_path / "g.png"))


def test_srgb_goes_before_what_a_png_says_for_older_readers(tmp_path):
    srgb = coloured(tmp_path / "a.png", 1, (b"sRGB", b"\0"), LINEAR, P3)
    assert read_picture(srgb).metadata.colour == ()


def test_what_a_bmp_cannot_hold_is_told_and_its_resolution_is_kept(fuser, tmp_path):
    near, far = (frame(tmp_path / f"{name}.png", seed, exif=camera_exif(1), dpi=(300, 240)) for seed, name in enumerate("ab"))
    outcome = fuse_files(fuser, (near, far), Outputs(tmp_path / "f.bmp"))
    assert any("f.bmp cannot hold EXIF of" in warning for warning in outcome.warnings)
    assert Image.open(tmp_path / "f.bmp").info["dpi"] == pytest.approx((300, 240), abs=0.1)
    assert read_picture(tmp_path / "f.bmp").metadata.dpi == pytest.approx((300, 240), abs=0.1)
    plain = [frame(tmp_path / f"{name}.png", seed) for seed, name in enumerate("cd")]
    assert not any("cannot hold" in text for text in fuse_files(fuser, plain, Outputs(tmp_path / "g.bmp")).warnings)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_scale_in_a_unit_of_its_own_is_that_of_all_results(fuser, tmp_path, suffix):
    for seed, name in enumerate("ab"):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 60), dtype=np.uint8)
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels, imagej=True, resolution=(10, 5), metadata={"unit": "um"})
    outputs = Outputs(tmp_path / f"f{suffix}", map=tmp_path / f"map{suffix}", confidence=tmp_path / f"sharp{suffix}")
    fuse_files(fuser, [tmp_path / "a.tif", tmp_path / "b.tif"], outputs)
    for path in outputs.all():
        found = read_picture(path).metadata
        assert found.dpi == pytest.approx((254_000, 127_000), rel=1e-6)
        assert resolution_in(ex.parse_exif(found.exif)) == pytest.approx((254_000, 127_000), rel=1e-6)  # where others look


def test_xmp_says_the_size_of_the_result():
    packet = b'<d tiff:ImageWidth="9" exif:PixelYDimension="8" x="9"/><tiff:ImageLength>8</tiff:ImageLength>'
    made = Metadata(xmp=packet).of_result((60, 40), "x", "y").xmp
    assert made == b'<d tiff:ImageWidth="40" exif:PixelYDimension="60" x="9"/><tiff:ImageLength>60</tiff:ImageLength>'


def test_a_gain_map_is_told_and_not_promised(fuser, tmp_path):
    packet = b'<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
    near, far = (frame(tmp_path / f"{name}.jpg", seed, xmp=packet) for seed, name in enumerate("ab"))
    outcome = fuse_files(fuser, (near, far), Outputs(tmp_path / "f.jpg"))
    assert sum("its gain map, with which" in warning for warning in outcome.warnings) == 2
    assert b"hdr" not in read_picture(tmp_path / "f.jpg").metadata.xmp


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_registered_frames_keep_what_their_files_say(tmp_path, dtype):
    """They are for other programs, to which other colours would be wrong ones."""
    said = Metadata(icc=PROFILE, exif=camera_exif(6).tobytes().removeprefix(b"Exif\0\0"), xmp=XMP, dpi=(300.0, 240.0))
    arrays = [np.full((20, 30, 3), seed / 9 if dtype == np.float32 else seed, dtype) for seed in range(3)]
    frames = [ArrayFrame(Picture(array, said), f"{seed}.tif") for seed, array in enumerate(arrays)]
    save = aligned_saver(Outputs(tmp_path / "f.tif", aligned=tmp_path / "moved"), frames, [], force=False)
    save(1, 1, arrays[1], None)
    found = read_picture(next((tmp_path / "moved").iterdir())).metadata
    notes = ex.parse_exif(found.exif)
    assert found.icc == PROFILE
    assert found.dpi == pytest.approx((240, 300), abs=0.1)
    assert b'dc:title="bolt"' in found.xmp
    assert (notes.text(0x010F), notes.orientation) == ("Maker", 1)
    assert notes.text(ex.IMAGE_HISTORY).startswith("Registered frame 2 of 3 (1.tif)")
    assert is_result(next((tmp_path / "moved").iterdir()))


def test_what_is_true_of_one_frame_alone_is_not_said_of_the_result():
    exif = Image.Exif()
    of_frame = {0xA420: "0123456789abcdef", 0x9214: (9, 9, 4, 4), 0xA214: (9, 9), 0x9102: 4.0}
    exif.get_ifd(0x8769).update(of_frame | {0x9003: "2026:01:02 03:04:05"})
    said = Metadata(exif=exif.tobytes().removeprefix(b"Exif\0\0")).of_result((4, 6), "x", "")
    found = Image.Exif()
    found.load(said.exif)
    assert not of_frame.keys() & found.get_ifd(0x8769).keys()
    assert found.get_ifd(0x8769)[0x9000] == b"0232"
    assert found.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"


@pytest.mark.parametrize("out", [".tif", ".png", ".jpg", ".webp", ".bmp"])
@pytest.mark.parametrize("dots", [(1e7, 5e6), (4_294_967_295, 1), (0.5, 0.25)])
def test_any_resolution_is_kept_or_left_out(fuser, tmp_path, out, dots):
    """Those of an electron microscope, in pixels an inch, are larger than some fields of them."""
    for name in "ab":
        data = np.zeros((40, 60, 3), np.uint8)
        tifffile.imwrite(tmp_path / f"{name}.tif", data, photometric="rgb", resolution=dots, resolutionunit=2, metadata=None)
    fuse_files(fuser, (tmp_path / "a.tif", tmp_path / "b.tif"), Outputs(tmp_path / f"f{out}"))
    found = read_picture(tmp_path / f"f{out}").metadata.dpi
    if dots[0] == 1e7:
        assert found == pytest.approx(dots, rel=1e-6)


def test_no_number_as_a_resolution_is_none():
    found = ex.Exif()
    for tag, value in ((ex.X_RESOLUTION, np.nan), (ex.Y_RESOLUTION, np.inf)):
        found.main[tag] = lay.Entry(11, 1, struct.pack("<f", value))
    assert resolution_in(found) is None


@pytest.mark.parametrize("out", [".tif", ".png", ".jpg"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.tif", {"imagej": True, "metadata": {"unit": "um"}, "resolution": (5, 4)}),
        ("x.tif", {"imagej": True, "metadata": {"unit": "\\u00B5m"}, "resolution": (5, 4)}),
        ("x.ome.tif", {"metadata": {"axes": "YX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.25}}),
        ("x.ome.tif", {"metadata": {"axes": "YX", "PhysicalSizeX": 200, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25}}),
    ],
)
def test_the_size_of_a_microscopes_pixels_is_kept(fuser, tmp_path, name, options, out):
    tifffile.imwrite(tmp_path / name, np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8), **options)
    frames = tmp_path / name, tmp_path / f"b{name}"
    frames[1].write_bytes(frames[0].read_bytes())
    fuse_files(fuser, frames, Outputs(tmp_path / f"f{out}"))
    assert read_picture(tmp_path / f"f{out}").metadata.dpi == pytest.approx((127_000, 101_600), rel=1e-3)
