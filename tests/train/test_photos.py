"""Reading photographs and labels, and saying what is wrong with them."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.pictures import photograph
from ufafuse.runtime.errors import InputError
from ufafuse.train.photos import Photos, find_photos, in_one


@pytest.fixture
def folders(photo_folders: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A copy to break."""
    shutil.copytree(photo_folders[0].parent, tmp_path / "set")
    return tmp_path / "set" / "image", tmp_path / "set" / "mask"


def test_photographs_and_labels_are_matched_by_stem(photo_folders: tuple[Path, Path]) -> None:
    photos = Photos(*photo_folders)
    assert len(photos) == 6
    picture, label = photos[1]
    assert picture.shape == (64, 80, 3)
    assert label.shape == (64, 80)
    assert picture.dtype == label.dtype == np.uint8


def test_without_room_in_memory_they_are_read_again(photo_folders: tuple[Path, Path]) -> None:
    kept, read = Photos(*photo_folders), Photos(*photo_folders, memory_mib=0)
    for index in range(6):
        for one, two in zip(kept[index], read[index], strict=True):
            np.testing.assert_array_equal(one, two)


def test_what_is_wrong_is_named_and_counted(folders: tuple[Path, Path]) -> None:
    images, masks = folders
    (masks / "p0.png").unlink()
    (images / "p1.jpg").write_bytes(b"no picture")
    cv2.imwrite(str(masks / "p2.png"), np.zeros((5, 5), np.uint8))
    (images / "p3.jpg").write_bytes((images / "p3.jpg").read_bytes()[:500])
    with pytest.raises(InputError, match=r"4 of 6 photographs .*p0\.jpg has no label.*p1\.jpg.*skip_bad=True"):
        Photos(images, masks)
    photos = Photos(images, masks, skip_bad=True)
    assert [files.name for files in photos.files] == ["p4", "p5"]
    assert len(photos.skipped) == 4
    assert any("differ in size: 72 x 56 and 5 x 5" in problem for problem in photos.skipped)


def test_nothing_left_is_an_error_even_when_skipping(folders: tuple[Path, Path]) -> None:
    images, masks = folders
    for mask in masks.iterdir():
        mask.write_bytes(b"")
    with pytest.raises(InputError, match="no photograph with a label can be used"):
        Photos(images, masks, skip_bad=True)


def test_missing_and_empty_folders_are_named(tmp_path: Path, photo_folders: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match="gone is not a folder"):
        find_photos(tmp_path / "gone", photo_folders[1])
    with pytest.raises(InputError, match="gone is not a folder"):
        find_photos(tmp_path / "gone", tmp_path / "gone")
    with pytest.raises(InputError, match="holds no pictures"):
        find_photos(tmp_path, photo_folders[1])


def test_photographs_are_no_labels_of_themselves(tmp_path: Path, photo_folders: tuple[Path, Path]) -> None:
    images = photo_folders[0]
    (tmp_path / "labels").symlink_to(images)
    for masks in (images, images.parent / "." / images.name, tmp_path / "labels"):
        with pytest.raises(InputError, match=r"`masks=.*` is the folder of the photographs"):
            find_photos(images, masks)


def test_grey_deep_and_transparent_files_are_taken(folders: tuple[Path, Path]) -> None:
    images, masks = folders
    for name in ("p0", "p1", "p2"):
        (images / f"{name}.jpg").unlink()
    cv2.imwrite(str(images / "p0.png"), np.full((72, 56), 7, np.uint8))
    deep = np.full((64, 80, 3), 0x1234, np.uint16)
    deep[-1] = 0xFFFF
    cv2.imwrite(str(images / "p1.png"), deep)
    cv2.imwrite(str(images / "p2.png"), np.full((72, 56, 4), 9, np.uint8))
    cv2.imwrite(str(masks / "p2.png"), np.full((72, 56, 3), 255, np.uint8))
    photos = Photos(images, masks)
    assert [photos[index][0].flat[0] for index in range(3)] == [7, 0x12, 9]
    assert all(photos[index][0].shape[2] == 3 for index in range(3))
    assert photos[2][1].shape == (72, 56)


def test_a_split_shares_no_photograph_and_is_repeatable(photo_folders: tuple[Path, Path]) -> None:
    photos = Photos(*photo_folders)
    train, held = photos.split(0.3, seed=4)
    names = [{files.name for files in part.files} for part in (train, held)]
    assert [len(part) for part in names] == [4, 2]
    assert not names[0] & names[1]
    assert [f.name for f in photos.split(0.3, seed=4)[1].files] == [f.name for f in held.files]
    np.testing.assert_array_equal(held[0][0], photos[[f.name for f in photos.files].index(held.files[0].name)][0])


def test_crops_are_held_against_the_photographs(photo_folders: tuple[Path, Path]) -> None:
    photos = Photos(*photo_folders)  # of 72 x 56 and 64 x 80
    assert photos.check_crops(56) == ""
    assert photos.check_crops(60).startswith("3 of 6 photographs are smaller than crops of 60 x 60")
    with pytest.raises(InputError, match=r"^crops of 1000 x 1000 are larger than any .* 64 x 80: give `crop=64` or less"):
        photos.split(0.5, 1)[0].check_crops(1000)


@pytest.mark.parametrize("object_level", [1, 38, 127])
def test_labels_whose_objects_are_dark_are_refused(folders: tuple[Path, Path], object_level: int) -> None:
    images, masks = folders
    dark = np.zeros((72, 56), np.uint8)
    dark[20:40] = object_level  # numbers of classes, or a palette's dark red
    cv2.imwrite(str(masks / "p2.png"), dark)
    with pytest.raises(InputError, match=rf"p2.png is a label with nothing bright in it: .* is {object_level} of 255"):
        Photos(images, masks)
    assert len(Photos(images, masks, skip_bad=True)) == 5
    cv2.imwrite(str(masks / "p2.png"), np.zeros((72, 56), np.uint8))
    assert not Photos(images, masks)[2][1].any()  # a photograph without an object is one


@pytest.mark.parametrize("dimmed", [1, 8, 32])
@pytest.mark.parametrize("times", [257, 16])  # all of 16 bits, 12 in 16
def test_a_truth_of_another_type_is_as_bright_as_its_frames(dimmed: int, times: int) -> None:
    levels = photograph(64, 64, 0) // dimmed
    near, far, truth = in_one([levels, levels, levels.astype(np.uint16) * times])
    assert np.array_equal(near, far)
    assert np.abs(truth.astype(int) - near).max() <= 1
    truth, *frames = in_one([levels.astype(np.float32), levels, levels])
    assert all(np.array_equal(truth, frame) for frame in frames)


def test_levels_are_scaled_from_the_white_that_is_used(folders: tuple[Path, Path]) -> None:
    images, masks = folders
    one = cv2.imread(str(images / "p0.jpg"))
    assert one is not None
    one[0, 0] = 255
    (images / "p0.jpg").unlink()
    shape = np.zeros(one.shape[:2], np.uint8)
    shape[20:40] = 255
    cv2.imwrite(str(images / "p0.png"), one.astype(np.uint16) * 16 + 15)  # 12 bits in 16
    cv2.imwrite(str(masks / "p0.png"), shape.astype(np.uint16))  # 8 bits in 16
    picture, label = Photos(images, masks)[0]
    assert np.abs(picture.astype(int) - one).max() <= 1
    assert np.array_equal(label, shape)
    near, far = in_one([np.full((8, 8), 100, np.uint16), np.full((8, 8, 3), 4000, np.uint16)])
    assert (near.max(), far.max()) == (6, 249)  # one white for both, though one alone would be of 8 bits
    near, far = in_one([np.full((8, 8), 255.0, np.float32), np.full((8, 8), 51, np.uint8)])
    assert (near.max(), far.max()) == (255, 51)


@pytest.mark.parametrize("beneath", [0, 255])
def test_a_label_may_be_cut_out(folders: tuple[Path, Path], beneath: int) -> None:
    images, masks = folders
    shape = np.zeros((72, 56), np.uint8)
    shape[20:40] = 255
    colours = np.where(shape[..., None] > 0, np.uint8(255), np.uint8(beneath)).repeat(3, 2)
    cv2.imwrite(str(masks / "p0.png"), np.dstack([colours, shape]))
    assert np.array_equal(Photos(images, masks)[0][1], shape)


def test_two_files_of_one_name_are_told(folders: tuple[Path, Path]) -> None:
    images, masks = folders
    cv2.imwrite(str(images / "p0.png"), np.zeros((72, 56, 3), np.uint8))
    cv2.imwrite(str(masks / "p1.bmp"), np.zeros((64, 80), np.uint8))
    with pytest.raises(InputError, match=r"2 of 6 .*p0.png and .*p0.jpg are both the image called p0.*the mask called p1"):
        Photos(images, masks)
    assert len(Photos(images, masks, skip_bad=True)) == 6
