"""LPIPS: how it is asked of torchmetrics, and what is said where it cannot be measured."""

import math
import sys
from types import ModuleType

import numpy as np
import pytest

from ufafuse.benchmarks.contestants import MethodContestant
from ufafuse.benchmarks.evaluate import chosen_pairs, evaluate
from ufafuse.benchmarks.metrics import perceptual
from ufafuse.runtime.errors import BackendError, InputError

torch = pytest.importorskip("torch")


class Mean:
    """Stands for torchmetrics' class: the mean difference of the reds, which are first there."""

    def __init__(self, *, net_type, normalize):
        assert net_type == "squeeze"
        assert normalize
        if Mean.broken:
            raise RuntimeError("operator torchvision::nms does not exist")

    broken = False

    def eval(self):
        return self

    def __call__(self, truth, fused):
        assert truth.shape[:2] == (1, 3)
        assert truth.dtype == torch.float32
        assert 0 <= truth.min() <= truth.max() <= 1
        return (truth[:, 0] - fused[:, 0]).abs().mean()


@pytest.fixture
def at_hand(monkeypatch, tmp_path):
    """Packages and weights as if they were installed; the place of the weights."""
    name = "torchmetrics.image.lpip"
    module = ModuleType(name)
    module.LearnedPerceptualImagePatchSimilarity = Mean
    for part in ("torchmetrics", "torchmetrics.image"):
        monkeypatch.setitem(sys.modules, part, ModuleType(part))
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(perceptual, "find_spec", lambda _: object())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(Mean, "broken", False)
    place = tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    place.parent.mkdir()
    place.write_bytes(b"weights")
    perceptual._measure.cache_clear()
    yield place
    perceptual._measure.cache_clear()


def test_pictures_are_shown_as_rgb_from_zero_to_one(at_hand):
    truth, fused = np.zeros((2, 64, 70, 3), np.uint8)
    fused[..., 2], fused[..., 0] = 51, 255
    perceptual.check_lpips("squeeze")
    assert perceptual.lpips(truth, fused, "squeeze") == pytest.approx(0.2)
    assert perceptual.lpips(truth[..., 0], fused[..., 0], "squeeze") == pytest.approx(1)
    assert math.isnan(perceptual.lpips(truth[:63], fused[:63], "squeeze"))


def test_it_stands_in_the_rows_where_the_truth_is_known(at_hand, pair_folder):
    (pair_folder / "two_GT.png").unlink()
    evaluation = evaluate(chosen_pairs(pair_folder), [MethodContestant("average")], jobs=1, perceptual="squeeze")
    assert ["LPIPS" in row.metrics for row in evaluation.rows] == [True, False]
    assert evaluation.mean("average")["LPIPS"] == evaluation.rows[0].metrics["LPIPS"] > 0


def test_what_is_missing_is_said_with_its_mend(at_hand, monkeypatch):
    with pytest.raises(InputError, match="`lpips=resnet` is not known: choose alex, vgg, squeeze"):
        perceptual.check_lpips("resnet")
    Mean.broken = True
    with pytest.raises(BackendError, match=r"nms does not exist.*install the torchvision that goes with your torch"):
        perceptual.check_lpips("squeeze")
    at_hand.unlink()
    with pytest.raises(InputError, match=f"not at {at_hand}: put https://download.pytorch.org/models/{at_hand.name} there"):
        perceptual.check_lpips("squeeze")
    monkeypatch.setattr(perceptual, "find_spec", lambda name: None if name == "torchvision" else object())
    with pytest.raises(BackendError, match=r"LPIPS needs torchvision: pip install 'ufafuse\[lpips\]'"):
        perceptual.check_lpips("squeeze")
