"""The network over a whole stack: order, number, cover and batches of the frames, how far it sees, how it starts."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.networks import TINY_STACKS
from ufafuse.network.init import initialise
from ufafuse.network.spec import OCTAVES, SPECS, Spec
from ufafuse.network.stacknet import BOUND, STEEP, StackNet, bounded, log_weights, octaves
from ufafuse.network.weights import build_model, load_weights, save_weights
from ufafuse.runtime.errors import InputError

ORDER = torch.tensor([3, 0, 4, 1, 2])


@pytest.fixture(params=TINY_STACKS.values(), ids=TINY_STACKS.keys())
def spec(request: pytest.FixtureRequest) -> Spec:
    tiny: Spec = request.param
    return tiny


def lively(spec: Spec | str) -> StackNet:
    """A network in which every part shows in the result."""
    net = build_model(spec, init="xavier", seed=3).eval()
    assert isinstance(net, StackNet)
    with torch.no_grad():
        draw = torch.Generator().manual_seed(4)
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1, generator=draw)
    return net


def stack(count: int, height: int, width: int, *, scenes: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.rand((scenes, count, 3, height, width), generator=draw, dtype=dtype)


def margins(frames: Tensor) -> Tensor:
    """What frames cover: all but a margin of their own."""
    covered = torch.ones_like(frames[:, :, :1])
    for number in range(1, frames.shape[1]):
        covered[:, number, :, : 3 * number] = 0
        covered[:, number, :, :, -number:] = 0
    return covered


def test_the_number_of_parameters_and_the_names_of_the_weights_are_frozen() -> None:
    net = build_model("ufa-stack", init="none")
    assert sum(p.numel() for p in net.parameters()) == 355_130
    parts = ["apart", "attention", "compare", "decoder", "detail", "encoder", "head"]
    assert sorted({name.split(".")[0] for name in net.state_dict()}) == parts
    assert {"compare.0.narrow.weight", "detail.level", "detail.gate.bias", "encoder.3.1.0.weight"} <= set(net.state_dict())


@pytest.mark.parametrize("cover", [False, True])
def test_the_order_of_the_frames_does_not_matter(spec: Spec, *, cover: bool) -> None:
    net, frames = lively(spec), stack(5, 33, 45)
    covered = margins(frames) if cover else None
    with torch.no_grad():
        fused, weights = net.forward_stack(frames, covered)
        shuffled, moved = net.forward_stack(frames[:, ORDER], covered[:, ORDER] if covered is not None else None)
    assert fused.std() > 0.03
    rounding = 4e-6 * max(STEEP)  # of sums in another order, by which scores are multiplied: 0.006 of a level in 255
    torch.testing.assert_close(shuffled, fused, rtol=0, atol=rounding)
    torch.testing.assert_close(moved, weights[:, ORDER], rtol=0, atol=rounding)


def test_a_pair_is_a_stack_of_two(spec: Spec) -> None:
    net, (near, far) = lively(spec), stack(2, 21, 30)[0][:, None]
    with torch.no_grad():
        fused, weight = net.forward_with_map(near, far)
        swapped, other = net.forward_with_map(far, near)
        of_stack, weights = net.forward_stack(torch.stack([near, far], 1))
        plain = net(near, far)
    assert torch.equal(plain, fused)
    assert torch.equal(of_stack, fused)
    assert torch.equal(weights[:, :1], weight)
    torch.testing.assert_close(swapped, fused, rtol=0, atol=1e-6)
    torch.testing.assert_close(other, 1 - weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (17, 34)])
def test_any_size_and_number_comes_out_as_it_went_in(spec: Spec, count: int, size: tuple[int, int]) -> None:
    frames = stack(count, *size)
    with torch.no_grad():
        fused, weights = lively(spec).forward_stack(frames)
    assert fused.shape == (1, 3, *size)
    assert weights.shape == (1, count, *size)
    assert fused.min() >= 0
    assert fused.max() <= 1
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(1, *size))


def test_equal_frames_come_out_as_they_are(spec: Spec) -> None:
    frames = stack(1, 30, 41).expand(-1, 4, -1, -1, -1)
    with torch.no_grad():
        fused, weights = lively(spec).forward_stack(frames)
    torch.testing.assert_close(fused, frames[:, 0], rtol=0, atol=2e-6)
    torch.testing.assert_close(weights, torch.full_like(weights, 0.25), rtol=0, atol=1e-6)


def test_pixels_that_are_not_covered_take_no_part(spec: Spec) -> None:
    """Whatever stands there, the picture is the same but where features mix it with what is covered; its weight is zero."""
    net, frames = lively(spec), stack(4, 40, 3 * spec.halo + 60)
    covered = torch.ones_like(frames[:, :, :1])
    covered[:, 2] = 0
    other = torch.where(covered > 0, frames, torch.rand(frames.shape, generator=torch.Generator().manual_seed(9)))
    with torch.no_grad():
        fused, weights = net.forward_stack(frames, covered)
        same, _ = net.forward_stack(other, covered)
        without, _ = net.forward_stack(frames[:, [0, 1, 3]])
    assert weights[:, 2].max() < 1e-12
    assert torch.equal(same, fused)
    torch.testing.assert_close(without, fused, rtol=0, atol=2e-3)  # a hidden feature counts as 0, a visible one may lie below


def test_a_margin_has_no_weight_and_spoils_nothing_far_from_it(spec: Spec) -> None:
    net, frames = lively(spec), stack(3, spec.stride, 2 * spec.halo + 60)
    covered = torch.ones_like(frames[:, :, :1])
    covered[:, 0, :, :, :30] = 0
    with torch.no_grad():
        fused, weights = net.forward_stack(frames, covered)
        all_covered, _ = net.forward_stack(frames)
    assert weights[:, 0, :, :30].max() < 1e-12
    assert (weights[:, 0, :, 30:] > 0).all()
    assert not torch.equal(fused[..., 30:40], all_covered[..., 30:40])
    far = 30 + spec.halo + spec.stride
    torch.testing.assert_close(fused[..., far:], all_covered[..., far:], rtol=0, atol=1e-6)


def test_a_batch_of_stacks_keeps_its_scenes_apart(spec: Spec) -> None:
    net, stacks = lively(spec), stack(3, 20, 24, scenes=2)
    covered = margins(stacks)
    with torch.no_grad():
        together, _ = net.forward_stack(stacks, covered)
        apart = torch.cat([net.forward_stack(one[None], mask[None])[0] for one, mask in zip(stacks, covered, strict=True)])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-6)


def test_the_octaves_add_up_to_the_frame_and_are_what_they_say() -> None:
    frames = stack(2, 32, 40)[0]
    bands = octaves(frames)
    assert len(bands) == len(OCTAVES) + 1
    torch.testing.assert_close(sum(bands), frames)
    x = torch.arange(64).expand(1, 3, 64, 64)
    energies = []
    for period in (2, 8, 64):
        wave = torch.sin(2 * torch.pi * (x + 0.25) / period)
        energies.append([float(band[..., 16:48, 16:48].square().mean()) for band in octaves(wave)])
    assert [row.index(max(row)) for row in energies] == [0, 1, 2]


def test_scores_are_bounded_and_a_small_one_is_left_as_it_is() -> None:
    assert bounded(torch.tensor([1e4, -1e4])).tolist() == [BOUND, -BOUND]
    torch.testing.assert_close(bounded(torch.tensor(0.1)), torch.tensor(0.1), rtol=1e-3, atol=0)
    assert bounded(torch.tensor(1.0, dtype=torch.bfloat16)).dtype == torch.float32


def reach(spec: Spec, output: Callable[[Tensor], Tensor], cell: int = 1) -> int:
    """How far from an output pixel an input pixel still has a gradient, along x; `output` gives ... x W/cell."""
    size = 2 * spec.halo + 3 * spec.stride
    size += -size % spec.stride
    farthest = 0
    for x in range(size // 2 // spec.stride * spec.stride, size // 2 // spec.stride * spec.stride + spec.stride, cell):
        frames = stack(2, spec.stride, size, dtype=torch.float64).requires_grad_()
        output(frames)[..., x // cell].sum().backward()
        assert frames.grad is not None
        touched = frames.grad.abs().amax((0, 1, 2, 3)).nonzero().flatten()
        farthest = max(farthest, x - int(touched.min()), int(touched.max()) - (x + cell - 1))
    return farthest


def test_the_computed_halo_is_how_far_a_pixel_reaches(spec: Spec) -> None:
    net = lively(spec).double().train()
    assert reach(spec, lambda frames: net.forward_stack(frames)[0]) == spec.halo


@pytest.mark.slow
def test_the_bundled_variant_sees_as_far_as_its_spec_says() -> None:
    net = lively("ufa-stack").double().train()
    assert reach(net.spec, lambda frames: net.forward_stack(frames)[0]) == net.spec.halo


def test_with_what_was_gathered_a_pixel_reaches_as_far_as_score_halo(spec: Spec) -> None:
    net = lively(spec).double().train()

    def scores(frames: Tensor) -> Tensor:
        flat = frames.flatten(0, 1)
        features = net.encode(flat)
        with torch.no_grad():
            common = [compare.common(torch.cat([f, f], 1)) for compare, f in zip(net.compare, features, strict=True)]
            mean, count = flat.flip(0), torch.full_like(flat[:, :1], 2)
            stands_out = net.stands_out(mean, count)
        return torch.cat(net.score(flat, features, common, mean, count, stands_out), 1)

    assert reach(spec, scores) == spec.score_halo


def test_features_and_attention_reach_as_far_as_encode_halo(spec: Spec) -> None:
    net = lively(spec).double().train()

    def scale(number: int) -> Callable[[Tensor], Tensor]:
        def attention(frames: Tensor) -> Tensor:
            features: Sequence[Tensor] = net.encode(frames.flatten(0, 1))
            return net.attend(features)[number]

        return attention

    cells = [spec.fold * 2**number for number in range(len(spec.widths))]
    assert max(reach(spec, scale(number), cell) for number, cell in enumerate(cells)) == spec.encode_halo


def test_it_starts_as_nearly_the_average_that_prefers_the_sharper_frame() -> None:
    net = build_model("ufa-stack", seed=0).eval()
    sharp = stack(1, 64, 64)[:, 0]
    blurred = torch.nn.functional.avg_pool2d(sharp, 7, 1, 3, count_include_pad=False)
    with torch.no_grad():
        fused, weights = net.forward_stack(torch.stack([blurred, sharp, blurred], 1))
    assert float((fused - sharp).abs().mean()) < float((blurred - sharp).abs().mean())
    assert 1 / 3 < float(weights[:, 1].mean()) < 0.95


def test_a_start_of_another_kind_of_network_is_refused() -> None:
    with pytest.raises(InputError, match="selects: use 'auto'"):
        initialise(build_model("ufa-stack", init="none"), "image")


def test_gradients_reach_every_weight_and_are_numbers(spec: Spec) -> None:
    net, frames = lively(spec).train(), stack(3, 40, 40)
    fused, _ = net.forward_stack(frames, margins(frames))
    fused.square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_weights_survive_their_file_and_the_copy_for_inference_is_frozen(spec: Spec, tmp_path: Path) -> None:
    net, frames = lively(spec), stack(3, 20, 27)
    save_weights(net, tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors")
    assert isinstance(loaded, StackNet)
    assert loaded.spec == spec
    plain = loaded.for_inference()
    with torch.no_grad():
        torch.testing.assert_close(plain.forward_stack(frames)[0], net.forward_stack(frames)[0], rtol=0, atol=2e-6)
    assert not any(parameter.requires_grad for parameter in plain.parameters())
    assert SPECS["ufa-stack"].gathers


def test_a_network_that_trains_chooses_as_decidedly_as_it_is_told(spec: Spec) -> None:
    frames, net = stack(3, 24, 32), lively(spec)
    with torch.no_grad():
        used = net.forward_stack(frames)[1]
        net.train()
        learning = net.forward_stack(frames)[1]
        net.selection = 6.0
        decided = net.forward_stack(frames)[1]
        net.selection = 0.0
        torch.testing.assert_close(net.forward_stack(frames)[1], used)
    assert learning.amax(1).mean() < decided.amax(1).mean()
    assert used.shape == learning.shape


def test_what_trains_says_how_undecided_it_is(spec: Spec) -> None:
    frames, net = stack(4, 24, 32), lively(spec)
    net.forward_stack(frames)
    assert net.doubt is None
    net.train()
    doubts = []
    for net.selection in (0.0, 1e-6, 1.0, 6.0):
        net.forward_stack(frames)
        assert net.doubt is not None
        doubts.append(float(net.doubt.detach()))
    used, undecided, learning, decided = doubts
    assert undecided == pytest.approx(0.75, abs=1e-3)  # four frames alike
    assert undecided > learning > decided > 0
    assert used > 0
    assert net.for_inference().doubt is None


def test_log_weights_rise_with_the_score_and_their_sums_fit_float32() -> None:
    scores = torch.linspace(-BOUND, BOUND, 1001)[:, None, None, None].expand(-1, 6, 1, 1)
    logs = log_weights(scores)
    assert (logs.diff(dim=0) > 0).all()
    weights = logs.exp()
    assert torch.isfinite(weights * 300).all()
    assert weights.min() > 1e-37  # above what float32 holds with all its digits
    top = log_weights(torch.tensor([9.0, 10.0])[:, None, None, None].expand(-1, 6, 1, 1)).diff(dim=0).flatten()
    torch.testing.assert_close(top, torch.tensor(STEEP).repeat_interleave(2))  # two cells an octave
