"""Which convolutions must not be half: measured on the graph as it will be exported."""

import pytest
import torch

from ufafuse.export.graphs import WholeGraph
from ufafuse.export.half import Islands, convolutions
from ufafuse.export.islands import choose_islands, half_graph
from ufafuse.export.synthetic import synthetic_pair
from ufafuse.network.weights import load_weights
from ufafuse.runtime.errors import ModelError


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


def planes(frame):
    return torch.from_numpy(frame[None, ..., ::-1].transpose(0, 3, 1, 2).copy()).float() / 255


@pytest.mark.parametrize("wide", [(), ("head",), ("encoder.0.0.0",)])
def test_the_emulated_graph_is_the_true_half_graph(wide, exports):
    net = load_weights(exports / "small.safetensors")
    pair = [planes(frame) for frame in synthetic_pair(20, 28)]
    with torch.inference_mode():
        exact = net(*pair)
        true = WholeGraph(net, half=Islands(wide, 0, 0))(*pair)[0]
        emulated = half_graph(net, wide)(*pair)[0]
    assert (true - exact).abs().max() > 0
    assert (emulated - true).abs().max() < 2e-3
    assert (emulated - true).abs().mean() <= 1.2 * (true - exact).abs().mean()


def test_what_lies_behind_an_island_is_float32_too(plain):
    """The attention works on the features in their own type: the encoder's last convolution decides it."""
    net = load_weights(plain)
    last = [name for name, _ in convolutions(net.for_inference()) if name.startswith("encoder")][-1]
    features = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        assert half_graph(net, ()).encode(features)[0].dtype == torch.float16
        assert half_graph(net, (last,)).encode(features)[0].dtype == torch.float32
