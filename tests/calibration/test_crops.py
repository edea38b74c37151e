"""Windows of pairs: as many as asked, and none on both sides."""

import cv2
import numpy as np
import pytest

from ufafuse.calibration import crops
from ufafuse.calibration.crops import CropOptions, Told, crops_from_images, crops_from_pairs, hard_crops
from ufafuse.export.synthetic import synthetic_scene
from ufafuse.runtime.errors import InputError


def test_no_pair_is_calibrated_and_judged_on(pairs):
    calibrate, judge = crops_from_pairs(pairs, CropOptions(calibrate=9, judge=3, size=48))
    assert (len(calibrate), len(judge)) == (9, 3)
    assert {crop.near.shape for crop in (*calibrate, *judge)} == {(48, 48, 3)}
    names = [{crop.name.split(" ")[0] for crop in crops} for crops in (calibrate, judge)]
    assert names == [{"p0", "p2", "p3", "p4", "p6", "p7"}, {"p1", "p5"}]


def test_windows_are_the_same_each_time_and_larger_ones_are_whole_frames(pairs):
    options = CropOptions(calibrate=2, judge=1, size=500)
    first, again = (crops_from_pairs(pairs, options)[0] for _ in range(2))
    assert first[0].near.shape == (96, 112, 3)
    assert all(np.array_equal(a.near, b.near) and np.array_equal(a.far, b.far) for a, b in zip(first, again, strict=True))


def test_of_a_large_folder_only_what_is_looked_at_is_read(tmp_path):
    for number in range(8):
        for side in "AB":
            path = tmp_path / f"p{number}_{side}.png"
            cv2.imwrite(str(path), np.zeros((32, 32, 3), np.uint8)) if number < 3 else path.touch()
    calibrate, judge = crops_from_pairs(tmp_path, CropOptions(calibrate=2, judge=1, size=16))
    assert [crop.name[:2] for crop in (*calibrate, *judge)] == ["p0", "p2", "p1"]


def test_one_pair_is_too_few(tmp_path):
    for side in "AB":
        cv2.imwrite(str(tmp_path / f"x_{side}.png"), np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(InputError, match="two are needed"):
        crops_from_pairs(tmp_path, CropOptions())


@pytest.mark.parametrize("options", [{"calibrate": 0}, {"judge": 0}, {"size": 8}])
def test_senseless_numbers_are_refused(options):
    with pytest.raises(InputError, match="cannot calibrate"):
        CropOptions(**options)


def test_pairs_can_be_drawn_from_photographs(tmp_path):
    (tmp_path / "image").mkdir()
    (tmp_path / "mask").mkdir()
    for index in range(2):
        cv2.imwrite(str(tmp_path / "image" / f"{index}.png"), synthetic_scene(120, 130, seed=index))
        mask = np.zeros((120, 130), np.uint8)
        mask[30:90, 20:80] = 255
        cv2.imwrite(str(tmp_path / "mask" / f"{index}.png"), mask)
    calibrate, judge = crops_from_images(tmp_path / "image", tmp_path / "mask", CropOptions(calibrate=2, judge=1, size=48))
    assert (len(calibrate), len(judge)) == (2, 1)
    assert calibrate[0].near.shape == calibrate[0].far.shape == (48, 48, 3)
    assert not np.array_equal(calibrate[0].near, calibrate[0].far)


def test_no_photograph_is_calibrated_and_judged_on(tmp_path):
    """Each has a colour of its own: what is drawn of one is drawn of no other."""
    for folder in ("image", "mask"):
        (tmp_path / folder).mkdir()
    for index in range(4):
        picture = np.full((64, 64, 3), 40 + 50 * index, np.uint8)
        cv2.imwrite(str(tmp_path / "image" / f"{index}.png"), picture)
        cv2.imwrite(str(tmp_path / "mask" / f"{index}.png"), np.zeros((64, 64), np.uint8))
    calibrate, judge = crops_from_images(tmp_path / "image", tmp_path / "mask", CropOptions(calibrate=12, judge=8, size=32))
    assert (len(calibrate), len(judge)) == (12, 8)
    seen, others = ({round((np.median(crop.near) - 40) / 50) for crop in crops} for crops in (calibrate, judge))
    assert len(seen) == 3
    assert seen.isdisjoint(others)
    for index in range(1, 4):
        (tmp_path / "image" / f"{index}.png").unlink()
    with pytest.raises(InputError, match="holds one photograph: two are needed"):
        crops_from_images(tmp_path / "image", tmp_path / "mask", CropOptions())


@pytest.mark.parametrize(("count", "judged"), [(2, 1), (5, 1), (6, 2), (11, 3), (12, 0)])
def test_a_few_pairs_are_said_to_be_few(count, judged, tmp_path):
    for number in range(count):
        for side in "AB":
            cv2.imwrite(str(tmp_path / f"{number:02}_{side}.png"), np.zeros((16, 16, 3), np.uint8))
    (tmp_path / "alone.png").write_bytes((tmp_path / "00_A.png").read_bytes())
    crops_from_pairs(tmp_path, CropOptions(calibrate=1, judge=1, size=16), told := Told())
    few = f"{count} pairs say little of a camera's pictures, {judged} of them to judge on: give a dozen or more."
    assert told.entries() == {"warnings": [few] if judged else [], "passed_over": ["alone.png is no half of a pair"]}


def test_hard_windows_are_drawn_and_none_is_in_both():
    options = CropOptions(hard=3, size=64, seed=4)
    calibrate, judge = hard_crops(options)
    assert (len(calibrate), len(judge)) == (3, 3)
    for crop in calibrate + judge:
        assert crop.near.shape == crop.far.shape == (64, 64, 3)
        assert crop.near.dtype == np.uint8
        assert (crop.near != crop.far).any()
    assert not any(np.array_equal(a.near, b.near) for a in calibrate for b in judge)
    again, _ = hard_crops(options)
    np.testing.assert_array_equal(again[2].far, calibrate[2].far)
    assert [crop.name.split()[1] for crop in calibrate + judge] == ["deep"] * 4 + ["lights", "inked"]
    assert hard_crops(CropOptions(hard=0)) == ([], [])


def test_inked_pictures_have_channels_that_are_empty_or_full():
    rng = np.random.default_rng(3)
    for _ in range(4):
        picture = crops._inked(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8), rng)
        assert picture.dtype == np.uint8
        assert set(np.unique(picture)) == {0, 255}
