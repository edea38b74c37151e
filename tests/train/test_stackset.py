"""Drawn stacks written out."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.images import read_image
from ufafuse.train.scenes import MACRO_BOARDS, SceneOptions
from ufafuse.train.stacks import draw_stack
from ufafuse.train.stackset import StackPlan, _texture, write_stacks

SMALL = SceneOptions(min_frames=2, max_frames=4, max_radius=10)
PLAN = StackPlan(3, (40, 56), options=SMALL)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*")) if path.suffix != ".json"}


def test_a_stack_is_a_folder_of_frames_truth_and_depth(tmp_path: Path) -> None:
    counts: list[tuple[int, int]] = []
    plan = dataclasses.replace(PLAN, frames=3, options=dataclasses.replace(SMALL, unsharp_ground=1, boards=0, margins=0))
    result = write_stacks(tmp_path / "s", plan, seed=4, done=lambda *count: counts.append(count))
    assert (result["ok"], result["stacks"], result["frames"], result["photographs"], counts[-1]) == (True, 3, 9, 0, (3, 3))
    for number in range(3):
        folder = tmp_path / "s" / f"{number:04d}"
        assert sorted(path.name for path in folder.iterdir()) == ["00.png", "01.png", "02.png", "depth.tif", "truth.png"]
        drawn = draw_stack(np.random.default_rng((4, number)), 56, plan.options, _texture(plan, None), frames=3)
        rows = slice(8, 48)
        for frame, path in zip(drawn.frames, sorted(folder.glob("0*.png")), strict=True):
            np.testing.assert_array_equal(read_image(path), frame[rows])
        np.testing.assert_array_equal(read_image(folder / "truth.png"), drawn.truth[rows])
        depth = cv2.imread(str(folder / "depth.tif"), cv2.IMREAD_UNCHANGED)
        assert depth.dtype == np.float32
        np.testing.assert_array_equal(depth, drawn.depth[rows])
    depths = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (tmp_path / "s").rglob("depth.tif")]
    assert any(np.isnan(depth).any() for depth in depths)


def test_the_report_has_what_is_needed_to_write_it_again(tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, count=2, frames=2)
    result = write_stacks(tmp_path, plan, seed=7)
    report = json.loads((tmp_path / "dataset.json").read_text())
    assert {key: report[key] for key in result} == result
    assert report["seed"] == 7
    assert SceneOptions(**report["plan"]["options"]) == SMALL
    assert (report["plan"]["size"], report["plan"]["frames"]) == ([40, 56], 2)


def test_the_same_plan_and_seed_write_the_same_files(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        write_stacks(tmp_path / name, PLAN, seed=seed)
    one, two, other = (files(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_what_a_frame_does_not_cover_is_transparent(tmp_path: Path) -> None:
    write_stacks(tmp_path, dataclasses.replace(PLAN, size=(48, 48), options=dataclasses.replace(SMALL, margins=1)), seed=0)
    stacks = [[read_image(path) for path in sorted(folder.glob("0*.png"))] for folder in tmp_path.iterdir() if folder.is_dir()]
    assert all(len({frame.shape for frame in frames}) == 1 for frames in stacks)  # a stack's frames are of one kind
    clear = [frame for frames in stacks for frame in frames if frame.shape[2] == 4]
    assert any((frame[..., 3] == 0).any() for frame in clear)
    assert not any(frame[frame[..., 3] == 0].any() for frame in clear)


def test_photographs_are_among_the_surfaces(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "p.png"), np.full((300, 300, 3), (255, 0, 255), np.uint8))
    options = SceneOptions(boards=0, lights=0, dark=0, noise=0, jpeg=0, max_radius=8)
    plan = StackPlan(6, (32, 32), 2, options, images=tmp_path / "photos", photo_share=1.0)
    assert write_stacks(tmp_path / "s", plan)["photographs"] == 1
    truths = [read_image(path) for path in (tmp_path / "s").rglob("truth.png")]
    assert any((truth[..., 1] == 0).mean() > 0.5 for truth in truths)


def test_forced_a_shorter_stack_leaves_no_frame_of_the_longer_one(tmp_path: Path) -> None:
    write_stacks(tmp_path, dataclasses.replace(PLAN, frames=4))
    with pytest.raises(OutputError, match="is not empty"):
        write_stacks(tmp_path, PLAN)
    write_stacks(tmp_path, dataclasses.replace(PLAN, frames=2), force=True)
    assert sorted(path.name for path in (tmp_path / "0000").glob("*.png")) == ["00.png", "01.png", "truth.png"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "at least 1, got 0"),
        ({"size": (15, 40)}, "at least 16 x 16"),
        ({"frames": 1}, "at least 2 frames"),
        ({"photo_share": 2}, "share of photographs"),
    ],
)
def test_plans_that_cannot_be_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(PLAN, **change)


@pytest.mark.slow
def test_macro_boards_are_as_the_preset_says(tmp_path: Path) -> None:
    write_stacks(tmp_path, StackPlan(2, (240, 320), options=MACRO_BOARDS), seed=1)
    for folder in sorted(path for path in tmp_path.iterdir() if path.is_dir()):
        frames = [read_image(path) for path in sorted(folder.glob("0*.png"))]
        assert [frame.shape for frame in frames] == [(240, 320, 3)] * 8
        truth = read_image(folder / "truth.png").astype(float)
        quiet = np.abs(truth - cv2.blur(truth, (9, 9))).max(2) < 0.5
        if quiet.sum() > 500:
            assert 0.7 < (frames[0].astype(float) - cv2.blur(frames[0], (9, 9)))[quiet].std() < 3
