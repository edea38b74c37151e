import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ufafuse.network.weights import load_weights  # noqa: E402
from ufafuse.runtime.models import weights_path  # noqa: E402
from ufafuse.runtime.stacks.gaps import TOLD, decided  # noqa: E402
from ufafuse.runtime.stacks.inverse import COUNT, inverses  # noqa: E402
from ufafuse.runtime.stacks.options import MOST_RESTORED  # noqa: E402
from ufafuse.train.gaps import KINDS, GapNet, deep_stack, drawn_examples, example, fit, gained, parted_stack  # noqa: E402
from ufafuse.train.scenes import SceneOptions  # noqa: E402
from ufafuse.train.stacks import draw_stack  # noqa: E402
from ufafuse.train.textures import Textures  # noqa: E402

BOARDS = SceneOptions(boards=1, slides=0, unsharp_ground=0, min_frames=4, max_frames=5, min_radius=16, noise=0, margins=0)


@pytest.fixture(scope="module")
def net():
    return load_weights(weights_path("ufa-stack")).eval()


@pytest.fixture(scope="module")
def examples(net):
    return list(drawn_examples(net, range(6), 3, kinds=(BOARDS,), side=128))


def test_an_example_says_how_the_error_changes(net):
    stack = draw_stack(np.random.default_rng(1), 96, BOARDS, Textures((1,)).at(0))
    found = example(net, stack)
    frames = torch.from_numpy(stack.frames).flip(-1).permute(0, 3, 1, 2).float()[None] / 255
    with torch.inference_mode():
        fused = (net.forward_stack(frames)[0] * 255).round()
    truth = torch.from_numpy(stack.truth).flip(-1).permute(2, 0, 1)[None].float()
    assert found.error == pytest.approx(float((fused - truth).square().mean()), rel=1e-4)
    shares = torch.rand((12, 12, COUNT), generator=torch.manual_seed(2)) / COUNT
    grey = cv2.cvtColor(fused[0].permute(1, 2, 0).flip(-1).numpy().astype(np.uint8), cv2.COLOR_BGR2GRAY)
    raised = fused.clone()
    for each, share in zip(inverses(MOST_RESTORED), shares.unbind(2), strict=True):
        added = cv2.filter2D(grey, cv2.CV_32F, each.kernel, borderType=cv2.BORDER_REFLECT_101)
        raised += torch.from_numpy(added) * share.repeat_interleave(8, 0).repeat_interleave(8, 1)
    change = float((raised - truth).square().mean()) - found.error
    assert float(found.changed(shares)) == pytest.approx(change, rel=1e-3, abs=1e-3)


def test_margins_take_no_part(net):
    options = SceneOptions(min_frames=3, max_frames=3, margins=1, boards=1, slides=0)
    stacks = [draw_stack(np.random.default_rng(seed), 96, options, Textures((1,)).at(0)) for seed in range(4)]
    found = [example(net, stack) for stack in stacks]
    assert any(not each.enough.all() for each in found)
    for each, stack in zip(found, stacks, strict=True):
        whole = stack.covered.reshape(3, 12, 8, 12, 8).min((2, 4)) > 0
        assert not each.enough.numpy()[~whole.all(0)].any()
        assert torch.isfinite(each.told).all()


def test_the_same_seed_draws_the_same(net, examples):
    again = list(drawn_examples(net, range(2), 3, kinds=(BOARDS,), side=128))
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
        return torch.zeros((*told.shape[:-1], COUNT))


def test_the_runtime_decides_as_the_network_that_was_fitted():
    torch.manual_seed(3)
    net = GapNet().eval()
    torch.nn.init.normal_(net.last.weight)
    told = 3 * torch.randn(200, TOLD) + 1
    net.used_to(told)
    with torch.inference_mode():
        expected = net(told).numpy()
    np.testing.assert_allclose(decided(told.numpy(), net.numbers()), expected, atol=1e-5)
    assert expected.min() == 0
    assert 0.5 < expected.sum(1).max() <= 1


def test_a_share_that_is_too_little_keeps_a_slope_while_it_is_fitted():
    net = GapNet()
    with torch.no_grad():
        net.last.bias[0] = 9
    told = torch.randn(20, TOLD)
    assert not net.eval()(told).any()
    net.train()(told).sum().backward()
    assert net.last.bias.grad.abs().min() > 0


def test_stacks_of_two_are_not_drawn():
    assert min(kind.min_frames for kind in KINDS if isinstance(kind, SceneOptions)) >= 3


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


def test_a_parted_stack_has_every_part_sharp_in_one_frame_or_two():
    counts = set()
    for seed in range(8):
        stack = parted_stack(np.random.default_rng(seed), 128, Textures((seed,)).at(0))
        assert len(stack.frames) >= 3
        away = np.abs(stack.frames.astype(int) - stack.truth).max(3)
        assert away.min(0).mean() <= 3  # noise of at most 3 levels
        assert stack.depth.min() >= 0
        assert stack.depth.max() <= len(stack.frames) - 1
        if away.min() == 0 and np.median(away.min(0)) == 0:  # without noise
            counts.add(int(np.median((away == 0).sum(0))))
    assert counts <= {1, 2}
