"""A small network in NumPy behind the session contract, so that what surrounds an engine is tested fast and exactly.

It has all that makes tiling hard: several scales, padding to a stride inside the graph, zero padding at the borders, and a
weighing by averages over the whole frame.
"""

import os

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import json
import threading
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.session import Session

# An output pixel p lies in fine cell i = p // 2, which reads fine cells i - 4 .. i + 4 (over the coarse scale's convolution),
# which read pixels 2 (i - 5) .. 2 (i + 5) + 1: eleven pixels to either side.
HALO, STRIDE = 11, 4


class SmallNet:
    """Two scales, at 1/2 and 1/4 of the frame's resolution, four channels each; float64 throughout."""

    strides = (2, 4)
    widths = (4, 4)

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.first = rng.normal(0, 1, (4, 3, 3, 3)) / 5
        self.second = rng.normal(0, 1, (4, 4, 3, 3)) / 6
        self.last = rng.normal(0, 1, (1, 8, 3, 3)) / 4

    def encode(self, frames):
        """Features of both scales of N x 3 x H x W frames."""
        height, width = frames.shape[2:]
        pad = ((0, 0), (0, 0), (0, -height % STRIDE), (0, -width % STRIDE))
        padded = np.pad(frames.astype(np.float64), pad, mode="edge")
        fine = leaky(convolved(halved(padded), self.first))
        coarse = leaky(convolved(halved(fine), self.second))
        return fine, coarse

    def means(self, frames):
        return np.concatenate([feature.mean((2, 3)) for feature in self.encode(frames)], 1)

    def sums(self, frame, mask):
        height, width = frame.shape[2:]
        mask = np.pad(mask, ((0, 0), (0, 0), (0, -height % STRIDE), (0, -width % STRIDE)), mode="edge")
        features = zip(self.encode(frame), self.strides, strict=True)
        return np.concatenate([(feature * mask[..., ::step, ::step]).sum((2, 3)) for feature, step in features], 1)

    def fuse(self, near, far, means_near, means_far):
        share = 1 / (1 + np.exp(means_far - means_near))
        joined = []
        for index, (a, b) in enumerate(zip(self.encode(near), self.encode(far), strict=True)):
            part = share[:, 4 * index : 4 * index + 4, None, None]
            detail = a * part - b * (1 - part)
            joined.append(detail if index == 0 else detail.repeat(2, 2).repeat(2, 3))
        score = convolved(np.concatenate(joined, 1), self.last).repeat(2, 2).repeat(2, 3)
        weight = 1 / (1 + np.exp(-4 * score[..., : near.shape[2], : near.shape[3]]))
        return weight * near + (1 - weight) * far, weight


def halved(frames):
    n, c, h, w = frames.shape
    return frames.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


def leaky(values):
    return np.where(values > 0, values, 0.01 * values)


def convolved(frames, kernels):
    """A 3 x 3 convolution with zero padding."""
    padded = np.pad(frames, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = frames.shape[2:]
    windows = np.stack([padded[..., y : y + height, x : x + width] for y in range(3) for x in range(3)], 2)
    return np.einsum("nckyx,ock->noyx", windows, kernels.reshape(*kernels.shape[:2], 9))


def smallnet_manifest(*, io="float", precision="fp32", role="whole", sha="0" * 64, **extra):
    about = {"halo": HALO, "stride": STRIDE, "strides": [2, 4], "widths": [4, 4], "global_means": True, "role": role}
    return Manifest("onnx", "small", precision, io=io, weights_sha256=sha, extra={**about, **extra})


class SmallSession(Session):
    """`SmallNet` as a whole-frame, means or tile graph, by its manifest's role."""

    backend = "onnxruntime"

    def __init__(self, model, manifest, options, why):
        self.manifest, self.why, self.precision = manifest, why, manifest.precision
        self.options, self.closed, self.calls = options, 0, []
        self.net, self.lock = SmallNet(), threading.Lock()

    def infer(self, inputs):
        if self.closed:
            raise BackendError("the session is closed")
        with self.lock:
            self.calls.append({name: array.shape for name, array in inputs.items()})
        if len(self.calls) > 2000:  # a storm makes tens of thousands, and its memory is looked at
            del self.calls[:1000]
        role = self.manifest.extra["role"]
        for name in {"whole": ("near", "far"), "tile": ("near", "far"), "means": ("frame",)}[role]:
            check_input(inputs[name], self.manifest.io)
        if role == "means":
            assert set(np.unique(inputs["mask"])) <= {0.0, 1.0}
            return {"sums": self.net.sums(planes(inputs["frame"]), inputs["mask"]).astype(np.float32)}
        near, far = planes(inputs["near"]), planes(inputs["far"])
        means = inputs.get("means_near"), inputs.get("means_far")
        if role == "whole":
            means = self.net.means(near), self.net.means(far)
        fused, weight = self.net.fuse(near, far, *means)
        if self.manifest.io == "uint8":
            fused = np.rint(np.clip(fused, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)[..., ::-1]
        else:
            fused = fused.astype(np.float32)
        return {"fused": fused, "map": weight.astype(np.float32)}

    def close(self):
        self.closed += 1


def check_input(array, io):
    assert array.flags.c_contiguous
    if io == "uint8":
        assert array.dtype == np.uint8
        assert array.ndim == 4
        assert array.shape[3] == 3
    else:
        assert array.dtype == np.float32
        assert array.shape[1] == 3
        assert array.min() >= 0
        assert array.max() <= 1


def planes(array):
    return array if array.dtype == np.float32 else array[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)


class SelectingSession(SmallSession):
    """Takes at each pixel the frame with more detail round it: what a trained network does, without one."""

    def infer(self, inputs):
        near, far = planes(inputs["near"]), planes(inputs["far"])
        detail = [local_detail(frame[0].mean(0)) for frame in (near, far)]
        weight = cv2.GaussianBlur((detail[0] > detail[1]).astype(np.float32), (0, 0), 1.0)[None, None]
        return {"fused": weight * near + (1 - weight) * far, "map": weight}


def local_detail(grey):
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 2.0)
    return cv2.boxFilter(fine * fine, -1, (9, 9))


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, payload):
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def onnx_bytes(manifest=None, *, graph=b"\x0a\x00", metadata=None):
    """The outermost fields of an ONNX file: version, graph, metadata."""
    entries = dict(metadata or {}) | (manifest.to_metadata() if manifest else {})
    props = b"".join(field(14, field(1, key.encode()) + field(2, value.encode())) for key, value in entries.items())
    return b"\x08\x08" + field(7, graph) + props


@pytest.fixture
def write_model(tmp_path):
    """Writes the files of a `SmallNet` model: ``write_model("x.onnx", tiles=True)``; returns the path."""

    def write(name="small.onnx", *, tiles=True, folder=tmp_path, **about):
        path = folder / name
        path.write_bytes(onnx_bytes(smallnet_manifest(**about)))
        if tiles:
            for role in ("means", "tile"):
                manifest = smallnet_manifest(**{**about, "role": role})
                path.with_name(f"{path.stem}.{role}.onnx").write_bytes(onnx_bytes(manifest))
        return path

    return write


@pytest.fixture
def small_engine(monkeypatch):
    """`SmallSession` instead of ONNX Runtime."""
    monkeypatch.setattr("ufafuse.runtime.backends.onnxruntime.OnnxRuntimeSession", SmallSession)


@pytest.fixture
def selecting_engine(monkeypatch):
    """`SelectingSession` instead of ONNX Runtime."""
    monkeypatch.setattr("ufafuse.runtime.backends.onnxruntime.OnnxRuntimeSession", SelectingSession)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def edited_manifest(**changes):
    """The JSON text of a manifest with entries changed or, where None, removed."""
    values = json.loads(smallnet_manifest().to_metadata()["ufafuse"]) | changes
    return json.dumps({key: value for key, value in values.items() if value is not None})


@pytest.fixture(scope="session")
def small():
    """The pieces above, for tests that build their own."""
    return SimpleNamespace(
        Session=SmallSession,
        Selecting=SelectingSession,
        Net=SmallNet,
        manifest=smallnet_manifest,
        edited_manifest=edited_manifest,
        onnx_bytes=onnx_bytes,
        field=field,
        HALO=HALO,
        STRIDE=STRIDE,
    )
