"""A network from its name or its file, and back: what builds it, and the weights file with its manifest."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from ufafuse.network.base import Network
from ufafuse.network.init import initialise
from ufafuse.network.model import FusionNet
from ufafuse.network.rivals.made import build_rival
from ufafuse.network.spec import RivalSpec, Spec, find_spec
from ufafuse.network.stacknet import StackNet
from ufafuse.runtime.artefact import Manifest, atomic_write, read_manifest, tool_versions
from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.runtime.values import check_instance, check_value, is_path, is_switch, is_whole


def build_model(spec: Spec | str, *, init: str = "auto", seed: int | None = None) -> Network:
    """Build the network of a variant's name or spec and set its weights.

    Args:
        spec: A name in `SPECS`, or a `Spec` of one's own.
        init: How it starts, see `ufafuse.network.init`; "none" where weights are loaded next.
        seed: Draws the random weights reproducibly, without touching torch's global state; None takes that state.

    Raises:
        InputError: The name or the initialisation is unknown, or an argument is of another type.
    """
    if not isinstance(spec, str):
        check_instance("spec", spec, Spec, given="a variant's name or a `Spec`")
    check_value("seed", seed, is_whole, optional=True)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(int(seed) % (1 << 64))
        described = find_spec(spec) if isinstance(spec, str) else spec
        if isinstance(described, RivalSpec):
            if init not in ("auto", "none"):
                raise InputError(f"{described.name!r} starts in its own way, not by {init!r}: use 'auto'.")
            return build_rival(described)
        net: Network = StackNet(described) if described.gathers else FusionNet(described)
        initialise(net, init)
    return net


def save_weights(
    net: Network, path: str | Path, *, extra: dict[str, Any] | None = None, half: bool = False, force: bool = False
) -> None:
    """Write the network's weights with their manifest, whole or not at all.

    Args:
        net: Built by `build_model` or `load_weights`.
        path: Ends in ``.safetensors``.
        extra: More for the manifest, as JSON has it; ``data``: what the weights learnt from.
        half: They are stored as float16, for a file of half the size; they are computed with as before.
        force: Replace an existing file.

    Raises:
        InputError: An argument is of another type, or the path ends in something else.
        OutputError: The file exists, or cannot be written.
    """
    from safetensors.torch import save

    check_instance("net", net, Network)
    check_value("path", path, is_path)
    check_value("half", half, is_switch)
    check_instance("extra", extra, dict, optional=True, given="a dictionary")
    if Path(path).suffix != ".safetensors":  # by which a file is known for what it is when it is read
        raise InputError(f"`path={path}` must end in .safetensors.")
    manifest = Manifest(
        kind="weights",
        variant=net.spec.name,
        precision="fp16" if half else "fp32",
        spec=net.spec.to_dict(),
        tools=tool_versions("torch", "safetensors"),
        extra=dict(extra or {}),
    )
    kind = torch.float16 if half else torch.float32
    tensors = {name: _stored(tensor, kind) for name, tensor in net.state_dict().items()}
    manifest.extra["tensors_sha256"] = _tensors_sha256(save(tensors))
    try:
        entries = manifest.to_metadata()
    except (TypeError, ValueError) as error:
        raise InputError(f"`extra` cannot be written as JSON: {error}.") from error
    with atomic_write(Path(path), force=force) as temporary:
        temporary.write_bytes(save(tensors, metadata=entries))  # what fails is an OSError, unlike save_file's


def _tensors_sha256(data: bytes) -> str:
    """Of what stands behind the header of a safetensors file."""
    return hashlib.sha256(memoryview(data)[8 + int.from_bytes(data[:8], "little") :]).hexdigest()


def _stored(tensor: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    """What a file holds of a tensor; counts stay whole numbers."""
    tensor = tensor.detach().cpu()
    return (tensor.to(kind) if tensor.is_floating_point() else tensor).contiguous()


def load_weights(path: str | Path) -> Network:
    """Build the network that a weights file describes, with its weights, in evaluation mode on the CPU.

    Raises:
        InputError: There is no such file, or the path is none.
        ModelError: It is no weights file, is truncated, or its tensors are not finite or not those of its network.
    """
    manifest = read_manifest(path)
    path = Path(path)
    if manifest.kind != "weights":
        raise ModelError(f"{path} is of kind {manifest.kind!r}: give the .safetensors file written by `ufa train`.")
    net = build_model(Spec.from_dict(manifest.spec), init="none")
    fill(net, path, manifest.variant, sha256=manifest.extra.get("tensors_sha256"))
    return net


def fill(net: Network, path: Path, name: str, *, sha256: str | None = None) -> None:
    """Set the network's weights from a file's, whose tensors hash to ``sha256`` (None: nobody knows), and evaluation mode.

    Raises:
        ModelError: The file's tensors are not finite, not those of the network called ``name``, or not those that were written.
    """
    from safetensors.torch import load

    try:
        data = path.read_bytes()
        tensors = load(data)
        net.load_state_dict(tensors)
    except Exception as error:  # safetensors' own error has no base class but this, and a crafted file can raise others
        raise ModelError(f"{path} does not hold the weights of {name!r}: {error}.") from error
    broken = [key for key, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise ModelError(f"{path} holds NaN or infinity in {broken[0]}: train it again, or take an earlier file.")
    if sha256 not in (None, _tensors_sha256(data)):
        raise ModelError(f"{path} was damaged, or changed by another program: copy it again, or take an earlier file.")
    net.eval()
