"""Half precision: which convolutions must not have it, and that nothing overflows."""

import numpy as np
import pytest
import torch

from ufafuse.export.frames import stress_frames
from ufafuse.export.graphs import WholeGraph
from ufafuse.export.half import Islands, cast_inputs, choose_islands, convolutions
from ufafuse.runtime.errors import ModelError
from ufafuse.runtime.session import open_session
from ufafuse.train.model import load_weights


def test_a_selecting_network_needs_no_island(exports):
    islands = choose_islands(load_weights(exports / "small.safetensors"))
    assert islands.names == ()
    assert islands.psnr_without > 60


@pytest.fixture
def cancelling(plain):
    """A network whose last convolution takes the difference of large terms, as one that undoes its sigmoid does."""
    net = load_weights(plain)
    with torch.no_grad():
        for conv in (net.encoder[0][0][0], net.encoder[0][1][0], net.merge[0], net.decoder[0][0]):
            conv.weight.abs_()  # so that the terms are large
        net.decoder[0][0].weight[1] = net.decoder[0][0].weight[0] * 1.1
        net.decoder[0][0].bias.zero_()
        net.head.weight.zero_()
        net.head.weight[:, 0] = 44
        net.head.weight[:, 1] = -40
    return net


def test_a_network_of_cancelling_terms_keeps_few_convolutions_in_float32(cancelling):
    islands = choose_islands(cancelling)
    assert islands.psnr_without < 60 <= islands.psnr_with
    assert 0 < len(islands.names) < len(convolutions(cancelling.for_inference()))


def test_a_target_that_cannot_be_met_is_an_error(cancelling):
    with pytest.raises(ModelError, match="cannot be exported in half precision"):
        choose_islands(cancelling, target_db=1000)


def test_islands_keep_their_weights_whole(cancelling):
    graph = WholeGraph(cancelling, half=Islands(("head",), 0, 0))
    kept, halved = graph.net.get_submodule("head").weight, graph.net.get_submodule("merge.0").weight
    assert torch.equal(kept, cancelling.head.weight)
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
