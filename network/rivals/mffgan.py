"""MFF-GAN: H. Zhang, Z. Le, Z. Shao, H. Xu, J. Ma, "MFF-GAN: An unsupervised generative adversarial network with adaptive
and gradient joint constraints for multi-focus image fusion", Information Fusion 66, 2021.

**Generator** (Section 3): on the brightness, two paths of four convolutions, one a frame, 5 x 5 first and then 3 x 3, with
dense connections and with what the other path has found; all features joined, 1 x 1 and tanh give the fused brightness.
**Discriminator**: four convolutions in steps of two and a linear layer, on gradient maps: that of the fused picture against
the *joint* one, which is the larger gradient of the two frames at each pixel.

**Loss** (Section 3): the content loss compares brightness and gradients with those of one frame at every pixel, the one
that an adaptive decision block finds sharp: it loses more when it is blurred, a difference that is blurred again; no truth
is asked for. The adversarial part is least squares with soft labels. **Colour** as in DeepFuse.

**Left open, and settled**: what of the other path a layer sees (the other's last features), 16 channels a layer, LeakyReLU
0.2, no batch normalisation in the generator: 42,529 parameters (later papers count 0.05 million of the authors'). Weights:
content 1 of brightness and 5 of gradients, all of it 100 times the adversarial part. Blurs: a Gaussian of sigma 2 over 7 x
7, again over 7 x 7. Labels: 0.7 to 1.2 for joint, 0 to 0.3 for fused. The discriminator takes one step of Adam a batch; it
is not part of a checkpoint, so a resumed run begins with a new one. Borders are repeated.
"""

import torch
from torch import Tensor, nn

from ufafuse.network.rivals.base import Lesson, RivalNet, conv, exactly, seeded
from ufafuse.network.rivals.blurring import gaussian, laplacian
from ufafuse.network.rivals.colour import chroma, coloured, fused_chroma, luma
from ufafuse.network.spec import RivalSpec

WIDTH, SLOPE = 16, 0.2
SIDES = (5, 3, 3, 3)
GRADIENTS, CONTENT = 5.0, 100.0
SIGMA, SIDE = 2.0, 7
RATE = 2e-4  # of the discriminator


class _Paths(nn.Module):
    """Both paths; each layer sees all its own path has and the other's last features."""

    def __init__(self) -> None:
        super().__init__()
        widths = [1] + [(number + 1) * WIDTH for number in range(1, len(SIDES))]
        self.near, self.far = (nn.ModuleList(map(_layer, widths, SIDES)) for _ in range(2))

    def forward(self, near: Tensor, far: Tensor) -> Tensor:
        one, other = self.near[0](near), self.far[0](far)
        all_near, all_far = one, other
        for layer_near, layer_far in zip(list(self.near)[1:], list(self.far)[1:], strict=True):
            one, other = layer_near(torch.cat([all_near, other], 1)), layer_far(torch.cat([all_far, one], 1))
            all_near, all_far = torch.cat([all_near, one], 1), torch.cat([all_far, other], 1)
        return torch.cat([all_near, all_far], 1)


def _layer(channels_in: int, side: int) -> nn.Sequential:
    return nn.Sequential(conv(channels_in, WIDTH, side, slope=SLOPE), nn.LeakyReLU(SLOPE))


class MffGan(RivalNet):
    """The generator."""

    def __init__(self, spec: RivalSpec) -> None:
        """Make it with random weights."""
        super().__init__(spec)
        self.paths = _Paths()
        self.join = nn.Conv2d(2 * len(SIDES) * WIDTH, 1, 1)

    def brightness(self, near: Tensor, far: Tensor) -> Tensor:
        """Fuse two brightnesses, N x 1 x H x W in [0, 1]; the network sees and gives [-1, 1]."""
        fused: Tensor = self.join(self.paths(2 * near - 1, 2 * far - 1)).float().tanh()
        return (fused + 1) / 2

    def forward_with_map(self, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse brightness by the generator and colour by the rule; both frames weigh a half everywhere."""
        one, other = luma(near), luma(far)
        fused = self.brightness(one, other)
        picture = coloured(fused, fused_chroma(chroma(near, one), chroma(far, other)))
        return (picture if self.training else picture.clamp(0, 1)), torch.full_like(fused, 0.5)

    def lesson(self, near: Tensor, far: Tensor, truth: Tensor) -> Tensor:  # noqa: ARG002 - nothing is known of the truth
        """The content loss alone."""
        one, other = luma(near), luma(far)
        fused = self.brightness(one, other)
        with exactly(fused):
            return content_loss(one, other, fused)

    def lessons(self) -> Lesson:
        """Return the game with a discriminator."""
        return Game()


def content_loss(near: Tensor, far: Tensor, fused: Tensor) -> Tensor:
    """Compare with the sharp frame at every pixel; N x 1 x H x W, a scalar."""
    sharp = (_loss_by_blur(near) > _loss_by_blur(far)).float()
    brightness = (fused - (far + sharp * (near - far))).square().mean()
    slopes = [laplacian(plane) for plane in (near, far, fused)]
    return brightness + GRADIENTS * (slopes[2] - (slopes[1] + sharp * (slopes[0] - slopes[1]))).square().mean()


def _loss_by_blur(plane: Tensor) -> Tensor:
    return gaussian((plane - gaussian(plane, SIGMA, SIDE)).abs(), SIGMA, SIDE)


def _discriminator() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, width in ((1, 16), (16, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 1))


class Game(Lesson):
    """The generator's loss against a discriminator that learns with it."""

    def __init__(self) -> None:
        """Begin with a discriminator of random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.judge = _discriminator()
        self.optimizer = torch.optim.Adam(self.judge.parameters(), RATE)

    def __call__(self, net: RivalNet, near: Tensor, far: Tensor, truth: Tensor) -> Tensor:
        """Let the discriminator take a step, then return the generator's loss."""
        assert isinstance(net, MffGan)
        self.judge.to(near.device)
        one, other = luma(near), luma(far)
        fused = net.brightness(one, other)
        with exactly(fused):
            slopes = [laplacian(plane).abs() for plane in (one, other, fused)]
            joint, seen = torch.maximum(slopes[0], slopes[1]), slopes[2]
            rng = seeded(truth)

            def label(low: float, high: float) -> Tensor:
                return (low + (high - low) * torch.rand(len(near), 1, generator=rng)).to(near.device)

            true, false, wanted = label(0.7, 1.2), label(0, 0.3), label(0.7, 1.2)
            with torch.enable_grad():
                own = (self.judge(joint) - true).square().mean() + (self.judge(seen.detach()) - false).square().mean()
            self.optimizer.zero_grad(set_to_none=True)
            own.backward()
            self.optimizer.step()
            self.judge.requires_grad_(requires_grad=False)
            adversarial = (self.judge(seen) - wanted).square().mean()
            self.judge.requires_grad_(requires_grad=True)
            return content_loss(one, other, fused) + adversarial / CONTENT
