import contextlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ufafuse.runtime.memory.tiling import grid_of_step
from ufafuse.runtime.stacks.model import StackModel

STRIDE, STRIDES, WIDTHS, OCTAVES = 8, [4, 8], [2, 2], [2, 8]
REACH = 16


def padded(planes):
    height, width = planes.shape[-2:]
    down, right = -height % STRIDE, -width % STRIDE
    return np.pad(planes, ((0, 0), (0, 0), (0, down), (0, right)), mode="edge")


def energy(planes):
    """How much fine detail stands around each pixel, H x W; sees 5 pixels."""
    grey = planes[0].mean(0).astype(np.float32)
    return cv2.GaussianBlur(cv2.Laplacian(grey, cv2.CV_32F, borderType=cv2.BORDER_REPLICATE) ** 2, (7, 7), 1.5)


class Encode:
    """Stands in for an engine: features are averages of the detail's energy."""

    takes_byte_planes = False
    carries = "float32"
    backend = "fake"
    manifest = SimpleNamespace(io="float", extra={})

    def __init__(self):
        self.seen = []

    def infer(self, inputs):
        self.seen.append(inputs["frame"].shape)
        fine = energy(padded(inputs["frame"]))
        outputs = {}
        for scale, stride in enumerate(STRIDES):
            size = fine.shape[1] // stride, fine.shape[0] // stride
            small = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
            outputs[f"features_{scale}"] = np.stack([small, 1 - small], 2)[None]
            outputs[f"attention_{scale}"] = np.exp(small)[None, None]
        return outputs

    def prepare_inputs(self, inputs):
        pass

    def release(self):
        pass

    def close(self):
        pass


class Common(Encode):
    """Hands on the greatest of what was gathered."""

    def infer(self, inputs):
        self.seen.append({name: value.copy() for name, value in inputs.items()})
        outputs = {f"common_{scale}": inputs[f"greatest_{scale}"] for scale in range(len(WIDTHS))}
        return {**outputs, "stands_out": np.zeros((*outputs["common_0"].shape[:3], STRIDES[0] ** 2), np.float32)}


class Score(Encode):
    """Weighs a frame by its own detail's energy, against the greatest that was gathered."""

    manifest = SimpleNamespace(
        io="float",
        extra={
            "stride": STRIDE,
            "strides": STRIDES,
            "widths": WIDTHS,
            "octaves": OCTAVES,
            "score_halo": REACH,
            "encode_halo": REACH,
        },
    )

    def infer(self, inputs):
        frame = inputs["frame"]
        self.seen.append({name: value.copy() for name, value in inputs.items()})
        height, width = frame.shape[-2:]
        greatest = inputs["common_0"][0, ..., 0]
        most = np.repeat(np.repeat(greatest, STRIDES[0], 0), STRIDES[0], 1)[:height, :width]
        weight = np.exp(np.clip(4 * np.log((energy(frame) + 1e-5) / (most + 1e-5)), -10, 10))
        return {"weights": np.repeat(weight[None, ..., None], 3, 3).astype(np.float32)}


class FakeFuser:
    """What `fuse_sources` asks of a fuser."""

    gathers = True
    threads = 2
    memory_limit = None
    backend = "fake"
    model = SimpleNamespace(name="fake.onnx", stem="fake")
    session = SimpleNamespace(manifest=SimpleNamespace(extra={}))

    def __init__(self, tile=None):
        self.stack = StackModel(Encode(), Common(), Score())
        self._tile = tile

    def stack_model(self):
        return self.stack

    def planned_stack(self, size, state, trials):
        grid = None if self._tile is None else grid_of_step(size, self._tile, halo=REACH, stride=STRIDE)
        return contextlib.nullcontext(grid)


@pytest.fixture
def fuser():
    return FakeFuser()


@pytest.fixture
def make_fuser():
    return FakeFuser


def texture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.normal(size=(height, width, 3)).astype(np.float32), (0, 0), 1.2)
    coarse = cv2.resize(rng.normal(size=(5, 6, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 55 * picture / picture.std() / 1.2 + 25 * coarse, 0, 255)


def made_stack(count, height=150, width=203, seed=0, blur=5.0):
    """Frames whose sharp columns wander from left to right, and the picture that is sharp everywhere."""
    truth = texture(height, width, seed)
    sigmas = [0.0, *(blur * np.array([0.15, 0.3, 0.5, 0.75, 1.0]))]
    levels = [truth, *(cv2.GaussianBlur(truth, (0, 0), sigma) for sigma in sigmas[1:])]
    depth = np.linspace(-0.5, count - 0.5, width)
    frames = []
    for index in range(count):
        away = np.maximum(np.abs(depth - index) - 0.5, 0) * blur / 2
        position = np.interp(away, sigmas, np.arange(len(sigmas)))
        shares = [np.clip(1 - np.abs(position - level), 0, 1)[None, :, None] for level in range(len(sigmas))]
        frames.append(np.rint(sum(share * level for share, level in zip(shares, levels, strict=True))).astype(np.uint8))
    return frames, np.rint(truth).astype(np.uint8)


@pytest.fixture
def make_stack():
    return made_stack


@pytest.fixture
def make_texture():
    return texture
