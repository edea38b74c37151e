"""What stands in a stack's folder beside its frames."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from ufafuse.runtime.pictures.inputs import expanded, find_stacks, frames_in


def folder(tmp_path: Path, *names: str) -> Path:
    where = tmp_path / "stack"
    where.mkdir()
    for name in names:
        cv2.imwrite(str(where / name), np.zeros((4, 5, 3), np.uint8))
    return where


def test_truth_and_depth_are_no_frames_and_that_is_said(tmp_path: Path) -> None:
    where = folder(tmp_path, "10.png", "2.png", "1.png", "truth.png", "Depth.tif")
    names = ["1.png", "2.png", "10.png"]
    assert [path.name for path in frames_in(where)] == names
    files, note = expanded([where])
    assert [path.name for path in files] == names
    assert note == "taken without Depth.tif and truth.png"
    (stack,) = find_stacks(tmp_path)
    assert [path.name for path in stack.files] == names


def test_a_folder_of_frames_has_no_note(tmp_path: Path) -> None:
    assert expanded([folder(tmp_path, "a.png", "b.png")])[1] == ""


@pytest.mark.parametrize("names", [("truth.png", "depth.png"), ("truth.png", "a.png"), ("truth_1.png", "truth_2.png")])
def test_without_two_other_pictures_the_names_mean_nothing(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert len(frames_in(folder(tmp_path, *names))) == 2
