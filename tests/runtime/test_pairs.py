"""Finding pairs in folders."""

from pathlib import Path

import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.pairs import PairPaths, find_pairs, is_image


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_three_layouts(tmp_path):
    make(tmp_path / "a", "x_A.png", "x_B.jpg", "x_GT.png", "y-A.tif", "y-B.tif", "deep/z_A.png", "deep/z_B.png", "readme.txt")
    found = find_pairs(tmp_path / "a")
    assert [pair.name for pair in found] == ["deep/z", "x", "y"]
    assert found[1] == PairPaths("x", tmp_path / "a/x_A.png", tmp_path / "a/x_B.jpg", tmp_path / "a/x_GT.png")
    assert found[2].truth is None
    make(tmp_path / "b", "near/1.png", "far/1.jpg", "near/2.png", "far/2.png", "gt/2.png")
    found = find_pairs(tmp_path / "b")
    assert [(pair.name, pair.far.name, pair.truth is not None) for pair in found] == [
        ("1", "1.jpg", False),
        ("2", "2.png", True),
    ]


def test_half_a_pair_is_listed_with_its_missing_file(tmp_path):
    make(tmp_path, "x_A.png", "x_B.png", "y_B.png", "z-A.jpg", "only_GT.png")
    found = {pair.name: pair for pair in find_pairs(tmp_path)}
    assert found.keys() == {"x", "y", "z"}
    assert found["y"].near == tmp_path / "y_A.png"
    assert found["z"].far == tmp_path / "z-B.jpg"
    make(tmp_path / "d", "near/x_A.png", "near/x_B.png", "near/y_B.png", "far/readme.txt")
    assert find_pairs(tmp_path / "d")[1].near == tmp_path / "d/near/y_A.png"
    make(tmp_path / "f", "near/1.png", "far/1.png", "far/2.png", "near/3.png")
    halves = {pair.name: pair for pair in find_pairs(tmp_path / "f")}
    assert halves["2"].near == tmp_path / "f/near/2.png"
    assert halves["3"].far == tmp_path / "f/far/3.png"


def test_a_folder_that_mixes_layouts_is_found_whole(tmp_path):
    make(tmp_path, "x_A.png", "x_B.png", "z_1.png", "z_2.png", "k_a.png", "k_b.png", "m-Near.png", "m-Far.png", "n_01.png")
    make(tmp_path, "near/1.png", "far/1.png", "near/2.png", "far/3.png", "k_gt.png", "deep/r-a.jpg", "deep/r-b.jpg")
    passed: list[str] = []
    found = {pair.name: pair for pair in find_pairs(tmp_path, passed=passed)}
    assert list(found) == ["1", "2", "3", "deep/r", "k", "m", "n", "x", "z"]
    assert (found["m"].near.name, found["m"].far.name) == ("m-Near.png", "m-Far.png")
    assert (found["n"].far.name, found["2"].far) == ("n_02.png", tmp_path / "far/2.png")  # which are not there
    assert found["k"].truth == tmp_path / "k_gt.png"
    assert not passed


def test_every_picture_is_in_a_pair_or_passed_over_with_its_reason(tmp_path):
    make(tmp_path, "x_A.png", "x_B.png", "x_1.png", "x_2.png", "z_near.png", "IMG_7.jpg", "y.tif", "q_GT.png", "notes.txt")
    make(tmp_path, "s_1.png", "s_2.png", "s_3.png", "near/b.png", "more/c.png", "raw_A.dng", "raw_B.dng", "raw_A.jpg")
    passed: list[str] = []
    assert [pair.name for pair in find_pairs(tmp_path, passed=passed)] == ["raw", "x"]
    assert passed[0] == "x_1.png with x_2.png would be another pair x, beside x_A.png with x_B.png"
    assert passed[1] == "s_1.png to s_3.png are a stack of 3, and no pair"
    assert sorted(passed[2:]) == [
        "IMG_7.jpg is no half of a pair",
        "more/c.png is no half of a pair",
        "near/b.png is no half of a pair",
        "q_GT.png is the truth of no pair",
        "y.tif is no half of a pair",
        "z_near.png has no other half",
    ]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), "holds no pairs: name them NAME_A"),
        (("x_A.png", "y_B.png"), "holds no pairs"),
        (("_A.png", "_B.png"), "holds no pairs"),
        (("x_A.png", "x_A.jpg", "x_B.png"), "both the same half of pair x"),
        (("near/1.png",), "holds no pairs"),
    ],
)
def test_what_is_refused(tmp_path, names, told):
    make(tmp_path, *names)
    with pytest.raises(InputError, match=told):
        find_pairs(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="is not a folder: give one that holds pairs"):
        find_pairs(tmp_path / "no")


@pytest.mark.parametrize(
    ("name", "expected"), [("a.PNG", True), ("a.jpeg", True), (".a.png", False), ("a.txt", False), ("a", False)]
)
def test_images_by_their_suffix(name, expected):
    assert is_image(Path(name)) is expected
