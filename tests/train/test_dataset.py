"""The paper's data set on disk."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.pairs import find_pairs
from ufafuse.train.data import focus_map, read_pairs
from ufafuse.train.dataset import LensPlan, write_dataset, write_lens_dataset
from ufafuse.train.degrade import PAPER_SIZES, LensOptions
from ufafuse.train.photos import Photos
from ufafuse.train.stackset import StackPlan, write_stacks


def test_every_photograph_is_there_in_every_group_and_follows_equation_11(
    photo_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    counts: list[tuple[int, int]] = []
    result = write_dataset(*photo_folders, tmp_path / "d", seed=3, done=lambda *count: counts.append(count))
    assert (result["photographs"], result["pairs"], counts[-1]) == (6, 24, (6, 6))
    sizes = json.loads((tmp_path / "d" / "dataset.json").read_text())["filter_sizes"]
    pairs = {named.name: named.pair for named in read_pairs(tmp_path / "d")}
    assert set(pairs) == set(sizes)
    photos = Photos(*photo_folders)
    for index, files in enumerate(photos.files):
        picture, label = photos[index]
        focus, sharp = focus_map(label)[..., None], picture.astype(float)
        for group, (low, high) in enumerate(PAPER_SIZES, 1):
            name = f"{files.name}-g{group}"
            assert low <= sizes[name] <= high
            blurred = cv2.blur(sharp, (sizes[name],) * 2)
            np.testing.assert_array_equal(pairs[name].truth, picture)
            np.testing.assert_allclose(pairs[name].near, sharp * focus + blurred * (1 - focus), atol=0.51)
            np.testing.assert_allclose(pairs[name].far, blurred * focus + sharp * (1 - focus), atol=0.51)


def test_the_same_seed_writes_the_same_files(photo_folders: tuple[Path, Path], tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        write_dataset(*photo_folders, tmp_path / name, seed=seed)
    one, two, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).glob("*.png")} for name in ("one", "two", "other")
    )
    assert one == two
    assert one != other


def test_a_folder_that_is_not_empty_is_left_alone(photo_folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(OutputError, match="is not empty"):
        write_dataset(*photo_folders, tmp_path)
    write_dataset(*photo_folders, tmp_path, force=True)
    write_dataset(*photo_folders, tmp_path, force=True)
    assert len(find_pairs(tmp_path)) == 24


def test_bad_photographs_write_nothing(photo_folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_dataset(photo_folders[0], tmp_path / "gone", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_lens_pairs_are_written_again_the_same_from_their_seed(photo_folders: tuple[Path, Path], tmp_path: Path) -> None:
    plan = LensPlan(count=8, size=40, options=LensOptions(min_radius=6, max_radius=12))
    for name in ("one", "two"):
        result = write_lens_dataset(*photo_folders, tmp_path / name, plan, seed=5)
        assert (result["photographs"], result["pairs"]) == (6, 8)
    one, two = (read_pairs(tmp_path / name) for name in ("one", "two"))
    assert len({named.name for named in one}) == 8
    for a, b in zip(one, two, strict=True):
        assert a.name == b.name
        assert a.pair.truth.shape == (40, 40, 3)
        assert all(np.array_equal(x, y) for x, y in ((a.pair.near, b.pair.near), (a.pair.far, b.pair.far)))
    report = json.loads((tmp_path / "one" / "dataset.json").read_text())
    assert (report["seed"], report["lens"]["options"]["max_radius"]) == (5, 12)
    with pytest.raises(InputError, match="at least 0"):
        LensPlan(count=-1)


def test_lens_pairs_are_held_against_the_photographs_and_a_set_of_before_is_told(
    photo_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"crops of 320 x 320 are larger .* give `size=64` or less"):
        write_lens_dataset(*photo_folders, tmp_path / "large", LensPlan(1))
    assert not (tmp_path / "large").exists()
    result = write_lens_dataset(*photo_folders, tmp_path / "d", LensPlan(2, 60))
    assert result["warnings"] == ["3 of 6 photographs are smaller than crops of 60 x 60: they are mirrored at their edges."]
    result = write_lens_dataset(*photo_folders, tmp_path / "d", LensPlan(1, 48), force=True)
    assert result["warnings"][0].startswith(f"{tmp_path / 'd'} also holds 3 that were there before and are no part of this set")
    assert json.loads((tmp_path / "d" / "dataset.json").read_text())["warnings"] == result["warnings"]
    assert "warnings" not in write_stacks(tmp_path / "s", StackPlan(2, (32, 32), frames=2))
    again = write_stacks(tmp_path / "s", StackPlan(1, (32, 32), frames=2), force=True)
    assert again["warnings"] == [f"{tmp_path / 's'} also holds 1 that were there before and are no part of this set: 0001."]
