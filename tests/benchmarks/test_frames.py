"""Frames of a pair, brought to one kind before anything is fused or scored."""

import cv2
import numpy as np
import pytest

from tests.pictures import photograph
from ufafuse.benchmarks.contestants import FolderContestant, MethodContestant, ModelContestant
from ufafuse.benchmarks.evaluate import chosen_pairs, evaluate
from ufafuse.benchmarks.frames import alike, told_of_alike
from ufafuse.benchmarks.stacks.contestants import stack_contestants
from ufafuse.benchmarks.stacks.evaluate import evaluate_stacks
from ufafuse.benchmarks.stacks.folders import find_stacks

NAMES = ["near.png", "far.png"]


@pytest.mark.parametrize("channels", [0, 3])
def test_what_alpha_hides_of_one_frame_is_the_others(channels):
    near, far = (np.full((4, 5, 4), level, np.uint8) for level in (10, 20))
    near[:2, :, 3] = 0
    far[1:3, :, 3] = 0
    if not channels:
        far = far[..., 0]  # grey, without alpha
    one, other = alike(near, far)
    assert one.shape == other.shape == (4, 5, 3)
    rows = [20, 20 if not channels else 10, 10, 10], [20, 20, 20 if not channels else 10, 20]
    assert [one[row, 0, 0] for row in range(4)] == rows[0]
    assert [other[row, 0, 0] for row in range(4)] == rows[1]
    hidden = NAMES[:1] if not channels else NAMES
    assert told_of_alike(NAMES, near, far) == [
        f"{name}: what its alpha hides was taken from the other frame" for name in hidden
    ]
    assert (near[..., 0] == 10).all(), "the frames themselves stay"


def test_a_masked_margin_is_scored_as_it_is_fused(tmp_path):
    truth = photograph(64, 64, 0)
    near, far = (np.dstack([frame, np.full((64, 64), 255, np.uint8)]) for frame in (truth, cv2.GaussianBlur(truth, (0, 0), 2)))
    far[:, :32, :3] = cv2.GaussianBlur(truth, (0, 0), 2)[:, :32]
    near[:, 48:] = 0
    for name, frame in (("A", near), ("B", far), ("GT", truth)):
        cv2.imwrite(str(tmp_path / f"one_{name}.png"), frame)
    network = ModelContestant("ufa-nano", backend="onnxruntime", precision=None, threads=1)
    try:
        found = evaluate(chosen_pairs(tmp_path), [MethodContestant("gff"), network], jobs=1)
    finally:
        network.close()
    for row in found.rows:
        assert row.metrics["PSNR"] > 25, row  # 15 with a black margin
        assert row.note == "one_A.png: what its alpha hides was taken from the other frame"


STORED = {
    "16 bits": (lambda levels: levels.astype(np.uint16) * 257, 65535),
    "12 bits in 16": (lambda levels: levels.astype(np.uint16) * 16, 4095),
    "floats to 1": (lambda levels: levels.astype(np.float32) / 255, 1),
    "floats to 255": (lambda levels: levels.astype(np.float32), 255),
}


@pytest.mark.parametrize("dimmed", [1, 8])
@pytest.mark.parametrize("kind", STORED)
def test_a_truth_and_a_given_picture_of_another_type_are_as_bright_as_the_frames(tmp_path, kind, dimmed):
    """12 bits in 16 beside frames of 8 bits were near black: both of them, so that their PSNR was 59 dB."""
    stored, white = STORED[kind]
    truth = photograph(64, 64, 0) // dimmed
    fused = cv2.GaussianBlur(truth, (0, 0), 1)
    for folder in ("pairs", "stacks/one", "theirs"):
        (tmp_path / folder).mkdir(parents=True)
    for names in (("pairs/one_A", "pairs/one_B"), ("stacks/one/1", "stacks/one/2")):
        for name, frame in zip(names, (truth, cv2.GaussianBlur(truth, (0, 0), 2)), strict=True):
            cv2.imwrite(str(tmp_path / f"{name}.png"), frame)
    for name, picture in (("pairs/one_GT", truth), ("stacks/one/truth", truth), ("theirs/one", fused)):
        cv2.imwrite(str(tmp_path / f"{name}.tif"), stored(picture))
    expected = 10 * np.log10(255**2 / np.mean((truth.astype(float) - fused) ** 2))
    [pair] = evaluate(chosen_pairs(tmp_path / "pairs"), [FolderContestant("theirs", tmp_path / "theirs")], jobs=1).rows
    [theirs] = stack_contestants(fused=[tmp_path / "theirs"], models=[], method_names=[])
    stack = evaluate_stacks(find_stacks(tmp_path / "stacks"), [theirs]).rows[0]
    for row in (pair, stack):
        assert row.metrics["PSNR"] == pytest.approx(expected, abs=0.3)
        told = white not in (65535, 1)
        assert (f"white was taken to be {white:g}, by which it is as bright as the frames" in row.note) is told
