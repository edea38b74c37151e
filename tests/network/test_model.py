"""The network family: Table II, how far a pixel reaches, order of the frames, sizes, stacks, weights files."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ufafuse.network.model import FusionNet
from ufafuse.network.spec import SPECS, Spec
from ufafuse.network.weights import build_model, load_weights, save_weights
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import InputError, ModelError, OutputError


def frames(height: int, width: int, *, count: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand((count, 1, 3, height, width), generator=torch.Generator().manual_seed(1), dtype=dtype)


def lively(spec: Spec | str) -> FusionNet:
    """A network in which every part shows in the result."""
    return build_model(spec, init="xavier", seed=3).eval()


@pytest.mark.parametrize(("name", "count"), [("ufa", 344_229), ("ufa-edge", 98_818), ("ufa-nano", 49_056)])
def test_the_number_of_parameters_is_frozen(name: str, count: int) -> None:
    assert sum(p.numel() for p in build_model(name, init="none").parameters()) == count


def test_the_papers_network_has_the_layers_of_table_ii() -> None:
    shapes = {name: tuple(p.shape) for name, p in build_model("ufa", init="none").named_parameters()}
    weights = [shape for name, shape in shapes.items() if name.endswith("weight")]
    assert weights == [
        (64, 3, 3, 3),
        *[(64, 64, 3, 3)] * 6,
        (1, 2, 7, 7),
        (64, 128, 1, 1),
        *[(64, 64, 3, 3)] * 3,
        (3, 64, 3, 3),
    ]
    assert sum(name.endswith("bias") for name in shapes) == len(weights) - 1  # all but the 7x7


def test_the_papers_network_follows_its_equations() -> None:
    net = lively("ufa").double()
    near, far = frames(20, 17, dtype=torch.float64)
    with torch.no_grad():
        f = [net.encoder[0](x) for x in (near, far)]
        channel = torch.stack([x.mean((2, 3), keepdim=True) for x in f]).softmax(0)
        f = [x * w for x, w in zip(f, channel, strict=True)]
        maps = [net.attention[0].spatial(torch.cat([x.mean(1, True), x.amax(1, True)], 1)) for x in f]
        spatial = torch.stack(maps).softmax(0)
        x = net.merge[0](torch.cat([x * w for x, w in zip(f, spatial, strict=True)], 1))
        for conv in net.decoder[0]:
            x = torch.nn.functional.leaky_relu(conv(x), 0.01)
        expected = torch.sigmoid(net.head(x))
        fused, weight = net.forward_with_map(near, far)
    torch.testing.assert_close(fused, expected)
    torch.testing.assert_close(weight, spatial[0])


def reach(net: FusionNet, size: int) -> int:
    """How far from an output pixel an input pixel still has a gradient, along x, with the averages held fixed."""
    net = net.double()
    near, far = frames(net.spec.stride, size, dtype=torch.float64)
    fixed = tuple(net.means(net.encode(x)).detach() for x in (near, far))
    farthest = 0
    for x in range(size // 2, size // 2 + net.spec.stride):
        near.grad = None
        near.requires_grad_()
        fused, _ = net.fuse(near, far, net.encode(torch.cat([near, far])), fixed)
        fused[..., x].sum().backward()
        touched = near.grad.abs().amax((0, 1, 2)).nonzero().flatten()
        farthest = max(farthest, x - int(touched.min()), int(touched.max()) - x)
    return farthest


def test_the_computed_halo_is_how_far_a_pixel_reaches(tiny_spec: Spec) -> None:
    assert reach(lively(tiny_spec), 240) == tiny_spec.halo


def test_the_papers_network_sees_14_pixels() -> None:
    assert reach(lively("ufa"), 40) == 14


def test_a_tile_with_halo_and_the_whole_frames_averages_equals_the_whole(tiny_spec: Spec) -> None:
    net = lively(tiny_spec).double()
    stride = tiny_spec.stride
    margin = -(-tiny_spec.halo // stride) * stride
    near, far = frames(2 * stride + 1, 2 * margin + 3 * stride + 5, dtype=torch.float64)
    with torch.no_grad():
        means = tuple(net.means(net.encode(x)) for x in (near, far))
        whole, weight = net.fuse(near, far, net.encode(torch.cat([near, far])))
        tile = (..., slice(stride, 2 * margin + 2 * stride))
        core = slice(margin, margin + stride)
        tiles = [x[tile] for x in (near, far)]
        part, part_weight = net.fuse(*tiles, net.encode(torch.cat(tiles)), means)
    torch.testing.assert_close(part[..., core], whole[tile][..., core], rtol=0, atol=1e-12)
    torch.testing.assert_close(part_weight[..., core], weight[tile][..., core], rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (31, 34)])
def test_any_size_comes_out_as_it_went_in(tiny_spec: Spec, size: tuple[int, int]) -> None:
    near, far = frames(*size)
    with torch.no_grad():
        fused, weight = lively(tiny_spec).forward_with_map(near, far)
    assert fused.shape == near.shape
    assert weight.shape == (1, 1, *size)
    assert fused.min() >= 0
    assert fused.max() <= 1
    assert weight.min() >= 0
    assert weight.max() <= 1


@pytest.mark.parametrize("name", ["ufa-edge", "ufa-nano"])
def test_the_order_of_the_frames_does_not_matter(name: str) -> None:
    net = lively(name)
    near, far = frames(35, 50)
    with torch.no_grad():
        fused, weight = net.forward_with_map(near, far)
        swapped, other = net.forward_with_map(far, near)
    assert fused.std() > 0.05
    torch.testing.assert_close(swapped, fused, rtol=0, atol=2e-6)
    torch.testing.assert_close(other, 1 - weight, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["ufa", "ufa-edge", "ufa-nano"])
@pytest.mark.parametrize("attention", ["both", "no_spatial"])
def test_the_copy_for_inference_computes_the_same_with_ordinary_convolutions(name: str, attention: str) -> None:
    net = lively(dataclasses.replace(SPECS[name], attention=attention))
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            if key.endswith("bias"):
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(2))
    near, far = frames(35, 50)
    plain = net.for_inference()
    with torch.no_grad():
        for ours, expected in zip(plain.forward_with_map(near, far), net.forward_with_map(near, far), strict=True):
            torch.testing.assert_close(ours, expected, rtol=0, atol=2e-6)
    assert not any(p.requires_grad for p in plain.parameters())
    assert not any(key.endswith(("own", "score")) for key, _ in plain.named_parameters())


def test_the_copy_for_inference_leaves_the_network_as_it_was() -> None:
    net = lively("ufa-nano")
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.for_inference()
    assert before.keys() == net.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_a_stack_of_two_is_a_pair_and_the_order_of_a_stack_does_not_matter() -> None:
    net = lively("ufa-nano")
    stack = frames(33, 40, count=5).transpose(0, 1)
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        fused, weight = net.forward_with_map(stack[:, 0], stack[:, 1])
        pair, weights = net.forward_stack(stack[:, :2])
        all_in, shares = net.forward_stack(stack)
        shuffled, moved = net.forward_stack(stack[:, order])
    torch.testing.assert_close(pair, fused, rtol=0, atol=2e-6)
    torch.testing.assert_close(weights[:, :1], weight, rtol=0, atol=2e-6)
    torch.testing.assert_close(shuffled, all_in, rtol=0, atol=2e-6)
    torch.testing.assert_close(moved, shares[:, order], rtol=0, atol=2e-6)
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 33, 40))


def test_a_batch_of_stacks_keeps_its_scenes_apart() -> None:
    net = lively("ufa-nano")
    stacks = frames(20, 24, count=6).view(2, 3, 3, 20, 24)
    with torch.no_grad():
        together, _ = net.forward_stack(stacks)
        apart = torch.cat([net.forward_stack(stack[None])[0] for stack in stacks])
    torch.testing.assert_close(together, apart, rtol=0, atol=2e-6)


def test_a_variant_for_two_frames_refuses_a_stack() -> None:
    with pytest.raises(ModelError, match="two frames at a time"):
        build_model("ufa", init="none").forward_stack(torch.zeros(1, 3, 3, 8, 8))


@pytest.mark.parametrize("attention", ["none", "no_spatial", "no_channel"])
@pytest.mark.parametrize("name", ["ufa", "ufa-nano"])
def test_the_ablations_run(name: str, attention: str) -> None:
    net = build_model(dataclasses.replace(SPECS[name], attention=attention), seed=1).eval()
    near, far = frames(9, 12)
    with torch.no_grad():
        fused, weight = net.forward_with_map(near, far)
    assert fused.isfinite().all()
    assert weight.shape == (1, 1, 9, 12)


def test_attention_does_not_overflow_in_half_precision() -> None:
    net = build_model("ufa", seed=1).eval().half()
    with torch.no_grad():
        net.attention[0].spatial.weight.fill_(200)
        net.encoder[0][0][0].weight.mul_(1000)
        features = net.encode(frames(8, 8).flatten(0, 1).half())
        both, weight = net.attention[0](features[0], *net.means(features).split(1))
    assert both.isfinite().all()
    assert weight.isfinite().all()


def test_averages_are_float32_in_half_precision() -> None:
    net = build_model("ufa-nano", seed=1).eval().half()
    assert net.means([torch.ones(1, 4, 300, 300, dtype=torch.float16)]).dtype == torch.float32


def test_weights_survive_their_file(tiny_spec: Spec, tmp_path: Path) -> None:
    net, path = lively(tiny_spec), tmp_path / "w.safetensors"
    save_weights(net, path, extra={"step": 5})
    loaded = load_weights(path)
    near, far = frames(8, 8)
    with torch.no_grad():
        torch.testing.assert_close(loaded(near, far), net(near, far), rtol=0, atol=0)
    manifest = read_manifest(path)
    assert (manifest.kind, manifest.variant, manifest.extra["step"]) == ("weights", tiny_spec.name, 5)
    assert loaded.spec == tiny_spec
    assert not loaded.training


@pytest.mark.parametrize("half", [False, True])
def test_any_flipped_bit_of_the_weights_is_refused(tiny_spec: Spec, tmp_path: Path, half: bool) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(lively(tiny_spec), path, half=half)
    load_weights(path)
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(2)
    for at in rng.integers(start, len(whole), 20):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"was damaged, or changed by another program|NaN or infinity"):
            load_weights(path)


def test_weights_are_not_overwritten_unasked(tiny_spec: Spec, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(build_model(tiny_spec), path)
    with pytest.raises(OutputError, match="exists already"):
        save_weights(build_model(tiny_spec), path)
    save_weights(build_model(tiny_spec), path, force=True)


def test_a_weights_file_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError):
        load_weights(path)
    save_weights(build_model("ufa-nano"), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="truncated"):
        load_weights(path)
    from ufafuse.runtime.artefact import Manifest

    manifest = Manifest("weights", "ufa", "fp32", spec=SPECS["ufa"].to_dict())
    save_file({"x": torch.zeros(1)}, path, metadata=manifest.to_metadata())
    with pytest.raises(ModelError, match="does not hold the weights of 'ufa'"):
        load_weights(path)
    save_file({"x": torch.zeros(1)}, path, metadata=Manifest("onnx", "ufa", "fp32").to_metadata())
    with pytest.raises(ModelError, match="kind 'onnx'"):
        load_weights(path)
