"""Sizes of engines, as options and as shapes."""

import pytest

from ufafuse.export.profiles import Profile, input_shapes, profiles_from_options
from ufafuse.runtime.errors import InputError


@pytest.mark.parametrize(
    ("sizes", "batches", "what"),
    [
        (((64, 64), (32, 64), (128, 128)), (1, 1, 1), "height is min 64, opt 32, max 128"),
        (((64, 64), (64, 256), (128, 128)), (1, 1, 1), "width"),
        (((64, 64), (64, 64), (64, 64)), (2, 1, 4), "batch"),
        (((64, 64), (64, 64), (64, 64)), (0, 1, 1), "batch"),
    ],
)
def test_an_impossible_profile_says_which_side_is_wrong(sizes, batches, what):
    with pytest.raises(InputError, match=what):
        Profile(*sizes, batches)


def test_options_make_profiles_in_their_order():
    ranged, fixed = profiles_from_options(["1x2"], ["3x4"], ["5x6"], ["7x8"], "1,2,3")
    assert (ranged.smallest, ranged.best, ranged.largest, ranged.batches) == ((1, 2), (3, 4), (5, 6), (1, 2, 3))
    assert fixed == Profile((7, 8), (7, 8), (7, 8), (1, 2, 3))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (([], [], [], [], "1"), "no size"),
        ((["1x1"], [], ["2x2"], [], "1"), "one of each"),
        (([], [], [], ["8x8"], "1,2"), "`batch="),
        (([], [], [], ["8x8"], "two"), "`batch="),
    ],
)
def test_incomplete_options_are_refused(arguments, what):
    with pytest.raises(InputError, match=what):
        profiles_from_options(*arguments)


def test_shapes_follow_the_names_of_the_dimensions():
    profile = Profile((1, 2), (3, 4), (5, 6), (1, 1, 7))
    shapes = input_shapes(profile, {"near": ["batch", "height", "width", 3], "means": ["batch", 10]})
    assert shapes["near"] == ((1, 1, 2, 3), (1, 3, 4, 3), (7, 5, 6, 3))
    assert shapes["means"] == ((1, 10), (1, 10), (7, 10))


def test_what_an_engine_cannot_index_is_refused():
    with pytest.raises(InputError, match="at most 2147483647"):
        Profile.static((40_000, 40_000)).shapes("near", ["batch", 3, "height", "width"])
