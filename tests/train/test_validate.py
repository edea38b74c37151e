"""Scores against a truth, and the picture of them."""

import cv2
import numpy as np
import pytest
import torch

from ufafuse.network.weights import build_model
from ufafuse.train.data import NamedPair
from ufafuse.train.degrade import TrainingPair
from ufafuse.train.validate import batch_from_frames, better_input, sample_picture, validate


def test_frames_become_the_networks_batch() -> None:
    frames = torch.zeros(2, 4, 5, 3, dtype=torch.uint8)
    frames[1, 2, 3] = torch.tensor([10, 20, 255])  # blue, green, red
    batch = batch_from_frames(frames, torch.device("cpu"))
    assert batch.shape == (2, 3, 4, 5)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(batch[1, :, 2, 3], torch.tensor([1.0, 20 / 255, 10 / 255]))


@pytest.fixture
def pairs(picture: np.ndarray) -> list[NamedPair]:
    blurred = cv2.blur(picture, (5, 5))
    return [
        NamedPair(str(size), TrainingPair(picture[:size, :size], blurred[:size, :size], picture[:size, :size]))
        for size in (30, 41)
    ]


def test_scores_are_those_of_each_pair(pairs: list[NamedPair]) -> None:
    class First(torch.nn.Module):
        def forward(self, near: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
            return near + 0.01

    scores, fused = validate(First(), pairs, torch.device("cpu"))
    assert [score.name for score in scores] == ["30", "41"]
    assert [score.psnr for score in scores] == pytest.approx([40, 40], abs=1e-3)
    assert all(0.9 < score.ssim < 1 for score in scores)
    np.testing.assert_allclose(fused[0].astype(int), np.minimum(pairs[0].pair.near + 2.55, 255), atol=0.6)


def test_the_better_input_is_the_one_that_is_closer(pairs: list[NamedPair]) -> None:
    assert better_input(pairs) == pytest.approx(100)
    swapped = [NamedPair(p.name, TrainingPair(p.pair.far, p.pair.far, p.pair.truth)) for p in pairs]
    assert 10 < better_input(swapped) < 40


def test_the_sample_shows_every_pair_in_a_row(pairs: list[NamedPair]) -> None:
    _, fused = validate(build_model("ufa-nano", seed=0).eval(), pairs, torch.device("cpu"))
    sample = sample_picture(pairs, fused)
    assert sample.shape == (30 + 41, 4 * 41, 3)
    np.testing.assert_array_equal(sample[:30, :30], pairs[0].pair.near)
    np.testing.assert_array_equal(sample[30:, 3 * 41 :], pairs[1].pair.truth)
