import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ufafuse.network.stacknet import octaves  # noqa: E402
from ufafuse.network.weights import load_weights  # noqa: E402
from ufafuse.runtime.models import weights_path  # noqa: E402
from ufafuse.runtime.stacks.gaps import TOLD, decided  # noqa: E402
from ufafuse.runtime.stacks.options import MOST_RESTORED  # noqa: E402
from ufafuse.train.gaps import KINDS, GapNet, deep_stack, drawn_examples, example, fit, gained  # noqa: E402
from ufafuse.train.scenes import SceneOptions  # noqa: E402
from ufafuse.train.stacks import draw_stack  # noqa: E402
from ufafuse.train.textures import Textures  # noqa: E402

BOARDS = SceneOptions(boards=1, slides=0, unsharp_ground=0, min_frames=4, max_frames=5, min_radius=16, noise=0, margins=0)


@pytest.fixture(scope="module")
def net():
    return load_weights(weights_path("ufa-stack")).eval()


@pytest.fixture(scope="module")
def examples(net):
    return list(drawn_examples(net, 6, 3, kinds=(BOARDS,), side=128))


def test_an_example_says_how_the_error_changes(net):
    stack = draw_stack(np.random.default_rng(1), 96, BOARDS, Textures((1,)).at(0))
    found = example(net, stack)
    frames = torch.from_numpy(stack.frames).flip(-1).permute(0, 3, 1, 2).float()[None] / 255
    with torch.inference_mode():
        fused = (net.forward_stack(frames)[0] * 255).round()
    truth = torch.from_numpy(stack.truth).flip(-1).permute(2, 0, 1)[None].float()
    assert found.error == pytest.approx(float((fused - truth).square().mean()), rel=1e-4)
    more = torch.rand((12, 12, 2), generator=torch.manual_seed(2))
    fine, middle, _ = octaves(fused)
    added = more.repeat_interleave(8, 0).repeat_interleave(8, 1).permute(2, 0, 1)
    raised = fused + fine * added[:1] + middle * added[1:]
    change = float((raised - truth).square().mean()) - found.error
    assert float(found.changed(more)) == pytest.approx(change, rel=1e-3, abs=1e-3)


def test_margins_take_no_part(net):
    options = SceneOptions(min_frames=3, max_frames=3, margins=1, boards=1, slides=0)
    stacks = [draw_stack(np.random.default_rng(seed), 96, options, Textures((1,)).at(0)) for seed in range(4)]
    found = [example(net, stack) for stack in stacks]
    assert any(not each.enough.all() for each in found)
    for each, stack in zip(found, stacks, strict=True):
        whole = stack.covered.reshape(3, 12, 8, 12, 8).min((2, 4)) > 0
        np.testing.assert_array_equal(each.enough.numpy(), whole.all(0))
        assert torch.isfinite(each.told).all()


def test_the_same_seed_draws_the_same(net, examples):
    again = list(drawn_examples(net, 2, 3, kinds=(BOARDS,), side=128))
    for one, other in zip(examples, again, strict=False):
        torch.testing.assert_close(one.told, other.told)
        assert one.error == pytest.approx(other.error)


def test_a_fit_brings_pictures_nearer_to_their_truth(examples):
    steps = []
    net = fit(examples, steps=300, seed=1, told=lambda done, total: steps.append((done, total)))
    assert steps == [(100, 300), (200, 300), (300, 300)]
    better = gained(net, examples)
    assert len(better) == len(examples)
    assert np.mean(better) > 0.1
    assert gained(Nothing(), examples) == pytest.approx([0] * 6)


class Nothing(torch.nn.Module):
    def forward(self, told):
        return torch.zeros((*told.shape[:-1], 2))


def test_the_runtime_decides_as_the_network_that_was_fitted():
    torch.manual_seed(3)
    net = GapNet().eval()
    torch.nn.init.normal_(net.last.weight)
    told = torch.randn(200, TOLD)
    with torch.inference_mode():
        expected = net(told).numpy()
    np.testing.assert_allclose(decided(told.numpy(), net.numbers()), expected, atol=1e-5)
    assert expected.min() == 0
    assert 0.5 < expected.max() <= MOST_RESTORED - 1


def test_where_nothing_is_added_there_is_a_slope_while_it_is_fitted():
    net = GapNet().train()
    torch.nn.init.constant_(net.last.bias, -9)
    told = torch.randn(20, TOLD)
    more = net(told)
    assert not more.detach().any()
    more.sum().backward()
    assert net.last.bias.grad.abs().min() > 0


def test_stacks_of_two_are_not_drawn():
    assert min(kind.min_frames for kind in KINDS if kind is not None) >= 3


def test_a_deep_stack_has_every_place_sharp_in_a_frame_and_some_in_two():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        stack = deep_stack(rng, 128, Textures((seed,)).at(0))
        away = np.abs(stack.frames.astype(int) - stack.truth).max(3)
        sharp = np.median(away, axis=(1, 2))  # with noise, of a frame that is sharp in most of the picture
        assert len(stack.frames) >= 3
        assert away.min(0).mean() <= 3  # noise of at most 3 levels
        assert sharp.max() > 0
        index = np.arange(len(stack.frames))[:, None, None]
        assert (np.abs(stack.depth - index) <= 0.5).any(0).all()
