"""Half precision: islands of float32 fit in, and nothing overflows."""

import numpy as np
import pytest
import torch

from ufafuse.export.graphs import WholeGraph
from ufafuse.export.half import Islands, cast_inputs
from ufafuse.export.synthetic import stress_frames
from ufafuse.network.weights import load_weights
from ufafuse.runtime.session import open_session


def test_islands_keep_their_weights_whole(plain):
    net = load_weights(plain)
    graph = WholeGraph(net, half=Islands(("head",), 0, 0))
    kept, halved = graph.net.get_submodule("head").weight, graph.net.get_submodule("merge.0.near").weight
    assert torch.equal(kept, net.head.weight)
    assert halved.dtype == torch.float16


def test_inputs_are_cast_to_the_weights_type():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1).half(), torch.nn.Conv2d(1, 1, 1))
    cast_inputs(net)
    assert net(torch.ones(1, 1, 2, 2)).dtype == torch.float32


@pytest.mark.parametrize("name", list(stress_frames(2, 2)))
def test_extreme_frames_stay_finite(name, exports):
    near, far = stress_frames(130, 70)[name]
    with open_session(exports / "half.onnx", backend="onnxruntime") as session:
        fused, weight = session.run_with_map(near[None], far[None])
    assert np.isfinite(weight).all()
    if name in ("black", "white"):
        reference = int(near[0, 0, 0])
        expected = load_weights(exports / "small.safetensors")(*[torch.full((1, 3, 130, 70), reference / 255)] * 2)
        assert np.abs(fused[0].astype(int) - np.rint(expected[0].detach().numpy()[::-1].transpose(1, 2, 0) * 255)).max() <= 1
