"""What bf16 costs in quality, emulated where the CPU has none: weights and every activation rounded to bf16.

OpenVINO keeps sums in float32 and rounds what goes from layer to layer, which is what the hooks do. Measured on the middle
of all 20 Lytro pairs with ufa's weights of 2026-11-22: 55.4 to 61.6 dB.
"""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from ufafuse.runtime.checks.tolerances import tolerance_for
from ufafuse.runtime.images import read_image
from ufafuse.runtime.models import FOLDER
from ufafuse.runtime.pairs import find_pairs

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.slow


def rounded(values):
    return values.bfloat16().float() if isinstance(values, torch.Tensor) else values


def bf16_twin(network):
    """A copy whose weights are rounded, and whose layers round what they take and give."""
    import copy

    twin = copy.deepcopy(network)
    for parameter in twin.parameters():
        parameter.data = rounded(parameter.data)
    for layer in twin.modules():
        if not list(layer.children()):
            layer.register_forward_pre_hook(lambda _, inputs: tuple(map(rounded, inputs)))
            layer.register_forward_hook(lambda _, __, output: rounded(output))
    return twin


def psnr_of_bf16(weights, pair, size):
    """PSNR in dB between the network in bf16 and in float32 on the middle of a pair."""
    from ufafuse.network.weights import load_weights

    network = load_weights(weights).for_inference()
    top, left = ((full - part) // 2 for full, part in zip(pair[0].shape[:2], size, strict=True))
    crops = [image[top : top + size[0], left : left + size[1], ::-1].astype(np.float32) / 255 for image in pair]
    near, far = (torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))[None] for crop in crops)
    with torch.no_grad():
        error = (bf16_twin(network)(near, far) - network(near, far)).square().mean().item()
    return -10 * np.log10(error)


def drawn_pair():
    """Text and noise, sharp on the left in one frame and on the right in the other."""
    noise = np.random.default_rng(0).integers(0, 256, (160, 200, 3), np.uint8)
    sharp = cv2.GaussianBlur(noise, (0, 0), 1)
    for row in range(20, 160, 30):
        cv2.putText(sharp, "UFA 0123456789", (5, row), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2)
    blurred = cv2.blur(sharp, (9, 9))
    left = (np.arange(200) < 100)[None, :, None]
    return np.where(left, sharp, blurred), np.where(left, blurred, sharp)


def bundled_weights():
    return sorted(FOLDER.glob("*.safetensors"))


@pytest.mark.parametrize("weights", bundled_weights(), ids=lambda path: path.stem)
def test_bf16_stays_within_the_table_on_a_drawn_pair(weights):
    assert psnr_of_bf16(weights, drawn_pair(), (160, 200)) >= tolerance_for("bf16", "float").psnr


@pytest.mark.parametrize("weights", bundled_weights(), ids=lambda path: path.stem)
def test_bf16_stays_within_the_table_on_photographs(weights):
    folder = Path(os.environ.get("UFAFUSE_DATA", "")) / "lytro"
    if not os.environ.get("UFAFUSE_DATA") or not folder.is_dir():
        pytest.skip("UFAFUSE_DATA names no folder with lytro/ in it")
    found = {
        pair.name: psnr_of_bf16(weights, (read_image(pair.near), read_image(pair.far)), (160, 200))
        for pair in find_pairs(folder)[::4]
    }
    assert min(found.values()) >= tolerance_for("bf16", "float").psnr, found
