"""Frames of a pair, brought to one kind before anything is fused or scored."""

import cv2
import numpy as np
import pytest

from tests.pictures import photograph
from ufafuse.benchmarks.contestants import MethodContestant, ModelContestant
from ufafuse.benchmarks.evaluate import chosen_pairs, evaluate
from ufafuse.benchmarks.frames import alike, told_of_alike

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
