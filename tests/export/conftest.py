"""A small network, its weights and its exports, made once; and a fake TensorRT."""

import dataclasses
import fcntl
import importlib.machinery
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.networks import TINY_STACKS
from ufafuse.network.spec import Spec

SMALL = Spec(
    "small", widths=(4, 6), fold=2, encoder_blocks=(1, 1), decoder_blocks=(1, 0), head="select", symmetric=True, residual=False
)
RESIDUAL = Spec("residual", widths=(4,), fold=2, encoder_blocks=(1,), decoder_blocks=(1,), head="select", symmetric=True)
GATHERING = dataclasses.replace(TINY_STACKS["two scales"], name="gathering", widths=(4, 6), encoder_blocks=(2, 1))
PLAIN = Spec("plain", widths=(6,), fold=1, encoder_blocks=(2,), decoder_blocks=(1,), head="reconstruct")


def _load(name):
    spec = importlib.util.spec_from_file_location(f"ufafuse_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_weights(spec, path):
    """Random weights and biases of a network."""
    import torch

    from ufafuse.network.weights import build_model, save_weights

    torch.manual_seed(3)
    net = build_model(spec, init="xavier")
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.02)
            elif spec.gathers and name.startswith(("head", "apart", "detail.gate")):  # they start where they hardly matter
                parameter.mul_(20)
    save_weights(net, path)
    return path


def made_once(tmp_path_factory, name, make):
    """A folder of the whole run, whichever folder's tests and whichever process of pytest-xdist asks for it first."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / name
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            begun = base / f"{name}.begun"
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir()
            make(begun)
            begun.rename(folder)
    return folder


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """A folder with weights and verified exports of the small network; its files are read, never changed.

    Exporting takes half a minute, so the tests of `calibration` take this fixture too, and find the folder made.
    """
    from ufafuse.export.onnx_export import onnx_from_weights

    def make(folder):
        weights = write_weights(SMALL, folder / "small.safetensors")
        onnx_from_weights(weights, folder / "small.onnx", tiles=True)
        onnx_from_weights(weights, folder / "half.onnx", precision="fp16", io="uint8")

    return made_once(tmp_path_factory, "exports", make)


@pytest.fixture(scope="session")
def gathering(tmp_path_factory):
    """A folder with weights and verified exports of a small network that gathers; as `exports`."""
    from ufafuse.export.onnx_export import onnx_from_weights

    def make(folder):
        weights = write_weights(GATHERING, folder / "gathering.safetensors")
        onnx_from_weights(weights, folder / "gathering.onnx")
        onnx_from_weights(weights, folder / "half.onnx", precision="fp16", io="uint8")

    return made_once(tmp_path_factory, "gathering", make)


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """Weights of a small network of the paper's kind: one scale, stride 1, and a reconstructing head."""
    return write_weights(PLAIN, tmp_path_factory.mktemp("plain") / "plain.safetensors")


@pytest.fixture(scope="session")
def residual(tmp_path_factory):
    """Weights of a small network whose selecting head adds a residual."""
    return write_weights(RESIDUAL, tmp_path_factory.mktemp("residual") / "residual.safetensors")


@pytest.fixture(scope="session")
def fake():
    """The module of the fake TensorRT."""
    return _load("fake_tensorrt")


@pytest.fixture
def install(monkeypatch):
    """Put a module in the place of an installed ``tensorrt``."""

    def put(module):
        module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
        monkeypatch.setitem(sys.modules, "tensorrt", module)
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *a: module.__spec__ if name == "tensorrt" else find(name, *a)
        )
        return module

    return put
