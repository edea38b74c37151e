"""Frames of every kind, there and back, and what is refused."""

import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import FrameKind, check_array, check_frames, check_out, check_pair, to_grey
from ufafuse.runtime.packing import from_bgr_bytes, from_planes, to_bgr_bytes, to_planes

SHAPES = [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4), (1, 1), (1, 1, 3)]
DTYPES = [np.uint8, np.uint16, np.float32]


def frame(shape, dtype, white=None, seed=0):
    values = np.random.default_rng(seed).random(shape)
    if dtype == np.float32:
        return values.astype(np.float32)
    return np.rint(values * (white or np.iinfo(dtype).max)).astype(dtype)


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_planes_keep_every_level(shape, dtype, order):
    given_frame = frame(shape, dtype)
    kind = check_pair(given_frame, given_frame, order=order)
    planes = to_planes(given_frame, kind)
    assert planes.shape == (1, 3, *shape[:2])
    assert planes.dtype == np.float32
    assert planes.min() >= 0
    assert planes.max() <= 1
    back = from_planes(planes, kind, given_frame)
    assert back.dtype == dtype
    if dtype == np.float32:
        np.testing.assert_allclose(back, given_frame, atol=1e-7)
    else:
        np.testing.assert_array_equal(back, given_frame)


def test_planes_are_red_green_blue():
    blue = np.zeros((2, 2, 3), np.uint8)
    blue[..., 0] = 255
    assert to_planes(blue, check_pair(blue, blue))[0, :, 0, 0].tolist() == [0, 0, 1]
    assert to_planes(blue, check_pair(blue, blue, order="rgb"))[0, :, 0, 0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_sensor_keeps_its_levels(bits):
    white = 2**bits - 1
    levels = np.arange(0, white + 1, max(1, white // 4000), dtype=np.uint16).reshape(1, -1)
    kind = check_pair(levels, levels, white=white)
    planes = to_planes(levels, kind)
    assert planes.max() == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(from_planes(planes, kind, levels), levels)
    assert from_planes(planes * 2, kind, levels).max() <= white  # clipped at the sensor's white, not the dtype's


@pytest.mark.parametrize("darkest", [-0.5 / 255, -0.0019, 0.0, -0.3])
def test_what_a_network_gives_is_clipped_and_rounded_whatever_its_sign(darkest):
    level = np.linspace(darkest, 1.2, 3000, dtype=np.float32)
    planes = np.broadcast_to(level, (1, 3, 4, 3000)).copy()
    near = np.zeros((4, 3000, 3), np.uint8)
    fused = from_planes(planes, check_pair(near, near), near)
    np.testing.assert_array_equal(fused[0, :, 0], np.clip(np.rint(level * np.float32(255)), 0, 255))


@pytest.mark.parametrize("shape", [(5, 7, 3), (6, 1, 4), (1, 6, 3)])
@pytest.mark.parametrize("white", [None, 1, 77])
def test_bytes_are_scaled_alike_whatever_the_brightest_of_a_frame_is(shape, white):
    levels = frame(shape, np.uint8, white=min(60, white or 60))
    kind = check_pair(levels, levels, white=white)
    expected = np.float32(levels[..., 2::-1]) / np.float32(white or 255)
    np.testing.assert_allclose(to_planes(levels, kind)[0].transpose(1, 2, 0), expected, rtol=1e-6)


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("shape", SHAPES)
def test_bytes_there_and_back(shape, order):
    given_frame = frame(shape, np.uint8)
    kind = check_pair(given_frame, given_frame, order=order)
    packed = to_bgr_bytes(given_frame, kind)
    assert packed.shape == (1, *shape[:2], 3)
    assert packed.flags.c_contiguous
    np.testing.assert_array_equal(from_bgr_bytes(packed, kind, given_frame), given_frame)


def test_alpha_is_the_near_frames():
    near, far = frame((4, 4, 4), np.uint8), frame((4, 4, 4), np.uint8, seed=1)
    kind = check_pair(near, far)
    np.testing.assert_array_equal(from_planes(to_planes(far, kind), kind, near)[..., 3], near[..., 3])
    np.testing.assert_array_equal(from_bgr_bytes(to_bgr_bytes(far, kind), kind, near)[..., 3], near[..., 3])


@pytest.mark.parametrize("channels", [0, 1, 3, 4])
@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::2],
        lambda a: a[:, ::2],
        lambda a: a[::-1],
        lambda a: a[:, ::-1],
        lambda a: a[1:-1, 2:-2],
        lambda a: a.swapaxes(0, 1),
        np.asfortranarray,
        lambda a: a[..., ::-1] if a.ndim == 3 else a,
    ],
)
def test_any_memory_layout(channels, view):
    whole = frame((12, 14, channels) if channels else (12, 14), np.uint8)
    strided = view(whole)
    plain = np.ascontiguousarray(strided)
    kind = check_pair(strided, strided)
    np.testing.assert_array_equal(to_planes(strided, kind), to_planes(plain, kind))
    np.testing.assert_array_equal(to_bgr_bytes(strided, kind), to_bgr_bytes(plain, kind))
    np.testing.assert_array_equal(to_grey(strided, kind), to_grey(plain, kind))
    np.testing.assert_array_equal(from_planes(to_planes(strided, kind), kind, strided), plain)


def test_grey_is_the_luma():
    colour = np.full((3, 3, 3), (10, 100, 200), np.uint8)
    kind = check_pair(colour, colour)
    assert to_grey(colour, kind)[0, 0] * 255 == pytest.approx(0.114 * 10 + 0.587 * 100 + 0.299 * 200, abs=1)
    grey = frame((4, 5), np.uint16)
    np.testing.assert_allclose(to_grey(grey, check_pair(grey, grey)), grey / 65535, atol=1e-6)


GOOD = np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("far", "told"),
    [
        ([[1]], "far frame is a list: give a NumPy array"),
        (np.zeros(4, np.uint8), r"far frame has shape \(4,\)"),
        (np.zeros((4, 5, 2), np.uint8), r"far frame has shape \(4, 5, 2\)"),
        (np.zeros((0, 5, 3), np.uint8), "far frame is empty"),
        (np.zeros((4, 5, 3), np.int16), "far frame is int16"),
        (np.zeros((4, 5, 3), np.float64), "far frame is float64"),
        (np.zeros((5, 4, 3), np.uint8), "differ in size: near is 4 x 5 x 3, the far frame is 5 x 4 x 3"),
        (np.zeros((4, 5), np.uint8), "differ in size"),
        (np.zeros((4, 5, 3), np.uint16), "differ in dtype"),
    ],
)
def test_what_is_wrong_with_a_frame_is_told(far, told):
    with pytest.raises(InputError, match=told):
        check_pair(GOOD, far)


@pytest.mark.parametrize(
    ("value", "told"), [(np.nan, "NaN or infinity"), (np.inf, "NaN or infinity"), (-0.5, "spans"), (1.5, "spans")]
)
def test_floats_must_be_levels(value, told):
    good, bad = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
    bad[2, 1] = value
    with pytest.raises(InputError, match=f"near frame.*{told}"):
        check_pair(bad, good)


def test_levels_above_white_are_refused():
    with pytest.raises(InputError, match="far frame reaches 4096, above the white level 4095"):
        check_pair(np.zeros((2, 2), np.uint16), np.full((2, 2), 4096, np.uint16), white=4095)


@pytest.mark.parametrize("white", [0, -1, 1e-203, 0.5, 256, 1e9])
def test_white_must_be_a_level(white):
    with pytest.raises(InputError, match="is out of range for uint8"):
        check_pair(GOOD, GOOD, white=white)


def test_unknown_order():
    with pytest.raises(InputError, match="'grb' is not known"):
        check_pair(GOOD, GOOD, order="grb")


def test_frames_of_a_stack_are_counted():
    with pytest.raises(InputError, match=r"[^e] frame 4 is 4 x 6 x 3"):
        check_frames([GOOD, GOOD, GOOD, np.zeros((4, 6, 3), np.uint8)])


@pytest.mark.parametrize(
    ("out", "told"),
    [
        (np.zeros((4, 5, 4), np.uint8), "out= is"),
        (np.zeros((4, 5, 3), np.uint16), "out= is"),
        ([1], "out= is list"),
        (np.broadcast_to(np.uint8(0), (4, 5, 3)), "read-only"),
    ],
)
def test_out_must_take_the_result(out, told):
    with pytest.raises(InputError, match=told):
        check_out(out, FrameKind(np.dtype(np.uint8), 3, 255.0, "bgr"), GOOD.shape)


ANY_ARRAY = hnp.arrays(
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32, np.float64, np.int32, np.bool_, np.complex64]),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
)


@given(near=ANY_ARRAY, far=ANY_ARRAY, white=st.none() | st.floats(allow_nan=True), same=st.booleans())
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_refused_or_survives(near, far, white, same):
    far = near if same else far
    try:
        kind = check_pair(near, far, white=white)
    except InputError as error:
        assert str(error).endswith(".") or "give one in" in str(error)
        return
    back = from_planes(to_planes(near, kind), kind, near)
    assert back.shape == near.shape
    assert back.dtype == near.dtype


def test_a_library_that_another_thread_is_just_importing_is_no_error(monkeypatch):
    """`numpy.ma` is there by name before anything is in it; `ufa fuse --pairs` reads in several threads."""
    monkeypatch.setitem(sys.modules, "numpy.ma", ModuleType("numpy.ma"))
    check_array("near", np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize("dtype", [">u2", ">f4"])
def test_another_byte_order_is_named_with_its_mend(dtype):
    frame = np.zeros((4, 5), dtype)
    with pytest.raises(InputError, match=r"in another byte order .*: give `frame.astype\(np\.") as told:
        check_pair(frame, frame)
    mend = str(told.value).split("`")[1]
    check_pair(eval(mend), eval(mend))
