"""Frames of several kinds brought to one, and said."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pictures.conform import ConformedFrame, common_kind
from ufafuse.runtime.pictures.exif import parse_exif
from ufafuse.runtime.pictures.metadata import Metadata, resolution_in
from ufafuse.runtime.pictures.picture import Picture
from ufafuse.runtime.pictures.source import ArrayFrame, of_arrays


def noise(shape, dtype=np.uint8, top=None):
    top = top or (1 if dtype == np.float32 else np.iinfo(dtype).max)
    values = cv2.GaussianBlur(np.random.default_rng(1).random(shape).astype(np.float32), (0, 0), 2)
    return (values * top).astype(dtype)


def brought(frames, **options):
    sources = of_arrays(frames, [f"{chr(97 + number)}.png" for number in range(len(frames))])
    common = common_kind(sources, **options)
    told = {}
    return common, [ConformedFrame(source, common, strict=False, told=told).read() for source in sources]


def test_alike_frames_are_untouched():
    frames = [noise((20, 30, 3)), noise((20, 30, 3))]
    common, read = brought(frames)
    assert common.notes == ()
    assert all(a is b for a, b in zip(read, frames, strict=True))


def test_grey_and_colour():
    grey, colour = noise((20, 30)), noise((20, 30, 3))
    common, read = brought([grey, colour])
    assert [frame.shape for frame in read] == [(20, 30, 3)] * 2
    np.testing.assert_array_equal(read[0], np.dstack([grey] * 3))
    assert common.notes == ("a.png: grey among colour, taken as colour without colour",)


@pytest.mark.parametrize(("dtype", "opaque"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_with_and_without_alpha(dtype, opaque):
    common, read = brought([noise((20, 30, 4), dtype), noise((20, 30, 3), dtype), noise((20, 30), dtype)])
    assert [frame.shape for frame in read] == [(20, 30, 4)] * 3
    assert (read[1][..., 3] == opaque).all()
    assert any("without alpha" in note for note in common.notes)


@pytest.mark.parametrize("white", [1023, 4095, 65535])
def test_eight_and_sixteen_bits(white):
    eight, deep = noise((20, 30, 3)), noise((20, 30, 3), np.uint16, white)
    deep[0, 0] = white
    common, read = brought([eight, deep])
    assert [frame.dtype for frame in read] == [np.uint16] * 2
    np.testing.assert_allclose(read[0] / white, eight / 255, atol=1 / white)
    assert common.notes == (f"a.png: 8 bits among 16, scaled to white {white}",)


def test_floats_among_whole_levels_are_refused():
    with pytest.raises(InputError, match=r"b\.png: float levels, a\.png: whole ones"):
        brought([noise((8, 8)), noise((8, 8), np.float32)])


def test_other_sizes_of_the_same_scene():
    large, small = noise((64, 96, 3)), cv2.resize(noise((64, 96, 3)), (48, 32), interpolation=cv2.INTER_AREA)
    with pytest.raises(InputError, match=r"b\.png has 32 x 48 pixels, a\.png 64 x 96: register them"):
        brought([large, small])
    common, read = brought([large, small], scale=True)
    assert read[1].shape == large.shape
    assert np.abs(read[1].astype(int) - large).mean() < 3
    assert common.notes == ("b.png: scaled to 64 x 96",)


@pytest.mark.parametrize(
    ("shape", "reason"), [((96, 64, 3), "turn it"), ((64, 64, 3), "not the same view"), ((6, 9, 3), "not the same view")]
)
def test_another_view_is_refused(shape, reason):
    with pytest.raises(InputError, match=rf"b\.png has .*{reason}"):
        brought([noise((64, 96, 3)), noise(shape)], scale=True)


def test_damage_is_told_once_or_refused():
    source = ArrayFrame(Picture(noise((8, 8)), damage="blocks are missing", warnings=("its ink ran",)), "a.jpg")
    common, told = common_kind([source, source]), {}
    frame = ConformedFrame(source, common, strict=False, told=told)
    frame.read()
    frame.read()
    assert [text.split(":")[0] for text in told] == ["a.jpg is damaged inside (blocks are missing)", "a.jpg"]
    with pytest.raises(InputError, match=r"a\.jpg is damaged inside \(blocks are missing\)"):
        ConformedFrame(source, common, strict=True, told=told).read()


def profile(name):
    return Metadata(icc=pytest.importorskip("imagecodecs").cms_profile(name))


def said(*frames, **options):
    """What each frame says of its colours once they are brought together."""
    sources = [ArrayFrame(Picture(array, metadata), f"{chr(97 + at)}.png") for at, (array, metadata) in enumerate(frames)]
    common = common_kind(sources, **options)
    return [ConformedFrame(source, common, strict=False, told={}) for source in sources], common


def test_profiles_of_frames_in_colour_are_compared_behind_a_grey_one():
    adobe, srgb = profile("adobergb"), profile("srgb")
    with pytest.raises(InputError, match=r"b\.png has the colour profile 'Adobe RGB .*c\.png has 'sRGB"):
        said((noise((20, 30)), Metadata()), (noise((20, 30, 3)), adobe), (noise((20, 30, 3)), srgb))


def test_a_grey_frame_takes_the_profile_of_those_in_colour():
    adobe, grey = profile("adobergb"), Metadata(icc=profile("srgb").icc[:16] + b"GRAY" + profile("srgb").icc[20:])
    frames, common = said((noise((20, 30)), grey), (noise((20, 30, 3)), adobe))
    assert [frame.metadata.icc for frame in frames] == [adobe.icc] * 2
    assert [frame.picture().metadata.icc for frame in frames] == [adobe.icc] * 2
    assert any("left out, the result is in colour" in note for note in common.notes)


def test_a_converted_frame_says_the_profile_that_it_has_now():
    """Whichever of them becomes the reference, whose profile the result has."""
    adobe, srgb = profile("adobergb"), profile("srgb")
    frames, _ = said((noise((20, 30, 3)), adobe), (noise((20, 30, 3)), srgb), (noise((20, 30)), Metadata()), convert=True)
    assert [frame.metadata.icc for frame in frames] == [adobe.icc] * 3
    read = [frame.read() for frame in frames]
    assert np.array_equal(read[0], noise((20, 30, 3)))
    assert not np.array_equal(read[1], read[0])
    assert read[2].shape == (20, 30, 3)
    assert np.ptp(read[2].astype(int), axis=2).max() <= 1  # grey stays grey


def test_a_frame_that_is_scaled_says_the_resolution_that_it_has_now():
    frames = [ArrayFrame(Picture(noise((side, side)), Metadata(dpi=(600.0, 300.0))), f"{side}.png") for side in (40, 80)]
    common = common_kind(frames, scale=True)
    found = [ConformedFrame(frame, common, strict=False, told={}).metadata for frame in frames]
    assert [said.dpi for said in found] == [(600, 300), (300, 150)]
    assert resolution_in(parse_exif(found[1].exif)) == (300, 150)  # where others look


def test_the_white_that_a_deep_file_says_counts_though_it_is_dark():
    eight, deep = noise((20, 30, 3)), noise((20, 30, 3), np.uint16, 400)
    sources = [ArrayFrame(eight, "a.png"), ArrayFrame(Picture(deep, white=4095.0), "b.tif")]
    assert common_kind(sources).white == 4095
